"""Table `schemas`: what is known of the shape of each resource's raw records, and what is new about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from syncd.store.database import Database
from syncd.store.tasks import WISHES


@dataclass(frozen=True, slots=True)
class StoredSchema:
    """One row. `shape` and `strange` are what `kit.inferred` writes down."""

    integration: str
    resource: str
    shape: dict[str, Any]
    strange: dict[str, Any]
    news: list[dict[str, Any]]
    learned_at: datetime | None
    accepted_at: datetime | None
    accepted_by: str | None
    accepted: int
    taken: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SchemaWrite:
    """What the owner of a resource has learned."""

    resource: str
    shape: Mapping[str, Any]
    strange: Mapping[str, Any] = field(default_factory=dict)
    news: Sequence[Mapping[str, Any]] = ()
    learned_at: datetime | None = None
    taken: int = 0


_COLUMNS = ", ".join(StoredSchema.__slots__)


class Schemas:
    """Shapes, and the wishes of people who accept what is new."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, integration: str) -> dict[str, StoredSchema]:
        """By resource."""
        found = await self._database.fetch(f"SELECT {_COLUMNS} FROM syncd.schemas WHERE integration = $1", integration)
        return {each["resource"]: StoredSchema(**dict(each)) for each in found}

    async def wishes(self, integrations: Sequence[str]) -> dict[tuple[str, str], int]:
        """(integration, resource) of those somebody has accepted and the owner has not carried out: the wish's number."""
        found = await self._database.fetch(
            "SELECT integration, resource, accepted FROM syncd.schemas "
            "WHERE integration = ANY($1::text[]) AND accepted > taken",
            list(integrations),
        )
        return {(each[0], each[1]): each[2] for each in found}

    async def put(self, integration: str, scope: str, fence: int, writes: Sequence[SchemaWrite]) -> None:
        """Store what was learned. Raises OwnershipError where the scope is no longer ours."""
        async with self._database.transaction() as connection:
            await connection.execute("SELECT syncd.assert_owned($1, $2)", scope, fence)
            await connection.executemany(
                "INSERT INTO syncd.schemas AS s (integration, resource, shape, strange, news, learned_at, taken, updated_at) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (integration, resource) DO UPDATE SET "
                "shape = excluded.shape, strange = excluded.strange, news = excluded.news, "
                "learned_at = excluded.learned_at, taken = greatest(s.taken, excluded.taken), "
                "updated_at = excluded.updated_at",
                [
                    (
                        integration,
                        each.resource,
                        dict(each.shape),
                        dict(each.strange),
                        [dict(one) for one in each.news],
                        each.learned_at,
                        each.taken,
                        self._database.clock.now(),
                    )
                    for each in writes
                ],
            )

    async def accept(self, integration: str, resource: str | None, *, who: str) -> list[StoredSchema]:
        """Say that what is new is meant; the owner acts on it. Returns the rows that had news, as they were."""
        await self._database.execute("SELECT pg_notify($1, $2)", WISHES, integration)
        found = await self._database.fetch(
            "UPDATE syncd.schemas SET accepted = accepted + 1, accepted_at = $3, accepted_by = $4 WHERE integration = $1 "
            f"AND ($2::text IS NULL OR resource = $2) AND news <> '[]' RETURNING {_COLUMNS}",
            integration,
            resource,
            self._database.clock.now(),
            who,
        )
        return [StoredSchema(**dict(each)) for each in found]
