"""A partner that changes while its deliveries come late, twice, in any order or never, and answers are held back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from syncd.errors import GoneError
from syncd.kit import Item, Request, Response
from syncd.model import Headers, Lane
from syncd.store import PageWrite
from syncd.store.intake import Intake
from syncd.sync.page import PageIn
from syncd.testing.clock import FakeClock
from tests.sync.inboxed import Desk, event, thing


@dataclass
class Held:
    """An answer that was given and has not arrived."""

    path: str
    arrive: asyncio.Event = field(default_factory=asyncio.Event)


class Chaos:
    """One desk whose partner is this; everything happens when it is told to."""

    def __init__(self, desk: Desk, clock: FakeClock, *, stamped: bool = True, timed: bool = True) -> None:
        """`stamped`: records have a stamp of their own; `timed`: a deletion says when it was."""
        self.desk, self.clock = desk, clock
        self.resource = "stamped" if stamped else "unstamped"
        self.stamped, self.timed = stamped, timed
        self.truth: dict[str, dict[str, Any]] = {}
        self.ended: set[str] = set()
        self.told: list[bytes] = []
        """Every event there ever was, as the body of its delivery."""
        self.calls = 0
        self.holding: Callable[[], bool] = lambda: False
        """Is the next answer held back?"""
        self.held: list[Held] = []
        self.polls: list[tuple[datetime, list[dict[str, Any]]]] = []
        self.reads: list[asyncio.Task[None]] = []
        desk.account.session.call = self.call  # type: ignore[method-assign]

    # -- the partner -------------------------------------------------------------------------------------------------

    def change(self, external_id: str, name: str | None, *, whole: bool = False) -> None:
        """A record gets this name, or goes; and there is an event of it."""
        now = self.clock.now()
        if name is None:
            self.ended.add(external_id)
            self.truth.pop(external_id, None)
            told = event(external_id, "gone", resource=self.resource, at=now if self.timed else None)
        else:
            raw = self.truth[external_id] = thing(external_id, name, now if self.stamped else None)
            told = event(external_id, resource=self.resource, at=now, record=raw if whole else None)
        self.told.append(orjson.dumps({"events": [told]}))

    async def call(
        self, request: Request, *, lane: Lane = Lane.NORMAL, judging: Any = None, stats: Any = None
    ) -> Response:
        began, self.calls = self.clock.now(), self.calls + 1
        name = request.path.rpartition("/")[2]
        if name == self.resource:
            found: Any = {"items": list(self.truth.values())}
        else:
            found = self.truth.get(name)
        body = orjson.dumps(found) if found is not None else b""
        if self.holding():
            held = Held(request.path)
            self.held.append(held)
            await held.arrive.wait()
        if found is None:
            raise GoneError("no such record", status=404)
        return Response(200, Headers(), body, requested_at=began)

    # -- what syncd does of it ---------------------------------------------------------------------------------------

    def ask_page(self, ids: list[str]) -> None:
        """A poll's page is answered now, and will be read whenever `read_page` comes to it."""
        self.polls.append((self.clock.now(), [self.truth[one] for one in ids if one in self.truth]))

    async def read_page(self, number: int = 0) -> None:
        fetched_at, raws = self.polls.pop(number)
        account = self.desk.account
        source = PageIn([Item(self.resource, orjson.loads(orjson.dumps(raw))) for raw in raws], fetched_at, "poll")
        page = await account.processor.read(self.resource, source, rejected=set())
        await account.store.pages.commit_one(
            PageWrite(
                "plain",
                "acme",
                self.resource,
                "acme",
                account.fence,
                None,
                None,
                None,
                False,
                rows=page.rows,
                cause="poll",
            )
        )

    async def begin_reads(self) -> None:
        """What is ready is read, as the feeder has it done: of one record one read at a time."""
        await self.clock.advance(0.001)  # a call takes its time to leave
        tasks = await self.desk.take_tasks()
        self.reads += [asyncio.ensure_future(self.desk.worker.run([task])) for task in tasks]
        await self.rest()

    async def rest(self) -> None:
        """Until every read under way is done, or waits for an answer that is held back."""
        while True:
            self.reads = [read for read in self.reads if not read.done()]
            waiting = sum(1 for held in self.held if not held.arrive.is_set())
            if len(self.reads) <= waiting:
                return
            await asyncio.wait(self.reads, timeout=0.005)

    async def arrive(self, number: int = 0) -> None:
        """A held answer arrives."""
        self.held.pop(number).arrive.set()
        await self.rest()

    async def settle(self) -> None:
        """Everything under way comes to its end, whatever coalescing has put off too."""
        self.holding = lambda: False
        while self.polls:
            await self.read_page()
        while self.held:
            await self.arrive()
        for _ in range(100):
            await self.desk.work()
            await self.begin_reads()
            if not await self.desk.store.tasks.list("acme", limit=1):
                return
            await self.clock.advance(10)
        raise AssertionError(f"still {await self.desk.store.tasks.list('acme')}")

    async def rows(self) -> dict[str, Any]:
        return await self.desk.live(self.resource)


