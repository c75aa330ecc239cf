"""A partner that tightens its limit without a word, over ten virtual hours of work that comes and goes."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from dataclasses import dataclass

from syncd.limits import Gate, Slot
from syncd.limits.tiers import TierSpec
from syncd.testing.clock import FakeClock
from tests.limits.history.keeper import Keeper, Storage

HOURS = 10


@dataclass(frozen=True)
class Tightening:
    """What is drawn from a seed."""

    stated: int
    """Calls in a window, as configured."""
    real: int
    """What the partner allows from `at_seconds` on."""
    at_seconds: float
    window: float
    fixed: bool
    """Does it count fixed windows, or sliding ones?"""
    says_when: str
    """What it tells with a 429: `nothing`, `seconds`, or `window` (until the window has passed)."""
    concurrency: int
    share: float
    latency: float
    rests: bool
    """Is there work all the time, or in bouts?"""
    restarts: int


def tightening(seed: int) -> Tightening:
    dice = random.Random(f"tightening {seed}")
    stated = dice.choice((40, 60, 100))
    return Tightening(
        stated=stated,
        real=max(3, stated // dice.choice((3, 5, 10))),
        at_seconds=dice.uniform(0, 1800),
        window=dice.choice((60.0, 60.0, 300.0)),
        fixed=dice.random() < 0.5,
        says_when=dice.choice(("nothing", "seconds", "window")),
        concurrency=dice.choice((1, 2, 4, 8, 16)),
        share=dice.choice((1.0, 0.7)),
        latency=dice.choice((0.05, 0.3)),
        rests=dice.random() < 0.4,
        restarts=dice.choice((0, 0, 1, 3)),
    )


class Refuser:
    """The partner: counts what it accepts, refuses what is too much, tells (or not) when to come back."""

    def __init__(self, plan: Tightening, clock: FakeClock, tightens_at: float) -> None:
        self.plan = plan
        self.clock = clock
        self.tightens_at = tightens_at
        self.accepted: deque[float] = deque()
        self.arrived: deque[float] = deque()
        self.busiest = 0
        """The most that ever arrived within a sliding window."""
        self.counts: Counter[str] = Counter()

    def take(self) -> bool:
        plan, now = self.plan, self.clock.monotonic()
        self._forget(self.arrived, now - plan.window)
        self.arrived.append(now)
        self.busiest = max(self.busiest, len(self.arrived))
        self._forget(self.accepted, now // plan.window * plan.window if plan.fixed else now - plan.window)
        limit = plan.real if now >= self.tightens_at else plan.stated
        if len(self.accepted) >= limit:
            self.counts["refused"] += 1
            return False
        self.accepted.append(now)
        self.counts["accepted once learned" if now >= self.tightens_at + 1800 else "accepted"] += 1
        return True

    def when(self) -> float | None:
        plan, now = self.plan, self.clock.monotonic()
        if plan.says_when == "nothing":
            return None
        if plan.says_when == "seconds":
            return 5.0
        return (now // plan.window + 1) * plan.window - now if plan.fixed else self.accepted[0] + plan.window - now

    @staticmethod
    def _forget(moments: deque[float], since: float) -> None:
        while moments and moments[0] <= since:
            moments.popleft()


async def live(plan: Tightening, seed: int) -> Refuser:
    """Ten hours of calls; the processes in them share one storage."""
    clock = FakeClock(seed=seed, boot="first")
    dice = random.Random(f"tightening lived {seed}")
    storage = Storage()
    began = clock.monotonic()
    partner = Refuser(plan, clock, began + plan.at_seconds)
    tier = TierSpec(float(plan.stated), plan.window, kind="fixed" if plan.fixed else "sliding")

    async def call(slot: Slot, gate: Gate) -> None:
        await clock.sleep(plan.latency * dice.random())
        good = partner.take()
        await clock.sleep(plan.latency * dice.random())
        slot.answered()
        slot.success()
        if not good:
            gate.limited(partner.when(), "429", call=slot)

    async def worker(gate: Gate, end: float) -> None:
        while clock.monotonic() < end:
            if plan.rests and dice.random() < 0.01:
                await clock.sleep(dice.uniform(0, 1200))
            async with gate.admit() as slot:
                await call(slot, gate)

    ends = [*sorted(began + dice.uniform(0, HOURS * 3600) for _ in range(plan.restarts)), began + HOURS * 3600]
    for end in ends:
        keeper = Keeper(storage, clock, dice, 0.004)
        gate = Gate("s", [tier], clock=clock, share=plan.share, concurrency=plan.concurrency, keeper=keeper)
        await clock.run(gate.open())
        tasks = [asyncio.create_task(worker(gate, end)) for _ in range(plan.concurrency)]
        await clock.advance(max(0.0, end - clock.monotonic()))
        keeper.kill()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        gate.close()
    return partner
