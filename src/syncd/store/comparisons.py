"""What a comparison with the partner reads of the copy. It writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.store.database import OVER_ALL, UNHURRIED_SECONDS, Database


@dataclass(frozen=True, slots=True)
class Kept:
    """One record of the copy, as far as it can be compared."""

    external_id: str
    data: dict[str, Any]
    raw: Any
    content_hash: bytes
    source_version: int | None
    source_updated_at: datetime | None
    fetched_at: datetime
    synced_at: datetime
    row_version: int
    deleted_at: datetime | None
    adapter: str


_COLUMNS = ", ".join(f"r.{name}" for name in Kept.__slots__)


class Comparisons:
    """Questions about a resource."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def several(self, integration: str, resource: str, ids: Sequence[str]) -> dict[str, Kept]:
        """What is stored of these ids, tombstones too."""
        found = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM unnest($3::text[]) AS i(id) CROSS JOIN LATERAL ("
            "SELECT * FROM syncd.records k WHERE k.integration = $1 AND k.resource = $2 AND k.external_id = i.id OFFSET 0) r",
            integration,
            resource,
            list(dict.fromkeys(ids)),
        )
        return {each["external_id"]: Kept(**dict(each)) for each in found}

    async def live_ids(
        self, integration: str, resource: str, *, after: str, limit: int, before: datetime
    ) -> list[tuple[str, bool]]:
        """Ids of live records in order, above one; True where what is stored was asked for before that moment."""
        found = await self._database.fetch(
            "SELECT external_id, fetched_at < $5 AS older FROM syncd.records WHERE integration = $1 AND resource = $2 "
            "AND external_id > $3 AND deleted_at IS NULL ORDER BY external_id LIMIT $4",
            integration,
            resource,
            after,
            limit,
            before,
        )
        return [(each["external_id"], each["older"]) for each in found]

    async def sample(self, integration: str, resource: str, number: int, seed: int) -> list[str]:
        """So many live ids, chosen by chance: the same ones for the same seed as long as none comes or goes."""
        async with self._database.transaction() as connection:
            await connection.execute(OVER_ALL)
            found = await connection.fetch(
                "SELECT external_id FROM syncd.records WHERE integration = $1 AND resource = $2 AND deleted_at IS NULL "
                "ORDER BY hashtextextended(external_id, $3), external_id LIMIT $4",
                integration,
                resource,
                seed,
                number,
                timeout=UNHURRIED_SECONDS,
            )
        return [each["external_id"] for each in found]

    async def mixed(self, integration: str, resource: str, adapter: str) -> bool:
        """Is anything stored that another adapter made?"""
        async with self._database.transaction() as connection:
            await connection.execute(OVER_ALL)
            found: bool = await connection.fetchval(
                "SELECT EXISTS (SELECT FROM syncd.records WHERE integration = $1 AND resource = $2 "
                "AND deleted_at IS NULL AND adapter <> $3)",
                integration,
                resource,
                adapter,
                timeout=UNHURRIED_SECONDS,
            )
        return found

    async def pass_began_at(self, integration: str, resource: str) -> datetime | None:
        """When the last complete pass that ended had begun, by our clock."""
        found: datetime | None = await self._database.fetchval(
            "SELECT max(started_at) FROM syncd.passes WHERE integration = $1 AND resource = $2 AND completed_at IS NOT NULL",
            integration,
            resource,
        )
        return found
