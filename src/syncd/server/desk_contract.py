"""The admin API's contract check: is a partner still what its driver takes it for? It writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aiohttp import web

from syncd.server.answers import answer
from syncd.server.desks import PREFIX, guarded, said_by, target_of, text_of


class ContractDesk(Protocol):
    """What the engine does about it. Names were checked against `names()`."""

    def names(self) -> Mapping[str, Sequence[str]]:
        """Every configured integration and its resources."""
        ...

    async def contract(self, integration: str, resource: str | None, spec: str | None) -> dict[str, Any]:
        """What was found."""
        ...


def routes(desk: ContractDesk) -> list[web.RouteDef]:
    async def check(request: web.Request) -> web.Response:
        said = await said_by(request)
        integration, resource = target_of(desk.names(), said)
        return answer(
            {"schema": "syncd.contract/1", **await desk.contract(integration, resource, text_of(said, "spec") or None)}
        )

    return [web.post(f"{PREFIX}/contract", guarded(check))]
