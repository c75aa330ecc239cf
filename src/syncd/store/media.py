"""Table `media`: which file belongs to which record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.store.database import Database, again_after_conflict

_COLUMNS = "place, url, sha256, bytes, content_type, etag, modified, fetched_at"


@dataclass(frozen=True, slots=True)
class Medium:
    """One file of a record."""

    place: int
    """Which of the record's files, from 0."""
    url: str
    """Without query and fragment."""
    sha256: str
    bytes: int
    content_type: str
    etag: str | None
    modified: str | None
    """Its Last-Modified, as it came."""
    fetched_at: datetime


class Media:
    """Files of records."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, integration: str, resource: str, external_id: str) -> list[Medium]:
        """A record's files, in their order."""
        rows = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM syncd.media WHERE integration = $1 AND resource = $2 AND external_id = $3"
            " ORDER BY place",
            integration,
            resource,
            external_id,
        )
        return [Medium(**row) for row in rows]

    @again_after_conflict
    async def keep(
        self, integration: str, resource: str, external_id: str, found: Sequence[Medium], *, scope: str, fence: int
    ) -> None:
        """These are the record's files now. Raises OwnershipError."""
        async with self._database.transaction() as connection:
            await connection.execute("SELECT syncd.assert_owned($1, $2)", scope, fence)
            await connection.execute(
                "DELETE FROM syncd.media WHERE integration = $1 AND resource = $2 AND external_id = $3",
                integration,
                resource,
                external_id,
            )
            await connection.executemany(
                f"INSERT INTO syncd.media (integration, resource, external_id, {_COLUMNS}) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                [
                    (
                        integration,
                        resource,
                        external_id,
                        one.place,
                        one.url,
                        one.sha256,
                        one.bytes,
                        one.content_type,
                        one.etag,
                        one.modified,
                        one.fetched_at,
                    )
                    for one in found
                ],
            )

    async def wanted(self, digests: Sequence[str]) -> set[str]:
        """Those of these contents that some record has, of whichever integration: they may share a directory."""
        rows = await self._database.fetch(
            "SELECT DISTINCT sha256 FROM syncd.media WHERE sha256 = ANY($1::text[])", list(digests)
        )
        return {row["sha256"] for row in rows}

    async def forget(self, integration: str) -> int:
        """Drop what is known of the files of records that are gone."""
        return await self._database.execute(
            "DELETE FROM syncd.media m WHERE m.integration = $1 AND NOT EXISTS (SELECT FROM syncd.records r "
            "WHERE r.integration = m.integration AND r.resource = m.resource AND r.external_id = m.external_id "
            "AND r.deleted_at IS NULL)",
            integration,
        )

    async def lacking(self, integration: str, resource: str, *, after: str, limit: int) -> list[tuple[str, Any]]:
        """Live records of which no file is known, with what the partner sent, in the order of their ids."""
        rows = await self._database.fetch(
            "SELECT external_id, raw FROM syncd.records r WHERE integration = $1 AND resource = $2 AND external_id > $3 "
            "AND deleted_at IS NULL AND NOT EXISTS (SELECT FROM syncd.media m WHERE m.integration = $1 AND m.resource = $2 "
            "AND m.external_id = r.external_id) ORDER BY external_id LIMIT $4",
            integration,
            resource,
            after,
            limit,
        )
        return [(row["external_id"], row["raw"]) for row in rows]
