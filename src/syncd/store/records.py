"""Table `records`, read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

import asyncpg

from syncd.store.binary import RowColumns
from syncd.store.database import Database
from syncd.store.rows import Known

_KNOWN = """
SELECT i.id, r.hash, r.deleted
FROM unnest(($3::syncd.page_rows).ids) AS i(id)
CROSS JOIN LATERAL (
    SELECT {column} AS hash, k.deleted_at IS NOT NULL AS deleted FROM syncd.records k
    WHERE k.integration = $1 AND k.resource = $2 AND k.external_id = i.id
    OFFSET 0  -- keeps the planner from scanning the whole resource while it believes the table to be small
) r
"""
_KNOWN_WHOLE = _KNOWN.format(column="k.content_hash")
_KNOWN_SPARSE = _KNOWN.format(column="coalesce(k.sparse_hash, k.content_hash)")


class Stamps(NamedTuple):
    """Which version of a record is stored."""

    updated_at: datetime | None
    """By the partner's clock."""
    version: int | None
    fetched_at: datetime
    content_hash: bytes
    deleted: bool


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """One record as stored."""

    integration: str
    resource: str
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
    parent_id: str | None
    adapter: str
    cause: str


_COLUMNS = ", ".join(StoredRecord.__slots__)


class Records:
    """What is stored of the partners' things. Writing is `store.pages`' business."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(
        self, integration: str, resource: str, ids: Sequence[str], *, sparse: bool = False
    ) -> dict[str, Known]:
        """What is stored of these ids, in one query. `sparse` asks for the hash of the last partial view."""
        found = await self._database.fetch(
            _KNOWN_SPARSE if sparse else _KNOWN_WHOLE, integration, resource, RowColumns(ids)
        )
        return {row[0]: Known(row[1], row[2]) for row in found}

    async def fetched(self, integration: str, resource: str, ids: Sequence[str]) -> dict[str, datetime]:
        """When the requests began that brought these records as they are stored, tombstones included.

        Not of those that deliveries brought: what a partner sent us may be older than what it would have answered then.
        """
        found = await self._database.fetch(
            "SELECT r.external_id, r.fetched_at FROM unnest($3::text[]) AS i(id) JOIN syncd.records r "
            "ON r.integration = $1 AND r.resource = $2 AND r.external_id = i.id AND r.cause NOT LIKE 'webhook%'",
            integration,
            resource,
            list(ids),
        )
        return {each[0]: each[1] for each in found}

    async def stamps(self, integration: str, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Stamps]:
        """Which versions of these (resource, external_id) are stored, tombstones included."""
        found = await self._database.fetch(
            "SELECT i.resource, i.id, r.updated_at, r.version, r.fetched_at, r.hash, r.deleted "
            "FROM unnest($2::text[], $3::text[]) AS i(resource, id) CROSS JOIN LATERAL ("
            "SELECT k.source_updated_at AS updated_at, k.source_version AS version, k.fetched_at, k.content_hash AS hash, "
            "k.deleted_at IS NOT NULL AS deleted FROM syncd.records k "
            "WHERE k.integration = $1 AND k.resource = i.resource AND k.external_id = i.id OFFSET 0) r",
            integration,
            [resource for resource, _ in keys],
            [external_id for _, external_id in keys],
        )
        return {(each[0], each[1]): Stamps(*each[2:]) for each in map(tuple, found)}

    async def unattested(
        self,
        integration: str,
        resource: str,
        listing: str,
        *,
        field: str,
        but: Mapping[str, Sequence[str]],
        after: date,
        before: datetime,
        most: int = 1_000,
    ) -> list[str]:
        """Living records whose date `field` is later than `after` and that `listing` does not show, of those stored before it
        began; at most so many ids, sorted. Records with a field among `but` may be left out there."""
        found = await self._database.fetch(
            "SELECT r.external_id FROM syncd.records r WHERE r.integration = $1 AND r.resource = $2 AND r.deleted_at IS NULL "
            "AND r.data ->> $4 > $5 AND r.fetched_at < $6 "
            "AND NOT EXISTS (SELECT FROM jsonb_each($7::jsonb) b WHERE b.value ? (r.data ->> b.key)) "
            "AND NOT EXISTS (SELECT FROM syncd.records l WHERE l.integration = $1 AND l.resource = $3 "
            "AND l.external_id = r.external_id AND l.deleted_at IS NULL) ORDER BY r.external_id LIMIT $8",
            integration,
            resource,
            listing,
            field,
            after.isoformat(),
            before,
            {name: list(values) for name, values in but.items()},
            most,
        )
        return [each["external_id"] for each in found]

    async def renewed(
        self, integration: str, resource: str, *, fields: Sequence[str], since: datetime, most: int
    ) -> list[tuple[str, str]]:
        """Records buried since then, each with a living one that has the same in some of these fields and nothing else in
        any; at most so many, those that went last first."""
        found = await self._database.fetch(
            "SELECT o.external_id AS old, n.external_id AS new FROM ("
            "SELECT * FROM syncd.records WHERE integration = $1 AND resource = $2 AND deleted_at >= $4 "
            "ORDER BY deleted_at DESC, external_id LIMIT $5) o JOIN syncd.records n "
            "ON n.integration = o.integration AND n.resource = o.resource AND n.deleted_at IS NULL CROSS JOIN LATERAL ("
            "SELECT bool_and(o.data ->> f = n.data ->> f) AS alike FROM unnest($3::text[]) AS w(f) "
            "WHERE nullif(o.data ->> f, '') IS NOT NULL AND nullif(n.data ->> f, '') IS NOT NULL) c "
            "WHERE c.alike ORDER BY o.deleted_at DESC, old, new LIMIT $5",
            integration,
            resource,
            list(fields),
            since,
            most,
        )
        return [(each["old"], each["new"]) for each in found]

    async def waiting(
        self, integration: str, resource: str, *, field: str, values: Sequence[str], key: str, most: int = 1_000
    ) -> list[str]:
        """Living records whose `field` has one of these values and that no task waits for whose dedupe key is `key` and the
        record's id; at most so many ids, sorted."""
        found = await self._database.fetch(
            "SELECT r.external_id FROM syncd.records r WHERE r.integration = $1 AND r.resource = $2 AND r.deleted_at IS NULL "
            "AND r.data ->> $3 = ANY($4::text[]) AND NOT EXISTS (SELECT FROM syncd.tasks t "
            "WHERE t.integration = $1 AND t.dedupe_key = $5 || r.external_id) ORDER BY r.external_id LIMIT $6",
            integration,
            resource,
            field,
            list(values),
            key,
            most,
        )
        return [each["external_id"] for each in found]

    async def fields(self, integration: str, resource: str, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The fields of those of them that live."""
        found = await self._database.fetch(
            "SELECT r.external_id, r.data FROM unnest($3::text[]) AS i(id) JOIN syncd.records r "
            "ON r.integration = $1 AND r.resource = $2 AND r.external_id = i.id WHERE r.deleted_at IS NULL",
            integration,
            resource,
            list(ids),
        )
        return {each["external_id"]: each["data"] for each in found}

    async def told_before(
        self, integration: str, resource: str, ids: Sequence[str], before: datetime
    ) -> dict[str, dict[str, Any]]:
        """The fields of those of these living records that nothing has brought since then."""
        found = await self._database.fetch(
            "SELECT r.external_id, r.data FROM unnest($3::text[]) AS i(id) JOIN syncd.records r "
            "ON r.integration = $1 AND r.resource = $2 AND r.external_id = i.id "
            "WHERE r.deleted_at IS NULL AND r.fetched_at < $4",
            integration,
            resource,
            list(ids),
            before,
        )
        return {each["external_id"]: each["data"] for each in found}

    async def some(self, integration: str, resource: str) -> bool:
        """Is anything of this resource stored, tombstones included?"""
        found: bool = await self._database.fetchval(
            "SELECT EXISTS (SELECT FROM syncd.records WHERE integration = $1 AND resource = $2)", integration, resource
        )
        return found

    async def get(self, integration: str, resource: str, external_id: str) -> StoredRecord | None:
        """One record, tombstones too."""
        found = await self._database.fetchrow(
            f"SELECT {_COLUMNS} FROM syncd.records WHERE integration = $1 AND resource = $2 AND external_id = $3",
            integration,
            resource,
            external_id,
        )
        return _record(found) if found is not None else None

    async def count(self, integration: str, resource: str | None = None) -> dict[str, tuple[int, int]]:
        """Live and buried records by resource."""
        found = await self._database.fetch(
            "SELECT resource, live, buried FROM syncd.record_counts WHERE integration = $1 "
            "AND ($2::text IS NULL OR resource = $2) AND (live > 0 OR buried > 0) ORDER BY resource",
            integration,
            resource,
        )
        return {each["resource"]: (each[1], each[2]) for each in found}

    async def counts(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Live and buried records by integration and resource, of all of them."""
        found = await self._database.fetch(
            "SELECT integration, resource, live, buried FROM syncd.record_counts WHERE live > 0 OR buried > 0"
        )
        return {(each[0], each[1]): (each[2], each[3]) for each in found}

    async def below(self, integration: str, resource: str, parent_id: str) -> list[str]:
        """Ids of the live records below one parent."""
        found = await self._database.fetch(
            "SELECT external_id FROM syncd.records "
            "WHERE integration = $1 AND resource = $2 AND parent_id = $3 AND deleted_at IS NULL",
            integration,
            resource,
            parent_id,
        )
        return [each[0] for each in found]

    async def scan(
        self,
        integration: str,
        resource: str,
        *,
        deleted: bool | None = False,
        after: str = "",
        batch: int = 500,
        limit: int | None = None,
    ) -> AsyncIterator[StoredRecord]:
        """Records in the order of their ids, fetched in batches, no transaction held between them.

        `deleted`: False for live ones, True for tombstones, None for both.
        """
        left = limit
        while left is None or left > 0:
            found = await self._database.fetch(
                f"SELECT {_COLUMNS} FROM syncd.records WHERE integration = $1 AND resource = $2 AND external_id > $3 "
                "AND ($4::boolean IS NULL OR (deleted_at IS NOT NULL) = $4) ORDER BY external_id LIMIT $5",
                integration,
                resource,
                after,
                deleted,
                batch if left is None else min(batch, left),
            )
            for each in found:
                yield _record(each)
            if len(found) < batch:
                return
            after = found[-1]["external_id"]
            left = None if left is None else left - len(found)


def _record(row: asyncpg.Record) -> StoredRecord:
    return StoredRecord(**dict(row))
