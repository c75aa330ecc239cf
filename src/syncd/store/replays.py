"""Table `replays`: dead letters on their way back to where they came from, a canary first.

A replay is a row, and so is everything it does: `begin` marks the letters it is to take, and each `step` is one transaction
in which letters turn from `open` to `replayed` while their work is returned. Whoever is killed, at whatever moment, the next
step goes on from the rows; no letter is lost and none is returned twice.

The work goes back as it came: a task or the wish for a run becomes a row of `tasks`, a delivery or push that was buried
waits again, the push under its own idempotency key. A letter whose work cannot be returned stays open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from syncd.model import Lane
from syncd.store.database import UNHURRIED_SECONDS, Database, again_after_conflict
from syncd.store.dead_letters import CHOSEN, Selection
from syncd.store.returns import IN_FLIGHT, Returned, give_back
from syncd.store.task_turns import URGENT

REPLAYS = "syncd_replays"
"""NOTIFY channel: there is a replay to carry on with."""
PORTION: Mapping[str, int] = {"task": 500, "run": 500, "inbox": 50, "outbox": 10}
"""So many pieces of returned work of one replay may be unfinished at once (R12), by origin. Tasks go in the lowest lane;
deliveries and pushes go before newer ones of their integration, so only few of them at a time."""
HELD_TIMES = 4
"""Returned work that is put off until later does not count as unfinished, but in all there is never more than so many times
the portion."""
LOOKED_AT = 200
"""Letters that are looked at for one step, at the least."""
ENOUGH_FAILED = 10
"""From so many letters that were buried again, and more than half of those that ended, a replay goes no further."""


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
class Replay:
    """One replay of one cause."""

    integration: str
    id: int
    resource: str
    fingerprint: str
    message: str
    who: str
    state: str
    """canary: one letter is ahead; following: the others come after it; done, stopped, cancelled."""
    total: int
    sent: int
    """Letters whose work was returned."""
    overtaken: int
    unable: int
    canary_id: int | None
    reason: str | None
    begun_at: datetime
    ended_at: datetime | None


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


_COLUMNS = ", ".join(Replay.__slots__)
_RUNNING = "SELECT r.id FROM syncd.replays r WHERE r.ended_at IS NULL"
_FAILED = "SELECT count(*) FROM syncd.dead_letters WHERE integration = $1 AND failed_in = $2"
_OPEN = "d.integration = $1 AND d.replay_id = $2 AND d.state = 'open'"
_STANDING = f"""
SELECT {_COLUMNS}, f.flying AS _flying, ({_FAILED}) AS _failed, f.until AS _until, f.why AS _why,
       EXISTS (SELECT FROM syncd.dead_letters d WHERE {_OPEN}) AS _left, p.count AS _put_off, p.why AS _put_off_for
FROM syncd.replays, LATERAL ({IN_FLIGHT}) AS f(flying, held, until, why),
     LATERAL (SELECT count(*) AS count, min(d.put_off_for) AS why FROM syncd.dead_letters d
              WHERE {_OPEN} AND d.put_off_until IS NOT NULL) p