def script(dice: random.Random, count: int) -> list[tuple[float, int]]:
    """When each of so many events is delivered, in events after its own: lost ones never, some twice, in any order."""
    plan: list[tuple[float, int]] = []
    for number in range(count):
        if dice.random() < 0.05:
            continue
        for _ in range(1 + (dice.random() < 0.2)):
            late = (
                0.0
                if dice.random() < 0.3
                else dice.expovariate(1 / 50)
                if dice.random() < 0.9
                else dice.uniform(0, 2000)
            )
            plan.append((number + late, number))
    return sorted(plan)


async def campaign(chaos: Chaos, intake: Intake, seed: int, *, events: int, records: int) -> set[str]:
    """So many changes of so many records, told as `script` says, with polls and reads whose answers are held back.

    What changes and when hangs on the seed alone; which answer is the late one hangs on the order of calls, too.
    Returns the records whose last change nobody was told of.
    """
    world, dice, luck = (random.Random(seed * 3 + number) for number in range(3))
    names = [f"r{number:03}" for number in range(records)]
    plan = script(dice, events)
    chaos.holding = lambda: luck.random() < 0.3
    at, due = 0, list[tuple[str, bytes, datetime]]()
    for number in range(events):
        name = None if world.random() < 0.1 else f"n{world.randrange(5)}"
        external_id = world.choice(names)
        if name is None and external_id not in chaos.truth:
            name = "again"
        chaos.change(external_id, name, whole=world.random() < 0.75)
        await chaos.clock.advance(0.01)
        while at < len(plan) and plan[at][0] <= number:
            again = luck.random() < 0.3  # a partner may send one fact under two ids
            due.append((f"{plan[at][1]}{f' of {at}' if again else ''}", chaos.told[plan[at][1]], chaos.clock.now()))
            at += 1
        if due and dice.random() < 0.02:
            await chaos.desk.post(intake, due)
            await chaos.desk.work()
            due = []
        if dice.random() < 0.008:
            await chaos.begin_reads()
        if dice.random() < 0.015:
            first = dice.randrange(records)
            chaos.ask_page(names[first : first + 50])
        if chaos.polls and dice.random() < 0.015:
            await chaos.read_page(dice.randrange(len(chaos.polls)))
        if chaos.held and luck.random() < 0.5:
            await chaos.arrive(luck.randrange(len(chaos.held)))
        if world.random() < 0.01:
            await chaos.clock.advance(world.choice([1.0, 30.0, 70.0]))
    due += [(str(number), chaos.told[number], chaos.clock.now()) for _, number in plan[at:]]
    await chaos.desk.post(intake, due)
    await chaos.settle()
    sent = {number for _, number in plan}
    last = {orjson.loads(body)["events"][0]["id"]: number for number, body in enumerate(chaos.told)}
    return {one for one, number in last.items() if number not in sent}
