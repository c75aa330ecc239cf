"""No line waits for ever: neither behind busier ones nor behind a call that can never go."""

import asyncio

from syncd.limits import Gate, OverBudgetError
from syncd.limits.readings import Reading
from syncd.model import Lane
from syncd.testing.clock import FakeClock


async def test_a_lane_that_is_served_on_one_budget_does_not_starve_on_another():
    clock = FakeClock()
    gate = Gate("s", ["600/min", {"rate": "10/min", "budget": "write"}], clock=clock, share=1.0, lanes={})

    async def busy(lane, budgets, pause=0.0):
        while True:
            async with gate.admit(lane=lane, budgets=budgets) as slot:
                await clock.sleep(0.2)
                slot.success()
            await clock.sleep(pause)

    tasks = [asyncio.create_task(busy(Lane.NORMAL, ("write",))) for _ in range(14)]
    tasks.append(asyncio.create_task(busy(Lane.LOW, ("read",), 3.0)))
    await clock.advance(30)

    async def write():
        async with gate.admit(lane=Lane.LOW, budgets=("write",)):
            return clock.monotonic()

    asked = clock.monotonic()
    rare = asyncio.create_task(write())
    await clock.advance(60)
    assert rare.done() and rare.result() - asked <= 31  # when slots come back
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_when_a_limit_is_lowered_below_the_weight_of_a_call_it_is_refused_and_bars_nobody():
    clock = FakeClock()
    gate = Gate("s", [{"rate": "100/10s", "weighted": True}], clock=clock, share=1.0, lanes={})
    went = {}

    async def call(weight):
        began = clock.monotonic()
        try:
            async with gate.admit(weight=weight, deadline_at=began + 120):
                went[weight] = clock.monotonic() - began
        except OverBudgetError as error:
            went[weight] = error.hopeless

    async with gate.admit(weight=60) as first:
        heavy, light = asyncio.create_task(call(80)), asyncio.create_task(call(1))
        await clock.settle()
        reading = Reading(limit=50, remaining=10, reset_seconds=5, window_seconds=10, budget="points")
        first.told([reading])
        first.success()
    await clock.advance(30)
    await asyncio.gather(heavy, light)
    assert went[80] is True
    assert went[1] <= 10.5
