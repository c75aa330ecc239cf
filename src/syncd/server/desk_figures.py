"""The admin API's desk for figures over time: `GET /api/v1/figures`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from aiohttp import web

from syncd.server.answers import answer
from syncd.server.desks import PREFIX, RefusedError, guarded, target_of


class Figures(Protocol):
    """What was measured lately, from memory."""

    def view(
        self, window: str = "1h", integration: str | None = None, *, series: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Schema `syncd.figures/1`; of integrations these `series` alone. Raises KeyError for a window that is not kept."""
        ...


class Named(Protocol):
    """Who knows the integrations, and what was measured of them."""

    @property
    def figures(self) -> Figures: ...

    def names(self) -> Mapping[str, Sequence[str]]:
        """Every configured integration and its resources."""
        ...


def routes(engine: Named) -> list[web.RouteDef]:
    async def figures(request: web.Request) -> web.Response:
        name = request.query.get("integration")
        if name is not None:
            target_of(engine.names(), {"integration": name})
        window = request.query.get("window", "1h")
        try:
            return answer(engine.figures.view(window, name))
        except KeyError:
            raise RefusedError(400, "usage", f"no window {window[:20]!r}", "window is 1h or 24h") from None

    return [web.get(f"{PREFIX}/figures", guarded(figures))]
