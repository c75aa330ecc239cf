"""Table `rejects`: records that failed validation (R15). They are written with their page, in `pages`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from syncd.store.database import Database
from syncd.store.dead_letters import Trouble

KILLED = "killed-the-process"
"""The fingerprint of records that are put aside, untouched, since whoever reads them ends the process."""


@dataclass(frozen=True, slots=True)
class StoredReject:
    """One record that could not be stored as what it should be."""

    integration: str
    resource: str
    external_id: str
    raw: bytes
    reason: str
    fingerprint: str
    adapter: str
    cause: str
    times: int
    first_at: datetime
    last_at: datetime


class Rejects:
    """What partners sent that made no sense."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def aside(self, integration: str) -> list[tuple[str, str, bytes]]:
        """(resource, external_id, raw) of the records that are put aside because they end the process."""
        found = await self._database.fetch(
            f"SELECT resource, external_id, raw FROM syncd.rejects WHERE integration = $1 AND fingerprint = '{KILLED}'",
            integration,
        )
        return [(each[0], each[1], each[2]) for each in found]

    async def keys(self, integration: str, *, limit: int) -> set[tuple[str, str]]:
        """(resource, external_id) of the latest ones; what they hold, and why, may be large and is left where it is."""
        found = await self._database.fetch(
            "SELECT resource, external_id FROM syncd.rejects WHERE integration = $1 ORDER BY last_at DESC LIMIT $2",
            integration,
            limit,
        )
        return {(each[0], each[1]) for each in found}

    async def nameless(self, integration: str, resource: str, since: datetime | None) -> bool:
        """Was one met, since then, that does not say who it is?"""
        found: bool = await self._database.fetchval(
            "SELECT EXISTS (SELECT FROM syncd.rejects WHERE integration = $1 AND resource = $2 "
            "AND external_id LIKE '?%' AND last_at >= coalesce($3, last_at))",
            integration,
            resource,
            since,
        )
        return found

    async def list(
        self, integration: str | None = None, resource: str | None = None, *, limit: int = 100
    ) -> list[StoredReject]:
        """Latest first."""
        found = await self._database.fetch(
            f"SELECT {', '.join(StoredReject.__slots__)} FROM syncd.rejects "
            "WHERE ($1::text IS NULL OR integration = $1) AND ($2::text IS NULL OR resource = $2) "
            "ORDER BY last_at DESC, external_id LIMIT $3",
            integration,
            resource,
            limit,
        )
        return [StoredReject(**dict(each)) for each in found]

    async def grouped(self, integration: str | None = None) -> Sequence[Trouble]:
        """By cause, most frequent first."""
        found = await self._database.fetch(
            "SELECT integration, resource, fingerprint, (array_agg(reason ORDER BY last_at DESC))[1] AS message, "
            "count(*) AS count, min(first_at) AS first_at, max(last_at) AS last_at, "
            "(array_agg(external_id ORDER BY last_at DESC))[1:5] AS examples "
            "FROM syncd.rejects WHERE $1::text IS NULL OR integration = $1 GROUP BY 1, 2, 3 ORDER BY count DESC, 1, 2, 3",
            integration,
        )
        return [Trouble(**dict(each)) for each in found]

    async def counts(self, integration: str | None = None) -> dict[tuple[str, str], int]:
        """By integration and resource."""
        found = await self._database.fetch(
            "SELECT integration, resource, count(*) FROM syncd.rejects WHERE $1::text IS NULL OR integration = $1 "
            "GROUP BY 1, 2",
            integration,
        )
        return {(each[0], each[1]): each[2] for each in found}
