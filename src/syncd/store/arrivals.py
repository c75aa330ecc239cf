"""Tables `arrivals` and `silences`: how deliveries usually come, and which integrations have fallen silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd.store.database import Database

KEPT = timedelta(days=9)


@dataclass(frozen=True, slots=True)
class Hour:
    """The deliveries of one hour."""

    hour: datetime
    deliveries: int
    longest_seconds: float
    """The longest time without a delivery that ended in it."""


@dataclass(frozen=True, slots=True)
class Silent:
    """An integration nothing came from for longer than usual."""

    since: datetime
    """When the last delivery came."""
    told_at: datetime
    usual: str
    """What was usual, as a sentence's part."""
    missed: bool
    """Pulls have found what deliveries should have told."""


class Arrivals:
    """What the silence watch remembers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last_at(self, integration: str) -> datetime | None:
        """When the newest delivery in the inbox came, worked on or not, whichever instance took it."""
        found: datetime | None = await self._database.fetchval(
            "SELECT received_at FROM syncd.inbox WHERE integration = $1 ORDER BY id DESC LIMIT 1", integration
        )
        return found

    async def recent(self, integration: str, *, limit: int) -> list[datetime]:
        """When the newest deliveries in the inbox came, oldest first."""
        found = await self._database.fetch(
            "SELECT received_at FROM syncd.inbox WHERE integration = $1 ORDER BY id DESC LIMIT $2", integration, limit
        )
        return sorted(each[0] for each in found)

    async def add(self, integration: str, hours: Mapping[datetime, tuple[int, float]]) -> None:
        """Count deliveries: by hour how many, and the longest time without one. Hours long past are forgotten."""
        if not hours:
            return
        ordered = sorted(hours)
        async with self._database.transaction() as connection:
            await connection.execute(
                "INSERT INTO syncd.arrivals AS a (integration, hour, deliveries, longest_seconds) "
                "SELECT $1, h.hour, h.deliveries, h.longest "
                "FROM unnest($2::timestamptz[], $3::bigint[], $4::double precision[]) AS h(hour, deliveries, longest) "
                "ON CONFLICT (integration, hour) DO UPDATE SET deliveries = a.deliveries + excluded.deliveries, "
                "longest_seconds = greatest(a.longest_seconds, excluded.longest_seconds)",
                integration,
                ordered,
                [hours[hour][0] for hour in ordered],
                [hours[hour][1] for hour in ordered],
            )
            await connection.execute(
                "DELETE FROM syncd.arrivals WHERE integration = $1 AND hour < $2",
                integration,
                self._database.clock.now() - KEPT,
            )

    async def hours(self, integration: str) -> list[Hour]:
        """The hours of the last days in which anything came, oldest first."""
        found = await self._database.fetch(
            "SELECT hour, deliveries, longest_seconds FROM syncd.arrivals "
            "WHERE integration = $1 AND hour >= $2 ORDER BY hour",
            integration,
            self._database.clock.now() - KEPT,
        )
        return [Hour(*each) for each in found]

    async def silent(self, integration: str) -> Silent | None:
        """The silence that was told of and has not ended."""
        found = await self._database.fetchrow(
            "SELECT since, told_at, usual, missed FROM syncd.silences WHERE integration = $1", integration
        )
        return Silent(*found) if found is not None else None

    async def tell(self, integration: str, silent: Silent) -> bool:
        """A silence begins, or more is known of it. False when this one was told of already, with the same result."""
        return (
            await self._database.execute(
                "INSERT INTO syncd.silences AS s (integration, since, told_at, usual, missed) VALUES ($1, $2, $3, $4, $5) "
                "ON CONFLICT (integration) DO UPDATE SET since = excluded.since, told_at = excluded.told_at, "
                "usual = excluded.usual, missed = excluded.missed "
                "WHERE (s.since, s.missed) IS DISTINCT FROM (excluded.since, excluded.missed)",
                integration,
                silent.since,
                silent.told_at,
                silent.usual,
                silent.missed,
            )
            == 1
        )

    async def heal(self, integration: str) -> bool:
        """A delivery came. False where nothing was told of."""
        return await self._database.execute("DELETE FROM syncd.silences WHERE integration = $1", integration) == 1
