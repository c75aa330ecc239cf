"""`syncd changes`: what was done lately, from `audit_log`, and the rows that wait for the database to come back.

An action that needs the database is refused while it is away. What happens all the same (a start, a reload) is noted here,
kept in memory if it must be, and written with the time at which it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import anyio
import structlog

from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.history.telling import kind_of, text_of
from syncd.store import Store
from syncd.store.audit import AuditEntry

log = structlog.get_logger()

CHANGES_SCHEMA = "syncd.changes/1"
REFRESH_SECONDS = 10.0
MOST_RECENT = 300
"""Marks kept in memory for plots, the latest."""
MOST_WAITING = 200
NOTE_SECONDS = 5.0
"""Longest that who does something waits for its row; after that the row waits by itself."""
RECENT = timedelta(days=1)
QUIET = frozenset({"credential_tested", "sync_asked", "webhook_rehearsed"})
"""Too frequent and too small to be marked on a plot; `syncd changes` tells them."""


class Changes:
    """Asks of `audit_log`, and what is noted beside the store's own rows."""

    def __init__(self, store: Callable[[], Store | None], clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: deque[AuditEntry] = deque(maxlen=MOST_WAITING)
        self._writing = anyio.Lock()
        self._recent: Sequence[Mapping[str, Any]] = ()

    # -- asked

    async def list(
        self, integration: str | None = None, *, since: datetime | None = None, limit: int = 50
    ) -> dict[str, Any]:
        """The latest changes, the newest first: schema `syncd.changes/1`. Raises StoreError."""
        store = self._store()
        if store is None:
            raise StoreError("the database was not reached yet", hint="syncd check --env")
        found = await store.audit.list(integration, since=since, limit=limit + 1, daemon_too=True)
        return {
            "schema": CHANGES_SCHEMA,
            "at": self._clock.now(),
            "changes": [told(entry, fully=True) for entry in found[:limit]],
            "more": len(found) > limit,
            "waiting": len(self._waiting),
        }

    def lately(self, within: timedelta, integration: str | None = None) -> Sequence[Mapping[str, Any]]:
        """What plots mark, the oldest first, from memory: at most ten seconds old."""
        since = self._clock.now() - within
        return [
            one
            for one in self._recent
            if one["at"] >= since and integration in (None, one["integration"] or integration)
        ]

    # -- noted

    async def note(
        self,
        who: str,
        action: str,
        *,
        integration: str = "",
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Note what has happened, now or as soon as the database is there. Never raises for a database that is away."""
        entry = AuditEntry(integration, 0, self._clock.now(), who, action, before, after)
        self._waiting.append(entry)
        with suppress(StoreError, TimeoutError):
            async with self._clock.timeout(NOTE_SECONDS):  # a database that hangs must not hold up a reload
                await self.refresh()

    async def write(self) -> None:
        """Write what waits, the oldest first, each once."""
        store = self._store()
        async with self._writing:
            while self._waiting and store is not None:
                entry = self._waiting[0]
                try:
                    await store.audit.add(
                        entry.actor,
                        entry.action,
                        integration=entry.integration,
                        before=entry.before,
                        after=entry.after,
                        at=entry.at,
                    )
                except StoreError as error:
                    log.warning("audit_row_waits", action=entry.action, waiting=len(self._waiting), reason=str(error))
                    return
                if self._waiting and self._waiting[0] is entry:
                    self._waiting.popleft()

    async def refresh(self) -> None:
        """Write what waits, and read what plots mark. To be called every `REFRESH_SECONDS`; raises StoreError."""
        await self.write()
        store = self._store()
        if store is not None:
            found = await store.audit.list(since=self._clock.now() - RECENT, limit=MOST_RECENT)
            self._recent = [told(entry) for entry in reversed(found) if entry.action not in QUIET]


def told(entry: AuditEntry, *, fully: bool = False) -> dict[str, Any]:
    """One change as JSON; `fully` with the row's own values."""
    shown: dict[str, Any] = {
        "id": entry.id,
        "at": entry.at,
        "kind": kind_of(entry),
        "integration": entry.integration,
        "who": entry.actor,
        "text": text_of(entry),
    }
    return {**shown, "action": entry.action, "before": entry.before, "after": entry.after} if fully else shown
