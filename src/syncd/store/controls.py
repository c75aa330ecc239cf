"""Table `controls`: what people have ordered, until when and why. Setting one wakes whoever owns the integration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.store.database import Database
from syncd.store.tasks import WISHES

PAUSE = "pause"
BREAKER_HOLD = "breaker_hold"
BREAKER_RESET = "breaker_reset"
CONFIRM_DELETIONS = "confirm_deletions"


@dataclass(frozen=True, slots=True)
class Control:
    """One standing order."""

    integration: str
    resource: str
    """Empty: all of the integration's. Of a breaker_hold: the endpoint group."""
    kind: str
    who: str
    why: str
    detail: Mapping[str, Any]
    set_at: datetime
    until: datetime | None


class Controls:
    """Standing orders."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set(
        self,
        integration: str,
        kind: str,
        *,
        who: str,
        why: str = "",
        until: datetime | None = None,
        resource: str = "",
        detail: Mapping[str, Any] | None = None,
    ) -> Control:
        """Order something; a new order of the same kind replaces the old one."""
        async with self._database.transaction() as connection:
            found = await connection.fetchrow(
                "INSERT INTO syncd.controls (integration, resource, kind, who, why, detail, set_at, until) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (integration, resource, kind) DO UPDATE SET "
                "who = excluded.who, why = excluded.why, detail = excluded.detail, set_at = excluded.set_at, "
                "until = excluded.until "
                "RETURNING integration, resource, kind, who, why, detail, set_at, until",
                integration,
                resource,
                kind,
                who,
                why,
                dict(detail or {}),
                self._database.clock.now(),
                until,
            )
            await connection.execute("SELECT pg_notify($1, $2)", WISHES, integration)
        return Control(**dict(found))

    async def clear(self, integration: str, kind: str, *, resource: str = "", quietly: bool = False) -> bool:
        """Take an order back. False where there was none. `quietly`: nobody needs to hear of it."""
        async with self._database.transaction() as connection:
            found = await connection.fetchrow(
                "DELETE FROM syncd.controls WHERE integration = $1 AND resource = $2 AND kind = $3 RETURNING 1",
                integration,
                resource,
                kind,
            )
            if not quietly:
                await connection.execute("SELECT pg_notify($1, $2)", WISHES, integration)
        return found is not None

    async def end(self, kind: str) -> list[Control]:
        """Take away the orders of a kind whose time is over; returns them, each to one caller only."""
        found = await self._database.fetch(
            "DELETE FROM syncd.controls WHERE kind = $1 AND until <= $2 "
            "RETURNING integration, resource, kind, who, why, detail, set_at, until",
            kind,
            self._database.clock.now(),
        )
        return [Control(**dict(each)) for each in found]

    async def active(self, integration: str | None = None) -> list[Control]:
        """Orders in force now."""
        found = await self._database.fetch(
            "SELECT integration, resource, kind, who, why, detail, set_at, until FROM syncd.controls "
            "WHERE ($1::text IS NULL OR integration = $1) AND (until IS NULL OR until > $2) ORDER BY 1, 2, 3",
            integration,
            self._database.clock.now(),
        )
        return [Control(**dict(each)) for each in found]
