"""One integration with a real database and a partner that lives in memory: what deliveries do, without a network."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import asyncpg
import orjson

from syncd import drivers
from syncd.client.stats import CallStats
from syncd.clock import Clock
from syncd.errors import GoneError
from syncd.kit import Delivery, Driver, Request, Response
from syncd.kit.receiver import Accepted, Receiver
from syncd.limits import Gate
from syncd.model import Headers, Lane
from syncd.secrets import Secret
from syncd.store import Store, Task
from syncd.store.intake import Arrival, Intake
from syncd.sync.account import Account
from syncd.sync.decide import RetryPolicy
from syncd.sync.events import Events
from syncd.sync.health import Health
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.processor import Processor
from syncd.sync.schedule import Schedule
from syncd.sync.target import Target
from syncd.sync.work import Worker

KEY = b"what the partner signs with"
REST: dict[str, Any] = {
    "resources": {
        "things": {
            "path": "/things",
            "records": "items",
            "updated": "updated_at",
            "one": "/things/{id}",
            "fields": {"name": {"from": "name", "as": "text"}},
        },
        "stamped": {
            "path": "/stamped",
            "records": "items",
            "updated": "updated_at",
            "one": "/stamped/{id}",
            "fields": {"name": {"from": "name", "as": "text"}},
        },
        "observed": {
            "path": "/observed",
            "records": "items",
            "stamp": "observed",
            "one": "/observed/{id}",
            "fields": {"name": {"from": "name", "as": "text"}},
        },
        "unstamped": {"path": "/unstamped", "records": "items", "one": "/unstamped/{id}", "fields": {"name": "name"}},
        "many": {
            "path": "/many",
            "records": "items",
            "many": {"param": "ids", "max": 50},
            "fields": {"name": {"from": "name", "as": "text"}},
        },
        "listed": {"path": "/listed", "records": "items", "updated": "updated_at", "fields": {"name": "name"}},
        "notes": {
            "path": "/things/{parent.id}/notes",
            "parent": "things",
            "records": "items",
            "fields": {"name": {"from": "name", "as": "text"}},
        },
    },
    "webhooks": {
        "verify": "hmac_sha256",
        "header": "X-Signature",
        "event_id": "header:X-Id",
        "events": "events",
        "type": "type",
        "id": "id",
        "at": "at",
        "record": "record",
        "routes": {
            f"{name}.{verb}": name
            for name in ("things", "stamped", "observed", "unstamped", "many", "listed", "notes", "elsewhere")
            for verb in ("changed", "gone")
        },
        "deletes": [
            "things.gone",
            "stamped.gone",
            "observed.gone",
            "unstamped.gone",
            "many.gone",
            "listed.gone",
            "notes.gone",
        ],
    },
}


class Partner:
    """The truth, and every call that was made."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.truth: dict[str, dict[str, Any]] = {}
        """By path, such as `/things/7`."""
        self.calls: list[str] = []
        self.dated = False
        """Do answers tell the partner's time, in whole seconds?"""
        self.slow_seconds = 0.0
        self.tagged = False
        """Do answers have an ETag, and are calls that name it answered with 304?"""
        self.unchanged = 0
        """Answers of 304."""

    async def call(
        self, request: Request, *, lane: Lane = Lane.NORMAL, judging: Any = None, stats: Any = None
    ) -> Response:
        began = self.clock.now()
        self.calls.append(request.path)
        if request.params:
            wanted = dict(request.params)["ids"].split(",")
            found: Any = {
                "items": [
                    self.truth[f"{request.path}/{one}"] for one in wanted if f"{request.path}/{one}" in self.truth
                ]
            }
        else:
            found = self.truth.get(request.path)
        if found is None:
            raise GoneError("no such record", status=404)
        date = {"Date": format_datetime(began, usegmt=True)} if self.dated else {}
        body = orjson.dumps(found)
        if self.tagged:
            tag = f'"{hashlib.md5(body).hexdigest()}"'
            if request.headers.get("If-None-Match") == tag:
                self.unchanged += 1
                return Response(304, Headers(date | {"ETag": tag}), b"", requested_at=began)
            date |= {"ETag": tag}
        return Response(200, Headers(date), body, requested_at=began, elapsed_seconds=self.slow_seconds)


