"""Table `controls`: what people have ordered, until when and why. Setting one wakes whoever owns the integration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from syncd.store.audit import note
from syncd.store.database import Database
from syncd.store.tasks import WISHES

PAUSE = "pause"
MAINTENANCE = "maintenance"
"""A window of the configuration that is open: noted here, so that its begin and end are told once."""
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

    def lasts(self, now: datetime) -> bool:
        """Is it in force at this moment?"""
        return self.until is None or self.until > now

    def told(self) -> dict[str, Any]:
        """What `audit_log` keeps of it."""
        return {"resource": self.resource, "who": self.who, "reason": self.why, "until": self.until, **self.detail}


_COLUMNS = "integration, resource, kind, who, why, detail, set_at, until"


class Controls:
    """Standing orders. Each is noted in `audit_log` by the transaction that sets or ends it: both happen, or neither."""

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
        action: str = "",
    ) -> Control | None:
        """Order something; a new order of the same kind replaces the old one, which is returned where it was in force.

        `action`: what `audit_log` calls it; without one it is not noted.
        """
        now = self._database.clock.now()
        async with self._database.transaction() as connection:
            before = await _one(connection, integration, kind, resource)
            await connection.execute(
                f"INSERT INTO syncd.controls ({_COLUMNS}) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (integration, resource, kind) DO UPDATE SET "
                "who = excluded.who, why = excluded.why, detail = excluded.detail, set_at = excluded.set_at, "
                "until = excluded.until",
                integration,
                resource,
                kind,
                who,
                why,
                dict(detail or {}),
                now,
                until,
            )
            if before is not None and not before.lasts(now):
                before = None
            if action:
                ordered = Control(integration, resource, kind, who, why, detail or {}, now, until)
                former = before.told() if before is not None else None
                await note(connection, now, who, action, integration=integration, before=former, after=ordered.told())
            await connection.execute("SELECT pg_notify($1, $2)", WISHES, integration)
        return before

    async def clear(
        self, integration: str, kind: str, *, resource: str = "", quietly: bool = False, who: str = "", action: str = ""
    ) -> bool:
        """Take an order back. False where there was none. `quietly`: nobody needs to hear of it. `action` notes it."""
        now = self._database.clock.now()
        async with self._database.transaction() as connection:
            found = await connection.fetchrow(
                "DELETE FROM syncd.controls WHERE integration = $1 AND resource = $2 AND kind = $3 "
                f"RETURNING {_COLUMNS}",
                integration,
                resource,
                kind,
            )
            if found is not None and action:
                await note(connection, now, who, action, integration=integration, before=Control(**dict(found)).told())
            if not quietly:
                await connection.execute("SELECT pg_notify($1, $2)", WISHES, integration)
        return found is not None

    async def end(self, kind: str, *, action: str = "") -> list[Control]:
        """Take away the orders of a kind whose time is over; returns them, each to one caller only. `action` notes them."""
        now = self._database.clock.now()
        async with self._database.transaction() as connection:
            found = await connection.fetch(
                f"DELETE FROM syncd.controls WHERE kind = $1 AND until <= $2 RETURNING {_COLUMNS}", kind, now
            )
            over = [Control(**dict(each)) for each in found]
            for one in over if action else ():
                at = min(one.until or now, now)
                await note(connection, at, "syncd", action, integration=one.integration, before=one.told())
        return over

    async def active(self, integration: str | None = None) -> list[Control]:
        """Orders in force now."""
        found = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM syncd.controls "
            "WHERE ($1::text IS NULL OR integration = $1) AND (until IS NULL OR until > $2) ORDER BY 1, 2, 3",
            integration,
            self._database.clock.now(),
        )
        return [Control(**dict(each)) for each in found]


async def _one(connection: asyncpg.Connection, integration: str, kind: str, resource: str) -> Control | None:
    found = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM syncd.controls WHERE integration = $1 AND resource = $2 AND kind = $3 FOR UPDATE",
        integration,
        resource,
        kind,
    )
    return Control(**dict(found)) if found is not None else None
