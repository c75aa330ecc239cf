"""Work that waits for a moment by the wall clock, when that clock turns out to have been wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from syncd.store.database import Database

_WAITING = {
    "tasks": "state = 'waiting'",
    "inbox": "state = 'waiting'",
    # One that was not tried yet waits for the moment that whoever wrote it chose.
    "outbox": "state IN ('waiting', 'unknown') AND reason IS NOT NULL",
    "backfills": "state IN ('waiting', 'running')",
}
LONGEST = timedelta(days=1)
"""Nothing is put off for longer. What has to wait for longer, for a month's allowance, is put off anew."""


class Postponed:
    """Everything that has a `not_before`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set_back(self, integrations: Sequence[str], seconds: float) -> int:
        """The clock was set back so far: what was put off by it waits as long as it was to, and no longer."""
        changed = 0
        for table, waits in _WAITING.items():
            changed += await self._database.execute(
                f"UPDATE syncd.{table} SET not_before = not_before - $2::interval "
                f"WHERE integration = ANY($1::text[]) AND not_before > $3 AND {waits}",
                list(integrations),
                timedelta(seconds=seconds),
                self._database.clock.now(),
            )
        return changed

    async def bound(self, integrations: Sequence[str]) -> int:
        """What was put off further than anything ever is may go: it was written by a clock that was ahead."""
        changed = 0
        for table, waits in _WAITING.items():
            changed += await self._database.execute(
                f"UPDATE syncd.{table} SET not_before = NULL "
                f"WHERE integration = ANY($1::text[]) AND not_before > $2 AND {waits}",
                list(integrations),
                self._database.clock.now() + LONGEST,
            )
        return changed
