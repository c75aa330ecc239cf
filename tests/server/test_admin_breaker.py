"""The admin API on breakers: what it asks of the engine, and what it refuses before that."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.server.fakes import FakeStatus
from tests.server.test_admin import call

ANN = {"X-Syncd-Actor": "ann@ops"}
SCOPE: dict[str, Any] = {"scope": "plain/acme", "integrations": ["acme"], "groups": []}


async def test_breakers_of_all_or_of_one_integration():
    engine = FakeStatus()
    engine.breakers = [SCOPE]
    assert await call(engine, "GET", "/api/v1/breakers") == (200, {"schema": "syncd.breakers/1", "scopes": [SCOPE]})
    assert (await call(engine, "GET", "/api/v1/breakers?integration=acme"))[0] == 200
    status, body = await call(engine, "GET", "/api/v1/breakers?integration=acmee")
    assert (status, body["error"]["hint"]) == (404, "did you mean 'acme'?")
    assert engine.asked == [("breakers", None), ("breakers", "acme")]


async def test_a_hold_carries_who_why_group_and_until():
    engine = FakeStatus()
    said = {"integration": "acme", "group": "reports", "reason": "they asked", "until": "2026-11-22T04:00:00+00:00"}
    status, body = await call(engine, "POST", "/api/v1/breaker/hold", json=said, headers=ANN)
    assert (status, body["schema"], body["held"]) == (200, "syncd.breaker-hold/1", True)
    until = datetime(2026, 11, 22, 4, tzinfo=UTC)
    assert engine.asked == [("hold", "acme", "reports", "ann@ops", "they asked", until)]


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ({"integration": "acme"}, 400, "usage"),
        ({"reason": "x"}, 400, "usage"),
        ({"integration": "nobody", "reason": "x"}, 404, "unknown-integration"),
        ({"integration": "acme", "reason": "x", "group": "repots"}, 404, "unknown-group"),
        ({"integration": "acme", "reason": "x", "until": "tomorrow"}, 400, "usage"),
        ({"integration": "acme", "reason": 7}, 400, "usage"),
    ],
)
async def test_a_hold_that_is_not_whole_is_refused(said: dict[str, Any], status: int, code: str):
    engine = FakeStatus()
    found, body = await call(engine, "POST", "/api/v1/breaker/hold", json=said)
    assert (found, body["error"]["code"]) == (status, code)
    assert engine.asked == []


async def test_an_unknown_group_gets_a_suggestion():
    said = {"integration": "acme", "group": "repots"}
    _, body = await call(FakeStatus(), "POST", "/api/v1/breaker/reset", json=said)
    assert body["error"]["hint"] == "did you mean 'reports'?"


async def test_release_and_reset_say_what_they_found():
    engine = FakeStatus()
    status, body = await call(engine, "POST", "/api/v1/breaker/release", json={"integration": "acme"}, headers=ANN)
    assert (status, body["schema"], body["released"]) == (200, "syncd.breaker-release/1", 0)
    engine.closed = ["", "reports"]
    status, body = await call(engine, "POST", "/api/v1/breaker/reset", json={"integration": "acme"}, headers=ANN)
    assert (status, body["schema"], body["closed"]) == (200, "syncd.breaker-reset/1", ["", "reports"])
    assert engine.asked == [("release", "acme", None, "ann@ops"), ("reset", "acme", None, "ann@ops")]
