"""The admin API's contract check: what it asks of the engine, how it goes meanwhile, and what it refuses before that."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from syncd.server import desk_contract


class Desk:
    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def names(self) -> dict[str, list[str]]:
        return {"acme": ["listings"], "shop": []}

    async def contract(self, *what: Any) -> dict[str, Any]:
        self.asked.append(what)
        return {"ok": True}

    def looking(self, integration: str) -> dict[str, Any] | None:
        return {"resource": "listings"} if integration == "acme" else None


async def call(desk: Desk, method: str, said: Any = None, **query: str) -> tuple[int, dict[str, Any]]:
    app = web.Application()
    app.add_routes(desk_contract.routes(desk))
    async with (
        TestClient(TestServer(app)) as client,
        client.request(method, "/api/v1/contract", json=said, params=query) as answer,
    ):
        return answer.status, await answer.json()


async def test_a_look_has_its_bound_and_can_be_asked_about() -> None:
    desk = Desk()
    assert await call(desk, "POST", {"integration": "acme"}) == (200, {"schema": "syncd.contract/1", "ok": True})
    await call(desk, "POST", {"integration": "acme", "resource": "listings", "spec": "/a.json", "seconds": 30})
    assert desk.asked == [("acme", None, [], 300.0), ("acme", "listings", ["/a.json"], 30.0)]
    told = {"schema": "syncd.contract-look/1"}
    assert await call(desk, "GET", integration="acme") == (200, {**told, "look": {"resource": "listings"}})
    assert await call(desk, "GET", integration="shop") == (200, {**told, "look": None})
    assert (await call(desk, "GET", integration="else"))[0] == 404


@pytest.mark.parametrize("seconds", [0, 3_601, "30", True])
async def test_a_bound_that_is_none_is_refused(seconds: Any) -> None:
    desk = Desk()
    status, _ = await call(desk, "POST", {"integration": "acme", "seconds": seconds})
    assert (status, desk.asked) == (400, [])
