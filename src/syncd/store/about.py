"""What the other tables hold of one record: for whoever asks why a row is so, or why there is none.

Asked by a person, one record at a time, and bounded: of each kind the latest few. Deliveries have no index by record, since
every delivery would pay for it; they are looked for among the integration's latest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.store.database import Database
from syncd.store.received import Received
from syncd.store.rejects import StoredReject

LAST = 20
LOOKED_AT = 1000
"""The integration's latest deliveries, among which those of a record are looked for."""
_RECEIVED = ", ".join(name for name in Received.__slots__ if name not in ("size", "body"))
_OF_RECORD = "integration = $1 AND resource = $2 AND external_id = $3"


@dataclass(frozen=True, slots=True)
class Letter:
    """An open dead letter of a record, as far as a list shows it."""

    id: int
    error_class: str
    message: str
    buried_at: datetime
    times: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task of a record that is not done."""

    id: int
    kind: str
    state: str
    created_at: datetime
    not_before: datetime | None
    attempts: int
    cause: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Pushed:
    """A push of a record."""

    id: int
    operation: str
    state: str
    created_at: datetime
    finished_at: datetime | None
    cause: str
    reason: str | None


class About:
    """One record, seen from everywhere but `records`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def letters(self, integration: str, resource: str, external_id: str) -> list[Letter]:
        found = await self._database.fetch(
            "SELECT id, error_class, message, buried_at, times FROM syncd.dead_letters "
            f"WHERE {_OF_RECORD} AND state = 'open' ORDER BY id DESC LIMIT {LAST}",
            integration,
            resource,
            external_id,
        )
        return [Letter(**dict(each)) for each in found]

    async def reject(self, integration: str, resource: str, external_id: str) -> StoredReject | None:
        found = await self._database.fetchrow(
            f"SELECT {', '.join(StoredReject.__slots__)} FROM syncd.rejects WHERE {_OF_RECORD}",
            integration,
            resource,
            external_id,
        )
        return StoredReject(**dict(found)) if found is not None else None

    async def tasks(self, integration: str, resource: str, external_id: str) -> list[Waiting]:
        """Those that read it, and those that list what is below it."""
        found = await self._database.fetch(
            f"SELECT {', '.join(Waiting.__slots__)} FROM syncd.tasks WHERE {_OF_RECORD} ORDER BY id LIMIT {LAST}",
            integration,
            resource,
            external_id,
        )
        return [Waiting(**dict(each)) for each in found]

    async def pushes(self, integration: str, resource: str, external_id: str) -> list[Pushed]:
        found = await self._database.fetch(
            f"SELECT {', '.join(Pushed.__slots__)} FROM syncd.outbox WHERE {_OF_RECORD} ORDER BY id DESC LIMIT {LAST}",
            integration,
            resource,
            external_id,
        )
        return [Pushed(**dict(each)) for each in found]

    async def deliveries(self, integration: str, resource: str, external_id: str) -> list[Received]:
        found = await self._database.fetch(
            f"SELECT {_RECEIVED}, octet_length(body) AS size FROM ("
            f"SELECT * FROM syncd.inbox WHERE integration = $1 ORDER BY id DESC LIMIT {LOOKED_AT}) i "
            f"WHERE {_OF_RECORD} ORDER BY id DESC LIMIT {LAST}",
            integration,
            resource,
            external_id,
        )
        return [Received(**dict(each)) for each in found]

    async def delivery(self, integration: str, event_id: str) -> Received | None:
        """The one that has this event id, without its body."""
        found = await self._database.fetchrow(
            f"SELECT {_RECEIVED}, octet_length(body) AS size FROM syncd.inbox WHERE integration = $1 AND event_id = $2",
            integration,
            event_id,
        )
        return Received(**dict(found)) if found is not None else None

    async def push(self, integration: str, push_id: int) -> Pushed | None:
        found = await self._database.fetchrow(
            f"SELECT {', '.join(Pushed.__slots__)} FROM syncd.outbox WHERE integration = $1 AND id = $2",
            integration,
            push_id,
        )
        return Pushed(**dict(found)) if found is not None else None

    async def below(self, integration: str, resources: Sequence[str], external_id: str) -> dict[str, tuple[int, int]]:
        """Of these resources, how many live and buried records name it as their parent."""
        found: Any = await self._database.fetch(
            "SELECT resource, count(*) FILTER (WHERE deleted_at IS NULL), count(deleted_at) FROM syncd.records "
            "WHERE integration = $1 AND resource = ANY($2::text[]) AND parent_id = $3 GROUP BY resource ORDER BY resource",
            integration,
            list(resources),
            external_id,
        )
        return {each[0]: (each[1], each[2]) for each in found}

    async def showed(self, integration: str, resource: str, external_id: str) -> list[tuple[int, datetime, bool]]:
        """The last complete passes over the listing, latest first: number, when it ended, and whether it showed this id."""
        found = await self._database.fetch(
            "SELECT p.id, p.completed_at, EXISTS (SELECT FROM syncd.pass_pages g WHERE g.integration = p.integration "
            "AND g.resource = p.resource AND g.pass_id = p.id AND $3 = ANY(g.ids)) AS showed FROM syncd.passes p "
            "WHERE p.integration = $1 AND p.resource = $2 AND p.completed_at IS NOT NULL ORDER BY p.id DESC LIMIT 2",
            integration,
            resource,
            external_id,
        )
        return [(each[0], each[1], each[2]) for each in found]
