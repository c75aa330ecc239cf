"""Table `dead_letters`: what needs a human, with all that human needs, and the way back to where it came from.

Of one thing (a task's dedupe key, a resource's runs, a delivery, a push) at most one letter is open: what is buried again
is counted on it (`burying.py`). A letter whose replay ended in a letter again names the former one. The way back itself is
`replays.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from syncd import codec
from syncd.store.burying import NEW, QUEUES, NewDeadLetter, insert_letter
from syncd.store.database import Database, affected

STATES = ("open", "replayed", "discarded")
BATCH = 1000
"""Letters settled or removed in one transaction."""


@dataclass(frozen=True, slots=True)
class DeadLetter(NewDeadLetter):
    """One that lies there."""

    id: int = 0
    state: str = "open"
    """open, replayed, discarded."""
    buried_at: datetime | None = None
    last_at: datetime | None = None
    """When it was buried last; None: at `buried_at`."""
    times: int = 1
    """How often it was buried while it was open."""
    replays: int = 0
    """How often it was replayed before."""
    replay_id: int | None = None
    """The replay that is to take it, or has taken it."""
    put_off_for: str | None = None
    """What it waits for, where its replay has stepped over it for now."""
    settled_at: datetime | None = None
    settled_by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Open dead letters, or rejects, of one cause."""

    integration: str
    resource: str
    fingerprint: str
    message: str
    """Of the latest."""
    count: int
    first_at: datetime
    last_at: datetime
    examples: Sequence[str]
    """Some record ids."""
    letters: Sequence[int] = ()
    """Some letters, the latest first."""
    again: int = 0
    """Of so many a replay failed before."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which open letters are meant; what is None or empty does not narrow."""

    integration: str | None = None
    ids: Sequence[int] = ()
    cause: tuple[str, str, str] | None = None
    """Integration, resource, fingerprint."""
    since: datetime | None = None
    """Buried (last) at or after."""
    until: datetime | None = None
    """Buried (last) before."""
    upto: int | None = None
    """No letter with a higher id: none that a person was not told of."""

    def condition(self, after: int = 0) -> tuple[str, list[Any]]:
        """The condition it stands for, of a letter `d`, and its values, named from the one after `$after` on.

        It speaks of nothing but what is given, so that an index can serve it: plans are made once for whatever values come.
        """
        parts: list[tuple[str, Any]] = []
        if self.integration is not None:
            parts.append(("d.integration = {}", self.integration))
        if self.ids:
            parts.append(("d.id = ANY({}::bigint[])", list(self.ids)))
        if self.cause is not None:
            names = ("d.integration = {}", "d.resource = {}", "d.fingerprint = {}")
            parts += zip(names, self.cause, strict=True)
        if self.since is not None:
            parts.append((f"{_LAST} >= {{}}", self.since))
        if self.until is not None:
            parts.append((f"{_LAST} < {{}}", self.until))
        if self.upto is not None:
            parts.append(("d.id <= {}", self.upto))
        return _all("d.state = 'open'", parts, after)


_LAST = "coalesce(d.last_at, d.buried_at)"
"""When a letter was buried last."""


def _all(first: str, parts: Sequence[tuple[str, Any]], after: int) -> tuple[str, list[Any]]:
    """All of these conditions, each with its value."""
    said = [part.format(f"${number}") for number, (part, _) in enumerate(parts, after + 1)]
    return " AND ".join((first, *said)), [value for _, value in parts]


_ALL = (*NEW, *DeadLetter.__slots__)
_GROUPED = """
SELECT g.*, e.message, e.examples, e.letters
FROM (
    SELECT d.integration, d.resource, d.fingerprint, count(*) AS count, min(d.buried_at) AS first_at,
           max(coalesce(d.last_at, d.buried_at)) AS last_at, count(*) FILTER (WHERE d.replays > 0) AS again
    FROM syncd.dead_letters d
    WHERE d.state = 'open' AND ($1::text IS NULL OR d.integration = $1)
    GROUP BY d.integration, d.fingerprint, d.resource
) g
CROSS JOIN LATERAL (
    SELECT (array_agg(l.message ORDER BY l.id DESC))[1] AS message,
           coalesce(array_agg(l.external_id ORDER BY l.id DESC) FILTER (WHERE l.external_id IS NOT NULL), '{}') AS examples,
           array_agg(l.id ORDER BY l.id DESC) AS letters
    FROM (
        SELECT n.id, n.message, n.external_id FROM syncd.dead_letters n
        WHERE n.integration = g.integration AND n.fingerprint = g.fingerprint AND n.resource = g.resource AND n.state = 'open'
        ORDER BY n.id DESC LIMIT 5
    ) l
) e
ORDER BY g.count DESC, g.integration, g.resource, g.fingerprint
"""


