"""Table `replays`: dead letters on their way back to where they came from, a canary first.

A replay is a row, and so is everything it does: `begin` marks the letters it is to take, and each step (`replay_steps.py`)
is one transaction in which letters turn from `open` to `replayed` while their work is returned. Whoever is killed, at
whatever moment, the next step goes on from the rows; no letter is lost and none is returned twice.

The work goes back as it came: a task or the wish for a run becomes a row of `tasks`, a delivery or push that was buried
waits again, the push under its own idempotency key. A letter whose work cannot be returned stays open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from syncd.store.database import UNHURRIED_SECONDS, again_after_conflict
from syncd.store.dead_letters import Selection
from syncd.store.replay_steps import COLUMNS, FAILED, OPEN, Replay, Steps
from syncd.store.returns import IN_FLIGHT

REPLAYS = "syncd_replays"
"""NOTIFY channel: there is a replay to carry on with."""


@dataclass(frozen=True, slots=True)
class Group:
    """Letters of one cause that a selection names."""

    integration: str
    resource: str
    fingerprint: str
    message: str
    origin: str
    kind: str
    """Of a task its kind: fetch, children."""
    count: int
    running: int
    """So many of them belong to a replay under way."""
    again: int
    """Of so many a replay failed before."""
    upto: int
    """The highest id."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a replay stands now."""

    replay: Replay
    in_flight: int
    """Returned and not yet done."""
    failed: int
    """Returned and buried again."""
    held_until: datetime | None = None
    """The work in flight waits until then, all of it."""
    held_by: str | None = None
    """Why it does."""
    left: bool = False
    """Are there letters that have not been returned yet?"""
    put_off: int = 0
    """So many of them were stepped over, since they cannot be returned now; they are come back to."""
    put_off_for: str | None = None
    """What one of these waits for."""

    @property
    def waiting(self) -> int:
        """Letters that have not been returned yet; as many as there were, less those that were dealt with here."""
        gone = self.replay.sent + self.replay.overtaken + self.replay.unable
        return max(self.replay.total - gone, 1) if self.left else 0

    @property
    def done(self) -> int:
        """Returned and done."""
        return max(self.replay.sent - self.in_flight - self.failed, 0)


_RUNNING = "SELECT r.id FROM syncd.replays r WHERE r.ended_at IS NULL"
_FREE = f"(d.replay_id IS NULL OR d.replay_id NOT IN ({_RUNNING}))"
"""A letter that no replay under way holds."""
_STANDING = f"""
SELECT {COLUMNS}, f.flying AS _flying, ({FAILED}) AS _failed, f.until AS _until, f.why AS _why,
       EXISTS (SELECT FROM syncd.dead_letters d WHERE {OPEN}) AS _left, p.count AS _put_off, p.why AS _put_off_for
FROM syncd.replays, LATERAL ({IN_FLIGHT}) AS f(flying, held, until, why),
     LATERAL (SELECT count(*) AS count, min(d.put_off_for) AS why FROM syncd.dead_letters d
              WHERE {OPEN} AND d.put_off_until IS NOT NULL) p
WHERE integration = $1 AND id = $2
"""
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('syncd replays'))"


