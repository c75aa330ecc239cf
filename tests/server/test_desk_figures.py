"""The admin API on figures over time: which window, of whom, and what it refuses."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from syncd.server import desk_figures


class Figures:
    def view(self, window: str = "1h", integration: str | None = None) -> dict[str, Any]:
        return {"schema": "syncd.figures/1", "points": {"1h": 360, "24h": 288}[window], "of": integration}


class Engine:
    figures = Figures()

    def names(self) -> dict[str, list[str]]:
        return {"acme": []}


async def test_a_window_is_told_of_everything_or_of_one():
    app = web.Application()
    engine: Any = Engine()
    app.add_routes(desk_figures.routes(engine))
    async with TestClient(TestServer(app)) as client:

        async def ask(query: str) -> tuple[int, dict[str, Any]]:
            answer = await client.get(f"/api/v1/figures{query}")
            return answer.status, await answer.json()

        assert await ask("") == (200, {"schema": "syncd.figures/1", "points": 360, "of": None})
        assert (await ask("?window=24h&integration=acme"))[1]["of"] == "acme"
        status, told = await ask("?window=1y")
        assert (status, told["error"]["hint"]) == (400, "window is 1h or 24h")
        assert (await ask("?integration=acne"))[0] == 404
