"""The admin API of subscriptions at partners: list, register, repair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aiohttp import web

from syncd.server.answers import answer
from syncd.server.desks import PREFIX, RefusedError, guarded, said_by, target_of, who_asks


class SubscriptionsDesk(Protocol):
    """Implemented by `subscriptions.Subscribers`. Each asks the partner, through the integration's own gate."""

    def names(self) -> Mapping[str, Sequence[str]]:
        """Every integration that runs here, and its resources."""
        ...

    async def list(self, integration: str) -> dict[str, Any]:
        """What the partner keeps, and what would be done about it. Changes nothing."""
        ...

    async def register(self, integration: str, *, dry_run: bool, who: str) -> dict[str, Any]:
        """Make what is missing."""
        ...

    async def repair(self, integration: str, *, dry_run: bool, who: str) -> dict[str, Any]:
        """Make what is missing and mend what is there."""
        ...


def routes(desk: SubscriptionsDesk) -> list[web.RouteDef]:
    api = _Api(desk)
    return [
        web.get(f"{PREFIX}/webhooks/subscriptions", guarded(api.list)),
        web.post(f"{PREFIX}/webhooks/register", guarded(api.register)),
        web.post(f"{PREFIX}/webhooks/repair", guarded(api.repair)),
    ]


class _Api:
    def __init__(self, desk: SubscriptionsDesk) -> None:
        self._desk = desk

    async def list(self, request: web.Request) -> web.Response:
        integration, _ = target_of(self._desk.names(), {"integration": request.query.get("integration")})
        return answer({"schema": "syncd.webhook-subscriptions/1", **await self._desk.list(integration)})

    async def register(self, request: web.Request) -> web.Response:
        integration, dry_run = await self._asked(request)
        found = await self._desk.register(integration, dry_run=dry_run, who=who_asks(request))
        return answer({"schema": "syncd.webhook-register/1", **found})

    async def repair(self, request: web.Request) -> web.Response:
        integration, dry_run = await self._asked(request)
        found = await self._desk.repair(integration, dry_run=dry_run, who=who_asks(request))
        return answer({"schema": "syncd.webhook-repair/1", **found})

    async def _asked(self, request: web.Request) -> tuple[str, bool]:
        said = await said_by(request)
        dry_run = said.get("dry_run", False)
        if not isinstance(dry_run, bool):
            raise RefusedError(400, "usage", "dry_run must be true or false")
        return target_of(self._desk.names(), said)[0], dry_run
