"""Table `deliveries`: how often, and when last, webhooks told of each resource. Who processes events counts them here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from syncd.store.database import Database

LEAST_SECONDS = 86_400.0
"""What came within less is no measure of a day: at night less comes, and the first burst is often somebody trying."""


@dataclass(frozen=True, slots=True)
class Told:
    """What webhooks said of one resource of one integration so far."""

    integration: str
    resource: str
    """Empty: of nothing this integration syncs."""
    events: int
    first_at: datetime
    last_at: datetime

    def per_second(self, now: datetime) -> float:
        """Events a second since the first one; those of the first day are taken for all of that day."""
        return self.events / max(self.seconds(now), LEAST_SECONDS)

    def seconds(self, now: datetime) -> float:
        """Since the first one."""
        return (now - self.first_at).total_seconds()


class Deliveries:
    """What webhooks have told of."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, integrations: Sequence[str]) -> list[Told]:
        """By integration and resource."""
        found = await self._database.fetch(
            "SELECT integration, resource, events, first_at, last_at FROM syncd.deliveries "
            "WHERE integration = ANY($1::text[]) ORDER BY integration, resource",
            list(integrations),
        )
        return [Told(**dict(each)) for each in found]

    async def lately(
        self, integrations: Sequence[str], within: timedelta
    ) -> dict[tuple[str, str], tuple[float, float]]:
        """What was told of within that time, by integration and resource: events a second, seconds since the first one."""
        now = self._database.clock.now()
        return {
            (one.integration, one.resource): (one.per_second(now), one.seconds(now))
            for one in await self.list(integrations)
            if one.resource and now - one.last_at <= within
        }

    async def note(self, integration: str, resources: Sequence[str], at: datetime) -> None:
        """`note_deliveries` in a transaction of its own."""
        async with self._database.transaction() as connection:
            await note_deliveries(connection, integration, resources, at)


async def note_deliveries(
    connection: asyncpg.Connection, integration: str, resources: Sequence[str], at: datetime
) -> None:
    """Count events that came at `at`: the resource of each one, as often as it was told of, in the caller's transaction."""
    if resources:
        await connection.execute("SELECT syncd.note_deliveries($1, $2, $3::text[])", integration, at, sorted(resources))