WHERE integration = $1 AND id = $2
"""
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('syncd replays'))"
_URGENT = f"""
SELECT count(*) FROM ({URGENT}) t
JOIN syncd.inbox q ON q.integration = $1 AND q.event_id = substr(t.cause, 9)
JOIN syncd.dead_letters d ON d.integration = $1 AND d.id = q.letter_id AND d.replay_id = $2
WHERE t.cause LIKE 'webhook %'
"""
"""Reads that deliveries cause go in the highest lane: what a replay adds there has its bound too. Others' reads are not
counted, nor is what a thousand newer ones of its resource came after: in a lane never empty a replay would stand still."""
_HALF = (
    f"SELECT d.id, d.origin FROM syncd.dead_letters d WHERE {_OPEN} AND {{}} ORDER BY d.put_off_until, d.id LIMIT $3"
)
_NEXT = f"""
({_HALF.format("d.put_off_until IS NULL")}) UNION ALL ({_HALF.format("d.put_off_until <= $4")}) ORDER BY id
"""
"""Of those that were never stepped over and of those that were each the next: neither keeps the others waiting."""
_CHOSEN = (
    "SELECT d.id, d.origin, d.origin_id, d.resource, d.external_id, d.error_class, d.payload FROM syncd.dead_letters d "
    f"WHERE {_OPEN} AND d.id = ANY($3::bigint[]) ORDER BY d.id FOR UPDATE"
)


class Replays:
    """Dead letters on their way back."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def groups(self, selection: Selection) -> list[Group]:
        """What a selection would replay, by cause, the most frequent first."""
        found = await self._database.fetch(
            "SELECT g.*, m.message FROM (SELECT d.integration, d.resource, d.fingerprint, d.origin, "
            "coalesce(d.payload ->> 'kind', '') AS kind, count(*) AS count, "
            f"count(*) FILTER (WHERE d.replay_id IN ({_RUNNING})) AS running, "
            "count(*) FILTER (WHERE d.replays > 0) AS again, max(d.id) AS upto "
            f"FROM syncd.dead_letters d WHERE {CHOSEN} GROUP BY 1, 2, 3, 4, 5) g "
            "JOIN syncd.dead_letters m ON m.integration = g.integration AND m.id = g.upto "
            "ORDER BY g.count DESC, g.integration, g.resource, g.fingerprint, g.origin, g.kind",
            *selection.values,
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
            ids = await connection.fetch(
                "SELECT DISTINCT r.integration, r.id FROM syncd.dead_letters d JOIN syncd.replays r "
                f"ON r.integration = d.integration AND r.id = d.replay_id AND r.ended_at IS NULL WHERE {CHOSEN}",
                *selection.values,
            )
            free = f"{CHOSEN} AND (d.replay_id IS NULL OR d.replay_id NOT IN ({_RUNNING}))"
            made = await connection.fetch(
                "INSERT INTO syncd.replays (integration, resource, fingerprint, message, who, total, begun_at) "
                "SELECT g.integration, g.resource, g.fingerprint, m.message, $9, g.count, $10 FROM ("
                "SELECT d.integration, d.resource, d.fingerprint, count(*) AS count, max(d.id) AS latest "
                f"FROM syncd.dead_letters d WHERE {free} GROUP BY 1, 2, 3) g "
                "JOIN syncd.dead_letters m ON m.integration = g.integration AND m.id = g.latest "
                "RETURNING integration, id, resource, fingerprint, total",
                *selection.values,
                who,
                now,
                timeout=UNHURRIED_SECONDS,
            )
            if made:
                await connection.execute(
                    "UPDATE syncd.dead_letters d SET replay_id = m.id, put_off_until = NULL, put_off_for = NULL "
                    "FROM unnest($9::text[], $10::bigint[], $11::text[], $12::text[]) "
                    "AS m(integration, id, resource, fingerprint) WHERE d.integration = m.integration "
                    f"AND d.resource = m.resource AND d.fingerprint = m.fingerprint AND {free}",
                    *selection.values,
                    *([one[name] for one in made] for name in ("integration", "id", "resource", "fingerprint")),
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
            f"SELECT {_COLUMNS} FROM syncd.replays WHERE integration = $1 AND id = $2", integration, replay_id
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
            found = await connection.fetch(
                "SELECT DISTINCT r.integration, r.id FROM syncd.dead_letters d JOIN syncd.replays r "
                f"ON r.integration = d.integration AND r.id = d.replay_id AND r.ended_at IS NULL WHERE {CHOSEN} "
                "ORDER BY r.integration, r.id",
                *selection.values,
            )
            ended = []
            for each in found:
                left = await self._end(connection, each["integration"], each["id"], "cancelled", f"cancelled by {who}")
                if left is not None:
                    ended.append((each["integration"], each["id"], left))
        return ended

    @again_after_conflict
    async def step(self, integration: str, replay_id: int) -> bool:
        """Carry one replay on as far as it goes now. False: nothing could be done, look again in a while.

        Any number of instances may call this at once; one of them does it.
        """
        async with self._database.transaction() as connection:
            found = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM syncd.replays WHERE integration = $1 AND id = $2 AND ended_at IS NULL "
                "FOR UPDATE SKIP LOCKED",
                integration,
                replay_id,
            )
            if found is None:
                return False
            replay = Replay(**dict(found))
            now = self._database.clock.now()
            flying, held, _, _ = await connection.fetchrow(IN_FLIGHT, integration, replay_id, now)
            if replay.state == "canary":
                return await self._canary(connection, replay, flying)
            failed = await connection.fetchval(_FAILED, integration, replay_id)
            ended = replay.sent - flying
            if failed >= ENOUGH_FAILED and 2 * failed > ended:
                why = f"{failed} of {ended} were buried again"
                await self._end(connection, integration, replay_id, "stopped", why)
                return True
            returned = await self._send(connection, replay, flying, held, Lane.LOW)
            if returned.touched or flying or returned.put_off or returned.waits:
                return returned.touched > 0
            await self._end(connection, integration, replay_id, "done", None)
            return True

    async def _canary(self, connection: asyncpg.Connection, replay: Replay, flying: int) -> bool:
        """One letter ahead; the others stay open until its work is done, and if it is buried again."""
        key = (replay.integration, replay.id)
        if replay.canary_id is None:
            returned = await self._send(connection, replay, 0, 0, Lane.NORMAL, most=1)
            if returned.ids:
                await connection.execute(
                    "UPDATE syncd.replays SET canary_id = $3 WHERE integration = $1 AND id = $2", *key, returned.ids[0]
                )
            elif not (returned.touched or returned.put_off or returned.waits):
                await self._end(connection, *key, "done", None)
                return True
            return returned.touched > 0
        if flying:
            return False
        again = await connection.fetchrow(
            "SELECT id, fingerprint, message FROM syncd.dead_letters WHERE integration = $1 AND failed_in = $2 "
            "AND former_id = $3 ORDER BY id DESC LIMIT 1",
            *key,
            replay.canary_id,
        )
        if again is None:
            await connection.execute(
                "UPDATE syncd.replays SET state = 'following' WHERE integration = $1 AND id = $2", *key
            )
            return True
        same = "for the same reason" if again["fingerprint"] == replay.fingerprint else "for another reason"
        await self._end(connection, *key, "stopped", f"the canary failed {same}: {again['message'][:500]}")
        return True

    async def _send(
        self,
        connection: asyncpg.Connection,
        replay: Replay,
        flying: int,
        held: int,
        lane: Lane,
        *,
        most: int | None = None,
    ) -> Returned:
        """Return the next letters, as many as there is room for, all of one origin; those it is not the time for are stepped
        over. `held`: of so many in flight it is not the time either."""
        key, now = (replay.integration, replay.id), self._database.clock.now()
        look = max(LOOKED_AT, *PORTION.values())
        next_ = await connection.fetch(_NEXT, *key, look, now)
        if not next_:
            left = f"SELECT EXISTS (SELECT FROM syncd.dead_letters d WHERE {_OPEN})"
            return Returned(waits=await connection.fetchval(left, *key))
        origin = next_[0]["origin"]
        portion = PORTION.get(origin, 1)
        if origin == "inbox":
            flying += await connection.fetchval(_URGENT, *key)
        room = most or min(portion - (flying - held), HELD_TIMES * portion - flying)
        if room <= 0:
            return Returned(waits=True)
        ids = [letter["id"] for letter in next_ if letter["origin"] == origin]
        if origin != "outbox":  # only pushes are ever stepped over
            ids = ids[:room]
        letters = await connection.fetch(_CHOSEN, *key, ids)
        returned = await give_back(connection, replay.integration, origin, letters, lane, now, by=replay.who, most=room)
        await connection.execute(
            "UPDATE syncd.replays SET sent = sent + $3, overtaken = overtaken + $4, unable = unable + $5 "
            "WHERE integration = $1 AND id = $2",
            *key,
            len(returned.ids) + len(returned.standing),
            len(returned.overtaken),
            len(returned.unable),
        )
        return returned

    async def _end(
        self, connection: asyncpg.Connection, integration: str, replay_id: int, state: str, reason: str | None
    ) -> int | None:
        """It is over; letters that were not returned are as they were. Returns how many; None: it was over already."""
        over = await connection.fetchval(
            "UPDATE syncd.replays SET state = $3, reason = $4, ended_at = $5 "
            "WHERE integration = $1 AND id = $2 AND ended_at IS NULL RETURNING true",
            integration,
            replay_id,
            state,
            reason,
            self._database.clock.now(),
        )
        if not over:
            return None
        left: int = await connection.fetchval(
            "WITH freed AS (UPDATE syncd.dead_letters SET replay_id = NULL, put_off_until = NULL, put_off_for = NULL "
            "WHERE integration = $1 AND replay_id = $2 AND state = 'open' RETURNING 1) SELECT count(*) FROM freed",
            integration,
            replay_id,
        )
        return left


def _noted(replay_id: int, total: int, cause: Mapping[str, Any] | asyncpg.Record) -> dict[str, Any]:
    return {"replay": replay_id, "letters": total, "resource": cause["resource"], "cause": cause["fingerprint"]}


__all__: Sequence[str] = ("REPLAYS", "Group", "Replay", "Replays", "Standing")
