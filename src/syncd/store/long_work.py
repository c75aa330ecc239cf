"""Rows of long work that somebody asked for, `backfills` and `renormalizations`: looking at those there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

from syncd.store.database import Database

Row = TypeVar("Row")


class LongWorkRows(Generic[Row]):
    """Of one table. `kind` is a row as a dataclass with slots, whose fields are the columns."""

    table: ClassVar[str]
    kind: type[Any]

    def __init__(self, database: Database) -> None:
        self._database = database
        self._select = f"{', '.join(self.kind.__slots__)} FROM syncd.{self.table}"

    async def active(self, integrations: Sequence[str]) -> list[Row]:
        """Those that wait or run, oldest first."""
        return await self._rows(
            f"SELECT {self._select} WHERE integration = ANY($1::text[]) AND state IN ('waiting', 'running') ORDER BY id",
            list(integrations),
        )

    async def find(self, ids: Sequence[int]) -> list[Row]:
        """By id, whatever became of them."""
        return await self._rows(
            f"SELECT {self._select} WHERE id = ANY($1::bigint[]) ORDER BY integration, id", list(ids)
        )

    async def latest(self, integrations: Sequence[str]) -> list[Row]:
        """The last one of each resource."""
        return await self._rows(
            f"SELECT DISTINCT ON (integration, resource) {self._select} WHERE integration = ANY($1::text[]) "
            "ORDER BY integration, resource, id DESC",
            list(integrations),
        )

    async def _rows(self, query: str, asked: list[Any]) -> list[Row]:
        return [self.kind(**dict(each)) for each in await self._database.fetch(query, asked)]
