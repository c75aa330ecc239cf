"""Fifty callers at one gate, cancelled again and again wherever they have got to, with the books checked each time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

from syncd.errors import BreakerOpenError, StoreError, TransientError
from syncd.limits import BreakerPolicy, BreakerState, Gate, OverBudgetError, Slot
from syncd.model import Lane
from syncd.testing.clock import FakeClock

CALLERS = 50
TIERS = ("12/s", "60/10s", {"rate": "15/2s", "budget": "write"}, {"rate": "20/s", "kind": "bucket", "burst": 15})
COOLDOWN = 1.0


class Moody:
    """A keeper whose commits take a moment, and now and then fail."""

    def __init__(self, clock: FakeClock, dice: random.Random) -> None:
        self.clock = clock
        self.dice = dice
        self.well = False

    async def save(self, scope: str, state: Mapping[str, Any]) -> None:
        await self.clock.sleep(self.dice.choice((0.0, 0.001, 0.02)))
        if not self.well and self.dice.random() < 0.05:
            raise StoreError("the database is away")

    async def load(self, scope: str) -> None:
        return None


class Caller:
    """One of the fifty; `where` says how far it is."""

    def __init__(self, task: asyncio.Task[None], slot: Slot) -> None:
        self.task = task
        self.slot = slot
        self.where = "asking"


class Storm:
    """See `rage`; raises AssertionError as soon as a book does not balance."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(f"storm {seed}")
        self.clock = FakeClock(seed=seed)
        self.keeper = Moody(self.clock, self.dice) if self.dice.random() < 0.6 else None
        self.gate = Gate(
            "s",
            TIERS,
            clock=self.clock,
            share=1.0,
            concurrency=9,
            breaker=BreakerPolicy(failures=3, cooldown_seconds=COOLDOWN, longest_seconds=COOLDOWN),
            keeper=self.keeper,
            lost_seconds=0.5,
        )
        self.callers: dict[Caller, None] = {}
        self.sick = 0
        """So many calls fail next."""
        self.seen: Counter[str] = Counter()
        """Where callers were when they were cancelled, what else befell them, and how often fifty waited."""

    async def rage(self, times: int) -> None:
        """Cancel that often while fifty wait, and at other times besides; each time one, some or all at once."""
        while self.seen["fifty wait"] < times:
            self.gate.release()
            if self.gate.breaker_state() is BreakerState.OPEN:
                await self.clock.advance(COOLDOWN)
            while len(self.callers) < CALLERS + 10:
                self._engage()
            await self._wander()
            self.seen["fifty wait"] += len(self.gate.room) >= CALLERS
            for caller in self.dice.sample(list(self.callers), self._how_many()):
                self.seen[self._point(caller)] += 1
                caller.task.cancel()
            await self.clock.settle()
            self._balance()
            if self.dice.random() < 0.1:
                self._disturb()

    async def settle_down(self) -> None:
        """All go home; then nothing may be left: the whole budget is there again."""
        for caller in self.callers:
            caller.task.cancel()
        await self.clock.settle()
        assert not self.callers
        self.gate.resume()
        self.gate.release()
        if self.keeper is not None:
            self.keeper.well = True
        await self.clock.advance(60)
        self._balance()
        if self.gate.breaker_state() is BreakerState.OPEN:  # each probe that fails makes the next one later
            await self.clock.advance(3600)
        if self.gate.breaker_state() is not BreakerState.CLOSED:
            await self.clock.run(self._probe())
            await self.clock.advance(120)
        assert self.gate.breaker_state() is BreakerState.CLOSED
        await self.clock.run(self._all_of_it())
        self.gate.close()

    # -- inside

    def _engage(self) -> None:
        dice = self.dice
        deadline = self.clock.monotonic() + dice.choice((0.3, 3.0)) if dice.random() < 0.2 else None
        slot = self.gate.admit(
            lane=Lane(dice.randrange(3)),
            member=f"m{dice.randrange(4)}",
            budgets=(dice.choice(("read", "write")),),
            deadline_at=deadline,
        )
        caller = Caller(asyncio.create_task(self._call(slot)), slot)
        self.callers[caller] = None
        by_task[caller.task] = caller
        caller.task.add_done_callback(lambda task: (self.callers.pop(caller), by_task.pop(task, None)))

    async def _call(self, slot: Slot) -> None:
        try:
            async with slot:
                caller = by_task[asyncio.current_task()]  # type: ignore[index]
                caller.where = "inside"
                await self.clock.sleep(self.dice.uniform(0.01, 0.6))
                mood = self.dice.random()
                if mood < 0.01 or self.sick > 0:
                    self.sick -= 1
                    slot.failure()
                    raise TransientError("no answer")
                if mood < 0.02:
                    self.gate.limited(0.2, "told to wait", call=slot, about="object")
                slot.answered()
                caller.where = "answered"
                slot.success()
                await self.clock.sleep(self.dice.choice((0.0, 0.3)))
        except (BreakerOpenError, OverBudgetError, TransientError, StoreError) as error:
            self.seen[type(error).__name__] += 1

    async def _wander(self) -> None:
        """To some point in time, and there to some point between two turns of the loop."""
        for _ in range(self.dice.randrange(4)):
            await self.clock.settle()
            if self.clock.next_due is None:
                break
            self.clock._ring()
            for _ in range(self.dice.randrange(6)):
                await asyncio.sleep(0)

    def _how_many(self) -> int:
        most = len(self.callers)
        return min(self.dice.choice((1, 1, 2, 5, 20, most)), most)

    def _disturb(self) -> None:
        match self.dice.randrange(5):
            case 0:
                self.gate.pause(0.3, "asked to")
            case 1:
                self.gate.resume()
            case 2:
                self.gate.hold("by hand")
            case 3:
                self.sick = 4
            case _:
                self.gate.reconfigure(
                    TIERS,
                    share=1.0,
                    concurrency=9,
                    breaker=BreakerPolicy(failures=3, cooldown_seconds=COOLDOWN, longest_seconds=COOLDOWN),
                )

    def _point(self, caller: Caller) -> str:
        if getattr(caller.slot, "leave", None) is not None and caller.slot.probe:
            return "probe"
        if caller.where == "asking" and caller.slot.number:
            return "let go"
        return caller.where if caller.where != "asking" or caller.slot.asked_at else "not begun"

    def _balance(self) -> None:
        """What the gate says it holds is what its callers hold, neither more nor less."""
        gate, view = self.gate, self.gate.view()
        inside = [c for c in self.callers if c.where != "asking"]
        let_go = [c for c in self.callers if c.where == "asking" and c.slot.number]
        waiting = [c for c in self.callers if c.where == "asking" and not c.slot.number]
        flying = [c for c in inside if c.where == "inside"] + let_go
        assert view["seats"]["used"] == len(inside) + len(let_go)
        assert view["in_flight"] == len(flying)
        assert sum(view["waiting"].values()) == len(waiting) == len(gate.room)
        for lane in Lane:
            assert view["waiting"][lane.name.lower()] == sum(c.slot.lane == lane for c in waiting)
        late = 0.0
        for tier, counted in zip(gate.book.tiers, view["tiers"], strict=True):
            mine = sum(not tier.spec.budget or tier.spec.budget in c.slot.budgets for c in flying)
            late = tier.flying - mine
            assert late >= 0 if tier.spec.kind == "bucket" else late == 0
            assert counted["used"] <= counted["budget"] + 1e-6
            assert counted["held"] <= counted["limit"] + 1e-6
        probes = [c for c in self.callers if getattr(c.slot, "leave", None) is not None and c.slot.probe]
        assert len(probes) <= 1
        breaker = gate.breakers.of("")
        if probes:
            assert breaker._probe is probes[0].slot.leave or probes[0].slot._verdict
        else:
            assert breaker._probe is None

    async def _probe(self) -> None:
        async with self.gate.admit() as slot:
            assert slot.probe
            slot.success()

    async def _all_of_it(self) -> None:
        """A second's budget goes at once, and not one call more."""
        began = self.clock.monotonic()
        for n in range(12):
            async with self.gate.admit(lane=Lane.HIGH) as slot:
                slot.success()
                assert self.clock.monotonic() - began <= 0.1, f"call {n} waited for {slot.waited_by!r}"
        async with self.gate.admit(lane=Lane.HIGH):
            assert self.clock.monotonic() - began >= 1.0


by_task: dict[asyncio.Task[None], Caller] = {}
