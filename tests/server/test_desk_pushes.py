"""The admin API on pushes: what it asks of the engine, and what it refuses before that."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from syncd.errors import StoreError, SyncdError
from syncd.server import desk_pushes

ANN = {"X-Syncd-Actor": "ann@ops"}
PUSH: dict[str, Any] = {"integration": "acme", "resource": "things", "kind": "state", "data": {"n": 1}}


class Desk:
    def __init__(self, trouble: Exception | None = None) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.trouble = trouble

    def names(self) -> dict[str, list[str]]:
        return {"acme": ["things"]}

    async def push(self, *what: Any, **more: Any) -> dict[str, Any]:
        self.asked.append(("push", *what, more))
        if self.trouble is not None:
            raise self.trouble
        return {"push": {"id": 7}}

    async def rehearse(self, *what: Any, **more: Any) -> dict[str, Any]:
        self.asked.append(("rehearse", *what, more))
        return {"request": {}}

    async def one(self, *what: Any) -> dict[str, Any] | None:
        return {"push": {"id": 7}} if what == ("acme", 7) else None

    async def some(self, *what: Any, **more: Any) -> dict[str, Any]:
        self.asked.append(("some", *what, more))
        return {"pushes": []}


async def call(desk: Desk, method: str, path: str, json: Any = None, params: Any = None) -> tuple[int, dict[str, Any]]:
    app = web.Application()
    app.add_routes(desk_pushes.routes(desk))
    async with TestClient(TestServer(app)) as client:
        answer = await client.request(method, f"/api/v1/{path}", json=json, params=params or {}, headers=ANN)
        return answer.status, await answer.json()


async def test_a_push_is_handed_on_with_who_asked():
    desk = Desk()
    said = {**PUSH, "id": "t1", "key": "k", "cause": "why", "expires_at": "2026-01-01T00:00:00+00:00"}
    assert await call(desk, "POST", "pushes", said) == (202, {"push": {"id": 7}})
    more = {
        "external_id": "t1",
        "key": "k",
        "cause": "why",
        "expires_at": datetime(2026, 1, 1, tzinfo=UTC),
        "who": "ann@ops",
    }
    assert desk.asked == [("push", "acme", "things", "state", {"n": 1}, more)]


async def test_a_rehearsal_writes_nothing():
    desk = Desk()
    assert (await call(desk, "POST", "pushes", {**PUSH, "dry_run": True}))[0] == 200
    assert desk.asked == [("rehearse", "acme", "things", "state", {"n": 1}, {"external_id": None})]


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"integration": "acne"}, 404, "no integration 'acne'"),
        ({"resource": "thing"}, 404, "no resource 'thing'"),
        ({"resource": None}, 400, "names its resource and its kind"),
        ({"kind": None}, 400, "names its resource and its kind"),
        ({"kind": ""}, 400, "kind must be a text"),
        ({"data": [1]}, 400, "data must be a JSON object"),
        ({"expires_at": "soon"}, 400, "must be an RFC 3339 time"),
        ({"id": 5}, 400, "id must be a text"),
    ],
)
async def test_what_is_no_push_is_refused(change: dict[str, Any], status: int, said: str):
    desk = Desk()
    found, body = await call(desk, "POST", "pushes", {**PUSH, **change})
    assert (found, desk.asked) == (status, [])
    assert said in body["error"]["message"]


@pytest.mark.parametrize(("trouble", "status"), [(SyncdError("field n: no"), 400), (StoreError("away"), 503)])
async def test_a_mistake_is_told_from_a_database_that_is_away(trouble: Exception, status: int):
    assert (await call(Desk(trouble), "POST", "pushes", PUSH))[0] == status


async def test_pushes_are_listed_by_state_and_one_is_found():
    desk = Desk()
    query = [("integration", "acme"), ("state", "unknown"), ("state", "waiting"), ("limit", "5")]
    assert (await call(desk, "GET", "pushes", params=query))[0] == 200
    assert desk.asked == [("some", "acme", {"resource": None, "states": ["unknown", "waiting"], "limit": 5})]
    for wrong in ([("state", "lost")], [("limit", "0")], [("limit", "100000")], [("limit", "x")]):
        assert (await call(desk, "GET", "pushes", params=wrong))[0] == 400
    assert (await call(desk, "GET", "pushes/one", params={"integration": "acme", "id": "7"}))[0] == 200
    assert (await call(desk, "GET", "pushes/one", params={"integration": "acme", "id": "8"}))[0] == 404
    for wrong_one in ({"integration": "acme"}, {"id": "7"}, {"integration": "acme", "id": "9" * 30}):
        assert (await call(desk, "GET", "pushes/one", params=wrong_one))[0] == 400
