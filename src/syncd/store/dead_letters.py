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

    @property
    def values(self) -> tuple[Any, ...]:
        """What `CHOSEN` names $1 to $8."""
        cause = self.cause or (None, None, None)
        ids = list(self.ids) or None
        return (self.integration, ids, *cause, self.since, self.until, self.upto)


CHOSEN = (
    "d.state = 'open' AND ($1::text IS NULL OR d.integration = $1) AND ($2::bigint[] IS NULL OR d.id = ANY($2)) "
    "AND ($3::text IS NULL OR (d.integration = $3 AND d.resource = $4 AND d.fingerprint = $5)) "
    "AND ($6::timestamptz IS NULL OR coalesce(d.last_at, d.buried_at) >= $6) "
    "AND ($7::timestamptz IS NULL OR coalesce(d.last_at, d.buried_at) < $7) AND ($8::bigint IS NULL OR d.id <= $8)"
)
"""The condition a Selection stands for, of a letter `d`."""

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
        found = await self._database.fetch(
            f"SELECT {', '.join(_ALL)} FROM syncd.dead_letters WHERE ($1::text IS NULL OR integration = $1) "
            "AND state = $2 AND ($3::text IS NULL OR fingerprint = $3) AND ($5::text IS NULL OR resource = $5) "
            "ORDER BY id DESC LIMIT $4",
            integration,
            state,
            fingerprint,
            limit,
            resource,
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
        now, total = self._database.clock.now(), 0
        while True:
            async with self._database.transaction() as connection:
                gone = await connection.fetch(
                    "UPDATE syncd.dead_letters l SET state = 'discarded', settled_at = $9, settled_by = $10, reason = $11 "
                    f"FROM (SELECT d.integration, d.id FROM syncd.dead_letters d WHERE {CHOSEN} ORDER BY d.id LIMIT $12 "
                    "FOR UPDATE) c WHERE l.integration = c.integration AND l.id = c.id "
                    "RETURNING l.integration, l.origin, l.origin_id",
                    *selection.values,
                    now,
                    by,
                    str(codec.storable(reason)) or None,
                    BATCH,
                )
                await _let_go(connection, gone, now, f"discarded by {by}" + (f": {reason}" if reason else ""))
            total += len(gone)
            if len(gone) < BATCH:
                return total

    async def purge(self, before: datetime | None, *, integration: str | None = None, open_too: bool = True) -> int:
        """Remove letters last touched before then (None: all), settled ones and open ones; returns how many.

        What a replay under way still has to count stays.
        """
        total = 0
        while True:
            async with self._database.transaction() as connection:
                gone = await connection.fetch(
                    f"DELETE FROM syncd.dead_letters l USING (SELECT d.integration, d.id FROM syncd.dead_letters d "
                    f"WHERE {_OVER} ORDER BY d.id LIMIT $4 FOR UPDATE) c "
                    "WHERE l.integration = c.integration AND l.id = c.id RETURNING l.integration, l.origin, "
                    "CASE WHEN l.state = 'open' THEN l.origin_id END AS origin_id",
                    before,
                    integration,
                    open_too,
                    BATCH,
                )
                await _let_go(connection, gone, self._database.clock.now(), "its dead letter was purged")
            total += len(gone)
            if len(gone) < BATCH:
                return total

    async def purgeable(
        self, before: datetime | None, *, integration: str | None = None, open_too: bool = True
    ) -> dict[str, int]:
        """How many letters of each state `purge` would remove."""
        found = await self._database.fetch(
            f"SELECT d.state, count(*) FROM syncd.dead_letters d WHERE {_OVER} GROUP BY 1",
            before,
            integration,
            open_too,
        )
        return {each[0]: each[1] for each in found}

    async def counts(self) -> dict[str, int]:
        """Open ones by integration."""
        found = await self._database.fetch(
            "SELECT integration, count(*) FROM syncd.dead_letters WHERE state = 'open' GROUP BY 1"
        )
        return {each[0]: each[1] for each in found}


_OVER = (
    "($1::timestamptz IS NULL OR coalesce(d.settled_at, d.last_at, d.buried_at) < $1) "
    "AND ($2::text IS NULL OR d.integration = $2) AND ($3::boolean OR d.state <> 'open') "
    "AND (d.replay_id IS NULL OR NOT EXISTS (SELECT FROM syncd.replays r WHERE r.integration = d.integration "
    "AND r.id = d.replay_id AND r.ended_at IS NULL))"
)


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
