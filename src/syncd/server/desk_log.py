"""The admin API's desk for the log's level: what it is, and another one for a while."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, cast

from aiohttp import web

from syncd.clock import Clock
from syncd.log import latest_lines
from syncd.server.answers import answer
from syncd.server.desks import PREFIX, RefusedError, guarded, moment_of, said_by, target_of, text_of, who_asks

LONGEST = timedelta(days=1)
LEVELS = ("debug", "info", "warning", "error")
Level = Literal["debug", "info", "warning", "error"]


class LevelDesk(Protocol):
    """What is done about it."""

    async def set(self, integration: str, level: Level, *, until: datetime, who: str) -> None:
        """Of one integration, or (empty) of everything, until then."""
        ...

    def view(self) -> dict[str, Any]:
        """Schema `syncd.log-levels/1`."""
        ...


class Named(Protocol):
    """Who knows the integrations."""

    def names(self) -> Mapping[str, Sequence[str]]:
        """Every configured integration and its resources."""
        ...


def routes(engine: Named, levels: LevelDesk, clock: Clock) -> list[web.RouteDef]:
    async def look(request: web.Request) -> web.Response:
        return answer(levels.view())

    async def put(request: web.Request) -> web.Response:
        said = await said_by(request)
        integration = target_of(engine.names(), said)[0] if "integration" in said else ""
        level, until = text_of(said, "level"), moment_of(said, "until")
        if level not in LEVELS:
            raise RefusedError(400, "usage", f"level must be one of {', '.join(LEVELS)}")
        now = clock.now()
        if until is None or not now < until <= now + LONGEST:
            raise RefusedError(
                400, "usage", "until must lie within a day from now", "for good: log.level in syncd.yaml"
            )
        await levels.set(integration, cast(Level, level), until=until, who=who_asks(request))
        return answer(levels.view())

    async def lines(request: web.Request) -> web.Response:
        return answer({"schema": "syncd.log-lines/1", "lines": latest_lines()})

    return [
        web.get(f"{PREFIX}/log-level", guarded(look)),
        web.post(f"{PREFIX}/log-level", guarded(put)),
        web.get(f"{PREFIX}/log-lines", guarded(lines)),
    ]
