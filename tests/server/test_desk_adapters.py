"""The admin API on adapters and shapes: what it asks of the engine, and what it refuses before that."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from syncd.server import desk_adapters

ANN = {"X-Syncd-Actor": "ann@ops"}


class Desk:
    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def names(self) -> dict[str, list[str]]:
        return {"acme": ["listings"]}

    async def adapters(self, *what: Any) -> dict[str, Any]:
        self.asked.append(("adapters", *what))
        return {"resources": []}

    async def forget_trials(self, *what: Any, who: str) -> int:
        self.asked.append(("forget", *what, who))
        return 2

    async def renormalize(self, *what: Any, dry: bool, who: str) -> list[dict[str, Any]]:
        self.asked.append(("renormalize", *what, dry, who))
        return [{"id": 7}]

    async def renormalizations(self, *what: Any) -> list[dict[str, Any]]:
        self.asked.append(("renormalizations", *what))
        return []

    async def stop_renormalizing(self, *what: Any, who: str) -> list[dict[str, Any]]:
        self.asked.append(("stop", *what, who))
        return []

    async def shapes(self, *what: Any, fields: bool) -> list[dict[str, Any]]:
        self.asked.append(("shapes", *what, fields))
        return []

    async def accept_shapes(self, *what: Any, who: str) -> list[dict[str, Any]]:
        self.asked.append(("accept", *what, who))
        return [{"resource": "listings", "news": []}]


async def call(desk: Desk, method: str, path: str, json: Any = None, **query: Any) -> tuple[int, dict[str, Any]]:
    app = web.Application()
    app.add_routes(desk_adapters.routes(desk))
    async with (
        TestClient(TestServer(app)) as client,
        client.request(method, f"/api/v1/{path}", json=json, params=query, headers=ANN) as answer,
    ):
        return answer.status, await answer.json()


async def test_adapters_are_shown_and_their_trials_begun_anew():
    desk = Desk()
    assert await call(desk, "GET", "adapters", integration="acme", resource="listings") == (
        200, {"schema": "syncd.adapters/1", "resources": []}
    )  # fmt: skip
    status, body = await call(desk, "POST", "adapters/forget", {"integration": "acme"})
    assert (status, body) == (200, {"schema": "syncd.adapters-forget/1", "forgotten": 2})
    assert desk.asked == [("adapters", "acme", "listings"), ("forget", "acme", None, "ann@ops")]


async def test_stored_records_are_read_again_looked_at_and_stopped():
    desk = Desk()
    said = {"integration": "acme", "resource": "listings", "adapter": "v2", "dry": True}
    status, body = await call(desk, "POST", "renormalize", said)
    assert (status, body) == (202, {"schema": "syncd.renormalizations/1", "renormalizations": [{"id": 7}]})
    await call(desk, "POST", "renormalize", {"integration": "acme"})
    await call(desk, "GET", "renormalizations", id="7")
    await call(desk, "GET", "renormalizations", integration="acme")
    await call(desk, "POST", "renormalize/stop", {"integration": "acme"})
    assert desk.asked == [
        ("renormalize", "acme", "listings", "v2", True, "ann@ops"),
        ("renormalize", "acme", None, None, False, "ann@ops"),
        ("renormalizations", None, [7]),
        ("renormalizations", "acme", None),
        ("stop", "acme", None, "ann@ops"),
    ]


async def test_shapes_are_shown_and_accepted():
    desk = Desk()
    await call(desk, "GET", "shapes", integration="acme", fields="true")
    status, body = await call(desk, "POST", "shapes/accept", {"integration": "acme", "resource": "listings"})
    assert (status, body["schema"], body["accepted"]) == (
        202, "syncd.shapes-accept/1", [{"resource": "listings", "news": []}]
    )  # fmt: skip
    assert desk.asked == [("shapes", "acme", None, True), ("accept", "acme", "listings", "ann@ops")]


@pytest.mark.parametrize(
    ("method", "path", "said", "status"),
    [
        ("POST", "renormalize", {}, 400),
        ("POST", "renormalize", {"integration": "acme", "dry": "yes"}, 400),
        ("POST", "renormalize", {"integration": "acme", "adapter": 2}, 400),
        ("POST", "renormalize", {"integration": "acmee"}, 404),
        ("POST", "shapes/accept", {"integration": "acme", "resource": "listing"}, 404),
        ("POST", "adapters/forget", {"integration": "other"}, 404),
        ("GET", "renormalizations?id=seven", None, 400),
        ("GET", "adapters", None, 400),
        ("GET", "shapes?integration=other", None, 404),
    ],
)
async def test_what_nobody_can_mean_is_refused(method: str, path: str, said: Any, status: int):
    desk = Desk()
    assert (await call(desk, method, path, said))[0] == status
    assert desk.asked == []
