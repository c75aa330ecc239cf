"""The three probes: their shape, their status codes, and what they do not depend on."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from syncd.clock import SystemClock
from syncd.conditions import Condition, Conditions, gauges
from syncd.explain import Explanation, State
from syncd.server.address import url_of
from syncd.server.ports import ServiceHealth
from syncd.testing.clock import FakeClock
from tests.server.fakes import NOON, FakeStatus, serving


async def ask(status: FakeStatus, path: str, clock: Any = None) -> tuple[int, Any, aiohttp.ClientResponse]:
    async with (
        serving(status, clock=clock or SystemClock()) as server,
        aiohttp.ClientSession() as client,
        client.get(url_of(server.public) + path) as response,
    ):
        body = await (response.json() if response.content_type == "application/json" else response.text())
        return response.status, body, response


async def test_health_has_the_shape_of_the_seeds():
    status, body, response = await ask(FakeStatus(), "/health")
    assert status == 200
    assert body == {
        "status": "healthy",
        "services": {"acme": {"status": "healthy", "latencyMs": 42}},
        "timestamp": "2026-11-01T12:00:00Z",
    }
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Server"] == "syncd"


async def test_health_stays_200_while_a_partner_is_down_and_says_what_to_do():
    engine = FakeStatus()
    why = Explanation("auth-failed", "401 invalid_grant", NOON, "revoked", "syncd credential test acme")
    engine.services["acme"] = ServiceHealth(State.AUTH_REQUIRED, None, why)
    status, body, _ = await ask(engine, "/health")
    assert status == 200
    assert body["status"] == "degraded"
    assert body["services"]["acme"] == {
        "status": "auth_required",
        "latencyMs": None,
        "reason": "401 invalid_grant",
        "since": "2026-11-01T12:00:00Z",
        "next_action": "syncd credential test acme",
        "runbook": "syncd runbook auth-failed",
    }


@pytest.mark.parametrize("state", [State.WAITING, State.PAUSED])
async def test_waiting_and_paused_are_not_trouble(state: State):
    engine = FakeStatus()
    engine.services["acme"] = ServiceHealth(state)
    _, body, _ = await ask(engine, "/health")
    assert body["status"] == "healthy"
    assert body["services"]["acme"]["status"] == state.value


async def test_health_is_503_when_a_part_of_the_process_is_stuck():
    engine = FakeStatus()
    engine.stuck = ["workers of guesty"]
    status, body, _ = await ask(engine, "/health")
    assert status == 503
    assert body["status"] == "down"
    assert body["stuck"] == ["workers of guesty"]


async def test_ready_says_every_reason_why_not():
    engine = FakeStatus()
    assert (await ask(engine, "/ready"))[:2] == (200, {"ready": True, "reasons": []})
    engine.reasons = ["draining", "schema 3 is older than this release needs (4)"]
    status, body, response = await ask(engine, "/ready")
    assert status == 503
    assert body == {"ready": False, "reasons": engine.reasons}
    assert response.headers["Retry-After"] == "5"


async def test_ready_gives_up_on_a_database_that_does_not_answer():
    clock = FakeClock()
    engine = FakeStatus()

    async def hang() -> None:
        await clock.sleep(3600)

    engine.ready_sleep = hang
    async with serving(engine, clock=clock) as server, aiohttp.ClientSession() as client:
        request = client.get(url_of(server.public) + "/ready")

        async def fetch() -> tuple[int, Any]:
            async with request as response:
                return response.status, await response.json()

        answer = asyncio.ensure_future(fetch())
        for _ in range(200):
            if answer.done():
                break
            await asyncio.sleep(0.005)
            await clock.advance(0.5)
        status, body = await answer
    assert status == 503
    assert "did not answer within 2 s" in body["reasons"][0]


async def test_metrics_are_prometheus_text_with_the_seeds_names():
    status, body, response = await ask(FakeStatus(), "/metrics")
    assert status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert "# TYPE integration_api_calls_total counter" in body
    assert 'syncd_http_connections{site="public"}' in body


async def test_the_public_site_has_no_admin_api_and_no_webhooks_yet():
    for path in ("/api/v1/status", "/webhooks/guesty/acme", "/"):
        assert (await ask(FakeStatus(), path))[0] == 404


async def test_probes_answer_head_requests_too():
    async with (
        serving(FakeStatus(), clock=SystemClock()) as server,
        aiohttp.ClientSession() as client,
        client.head(url_of(server.public) + "/health") as response,
    ):
        assert response.status == 200


async def test_metrics_at_the_admin_site_tell_what_the_public_one_leaves_out(monkeypatch: pytest.MonkeyPatch):
    clock = FakeClock()
    where = "the database at db7.internal cannot be reached"
    daemon = Condition(State.DOWN, Explanation("database-down", "it cannot be used", NOON, where, "syncd check --env"))
    away = Explanation("partner-down", "it does not answer", NOON, "the partner is down", "syncd sync acme")
    conditions = Conditions(lambda: ([daemon, Condition(State.DOWN, away, "acme", "plain")], ()), clock)
    monkeypatch.setattr(gauges.GAUGES, "_conditions", lambda: conditions)
    async with (
        serving(FakeStatus(), clock=SystemClock(), everything=gauges.exposition) as server,
        aiohttp.ClientSession() as client,
    ):
        said = {}
        for site in (server.public, server.admin):
            async with client.get(url_of(site) + "/metrics") as response:
                said[site] = await response.text()
    everybody, admins = said.values()
    assert "db7.internal" not in everybody and where in admins
    for text in said.values():
        assert "the partner is down" in text and 'reason="it cannot be used"' in text and "syncd check --env" in text
