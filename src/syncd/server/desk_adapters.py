"""The admin API's adapters and shapes: what a version in shadow would change, stored records read again, what is new in
what partners send, and that it is meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aiohttp import web

from syncd.server.answers import answer
from syncd.server.desks import PREFIX, RefusedError, guarded, ids_of, said_by, target_of, text_of, who_asks


class AdapterDesk(Protocol):
    """What the engine does about them. Names were checked against `names()`."""

    def names(self) -> Mapping[str, Sequence[str]]:
        """Every configured integration and its resources."""
        ...

    async def adapters(self, integration: str, resource: str | None) -> dict[str, Any]:
        """What is in force and in use, and what trials found: `syncd.adapters/1`."""
        ...

    async def forget_trials(self, integration: str, resource: str | None, *, who: str) -> int:
        """Begin the trials anew."""
        ...

    async def renormalize(
        self, integration: str, resource: str | None, adapter: str | None, *, dry: bool, who: str
    ) -> list[dict[str, Any]]:
        """Begin it, or join what is under way: one row a resource. Raises AskedWrongError for what would be undone."""
        ...

    async def renormalizations(self, integration: str | None, ids: Sequence[int] | None) -> list[dict[str, Any]]:
        """These, or the latest of each resource."""
        ...

    async def stop_renormalizing(self, integration: str, resource: str | None, *, who: str) -> list[dict[str, Any]]:
        """Stop what waits or runs; what is done stays."""
        ...

    async def shapes(self, integration: str, resource: str | None, *, fields: bool) -> list[dict[str, Any]]:
        """What is known of the shape of each resource, and what is new."""
        ...

    async def accept_shapes(self, integration: str, resource: str | None, *, who: str) -> list[dict[str, Any]]:
        """What is new is meant. Returns what it was."""
        ...


def routes(desk: AdapterDesk) -> list[web.RouteDef]:
    api = _Api(desk)
    return [
        web.get(f"{PREFIX}/adapters", guarded(api.adapters)),
        web.post(f"{PREFIX}/adapters/forget", guarded(api.forget)),
        web.get(f"{PREFIX}/renormalizations", guarded(api.list)),
        web.post(f"{PREFIX}/renormalize", guarded(api.begin)),
        web.post(f"{PREFIX}/renormalize/stop", guarded(api.stop)),
        web.get(f"{PREFIX}/shapes", guarded(api.shapes)),
        web.post(f"{PREFIX}/shapes/accept", guarded(api.accept)),
    ]


class _Api:
    def __init__(self, desk: AdapterDesk) -> None:
        self._desk = desk

    async def adapters(self, request: web.Request) -> web.Response:
        found = await self._desk.adapters(*target_of(self._desk.names(), dict(request.query)))
        return answer({"schema": "syncd.adapters/1", **found})

    async def forget(self, request: web.Request) -> web.Response:
        integration, resource = target_of(self._desk.names(), await said_by(request))
        gone = await self._desk.forget_trials(integration, resource, who=who_asks(request))
        return answer({"schema": "syncd.adapters-forget/1", "forgotten": gone})

    async def list(self, request: web.Request) -> web.Response:
        name = request.query.get("integration")
        if name is not None:
            target_of(self._desk.names(), {"integration": name})
        found = await self._desk.renormalizations(name, ids_of(request, "id") or None)
        return answer({"schema": "syncd.renormalizations/1", "renormalizations": found})

    async def begin(self, request: web.Request) -> web.Response:
        said = await said_by(request)
        integration, resource = target_of(self._desk.names(), said)
        dry = said.get("dry", False)
        if not isinstance(dry, bool):
            raise RefusedError(400, "usage", "dry must be true or false")
        found = await self._desk.renormalize(
            integration, resource, text_of(said, "adapter"), dry=dry, who=who_asks(request)
        )
        return answer({"schema": "syncd.renormalizations/1", "renormalizations": found}, status=202)

    async def stop(self, request: web.Request) -> web.Response:
        integration, resource = target_of(self._desk.names(), await said_by(request))
        found = await self._desk.stop_renormalizing(integration, resource, who=who_asks(request))
        return answer({"schema": "syncd.renormalizations/1", "renormalizations": found})

    async def shapes(self, request: web.Request) -> web.Response:
        integration, resource = target_of(self._desk.names(), dict(request.query))
        found = await self._desk.shapes(integration, resource, fields=request.query.get("fields") == "true")
        return answer({"schema": "syncd.shapes/1", "resources": found})

    async def accept(self, request: web.Request) -> web.Response:
        integration, resource = target_of(self._desk.names(), await said_by(request))
        found = await self._desk.accept_shapes(integration, resource, who=who_asks(request))
        return answer({"schema": "syncd.shapes-accept/1", "accepted": found}, status=202)
