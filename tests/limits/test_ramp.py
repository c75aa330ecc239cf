"""While budgets grow after an outage: whoever waits goes when every tier admits it, not a moment later."""

import asyncio
import random

import pytest

from syncd.limits import Gate
from syncd.model import Lane
from syncd.testing.clock import FakeClock

LOOK_SECONDS = 0.05


async def latest(spec, seed):
    """The longest that anybody waited although the tier would have let it go."""
    dice, clock = random.Random(seed), FakeClock()
    gate = Gate("s", [spec], clock=clock, share=1.0, lanes={})
    [tier] = gate.book.tiers

    async def call():
        async with gate.admit() as slot:
            slot.success()

    for _ in range(dice.randint(0, 40)):
        if tier.admits(clock.monotonic(), Lane.NORMAL, 1.0, (True,) * 3):
            await call()
        await clock.advance(dice.random())
    gate.ramp(dice.choice((20.0, 60.0)))
    calls = [asyncio.create_task(call()) for _ in range(60)]
    await clock.settle()
    worst, since, end = 0.0, None, clock.monotonic() + 80
    while clock.monotonic() < end and gate.book.crowd:
        await clock.advance(LOOK_SECONDS)
        now = clock.monotonic()
        if gate.book.crowd and tier.admits(now, Lane.NORMAL, 1.0, (True, False, True)):
            since = now if since is None else since
            worst = max(worst, now - since + LOOK_SECONDS)
        else:
            since = None
    for task in calls:
        task.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    return worst


@pytest.mark.parametrize(
    "spec",
    ["40/20s", "20/30s", {"rate": "30/min", "kind": "bucket"}, {"rate": "10/min", "kind": "bucket", "burst": 40}],
    ids=str,
)
async def test_slots_that_come_back_meet_a_budget_that_grows(spec):
    for seed in range(4):
        assert await latest(spec, seed) <= 2 * LOOK_SECONDS
