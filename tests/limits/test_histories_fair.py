"""Lanes and members under load, in many scopes: urgent calls hardly wait, reserves are lent and hold, shares are equal."""

import asyncio
import math
import random

import pytest

from syncd.limits import Gate
from syncd.model import Lane
from syncd.testing.clock import FakeClock

SCOPES = [*range(6), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(6, 20))]
"""Seeds: six with the suite, all with `make soak`."""
TIERS = (
    ("10/s", "300/120s"),
    ("100/10s",),
    ("50/5s", "400/min"),
    ("20/s",),
    ({"rate": "600/min", "kind": "fixed"},),
    ({"rate": "12/s", "kind": "bucket", "burst": 20},),
)


class Scope:
    """One gate under load, and who got what."""

    def __init__(self, seed: int, **known) -> None:
        self.dice = random.Random(f"load {seed}")
        self.clock = FakeClock(seed=seed)
        self.latency = self.dice.choice((0.05, 0.3, 1.0))
        known.setdefault("share", self.dice.choice((1.0, 0.7)))
        self.gate = Gate("s", known.pop("tiers", None) or self.dice.choice(TIERS), clock=self.clock, **known)
        self.got: dict[str, float] = {}
        self.waited: list[float] = []
        self.tasks: list[asyncio.Task[None]] = []

    def load(self, name: str, count: int = 40, **asked) -> None:
        """So many callers that never rest, from now on."""
        for _ in range(count):
            self.tasks.append(asyncio.create_task(self._calls(name, asked)))

    async def _calls(self, name: str, asked: dict) -> None:
        while True:
            async with self.gate.admit(member=name, **asked) as slot:
                self.got[name] = self.got.get(name, 0.0) + asked.get("weight", 1.0)
                await self.clock.sleep(self.dice.uniform(0.2, 1.8) * self.latency)
                slot.success()

    async def urgent(self, every: float, times: int) -> None:
        for _ in range(times):
            await self.clock.sleep(every * self.dice.uniform(1.0, 1.5))
            asked = self.clock.monotonic()
            async with self.gate.admit(lane=Lane.HIGH, member="urgent") as slot:
                self.waited.append(self.clock.monotonic() - asked)
                await self.clock.sleep(self.latency)
                slot.success()

    async def fresh(self, seconds: float) -> dict[str, float]:
        """What each got in so many seconds, after a while in which the start is forgotten."""
        window = max(tier.hold_seconds for tier in self.gate.book.tiers)
        await self.clock.advance(2 * window)
        self.got.clear()
        await self.clock.advance(math.ceil(seconds / window) * window)
        return self.got

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.gate.close()

    @property
    def slowest(self):
        return min(self.gate.book.tiers, key=lambda tier: tier.budget / tier.hold_seconds)


@pytest.mark.parametrize("seed", SCOPES)
async def test_an_urgent_call_now_and_then_waits_at_most_two_seconds_in_a_backfill(seed):
    scope = Scope(seed)
    scope.load("backfill", lane=Lane.LOW)
    if scope.dice.random() < 0.5:
        scope.load("schedule", lane=Lane.NORMAL)
    await scope.clock.advance(scope.slowest.hold_seconds * 2)
    tier = scope.slowest
    high = max(getattr(tier, "reserved", [1.0])[0], 1.0)
    await scope.clock.run(scope.urgent(2.0 * tier.hold_seconds / high, 30))
    await scope.end()
    assert max(scope.waited) <= 2.0, f"seed {seed}: {sorted(scope.waited)[-3:]}"


@pytest.mark.parametrize("seed", SCOPES)
async def test_one_busy_lane_alone_gets_nearly_all_since_what_others_reserved_is_lent(seed):
    scope = Scope(seed)
    scope.load("one", lane=Lane(scope.dice.randrange(3)))
    got = await scope.fresh(240)
    tier, seconds = scope.slowest, math.ceil(240 / max(t.hold_seconds for t in scope.gate.book.tiers))
    seconds *= max(t.hold_seconds for t in scope.gate.book.tiers)
    held = min(t.ceiling / (t.hold_seconds + 1.1 * scope.latency) for t in scope.gate.book.tiers)
    rate = min(tier.budget / tier.hold_seconds, held) if tier.spec.kind != "bucket" else tier.pace
    await scope.end()
    assert got["one"] >= 0.85 * rate * seconds, f"seed {seed}: {got['one']} of {rate * seconds}"


@pytest.mark.parametrize("seed", SCOPES)
async def test_with_every_lane_full_each_gets_at_least_what_is_reserved_for_it(seed):
    """At the usual share. A window as short as an answer takes is bound by its answers, and these know no lanes."""
    reserves = {"high": 0.2, "normal": 0.2, "low": 0.1}
    scope = Scope(seed, lanes=reserves, share=0.7, tiers=random.Random(seed).choice(TIERS[:5]))
    scope.latency = min(scope.latency, 0.3)
    for lane in Lane:
        scope.load(lane.name.lower(), lane=lane)
    got = await scope.fresh(240)
    await scope.end()
    whole = sum(got.values())
    for lane in Lane:
        kept = min(tier.reserved[lane] / tier.budget for tier in scope.gate.book.tiers)  # whole calls: 2 of 14, 1 of 7
        assert got.get(lane.name.lower(), 0) >= 0.85 * kept * whole, f"seed {seed}: {got}"
    assert got["high"] >= 0.9 * got["normal"]


@pytest.mark.parametrize("seed", SCOPES)
async def test_members_of_a_lane_get_equal_shares_however_they_ask(seed):
    """Different numbers of callers, different budgets, and calls of different weights where weights count."""
    dice = random.Random(f"members {seed}")
    weighted = dice.random() < 0.5
    tiers = ({"rate": "1000/10s", "weighted": True},) if weighted else dice.choice(TIERS[:5])
    scope = Scope(seed, tiers=tiers)
    lanes = dice.choice(([Lane.NORMAL], [Lane.NORMAL, Lane.LOW], list(Lane)))
    for n in range(dice.choice((2, 3, 5))):
        for lane in lanes:
            count = dice.choice((150, 200)) if weighted else dice.choice((90, 150, 200))
            scope.load(
                f"m{n}",
                count,
                lane=lane,
                budgets=(dice.choice(("read", "write")), f"/route/{dice.randrange(4)}"),
                weight=float(dice.choice((2, 5, 10))) if weighted else 1.0,
            )
    got = await scope.fresh(300)
    await scope.end()
    assert min(got.values()) >= 0.9 * max(got.values()), f"seed {seed}: {got}"