class Replays(Steps):
    """Dead letters on their way back."""

    async def groups(self, selection: Selection) -> list[Group]:
        """What a selection would replay, by cause, the most frequent first."""
        chosen, values = selection.condition()
        found = await self._database.fetch(
            "SELECT g.*, m.message FROM (SELECT d.integration, d.resource, d.fingerprint, d.origin, "
            "coalesce(d.payload ->> 'kind', '') AS kind, count(*) AS count, "
            f"count(*) FILTER (WHERE d.replay_id IN ({_RUNNING})) AS running, "
            "count(*) FILTER (WHERE d.replays > 0) AS again, max(d.id) AS upto "
            f"FROM syncd.dead_letters d WHERE {chosen} GROUP BY 1, 2, 3, 4, 5) g "
            "JOIN syncd.dead_letters m ON m.integration = g.integration AND m.id = g.upto "
            "ORDER BY g.count DESC, g.integration, g.resource, g.fingerprint, g.origin, g.kind",
            *values,
        )
        return [Group(**dict(each)) for each in found]

    @again_after_conflict
    async def begin(self, selection: Selection, *, who: str) -> list[tuple[str, int]]:
        """Have what is selected replayed: one replay a cause, ids by integration. Committed when this comes back.

        Letters that belong to a replay under way stay with it; its id is among those returned.
        """
        now = self._database.clock.now()
        async with self._database.transaction() as connection:
            await connection.execute("SET LOCAL statement_timeout = 0")
            await connection.execute(_LOCK)
            ids = await self._holding(connection, selection)
            chosen, values = selection.condition(2)
            made = await connection.fetch(
                "INSERT INTO syncd.replays (integration, resource, fingerprint, message, who, total, begun_at) "
                "SELECT g.integration, g.resource, g.fingerprint, m.message, $1, g.count, $2 FROM ("
                "SELECT d.integration, d.resource, d.fingerprint, count(*) AS count, max(d.id) AS latest "
                f"FROM syncd.dead_letters d WHERE {chosen} AND {_FREE} GROUP BY 1, 2, 3) g "
                "JOIN syncd.dead_letters m ON m.integration = g.integration AND m.id = g.latest "
                "RETURNING integration, id, resource, fingerprint, total",
                who,
                now,
                *values,
                timeout=UNHURRIED_SECONDS,
            )
            if made:
                chosen, values = selection.condition(4)
                await connection.execute(
                    "UPDATE syncd.dead_letters d SET replay_id = m.id, put_off_until = NULL, put_off_for = NULL "
                    "FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) "
                    "AS m(integration, id, resource, fingerprint) WHERE d.integration = m.integration "
                    f"AND d.resource = m.resource AND d.fingerprint = m.fingerprint AND {chosen} AND {_FREE}",
                    *([one[name] for one in made] for name in ("integration", "id", "resource", "fingerprint")),
                    *values,
                    timeout=UNHURRIED_SECONDS,
                )
                await connection.executemany(
                    "INSERT INTO syncd.audit_log (integration, at, actor, action, after) VALUES ($1, $2, $3, $4, $5)",
                    [
                        (one["integration"], now, who, "dead_letters_replayed", _noted(one["id"], one["total"], one))
                        for one in made
                    ],
                )
                await connection.execute("SELECT pg_notify($1, '')", REPLAYS)
        return sorted((one["integration"], one["id"]) for one in (*ids, *made))

    async def _holding(self, connection: asyncpg.Connection, selection: Selection) -> list[asyncpg.Record]:
        """The replays under way that hold letters of the selection: looked for replay by replay, not letter by letter."""
        chosen, values = selection.condition()
        found: list[asyncpg.Record] = await connection.fetch(
            "SELECT r.integration, r.id FROM syncd.replays r WHERE r.ended_at IS NULL AND EXISTS (SELECT "
            "FROM syncd.dead_letters d WHERE d.integration = r.integration AND d.replay_id = r.id "
            f"AND {chosen} ORDER BY d.put_off_until, d.id LIMIT 1) ORDER BY r.integration, r.id",
            *values,
        )
        return found

    async def running(self) -> list[tuple[str, int]]:
        """Those under way, the oldest first."""
        found = await self._database.fetch(
            "SELECT integration, id FROM syncd.replays WHERE ended_at IS NULL ORDER BY id LIMIT 1000"
        )
        return [(each["integration"], each["id"]) for each in found]

    async def of(self, selection: Selection, *, since: datetime | None) -> list[Replay]:
        """Replays of what a selection names, though none of its letters be open any more: those under way, and of each
        cause the last one that ended since then (None: none of these). Times of the selection do not narrow it."""
        cause = selection.cause or (None, None, None)
        found = await self._database.fetch(
            "SELECT DISTINCT ON (r.integration, r.resource, r.fingerprint, CASE WHEN r.ended_at IS NULL THEN r.id END) "
            f"{', '.join(f'r.{name}' for name in Replay.__slots__)} FROM syncd.replays r "
            "WHERE (r.ended_at IS NULL OR r.ended_at >= $6) AND ($1::text IS NULL OR r.integration = $1) "
            "AND ($2::bigint[] IS NULL OR EXISTS (SELECT FROM syncd.dead_letters d WHERE d.id = ANY($2) "
            "AND d.integration = r.integration AND d.replay_id = r.id)) "
            "AND ($3::text IS NULL OR (r.integration = $3 AND r.resource = $4 AND r.fingerprint = $5)) "
            "ORDER BY r.integration, r.resource, r.fingerprint, CASE WHEN r.ended_at IS NULL THEN r.id END, r.id DESC "
            "LIMIT 1000",
            selection.integration,
            list(selection.ids) or None,
            *cause,
            since,
        )
        return [Replay(**dict(each)) for each in found]

    async def get(self, integration: str, replay_id: int) -> Replay | None:
        found = await self._database.fetchrow(
            f"SELECT {COLUMNS} FROM syncd.replays WHERE integration = $1 AND id = $2", integration, replay_id
        )
        return Replay(**dict(found)) if found is not None else None

    async def standing(self, integration: str, replay_id: int) -> Standing | None:
        """Where it stands, for who watches; all of one moment."""
        found = await self._database.fetchrow(_STANDING, integration, replay_id, self._database.clock.now())
        if found is None:
            return None
        values = dict(found)
        names = ("_flying", "_failed", "_until", "_why", "_left", "_put_off", "_put_off_for")
        parts = [values.pop(name) for name in names]
        return Standing(Replay(**values), *parts)

    async def cancel(self, selection: Selection, *, who: str) -> list[tuple[str, int, int]]:
        """End the replays that hold letters of the selection: (integration, id, letters left open).

        What was returned already goes on.
        """
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK)
            ended = []
            for each in await self._holding(connection, selection):
                left = await self.end(connection, each["integration"], each["id"], "cancelled", f"cancelled by {who}")
                if left is not None:
                    ended.append((each["integration"], each["id"], left))
        return ended


def _noted(replay_id: int, total: int, cause: Mapping[str, Any] | asyncpg.Record) -> dict[str, Any]:
    return {"replay": replay_id, "letters": total, "resource": cause["resource"], "cause": cause["fingerprint"]}


__all__: Sequence[str] = ("REPLAYS", "Group", "Replay", "Replays", "Standing")
