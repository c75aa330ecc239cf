"""The admin API's memory: how much there is and what narrows it, and Python's tracemalloc on demand."""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web

from syncd.server.answers import answer
from syncd.server.desks import PREFIX, RefusedError, guarded, said_by, who_asks

MOST_SECONDS = 600.0
MOST_FRAMES = 10
MOST_TOP = 100


class MemoryDesk(Protocol):
    """What the daemon does about it."""

    def view(self) -> dict[str, Any]:
        """`syncd.memory/1`: see docs/cli.md."""
        ...

    async def start(self, *, who: str, seconds: float, frames: int) -> dict[str, Any]:
        """Begin to trace; ends by itself. Raises AskedWrongError while another does."""
        ...

    async def snapshot(self, top: int) -> dict[str, Any]:
        """What has grown since it began, or what the last one found. Raises AskedWrongError where there was none."""
        ...

    async def stop(self, *, who: str) -> dict[str, Any] | None:
        """End it. None: there was none."""
        ...


def routes(desk: MemoryDesk) -> list[web.RouteDef]:
    api = _Api(desk)
    return [web.get(f"{PREFIX}/memory", guarded(api.look)), web.post(f"{PREFIX}/memory/trace", guarded(api.trace))]


class _Api:
    def __init__(self, desk: MemoryDesk) -> None:
        self._desk = desk

    async def look(self, request: web.Request) -> web.Response:
        return answer({"schema": "syncd.memory/1", **self._desk.view()})

    async def trace(self, request: web.Request) -> web.Response:
        said = await said_by(request)
        action = said.get("action")
        if action == "start":
            seconds = _number(said, "seconds", 60.0, MOST_SECONDS)
            found: dict[str, Any] = await self._desk.start(
                who=who_asks(request), seconds=seconds, frames=int(_number(said, "frames", 1, MOST_FRAMES))
            )
        elif action == "snapshot":
            found = await self._desk.snapshot(int(_number(said, "top", 20, MOST_TOP)))
        elif action == "stop":
            found = {"stopped": (await self._desk.stop(who=who_asks(request))) is not None}
        else:
            raise RefusedError(400, "usage", "action must be start, snapshot or stop")
        return answer({"schema": "syncd.memory-trace/1", **found})


def _number(said: dict[str, Any], key: str, default: float, most: float) -> float:
    value = said.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= most:
        raise RefusedError(400, "usage", f"{key} must be a number from 1 to {most:g}")
    return float(value)
