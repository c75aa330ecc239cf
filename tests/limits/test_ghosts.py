"""Seats after a kill: the partner may still be busy with what the dead process had asked, and counts it."""

import asyncio

import pytest

from syncd.limits import Gate
from syncd.limits.recorder import allowance
from syncd.testing.clock import FakeClock
from tests.limits.test_recorder import Keeper


def gate_of(clock, keeper, *tiers, seats):
    return Gate("s", tiers, clock=clock, keeper=keeper, share=1, lanes={}, concurrency=seats, deadline_seconds=30)


async def call(gate, seconds, log):
    async with gate.admit():
        log.append(gate.clock.monotonic())
        await gate.clock.sleep(seconds)


async def killed(clock, keeper, tier, seats, calls, took=16.0):
    """A process that is killed with so many calls under way, all stored."""
    gate = gate_of(clock, keeper, tier, seats=seats)
    await clock.run(gate.open())
    tasks = [asyncio.create_task(call(gate, 20, [])) for _ in range(calls)]
    await clock.advance(took)
    await clock.run(gate.persist())  # what saves once a second do
    for task in tasks:
        task.cancel()
    keeper.broken = True
    await asyncio.gather(*tasks, return_exceptions=True)
    keeper.broken = False


async def test_calls_that_were_under_way_keep_their_seats_until_their_deadline():
    clock = FakeClock()
    keeper = Keeper(clock, 0)
    await killed(clock, keeper, "100/min", seats=10, calls=4)
    saved_at, log = clock.monotonic(), []
    gate = gate_of(clock, keeper, "100/min", seats=10)
    await clock.run(gate.open())
    unknown = int(keeper.state["tiers"][gate.book.tiers[0].key].get("allowed", 0))
    tasks = [asyncio.create_task(call(gate, 600, log)) for _ in range(10)]
    await clock.advance(1.0)
    assert len(log) <= 6, "four seats may be taken by the dead"
    assert gate.view()["seats"]["used"] == 10
    assert unknown <= allowance(gate.book.tiers[0])
    await clock.advance(30.0)
    assert len(log) == 10, "nobody is busy for longer than a call may take"
    assert max(log) >= saved_at + 28.0
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert gate.view()["seats"]["used"] == 0


async def test_where_nothing_told_how_many_left_all_seats_are_waited_for():
    clock = FakeClock()
    keeper = Keeper(clock, 0)
    await killed(clock, keeper, "100/s", seats=4, calls=1)  # a window this short is not stored while calls are made
    gate, log = gate_of(clock, keeper, "100/s", seats=4), []
    await clock.run(gate.open())
    began = clock.monotonic()
    task = asyncio.create_task(call(gate, 0.1, log))
    await clock.advance(25.0)
    assert not log
    told = gate.view()["next_call"]
    assert told["why"] == "concurrency" and told["in_seconds"] <= 6.0
    await clock.advance(7.0)
    await clock.run(task)
    assert began + 28.0 <= log[0] <= began + 31.0


async def test_however_quick_calls_were_a_dead_process_has_its_seats_until_the_deadline_and_the_others_are_free():
    clock = FakeClock()
    keeper = Keeper(clock, 0)
    await killed(clock, keeper, {"rate": "10/h", "share": 1}, seats=3, calls=2, took=0.3)  # rare: each call is stored
    gate, log = gate_of(clock, keeper, {"rate": "10/h", "share": 1}, seats=3), []
    began = clock.monotonic()
    await clock.run(gate.open())
    await clock.run(call(gate, 0.1, log))
    assert log[0] == began, "the third seat is nobody's"
    await clock.run(asyncio.gather(*(call(gate, 600, log) for _ in range(2))))
    assert log[1] - began == pytest.approx(0.1, abs=0.001)
    assert 28 <= log[2] - began <= 30.1


async def test_kills_one_after_another_never_prolong_what_a_dead_process_left():
    clock = FakeClock()
    keeper = Keeper(clock, 0)
    await killed(clock, keeper, "100/s", seats=2, calls=2, took=0.3)
    began = clock.monotonic()
    for _ in range(6):  # five seconds each, in which nothing may go
        gate = gate_of(clock, keeper, "100/s", seats=2)
        await clock.run(gate.open())
        assert gate.view()["seats"]["used"] == (2 if clock.monotonic() - began < 30 else 0)
        await clock.advance(5.0)
        await clock.run(gate.persist())
    gate = gate_of(clock, keeper, "100/s", seats=2)
    await clock.run(gate.open())
    assert gate.view()["seats"]["used"] == 0
    assert gate.view()["next_call"]["in_seconds"] <= 2.1  # the window, which is waited out anew


async def test_a_process_that_ended_well_or_never_called_leaves_no_ghosts():
    clock = FakeClock()
    keeper = Keeper(clock, 0)
    first = gate_of(clock, keeper, "100/min", seats=4)
    await clock.run(first.open())
    second, log = gate_of(clock, keeper, "100/min", seats=4), []
    await clock.run(second.open())  # the first was killed before its first call
    await clock.run(asyncio.gather(*(call(second, 0.1, log) for _ in range(4))))
    assert max(log) - min(log) < 0.05
    await clock.run(second.persist(clean=True))
    third = gate_of(clock, keeper, "100/min", seats=4)
    await clock.run(third.open())
    assert third.view()["seats"]["used"] == 0
