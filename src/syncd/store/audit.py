"""Table `audit_log`: what people, reloads and the daemon itself did. What is known to be a secret is masked in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from syncd.redaction import KNOWN
from syncd.store.database import Database

_INSERT = "INSERT INTO syncd.audit_log (integration, at, actor, action, before, after) VALUES ($1, $2, $3, $4, $5, $6)"
_COLUMNS = "integration, id, at, actor, action, before, after"
_EACH = (
    "unnest(${asked}::text[]) AS asked(it) CROSS JOIN LATERAL (SELECT * FROM syncd.audit_log "
    "WHERE {key} = asked.it AND {where} ORDER BY id DESC LIMIT $1) AS found"
)
"""The latest rows of each of some integrations, or actions, by its index: as one condition it may mean a look at all rows."""


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
        at: datetime | None = None,
    ) -> None:
        """Note an action. An empty integration means: of the daemon as a whole. `at`: when it was, where not just now."""
        when = at or self._database.clock.now()
        await self._database.execute(_INSERT, *_row(integration, when, actor, action, before, after))

    async def list(
        self,
        integration: str | None = None,
        *,
        limit: int = 100,
        since: datetime | None = None,
        actions: Sequence[str] | None = None,
        daemon_too: bool = False,
    ) -> list[AuditEntry]:
        """Latest first: of one integration (`daemon_too`: and of the daemon as a whole), or of everything."""
        terms, source = ["true"], "syncd.audit_log"
        values: list[Any] = [limit]
        if since is not None:
            values.append(since)
            terms.append(f"at >= ${len(values)}")
        if actions is not None:
            values.append(list(actions))
            terms.append(f"action = ANY (${len(values)})")
        where = " AND ".join(terms)
        if integration is not None:
            values.append([integration, ""] if daemon_too else [integration])
            source = _EACH.format(asked=len(values), key="integration", where=where)
        elif actions is not None:
            values.append(list(actions))
            source = _EACH.format(asked=len(values), key="action", where=where)
        found = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM {source} WHERE {where} ORDER BY at DESC, id DESC LIMIT $1", *values
        )
        return [AuditEntry(**dict(each)) for each in found]


async def note(
    connection: asyncpg.Connection,
    at: datetime,
    actor: str,
    action: str,
    *,
    integration: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """The same in the transaction that does what is noted: both, or neither."""
    await connection.execute(_INSERT, *_row(integration, at, actor, action, before, after))


def _row(
    integration: str,
    at: datetime,
    actor: str,
    action: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> tuple[Any, ...]:
    return integration, at, KNOWN.mask(actor), action, _masked(before), _masked(after)


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return KNOWN.mask(value)
    if isinstance(value, Mapping):
        return {key: _masked(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_masked(one) for one in value]
    return value
