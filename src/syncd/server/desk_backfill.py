"""The admin API's backfills: what one would cost, begin one, stop one, how they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from aiohttp import web

from syncd.server.answers import answer
from syncd.server.desks import PREFIX, RefusedError, guarded, ids_of, moment_of, said_by, target_of, who_asks


class BackfillDesk(Protocol):
    """What the engine does about them. Names were checked against `names()`."""

    def names(self) -> Mapping[str, Sequence[str]]:
        """Every configured integration and its resources."""
        ...

    async def backfill_plan(
        self, integration: str, resource: str | None, since: datetime, until: datetime
    ) -> dict[str, Any]:
        """What it would cost: `syncd.backfill-plan/1`. Raises ConfigError for what cannot be read again."""
        ...

    async def backfill(
        self, integration: str, resource: str | None, since: datetime, until: datetime, *, who: str
    ) -> list[dict[str, Any]]:
        """Begin it, or join what is under way: one row a resource."""
        ...

    async def backfills(self, integration: str | None, ids: Sequence[int] | None) -> list[dict[str, Any]]:
        """These, or the latest of each resource."""
        ...

    async def stop_backfill(self, integration: str, resource: str | None, *, who: str) -> list[dict[str, Any]]:
        """Stop what waits or runs; what is stored stays."""
        ...


def routes(desk: BackfillDesk) -> list[web.RouteDef]:
    api = _Api(desk)
    return [
        web.get(f"{PREFIX}/backfills", guarded(api.list)),
        web.get(f"{PREFIX}/backfill/plan", guarded(api.plan)),
        web.post(f"{PREFIX}/backfill", guarded(api.begin)),
        web.post(f"{PREFIX}/backfill/stop", guarded(api.stop)),
    ]


class _Api:
    def __init__(self, desk: BackfillDesk) -> None:
        self._desk = desk

    async def list(self, request: web.Request) -> web.Response:
        name = request.query.get("integration")
        if name is not None:
            target_of(self._desk.names(), {"integration": name})
        found = await self._desk.backfills(name, ids_of(request, "id") or None)
        return answer({"schema": "syncd.backfills/1", "backfills": found})

    async def plan(self, request: web.Request) -> web.Response:
        found = await self._desk.backfill_plan(*self._range(dict(request.query)))
        return answer({"schema": "syncd.backfill-plan/1", **found})

    async def begin(self, request: web.Request) -> web.Response:
        found = await self._desk.backfill(*self._range(await said_by(request)), who=who_asks(request))
        return answer({"schema": "syncd.backfills/1", "backfills": found}, status=202)

    async def stop(self, request: web.Request) -> web.Response:
        integration, resource = target_of(self._desk.names(), await said_by(request))
        found = await self._desk.stop_backfill(integration, resource, who=who_asks(request))
        return answer({"schema": "syncd.backfills/1", "backfills": found})

    def _range(self, said: Mapping[str, Any]) -> tuple[str, str | None, datetime, datetime]:
        integration, resource = target_of(self._desk.names(), said)
        since, until = moment_of(said, "since"), moment_of(said, "until")
        if since is None or until is None:
            raise RefusedError(400, "usage", "a backfill needs since and until")
        if since >= until:
            raise RefusedError(400, "usage", "since must be before until")
        return integration, resource, since, until
