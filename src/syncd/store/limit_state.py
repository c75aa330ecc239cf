"""Table `limit_state`: what a scope's quota book remembers over a restart. Implements ports.SlotKeeper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncd.store.database import Database


class LimitState:
    """Slots in use, learned limits, paused-until."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, scope: str, state: Mapping[str, Any]) -> None:
        """Returns once the state is committed."""
        await self._database.execute(
            "INSERT INTO syncd.limit_state (scope, state, saved_at) VALUES ($1, $2, now()) "
            "ON CONFLICT (scope) DO UPDATE SET state = excluded.state, saved_at = excluded.saved_at",
            scope,
            dict(state),
        )

    async def load(self, scope: str) -> Mapping[str, Any] | None:
        """What was saved last, or None; `age_seconds` tells how long ago that was by the database's clock."""
        row = await self._database.fetchrow(
            "SELECT state, extract(epoch FROM clock_timestamp() - saved_at)::float8 AS age "
            "FROM syncd.limit_state WHERE scope = $1",
            scope,
        )
        return None if row is None else {**row["state"], "age_seconds": row["age"]}
