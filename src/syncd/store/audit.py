"""Table `audit_log`: what people and reloads did. Callers hand over values without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.store.database import Database


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action."""

    integration: str
    id: int
    at: datetime
    actor: str
    action: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class Audit:
    """Who did what."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        actor: str,
        action: str,
        *,
        integration: str = "",
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Note an action. An empty integration means: of the daemon as a whole."""
        await self._database.execute(
            "INSERT INTO syncd.audit_log (integration, at, actor, action, before, after) VALUES ($1, $2, $3, $4, $5, $6)",
            integration,
            self._database.clock.now(),
            actor,
            action,
            dict(before) if before is not None else None,
            dict(after) if after is not None else None,
        )

    async def list(self, integration: str | None = None, *, limit: int = 100) -> list[AuditEntry]:
        """Latest first."""
        found = await self._database.fetch(
            "SELECT integration, id, at, actor, action, before, after FROM syncd.audit_log "
            "WHERE $1::text IS NULL OR integration = $1 ORDER BY id DESC LIMIT $2",
            integration,
            limit,
        )
        return [AuditEntry(**dict(each)) for each in found]
