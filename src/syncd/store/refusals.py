"""Table `refusals`: versions of a record that came and were older than the one stored. They are noted by the page that
brought them (`syncd.store_rows`); a page that brings none costs nothing of this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.store.database import Database


@dataclass(frozen=True, slots=True)
class Refusals:
    """What was refused of one record."""

    times: int
    first_at: datetime
    last_at: datetime
    latest: Sequence[Mapping[str, Any]]
    """The last five, newest first: at, cause, fetched_at, source_updated_at, source_version, gone, and under `held` the same
    of the row that was kept, with its row_version and missed_at. No values: an erased person leaves nothing here."""


class RefusalTable:
    """Refused versions by record."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_record(self, integration: str, resource: str, external_id: str) -> Refusals | None:
        """None: no version of it was refused, as far back as this is kept."""
        found = await self._database.fetchrow(
            "SELECT times, first_at, last_at, latest FROM syncd.refusals "
            "WHERE integration = $1 AND resource = $2 AND external_id = $3",
            integration,
            resource,
            external_id,
        )
        return Refusals(**dict(found)) if found is not None else None
