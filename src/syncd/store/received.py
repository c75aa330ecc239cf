"""Table `inbox`, for people: which deliveries came, what became of each, and once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.store.database import Database
from syncd.store.scribe import INBOX

LOST_MOST = 5
"""A delivery that was in hand so often when the process died is buried."""


@dataclass(frozen=True, slots=True)
class Which:
    """Which deliveries are meant; what is None does not narrow."""

    since: datetime | None = None
    """Received at or after."""
    until: datetime | None = None
    """Received before."""
    state: str | None = None
    event_type: str | None = None

    @property
    def values(self) -> tuple[Any, ...]:
        """What `_FITS` names $2 to $5."""
        return (self.since, self.until, self.state, self.event_type)


ALL = Which()


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery, as the inbox has it."""

    integration: str
    id: int
    event_id: str
    route: str
    event_type: str | None
    resource: str | None
    """Of the record it told of; None where it told of none or of several."""
    external_id: str | None
    headers: Mapping[str, str]
    state: str
    """waiting, done, dropped (nothing was to be done), buried (a dead letter)."""
    attempts: int
    lost: int
    received_at: datetime
    not_before: datetime | None
    finished_at: datetime | None
    reason: str | None
    letter_id: int | None
    size: int | None
    """Bytes of the body; None once retention has taken it."""
    body: bytes | None = None
    """Only where one was asked for."""


@dataclass(slots=True)
class EventType:
    """One kind of event an integration was told of."""

    integration: str
    event_type: str
    known: bool
    """False: nothing is done for it."""
    count: int
    first_at: datetime
    last_at: datetime


_FITS = (
    "($2::timestamptz IS NULL OR received_at >= $2) AND ($3::timestamptz IS NULL OR received_at < $3) "
    "AND ($4::text IS NULL OR state = $4) AND ($5::text IS NULL OR event_type = $5)"
)
_FINISHED = f"integration = $1 AND state IN ('done', 'dropped', 'buried') AND body IS NOT NULL AND {_FITS}"
_COLUMNS = ", ".join(name for name in Received.__slots__ if name not in ("size", "body"))


class Kept:
    """Deliveries as they are kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def number(self, integration: str, event_id: str) -> int | None:
        """The number of the delivery with this event id; None where there is none."""
        sql = "SELECT id FROM syncd.inbox WHERE integration = $1 AND event_id = $2"
        found: int | None = await self._database.fetchval(sql, integration, event_id)
        return found

    async def finished(self, integration: str, which: Which = ALL) -> tuple[int, int]:
        """How many of its deliveries `replay` would put back, and of about how many records they tell."""
        sql = (
            "SELECT count(*), count(DISTINCT (resource, external_id)) FILTER (WHERE external_id IS NOT NULL) "
            f"+ count(*) FILTER (WHERE external_id IS NULL AND state = 'done') FROM syncd.inbox WHERE {_FINISHED}"
        )
        found = await self._database.fetchrow(sql, integration, *which.values)
        return (found[0], found[1]) if found is not None else (0, 0)

    async def finished_ids(
        self, integration: str, which: Which = ALL, *, after: int = 0, limit: int = 500
    ) -> list[int]:
        """The numbers of these above `after`, the lowest first."""
        sql = f"SELECT id FROM syncd.inbox WHERE {_FINISHED} AND id > $6 ORDER BY id LIMIT $7"
        found = await self._database.fetch(sql, integration, *which.values, after, limit)
        return [each[0] for each in found]

    async def types(self, integration: str | None = None) -> list[EventType]:
        """The kinds of events that came, by integration and name."""
        found = await self._database.fetch(
            "SELECT integration, event_type, known, count, first_at, last_at FROM syncd.event_types "
            "WHERE $1::text IS NULL OR integration = $1 ORDER BY integration, event_type",
            integration,
        )
        return [EventType(**dict(each)) for each in found]

    async def list(self, integration: str | None = None, which: Which = ALL, *, limit: int = 100) -> list[Received]:
        """Deliveries without their bodies, the latest first."""
        found = await self._database.fetch(
            f"SELECT {_COLUMNS}, octet_length(body) AS size FROM syncd.inbox "
            f"WHERE ($1::text IS NULL OR integration = $1) AND {_FITS} ORDER BY id DESC LIMIT $6",
            integration,
            *which.values,
            limit,
        )
        return [Received(**dict(each)) for each in found]

    async def get(self, integration: str, delivery_id: int) -> Received | None:
        """One delivery with its body."""
        found = await self._database.fetchrow(
            f"SELECT {_COLUMNS}, octet_length(body) AS size, body FROM syncd.inbox WHERE integration = $1 AND id = $2",
            integration,
            delivery_id,
        )
        return Received(**dict(found)) if found is not None else None

    async def replay(self, integration: str, ids: Sequence[int]) -> int:
        """Put finished deliveries back to be worked on once more, and say so to their owner; returns how many.

        Those without a body any more stay as they are. What newer deliveries brought is not undone: each says when it came.
        """
        async with self._database.transaction() as connection:
            found = await connection.fetch(
                "UPDATE syncd.inbox SET state = 'waiting', finished_at = NULL, reason = NULL, not_before = NULL, "
                f"lost = least(lost, {LOST_MOST - 1}) "
                "WHERE integration = $1 AND id = ANY($2::bigint[]) AND state IN ('done', 'dropped', 'buried') "
                "AND body IS NOT NULL RETURNING id",
                integration,
                sorted(set(ids)),
            )
            if found:
                await connection.execute(
                    "UPDATE syncd.dead_letters SET state = 'replayed', settled_at = $3, settled_by = 'webhook replay' "
                    "WHERE integration = $1 AND thing = ANY($2::text[]) AND state = 'open'",
                    integration,
                    [f"inbox:#{each[0]}" for each in found],
                    self._database.clock.now(),
                )
                await connection.execute("SELECT pg_notify($1, $2)", INBOX, integration)
        return len(found)

    async def forget_body(self, integration: str, delivery: int) -> bool:
        """What stood in a delivery that is done, or a dead letter, must not be kept: a secret. False while it is still being
        worked on."""
        left: bool = await self._database.fetchval(
            "WITH gone AS (UPDATE syncd.inbox SET body = NULL WHERE integration = $1 AND id = $2 "
            "AND state IN ('done', 'dropped', 'buried') RETURNING id) "
            "SELECT NOT EXISTS (SELECT FROM gone) "
            "AND EXISTS (SELECT FROM syncd.inbox WHERE integration = $1 AND id = $2 AND state IN ('waiting', 'taken'))",
            integration,
            delivery,
        )
        return not left
