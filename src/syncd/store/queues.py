"""Tables `inbox` and `outbox`: how much waits there. Intake and delivery themselves come with the webhook and push issues."""

from __future__ import annotations

from datetime import datetime

from syncd.store.database import Database


class Queues:
    """What waits in the two tables that face outwards."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self) -> dict[tuple[str, str], tuple[int, datetime]]:
        """(table, integration) -> how many rows are not finished, and the oldest one's time."""
        found = await self._database.fetch(
            "SELECT 'inbox', integration, count(*), min(received_at) FROM syncd.inbox "
            "WHERE state IN ('waiting', 'taken') GROUP BY 2 "
            "UNION ALL SELECT 'outbox', integration, count(*), min(created_at) FROM syncd.outbox "
            "WHERE state IN ('waiting', 'taken', 'unknown') GROUP BY 2"
        )
        return {(table, integration): (count, oldest) for table, integration, count, oldest in found}