class Desk:
    """An integration, `acme`, that owns its scope, and what works on its deliveries and tasks."""

    def __init__(self, store: Store, clock: Clock, fence: int, driver: Driver, options: Mapping[str, Any]) -> None:
        self.store, self.clock, self.driver = store, clock, driver
        self.partner = Partner(clock)
        plans = {
            resource.name: ResourcePlan(
                resource,
                Strategy.CHILDREN if resource.parent else Strategy(resource.reads),
                Schedule(every_seconds=900),
            )
            for resource in driver.resources(options).values()
            if resource.enabled
        }
        below = {name: tuple(one.name for one in plans.values() if one.resource.parent == name) for name in plans}
        targets = {plan.name: Target(plan.resource, plan.adapter, below[plan.name]) for plan in plans.values()}
        ownership: Any = SimpleNamespace(scope="acme", fence=fence, held=True)
        session: Any = SimpleNamespace(call=self.partner.call, auth=SimpleNamespace(needs=None), stats=CallStats)
        self.ownership = ownership
        self.account = Account(
            partner="plain",
            name="acme",
            driver=driver,
            session=session,
            gate=Gate("acme", ["1000/s"], clock=clock),
            store=store,
            clock=clock,
            ownership=ownership,
            plans=plans,
            processor=Processor(driver, "acme", targets, store),
            health=Health("acme"),
            options=options,
        )
        self.paused: list[str] = []
        self.worker = Worker(self.account, RetryPolicy())
        self.numbers = 0
        self.begin()

    @classmethod
    async def open(
        cls,
        store: Store,
        clock: Clock,
        *,
        rest: Mapping[str, Any] = REST,
        driver: Driver | None = None,
        options: Any = None,
    ) -> Desk:
        fence = await store.leases.acquire("acme", "test:1", 600)
        assert fence is not None
        return cls(store, clock, fence, driver or drivers.load("rest", rest=dict(rest), partner="plain"), options or {})

    def begin(self) -> None:
        """A process that has just started."""
        self.events = Events("plain", {"acme": self.account}, self.store, self.clock, paused=lambda: self.paused)

    async def restart(self) -> None:
        """The process died with whatever it had in hand, and another one owns the scope."""
        await self.store.leases.release("acme", "test:1", self.ownership.fence)
        fence = await self.store.leases.acquire("acme", "test:1", 600)
        self.ownership.fence = fence
        self.begin()

    async def deliver(self, *events: Mapping[str, Any], body: bytes | None = None, **more: Any) -> int:
        """One delivery into the inbox; returns its id."""
        self.numbers += 1
        (number,) = await self.deliver_all([body if body is not None else orjson.dumps({"events": events})], **more)
        return number

    async def deliver_all(
        self,
        bodies: Sequence[bytes],
        *,
        event_type: str | None = None,
        received: Sequence[datetime] | None = None,
    ) -> list[int]:
        self.numbers += 1
        async with self.store._database.connection() as connection:
            found = await connection.fetch(
                "INSERT INTO syncd.inbox (integration, event_id, event_type, body, received_at) "
                "SELECT 'acme', $3 || n, $4, b, r FROM unnest($1::bytea[], $2::timestamptz[]) WITH ORDINALITY AS t(b, r, n) "
                "RETURNING id",
                list(bodies),
                list(received) if received is not None else [self.clock.now()] * len(bodies),
                f"e{self.numbers}-",
                event_type,
            )
        return [each[0] for each in found]

    async def post(self, intake: Intake, sent: Sequence[tuple[str, bytes, datetime]]) -> int:
        """Deliveries as a partner sends them, by their ids; returns how many were not known before."""
        receiver = Receiver("plain", "acme", self.driver, [Secret(KEY.decode())])
        arrivals = []
        for event_id, body, received_at in sent:
            seal = hmac.new(KEY, body, hashlib.sha256).hexdigest()
            told = receiver.judge(Delivery(body, Headers({"X-Signature": seal, "X-Id": event_id})), received_at)
            assert isinstance(told, Accepted)
            arrivals.append(Arrival("acme", told.event_id, "", told.event_type, told.headers, body, received_at))
        stored = 0
        for first in range(0, len(arrivals), 500):
            stored += sum(await asyncio.gather(*(intake.put(one) for one in arrivals[first : first + 500])))
        return stored

    async def work(self) -> None:
        """Until nothing waits that may be taken now."""
        for _ in range(10_000):
            if not await self.events.look():
                return
        raise AssertionError("there is always more")

    async def take_tasks(self, limit: int = 1000) -> list[Task]:
        return await self.store.tasks.take("acme", fence=self.ownership.fence, limit=limit)

    async def do_tasks(self) -> int:
        """Take what is ready and do it; returns how many."""
        tasks = await self.take_tasks()
        for task in tasks:
            await self.worker.run([task])
        return len(tasks)

    async def rows(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        return await self.store._database.fetch(sql, *values)

    async def fates(self) -> list[tuple[str, str | None]]:
        return [
            (row["state"], row["reason"])
            for row in await self.rows("SELECT state, reason FROM syncd.inbox ORDER BY id")
        ]

    async def live(self, resource: str = "things") -> dict[str, Any]:
        """Raw content of what is stored alive, by id."""
        return {one.external_id: one.raw async for one in self.store.records.scan("acme", resource)}


def event(
    external_id: str, verb: str = "changed", *, resource: str = "things", at: datetime | None = None, record: Any = None
) -> dict[str, Any]:
    told: dict[str, Any] = {"type": f"{resource}.{verb}", "id": external_id}
    if at is not None:
        told["at"] = at.isoformat()
    if record is not None:
        told["record"] = record
    return told


def thing(external_id: str, name: str, at: datetime | None) -> dict[str, Any]:
    raw = {"id": external_id, "name": name}
    return raw if at is None else {**raw, "updated_at": at.isoformat()}


def later(moment: datetime, seconds: float) -> datetime:
    return moment + timedelta(seconds=seconds)
