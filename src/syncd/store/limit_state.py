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
            "INSERT INTO syncd.limit_state (scope, state, saved_at) VALUES ($1, $2, $3) "
            "ON CONFLICT (scope) DO UPDATE SET state = excluded.state, saved_at = excluded.saved_at",
            scope,
            dict(state),
            self._database.clock.now(),
        )

    async def load(self, scope: str) -> Mapping[str, Any] | None:
        """What was saved last, or None."""
        state: Mapping[str, Any] | None = await self._database.fetchval(
            "SELECT state FROM syncd.limit_state WHERE scope = $1", scope
        )
        return state
