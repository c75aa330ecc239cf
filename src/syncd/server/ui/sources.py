"""Where the page takes what it shows: Protocols the engine and its desks satisfy already. No HTTP to itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import anyio

from syncd.server.desk_figures import Figures
from syncd.server.desk_letters import Letters
from syncd.server.desk_webhooks import Deliveries
from syncd.server.ports import Status
from syncd.store import Store


class ChangeLog(Protocol):
    """What people, reloads and the daemon did."""

    async def list(
        self, integration: str | None = None, *, since: datetime | None = None, limit: int = 50
    ) -> dict[str, Any]:
        """Latest first: schema `syncd.changes/1`. Raises StoreError."""
        ...

    async def note(
        self,
        who: str,
        action: str,
        *,
        integration: str = "",
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Write down what somebody did."""
        ...


class Story(Protocol):
    """Why a record is so."""

    async def story(self, integration: str, resource: str, external_id: str, *, changes: int = 10) -> dict[str, Any]:
        """Schema `syncd.record/1`: what `syncd records show` prints. Raises StoreError, AskedWrongError."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything the page asks."""

    status: Status
    letters: Letters
    deliveries: Deliveries
    figures: Figures
    changes: ChangeLog
    records: Story
    store: Callable[[], Store]
    """Raises StoreError while the database was not reached."""
    runbooks: Callable[[], Mapping[str, str]]
    """Pages by name, as Markdown."""
    stopping: anyio.Event
    """Set once the process drains: what streams ends then."""
    meaning: Callable[[str], str] = lambda text: text.partition(". ")[0]
    """The first sentence of a runbook."""