class DeadLetters:
    """What needs a human."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bury(self, letter: NewDeadLetter) -> int:
        """Store one; returns its id."""
        async with self._database.transaction() as connection:
            return await insert_letter(connection, letter, self._database.clock.now())

    async def get(self, integration: str | None, letter_id: int) -> DeadLetter | None:
        """One by its id, whatever its state; ids are unique over all integrations."""
        found = await self._database.fetchrow(
            f"SELECT {', '.join(_ALL)} FROM syncd.dead_letters WHERE id = $2 AND ($1::text IS NULL OR integration = $1)",
            integration,
            letter_id,
        )
        return DeadLetter(**dict(found)) if found is not None else None

    async def of_origin(self, integration: str, origin: str, origin_id: str) -> DeadLetter | None:
        """The latest letter of one piece of work, settled ones too."""
        found = await self._database.fetchrow(
            f"SELECT {', '.join(_ALL)} FROM syncd.dead_letters WHERE integration = $1 AND origin = $2 AND origin_id = $3 "
            "ORDER BY id DESC LIMIT 1",
            integration,
            origin,
            origin_id,
        )
        return DeadLetter(**dict(found)) if found is not None else None

    async def list(
        self,
        integration: str | None = None,
        *,
        state: str = "open",
        fingerprint: str | None = None,
        resource: str | None = None,
        limit: int = 100,
    ) -> list[DeadLetter]:
        """Newest first."""
        given = (("integration = {}", integration), ("fingerprint = {}", fingerprint), ("resource = {}", resource))
        # The state stands there as it is: an index of open ones serves nothing else.
        known = state if state in STATES else ""
        where, values = _all(f"state = '{known}'", [(part, value) for part, value in given if value is not None], 1)
        if fingerprint is not None:  # else, of a rare cause, all letters are read back to the latest of it
            where = (
                "(integration, id) IN (SELECT i.integration, i.id FROM (SELECT integration, id FROM syncd.dead_letters "
                f"WHERE {where} OFFSET 0) i ORDER BY i.id DESC LIMIT $1)"
            )
        found = await self._database.fetch(
            f"SELECT {', '.join(_ALL)} FROM syncd.dead_letters WHERE {where} ORDER BY id DESC LIMIT $1", limit, *values
        )
        return [DeadLetter(**dict(each)) for each in found]

    async def grouped(self, integration: str | None = None) -> Sequence[Trouble]:
        """Open ones by cause, most frequent first."""
        found = await self._database.fetch(
            _GROUPED,
            integration,
        )
        return [Trouble(**dict(each)) for each in found]

    async def settle(self, integration: str, ids: Sequence[int], *, state: str, by: str) -> int:
        """Mark open ones as `replayed` or `discarded`; returns how many were open still. The work stays where it is."""
        async with self._database.transaction() as connection:
            tag = await connection.execute(
                "UPDATE syncd.dead_letters SET state = $3, settled_at = $4, settled_by = $5 "
                "WHERE integration = $1 AND id = ANY($2::bigint[]) AND state = 'open'",
                integration,
                list(ids),
                state,
                self._database.clock.now(),
                by,
            )
        return affected(tag)

    async def healed(self, integration: str, resource: str, *, by: str) -> int:
        """A run of the resource went well: the open letter of its runs needs nobody any more."""
        return await self._database.execute(
            "UPDATE syncd.dead_letters SET state = 'replayed', settled_at = $3, settled_by = $4 "
            "WHERE integration = $1 AND thing = $2 AND state = 'open'",
            integration,
            f"run:{resource}",
            self._database.clock.now(),
            by,
        )

    async def discard(self, selection: Selection, *, by: str, reason: str) -> int:
        """Settle for good what is selected, and let go of the work; returns how many letters there were."""
        now = self._database.clock.now()
        chosen, values = selection.condition(4)
        return await self._by_batches(
            "UPDATE syncd.dead_letters l SET state = 'discarded', settled_at = $2, settled_by = $3, reason = $4 "
            f"FROM (SELECT d.integration, d.id FROM syncd.dead_letters d WHERE d.id > $1 AND {chosen} "
            f"ORDER BY d.id LIMIT {BATCH} FOR UPDATE) c WHERE l.integration = c.integration AND l.id = c.id "
            "RETURNING l.integration, l.id, l.origin, l.origin_id",
            [now, by, str(codec.storable(reason)) or None, *values],
            f"discarded by {by}" + (f": {reason}" if reason else ""),
        )

    async def _by_batches(self, statement: str, values: Sequence[Any], why: str) -> int:
        """A batch of letters above $1 at a time, each time above the last one, and their work let go; returns how many.

        How many a batch has stands in the statement: of what it cannot read the planner expects a tenth of the table.
        """
        last, total = 0, 0
        while True:
            async with self._database.transaction() as connection:
                gone = await connection.fetch(statement, last, *values)
                await _let_go(connection, gone, self._database.clock.now(), why)
            total += len(gone)
            if len(gone) < BATCH:
                return total
            last = max(one["id"] for one in gone)

    async def purge(self, before: datetime | None, *, integration: str | None = None, open_too: bool = True) -> int:
        """Remove letters last touched before then (None: all), settled ones and open ones; returns how many.

        What a replay under way still has to count stays.
        """
        over, values = _over(before, integration, open_too, after=1)
        return await self._by_batches(
            "DELETE FROM syncd.dead_letters l USING (SELECT d.integration, d.id FROM syncd.dead_letters d "
            f"WHERE d.id > $1 AND {over} ORDER BY d.id LIMIT {BATCH} FOR UPDATE) c "
            "WHERE l.integration = c.integration AND l.id = c.id RETURNING l.integration, l.id, l.origin, "
            "CASE WHEN l.state = 'open' THEN l.origin_id END AS origin_id",
            values,
            "its dead letter was purged",
        )

    async def purgeable(
        self, before: datetime | None, *, integration: str | None = None, open_too: bool = True
    ) -> dict[str, int]:
        """How many letters of each state `purge` would remove."""
        over, values = _over(before, integration, open_too)
        found = await self._database.fetch(
            f"SELECT d.state, count(*) FROM syncd.dead_letters d WHERE {over} GROUP BY 1", *values
        )
        return {each[0]: each[1] for each in found}

    async def counts(self) -> dict[str, int]:
        """Open ones by integration."""
        found = await self._database.fetch(
            "SELECT integration, count(*) FROM syncd.dead_letters WHERE state = 'open' GROUP BY 1"
        )
        return {each[0]: each[1] for each in found}


_NOT_COUNTED = (
    "(d.replay_id IS NULL OR NOT EXISTS (SELECT FROM syncd.replays r WHERE r.integration = d.integration "
    "AND r.id = d.replay_id AND r.ended_at IS NULL))"
)
"""No replay under way has to count it still."""


def _over(before: datetime | None, integration: str | None, open_too: bool, after: int = 0) -> tuple[str, list[Any]]:
    """What `purge` removes, of a letter `d`; of what is given alone."""
    parts: list[tuple[str, Any]] = []
    if before is not None:
        parts.append(("coalesce(d.settled_at, d.last_at, d.buried_at) < {}", before))
    if integration is not None:
        parts.append(("d.integration = {}", integration))
    return _all(_NOT_COUNTED if open_too else f"d.state <> 'open' AND {_NOT_COUNTED}", parts, after)


async def _let_go(connection: asyncpg.Connection, letters: Sequence[asyncpg.Record], now: datetime, why: str) -> None:
    """Nobody will come back for these: their rows of inbox and outbox are over, and retention may have them."""
    for table in QUEUES:
        mine = [one for one in letters if one["origin"] == table and (one["origin_id"] or "").isdecimal()]
        if mine:
            await connection.execute(
                f"UPDATE syncd.{table} q SET state = 'dropped', finished_at = $3, reason = $4 "
                "FROM unnest($1::text[], $2::bigint[]) AS l(integration, id) "
                "WHERE q.integration = l.integration AND q.id = l.id AND q.state = 'buried'",
                [one["integration"] for one in mine],
                [int(one["origin_id"]) for one in mine],
                now,
                codec.storable(why),
            )
