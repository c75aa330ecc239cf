"""Urgent calls while a backfill takes all it can get: what is lent of their lane's reserve is there when they come."""

import asyncio
import random

import pytest

from syncd.limits import Gate
from syncd.model import Lane
from syncd.testing.clock import FakeClock


async def lived(tiers, *, share, every, seconds, callers=12, seed=3):
    """A backfill of so many callers and one urgent call each `every` seconds: waits of these, calls of all."""
    clock, dice = FakeClock(), random.Random(seed)
    gate = Gate("s", tiers, clock=clock, share=share)
    waits, calls = [], 0

    async def backfill():
        nonlocal calls
        while True:
            async with gate.admit(lane=Lane.NORMAL, member="a"):
                calls += 1
                await clock.sleep(dice.uniform(0.05, 0.5))
            await clock.sleep(0.02)

    async def urgent():
        nonlocal calls
        asked_at = clock.monotonic()
        async with gate.admit(lane=Lane.HIGH, member="a"):
            waits.append(clock.monotonic() - asked_at)
            calls += 1
            await clock.sleep(0.2)

    tasks = [asyncio.create_task(backfill()) for _ in range(callers)]
    elapsed = 0.0
    while elapsed < seconds:
        step = min(every * dice.uniform(0.95, 1.05), seconds - elapsed)
        await clock.advance(step)
        elapsed += step
        tasks.append(asyncio.create_task(urgent()))
    await clock.advance(3.0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return waits, calls


@pytest.mark.parametrize("share", [1.0, 0.7])
@pytest.mark.parametrize(
    "tiers", [("300/120s",), ("10/1s", "50/10s", "300/120s"), ("140/600s",), ("60/24s",), ("60/min",)]
)
async def test_an_urgent_call_waits_two_seconds_at_most_from_the_first_window_on(tiers, share):
    limit, window = tiers[-1].split("/")
    window = 60.0 if window == "min" else float(window[:-1])
    reserve = int(float(limit) * share * 0.1)
    waits, calls = await lived(tiers, share=share, every=1.5 * window / reserve, seconds=3.2 * window)
    assert len(waits) >= 2 * reserve
    assert max(waits) <= 2.0
    assert calls >= 0.9 * 3 * float(limit) * share, "and what is not wanted is lent"


async def test_the_last_slot_is_never_lent_where_only_a_share_of_the_limit_is_used():
    # Less than one urgent call a window: nothing tells that one may come.
    waits, _ = await lived(["60/15s"], share=0.7, every=21.0, seconds=400.0)
    assert max(waits) <= 2.0


async def test_a_burst_from_rest_makes_up_for_no_loans():
    clock = FakeClock()
    gate = Gate("s", ["60/24s"], clock=clock, share=0.7)

    async def call(lane):
        async with gate.admit(lane=lane):
            await clock.sleep(0.05)

    tasks = [asyncio.create_task(call(Lane.NORMAL)) for _ in range(60)]
    await clock.advance(1.0)
    used = gate.view()["tiers"][0]["used"]
    assert used <= 42 - 5, "six slots are kept for the other lanes, and one loan may be due"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
