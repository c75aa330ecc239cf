"""`/health`, `/ready` and `/metrics`: three questions with three different meanings.

/health: does this process make progress? A partner's outage is no reason to restart us, so it never changes the status
code. /ready: would a webhook sent now be stored? /metrics: the numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from syncd.clock import Clock
from syncd.explain import Explanation, State
from syncd.server.answers import answer
from syncd.server.ports import HealthReport, ServiceHealth, Status

READY_SECONDS = 2.0
"""How long `/ready` may ask the database before it answers no."""

TROUBLED = frozenset({State.DOWN, State.AUTH_REQUIRED, State.DEGRADED})
"""States that make the whole `degraded`. Waiting for a limit and a pause somebody asked for are not trouble."""


def health_json(report: HealthReport) -> dict[str, Any]:
    """The seeds' shape: status, services.<integration>.{status, latencyMs, ...}, timestamp; `stuck`, and `conditions` of the
    daemon itself, only where they say something."""
    troubled = bool(report.conditions) or any(service.state in TROUBLED for service in report.services.values())
    found: dict[str, Any] = {
        "status": "down" if report.stuck else "degraded" if troubled else "healthy",
        "services": {name: _service(service) for name, service in report.services.items()},
        "timestamp": report.at,
    }
    if report.stuck:
        found["stuck"] = list(report.stuck)
    if report.conditions:
        found["conditions"] = [{"code": why.code, **_why(why)} for why in report.conditions]
    return found


def _service(service: ServiceHealth) -> dict[str, Any]:
    found: dict[str, Any] = {
        "status": service.state.value,
        "latencyMs": None if service.latency_ms is None else round(service.latency_ms),
    }
    if service.explanation is not None:
        found |= _why(service.explanation)
    return found


def _why(told: Explanation) -> dict[str, Any]:
    return {"reason": told.reason, "since": told.since, "next_action": told.action, "runbook": told.runbook}


def routes(status: Status, *, clock: Clock, exposition: Callable[[], bytes]) -> list[web.RouteDef]:
    async def health(request: web.Request) -> web.Response:
        report = status.health()
        return answer(health_json(report), status=503 if report.stuck else 200)

    async def ready(request: web.Request) -> web.Response:
        try:
            async with clock.timeout(READY_SECONDS):
                reasons = await status.ready()
        except TimeoutError:
            reasons = [f"the database did not answer within {READY_SECONDS:g} s"]
        if reasons:
            return answer({"ready": False, "reasons": reasons}, status=503, headers={"Retry-After": "5"})
        return answer({"ready": True, "reasons": []})

    return [web.get("/health", health), web.get("/ready", ready), metrics(exposition)]


def metrics(exposition: Callable[[], bytes]) -> web.RouteDef:
    """The numbers, at either site."""

    async def shown(request: web.Request) -> web.Response:
        return web.Response(body=exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return web.get("/metrics", shown)
