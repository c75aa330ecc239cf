"""One integration with a real database and a partner in memory that lists, filters and shows by id: for whole listings,
ranges and comparisons. Sleeping takes no time here: it only moves the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import orjson

from syncd import drivers
from syncd.client.stats import CallStats
from syncd.clock import SystemClock
from syncd.errors import GoneError
from syncd.kit import Request, Response
from syncd.limits import Gate
from syncd.model import Headers, Lane
from syncd.store import Store
from syncd.sync.account import Account
from syncd.sync.backfilling import Backfilling
from syncd.sync.decide import RetryPolicy
from syncd.sync.health import Health
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.processor import Processor
from syncd.sync.pull import Pull
from syncd.sync.schedule import Schedule
from syncd.sync.target import Target

START = datetime(2026, 1, 1, tzinfo=UTC)
SINCE = {"param": "since", "until": "until", "overlap": "0s", "format": "iso_ns"}


def rest(since: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    things = {
        "path": "/things",
        "records": "items",
        "updated": "at",
        "total": "total",
        "page_size": 10,
        "pages": {"kind": "offset", "param": "offset", "size": "limit"},
        "since": since or SINCE,
        "one": "/things/{id}",
        "fields": {"name": "name", "size": "size"},
        **more,
    }
    notes = {"path": "/things/{parent.id}/notes", "parent": "things", "records": "items", "fields": {"text": "text"}}
    return {"resources": {"things": {k: v for k, v in things.items() if v is not None}, "notes": notes}}


class Hasty(SystemClock):
    """Moves when somebody sleeps, and beside that as slowly as the machine is."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.skipped)

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped

    async def sleep(self, seconds: float) -> None:
        self.skipped += seconds
        await asyncio.sleep(0)


class Partner:
    """The truth, and every call. `before` is told of each call before it is answered, and may raise."""

    def __init__(self, clock: SystemClock) -> None:
        self.clock = clock
        self.truth: dict[str, dict[str, Any]] = {}
        self.notes: dict[str, list[dict[str, Any]]] = {}
        self.calls: list[str] = []
        self.lanes: set[Lane] = set()
        self.before: Callable[[Request], Awaitable[None]] | None = None
        self.listed: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda found: found
        self.total = 0
        """Added to what a listing says of its length."""

    def put(self, number: int, name: str = "n", *, at: float | None = None) -> None:
        moment = START + timedelta(minutes=number if at is None else at)
        self.truth[f"t{number:04}"] = {"id": f"t{number:04}", "name": name, "size": number, "at": stamp(moment)}

    async def call(
        self, request: Request, *, lane: Lane = Lane.NORMAL, stats: CallStats | None = None, judging: Any = None
    ) -> Response:
        began = self.clock.now()
        self.calls.append(request.path)
        self.lanes.add(lane)
        if stats is not None:
            stats.calls += 1
        if self.before is not None:
            await self.before(request)
        return Response(200, Headers(), orjson.dumps(self._answer(request)), requested_at=began)

    def _answer(self, request: Request) -> Any:
        _, _, *rest = request.path.split("/")
        if rest and rest[-1] == "notes":
            return {"items": self.notes.get(rest[0], [])}
        if rest:
            if rest[0] not in self.truth:
                raise GoneError("no such record", status=404)
            return self.truth[rest[0]]
        asked = dict(request.params)
        found = sorted(self.truth.values(), key=lambda raw: (raw["at"], raw["id"]))
        found = [raw for raw in found if asked.get("since", "") <= raw["at"] < asked.get("until", "~")]
        shown = self.listed(found)
        at = int(asked.get("offset", 0))
        return {"items": shown[at : at + 10], "total": len(found) + self.total}


def stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000000000Z"


class Desk:
    """An integration, `acme`, that owns its scope."""

    def __init__(self, store: Store, clock: SystemClock, fence: int, described: dict[str, Any]) -> None:
        self.store, self.clock = store, clock
        self.partner = Partner(clock)
        self.driver = drivers.load("rest", rest=described, partner="plain")
        self.plans = {
            resource.name: ResourcePlan(
                resource,
                Strategy.CHILDREN if resource.parent else Strategy(resource.reads),
                Schedule(every_seconds=900),
                overlap_seconds=0.0,
            )
            for resource in self.driver.resources({}).values()
        }
        targets = {
            name: Target(plan.resource, "v1", ("notes",) if name == "things" else ())
            for name, plan in self.plans.items()
        }
        self.ownership: Any = SimpleNamespace(scope="acme", fence=fence, held=True)
        session: Any = SimpleNamespace(
            call=self.partner.call, auth=SimpleNamespace(needs=None), stats=CallStats, clock=clock
        )
        self.account = Account(
            partner="plain", name="acme", driver=self.driver, session=session,
            gate=Gate("acme", ["1000/s"], clock=clock), store=store, clock=clock, ownership=self.ownership,
            plans=self.plans, processor=Processor(self.driver, "acme", targets, store), health=Health("acme"),
        )  # fmt: skip
        self.paused: set[str] = set()

    @classmethod
    async def open(
        cls, store: Store, described: dict[str, Any] | None = None, clock: SystemClock | None = None
    ) -> Desk:
        fence = await store.leases.acquire("acme", "test:1", 600)
        assert fence is not None
        clock = clock or Hasty()
        store._database.clock = clock  # one clock for both, as in a daemon
        return cls(store, clock, fence, described or rest())

    async def pull(self, *, full: bool = False) -> None:
        """A run of `things` as the schedule makes it."""
        await Pull(self.account, self.plans["things"], Lane.NORMAL, "schedule", wanted_full=full).run()

    async def take_over(self) -> None:
        """Another process owns the scope from now on."""
        await self.store.leases.release("acme", "test:1", self.ownership.fence)
        self.ownership.fence = await self.store.leases.acquire("acme", "test:1", 600)

    def backfilling(self) -> Backfilling:
        return Backfilling(
            "plain",
            {"acme": self.account},
            self.store,
            self.clock,
            lambda integration, resource: resource in self.paused,
            RetryPolicy(attempts=3),
        )

    async def stored(self) -> dict[str, str]:
        return {one.external_id: one.data["name"] async for one in self.store.records.scan("acme", "things")}

    async def forget(self, *numbers: int) -> None:
        """The copy loses these records."""
        async with self.store._database.connection() as connection:
            await connection.execute(
                "DELETE FROM syncd.records WHERE external_id = ANY($1::text[])", [f"t{number:04}" for number in numbers]
            )

    async def change_here(self, *numbers: int) -> None:
        """The copy has another name for these."""
        async with self.store._database.connection() as connection:
            await connection.execute(
                "UPDATE syncd.records SET data = data || '{\"name\": \"wrong\"}', content_hash = 'x' "
                "WHERE external_id = ANY($1::text[])",
                [f"t{number:04}" for number in numbers],
            )
