"""The admin API's comparisons: what one would cost, begin one, look how it goes, stop it. A comparison writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aiohttp import web

from syncd.server.answers import answer
from syncd.server.desks import PREFIX, RefusedError, guarded, said_by, target_of, text_of

_MOST_SAMPLE = 100_000
_MOST_SEED = 2**31


class DriftDesk(Protocol):
    """What the engine does about them. Names were checked against `names()`."""

    def names(self) -> Mapping[str, Sequence[str]]:
        """Every configured integration and its resources."""
        ...

    async def comparison_plan(self, integration: str, resource: str | None, sample: int | None) -> dict[str, Any]:
        """What it would cost: `syncd.drift-plan/1`."""
        ...

    async def compare(
        self, integration: str, resource: str | None, sample: int | None, seed: int | None, *, values: bool
    ) -> dict[str, Any]:
        """Begin one; as it stands."""
        ...

    async def comparison(self, key: str) -> dict[str, Any] | None:
        """As it stands; None: there is none of that name, or no longer. One that nobody asks for ends."""
        ...

    async def stop_comparison(self, key: str) -> bool:
        """End it. False: there was none."""
        ...


def routes(desk: DriftDesk) -> list[web.RouteDef]:
    api = _Api(desk)
    return [
        web.get(f"{PREFIX}/drift/plan", guarded(api.plan)),
        web.get(f"{PREFIX}/drift", guarded(api.look)),
        web.post(f"{PREFIX}/drift", guarded(api.begin)),
        web.post(f"{PREFIX}/drift/stop", guarded(api.stop)),
    ]


class _Api:
    def __init__(self, desk: DriftDesk) -> None:
        self._desk = desk

    async def plan(self, request: web.Request) -> web.Response:
        said = dict(request.query)
        integration, resource = target_of(self._desk.names(), said)
        text = said.get("sample")
        if text is not None and not (text.isascii() and text.isdigit() and len(text) < 10):
            raise RefusedError(400, "usage", "sample must be a number")
        sample = _between(int(text), "sample", _MOST_SAMPLE) if text is not None else None
        found = await self._desk.comparison_plan(integration, resource, sample)
        return answer({"schema": "syncd.drift-plan/1", **found})

    async def begin(self, request: web.Request) -> web.Response:
        said = await said_by(request)
        integration, resource = target_of(self._desk.names(), said)
        sample = _between(said["sample"], "sample", _MOST_SAMPLE) if said.get("sample") is not None else None
        seed = _between(said["seed"], "seed", _MOST_SEED, least=0) if said.get("seed") is not None else None
        values = said.get("values", False)
        if not isinstance(values, bool):
            raise RefusedError(400, "usage", "values must be true or false")
        found = await self._desk.compare(integration, resource, sample, seed, values=values)
        return answer({"schema": "syncd.drift/1", **found}, status=202)

    async def look(self, request: web.Request) -> web.Response:
        key = request.query.get("id", "")
        found = await self._desk.comparison(key)
        if found is None:
            raise RefusedError(
                404, "unknown-comparison", "no such comparison, or no longer", "begin it anew: syncd drift"
            )
        return answer({"schema": "syncd.drift/1", **found})

    async def stop(self, request: web.Request) -> web.Response:
        key = text_of(await said_by(request), "id") or ""
        return answer({"schema": "syncd.drift-stop/1", "stopped": await self._desk.stop_comparison(key)})


def _between(value: Any, name: str, most: int, *, least: int = 1) -> int:
    if type(value) is not int or not least <= value <= most:
        raise RefusedError(400, "usage", f"{name} must be a number from {least} to {most}")
    return value
