"""The admin API on backfills and comparisons: what it asks of the engine, and what it refuses before that."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from syncd.server import desk_backfill, desk_drift

ANN = {"X-Syncd-Actor": "ann@ops"}
SINCE, UNTIL = "2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"
RANGE = {"integration": "acme", "since": SINCE, "until": UNTIL}
MOMENTS = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))


class Desk:
    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def names(self) -> dict[str, list[str]]:
        return {"acme": ["listings"]}

    async def backfill_plan(self, *what: Any) -> dict[str, Any]:
        self.asked.append(("plan", *what))
        return {"calls": 3}

    async def backfill(self, *what: Any, who: str) -> list[dict[str, Any]]:
        self.asked.append(("backfill", *what, who))
        return [{"id": 7}]

    async def backfills(self, *what: Any) -> list[dict[str, Any]]:
        self.asked.append(("backfills", *what))
        return []

    async def stop_backfill(self, *what: Any, who: str) -> list[dict[str, Any]]:
        self.asked.append(("stop", *what, who))
        return []

    async def comparison_plan(self, *what: Any) -> dict[str, Any]:
        self.asked.append(("price", *what))
        return {"calls": 3}

    async def compare(self, *what: Any, values: bool) -> dict[str, Any]:
        self.asked.append(("compare", *what, values))
        return {"id": "1-a"}

    async def comparison(self, key: str) -> dict[str, Any] | None:
        return {"id": key, "state": "running"} if key == "1-a" else None

    async def stop_comparison(self, key: str) -> bool:
        return key == "1-a"


async def call(desk: Desk, method: str, path: str, json: Any = None, **query: Any) -> tuple[int, dict[str, Any]]:
    app = web.Application()
    app.add_routes([*desk_backfill.routes(desk), *desk_drift.routes(desk)])
    async with (
        TestClient(TestServer(app)) as client,
        client.request(method, f"/api/v1/{path}", json=json, params=query, headers=ANN) as answer,
    ):
        return answer.status, await answer.json()


async def test_a_backfill_is_planned_begun_shown_and_stopped():
    desk = Desk()
    assert await call(desk, "GET", "backfill/plan", **RANGE) == (
        200, {"schema": "syncd.backfill-plan/1", "calls": 3}
    )  # fmt: skip
    status, body = await call(desk, "POST", "backfill", {**RANGE, "resource": "listings"})
    assert (status, body) == (202, {"schema": "syncd.backfills/1", "backfills": [{"id": 7}]})
    await call(desk, "GET", "backfills", id="7")
    await call(desk, "GET", "backfills")
    await call(desk, "POST", "backfill/stop", {"integration": "acme"})
    assert desk.asked == [
        ("plan", "acme", None, *MOMENTS),
        ("backfill", "acme", "listings", *MOMENTS, "ann@ops"),
        ("backfills", None, [7]),
        ("backfills", None, None),
        ("stop", "acme", None, "ann@ops"),
    ]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({}, 400),
        ({"integration": "acme"}, 400),
        ({**RANGE, "since": "yesterday"}, 400),
        ({**RANGE, "since": "2026-01-01"}, 400),
        ({**RANGE, "until": SINCE}, 400),
        ({**RANGE, "integration": "acmee"}, 404),
        ({**RANGE, "resource": "listing"}, 404),
    ],
)
async def test_a_range_that_is_none_is_refused(said: dict[str, Any], status: int):
    desk = Desk()
    assert (await call(desk, "POST", "backfill", said))[0] == status
    assert (await call(desk, "GET", "backfill/plan", **said))[0] == status
    assert (await call(desk, "GET", "backfills", id="seven"))[0] == 400
    assert desk.asked == []


async def test_a_comparison_is_priced_begun_looked_at_and_stopped():
    desk = Desk()
    await call(desk, "GET", "drift/plan", integration="acme", sample="9")
    status, body = await call(desk, "POST", "drift", {"integration": "acme", "sample": 9, "seed": 1, "values": True})
    assert (status, body) == (202, {"schema": "syncd.drift/1", "id": "1-a"})
    assert (await call(desk, "GET", "drift", id="1-a"))[1]["state"] == "running"
    assert (await call(desk, "GET", "drift", id="gone"))[0] == 404
    assert (await call(desk, "POST", "drift/stop", {"id": "1-a"}))[1]["stopped"] is True
    assert desk.asked == [("price", "acme", None, 9), ("compare", "acme", None, 9, 1, True)]


@pytest.mark.parametrize(
    "said", [{"sample": 0}, {"sample": "9"}, {"sample": True}, {"sample": 10**9}, {"seed": -1}, {"values": 1}]
)
async def test_a_comparison_that_means_nothing_is_refused(said: dict[str, Any]):
    desk = Desk()
    assert (await call(desk, "POST", "drift", {"integration": "acme", **said}))[0] == 400
    assert desk.asked == []
