"""Table `changes`: the event log, read in order without ever skipping a row committed late."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.store.database import Database

CHANGES = "syncd_changes"
"""NOTIFY channel: a transaction that wrote changes has committed. The payload is the integration."""


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one record went from `old` to `new`. An empty field is the record as a whole."""

    id: int
    integration: str
    resource: str
    external_id: str
    row_version: int
    kind: str
    field: str
    old: Any
    new: Any
    cause: str
    changed_at: datetime


class Changes:
    """The feed others read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def after(self, change_id: int, limit: int = 1000) -> list[Change]:
        """Changes in order after this id. Keep the last one's id, ask again; an empty answer means: nothing settled yet."""
        found = await self._database.fetch(
            f"SELECT {', '.join(Change.__slots__)} FROM syncd.changes_after($1, $2)",
            change_id,
            limit,
        )
        return [Change(**dict(each)) for each in found]

    async def of_record(self, integration: str, resource: str, external_id: str, *, limit: int = 100) -> list[Change]:
        """The history of one record, newest first."""
        found = await self._database.fetch(
            f"SELECT {', '.join(Change.__slots__)} FROM syncd.changes "
            "WHERE integration = $1 AND resource = $2 AND external_id = $3 ORDER BY id DESC LIMIT $4",
            integration,
            resource,
            external_id,
            limit,
        )
        return [Change(**dict(each)) for each in found]
