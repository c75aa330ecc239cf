"""The admin API's desk for what was done: `GET /api/v1/changes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from aiohttp import web

from syncd.server.answers import answer
from syncd.server.desks import PREFIX, RefusedError, guarded, moment_of, target_of

_LIMIT = 50
_MOST = 1_000


class ChangesDesk(Protocol):
    """What the engine does about it."""

    async def list(
        self, integration: str | None = None, *, since: datetime | None = None, limit: int = 50
    ) -> dict[str, Any]:
        """Schema `syncd.changes/1`. Raises StoreError."""
        ...


class Named(Protocol):
    """Who knows the integrations, and what was done."""

    @property
    def changes(self) -> ChangesDesk: ...

    def names(self) -> Mapping[str, Sequence[str]]:
        """Every configured integration and its resources."""
        ...


def routes(engine: Named) -> list[web.RouteDef]:
    async def changes(request: web.Request) -> web.Response:
        name = request.query.get("integration")
        since = moment_of(request.query, "since")
        limit = request.query.get("limit", str(_LIMIT))
        if not (limit.isascii() and limit.isdigit() and 1 <= len(limit) <= 4 and 1 <= int(limit) <= _MOST):
            raise RefusedError(400, "usage", f"limit must be a number from 1 to {_MOST:,}")
        found = await engine.changes.list(name, since=since, limit=int(limit))
        if name is not None and all(one["integration"] != name for one in found["changes"]):
            target_of(engine.names(), {"integration": name})  # what was removed has a past; what never was is a slip
        return answer(found)

    return [web.get(f"{PREFIX}/changes", guarded(changes))]
