"""The admin API of what the daemon's process has around it. Of a secret it tells if it can be read, and its short hash."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from syncd.server.answers import answer
from syncd.server.desks import PREFIX, guarded


class SurroundingsDesk(Protocol):
    """Implemented by `surroundings.Surroundings`."""

    async def view(self) -> dict[str, Any]:
        """configuration (the main file it reads), pid, uid, user, descriptors (its limit of open files), secrets: [{place,
        reference, ok, hash, error, hint}] of the files as they are now. Raises ConfigError where they cannot be read."""
        ...


def routes(desk: SurroundingsDesk) -> list[web.RouteDef]:
    async def view(request: web.Request) -> web.Response:
        return answer({"schema": "syncd.surroundings/1", **await desk.view()})

    return [web.get(f"{PREFIX}/surroundings", guarded(view))]
