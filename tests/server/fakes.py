"""An engine that answers what the test tells it to, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio

from syncd.config import ServerConfig
from syncd.explain import State
from syncd.server.app import Server
from syncd.server.ports import HealthReport, Progress, ReconcileReport, ReloadReport, ServiceHealth, TestReport

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


class FakeStatus:
    def __init__(self) -> None:
        self.services: dict[str, ServiceHealth] = {"acme": ServiceHealth(State.HEALTHY, 41.6)}
        self.stuck: list[str] = []
        self.reasons: list[str] = []
        self.known: dict[str, list[str]] = {"acme": ["listings", "reservations"], "shop": ["customers"]}
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.rows: list[Progress] = []
        self.reloaded = ReloadReport(ok=True, applied=["guesty"], changes=["guesty.limits 7/s -> 5/s"])
        self.reconciled = ReconcileReport(wish_ids=[7], held={"listings": 12})
        self.tested = TestReport(integration="acme", ok=True, status=200, latency_ms=41.6)
        self.seen: dict[str, Any] = {"schema": "syncd.status/1", "version": "0.1.0", "integrations": []}
        self.planned: dict[str, Any] = {"schema": "syncd.plan/1", "source": "daemon", "fits": True, "scopes": []}
        self.paused: set[tuple[str, str | None]] = set()
        self.ready_sleep: Any = None
        self.breakers: list[dict[str, Any]] = []
        self.held = False
        self.closed: list[str] | None = []

    def _note(self, *what: Any) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error

    def health(self) -> HealthReport:
        return HealthReport(services=self.services, at=NOON, stuck=self.stuck)

    async def ready(self) -> list[str]:
        if self.ready_sleep is not None:
            await self.ready_sleep()
        return list(self.reasons)

    def names(self) -> Mapping[str, Sequence[str]]:
        return self.known

    def partners(self) -> Mapping[str, Sequence[str]]:
        return {"plain": ["acme"], "stripe": ["shop", "acme"]}

    async def overview(self) -> dict[str, Any]:
        self._note("overview")
        return self.seen

    async def sync(self, integration: str, resource: str | None, external_id: str | None, *, who: str) -> list[int]:
        self._note("sync", integration, resource, external_id, who)
        return [1, 2] if resource is None else [1]

    async def plan(
        self, integration: str | None, resource: str | None, assumed: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        self._note("plan", integration, resource, *([dict(assumed)] if assumed else []))
        return self.planned

    async def test(self, integration: str) -> TestReport:
        self._note("test", integration)
        return self.tested

    async def progress(self, wish_ids: Sequence[int]) -> list[Progress]:
        self._note("progress", tuple(wish_ids))
        return self.rows

    async def reload(self, *, who: str) -> ReloadReport:
        self._note("reload", who)
        return self.reloaded

    async def pause(
        self, integration: str, resource: str | None, *, who: str, reason: str, until: datetime | None
    ) -> bool:
        self._note("pause", integration, resource, who, reason, until)
        fresh = (integration, resource) not in self.paused
        self.paused.add((integration, resource))
        return fresh

    async def resume(self, integration: str, resource: str | None, *, who: str) -> bool:
        self._note("resume", integration, resource, who)
        was = (integration, resource) in self.paused
        self.paused.discard((integration, resource))
        return was

    def breaker_groups(self, integration: str) -> Sequence[str]:
        return ["reports", "token"]

    async def breaker_view(self, integration: str | None) -> list[dict[str, Any]]:
        self._note("breakers", integration)
        return self.breakers

    async def hold(
        self, integration: str, group: str | None, *, who: str, reason: str, until: datetime | None
    ) -> dict[str, Any]:
        self._note("hold", integration, group, who, reason, until)
        return {
            "scope": "plain/acme", "integrations": ["acme"], "group": group, "already_held": self.held, "until": until
        }  # fmt: skip

    async def release(self, integration: str, group: str | None, *, who: str) -> dict[str, Any]:
        self._note("release", integration, group, who)
        return {"scope": "plain/acme", "integrations": ["acme"], "released": int(self.held), "still_held": []}

    async def reset(self, integration: str, group: str | None, *, who: str) -> dict[str, Any]:
        self._note("reset", integration, group, who)
        return {"scope": "plain/acme", "integrations": ["acme"], "closed": self.closed, "still_held": []}

    async def reconcile(self, integration: str, resource: str | None, *, confirm: bool, who: str) -> ReconcileReport:
        self._note("reconcile", integration, resource, confirm, who)
        return self.reconciled


def settings(**changes: Any) -> ServerConfig:
    found: dict[str, Any] = {"listen": "127.0.0.1:0", "admin": "127.0.0.2:0", **changes}
    return ServerConfig(**found)


@asynccontextmanager
async def serving(status: FakeStatus, *, clock: Any, **changes: Any) -> AsyncIterator[Server]:
    token, desks = changes.pop("admin_token", None), changes.pop("desks", ())
    more = {"everything": changes.pop("everything")} if "everything" in changes else {}
    server = Server(settings(**changes), status, clock=clock, admin_token=token, desks=desks, **more)
    async with anyio.create_task_group() as group:
        await group.start(server.run)
        try:
            yield server
        finally:
            group.cancel_scope.cancel()
