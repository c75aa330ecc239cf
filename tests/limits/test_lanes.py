"""The bounded queue of work: order, room, expiry, turns, closing, cancellation."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.limits.lanes import LaneQueue, QueueClosedError
from syncd.model import Lane
from syncd.testing.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


def drained(queue):
    got = []
    while (item := queue.get_nowait()) is not None:
        got.append(item)
    return got


def test_higher_lanes_come_out_first_and_members_take_turns(clock):
    queue = LaneQueue(clock=clock)
    for n in range(3):
        queue.put_nowait(f"low{n}", lane=Lane.LOW)
        queue.put_nowait(f"a{n}", member="a")
    queue.put_nowait("b0", member="b")
    queue.put_nowait("high", lane=Lane.HIGH)
    assert queue.lengths() == {Lane.HIGH: 1, Lane.NORMAL: 4, Lane.LOW: 3}
    assert drained(queue) == ["high", "a0", "b0", "a1", "a2", "low0", "low1", "low2"]


def test_a_flood_above_does_not_starve_a_lane_below(clock):
    queue = LaneQueue(clock=clock)
    for n in range(100):
        queue.put_nowait(("high", n), lane=Lane.HIGH)
    for n in range(5):
        queue.put_nowait(("low", n), lane=Lane.LOW)
    assert sum(lane == "low" for lane, _ in drained(queue)[:70]) >= 3


async def test_put_waits_while_its_lane_is_full_and_a_full_low_lane_bars_no_other(clock):
    queue = LaneQueue(2, clock=clock)
    assert queue.put_nowait(1, lane=Lane.LOW)
    assert queue.put_nowait(2, lane=Lane.LOW)
    assert not queue.put_nowait(3, lane=Lane.LOW)
    assert queue.room(Lane.LOW) == 0
    waiting = asyncio.create_task(queue.put(3, lane=Lane.LOW))
    await queue.put(4, lane=Lane.HIGH)
    await clock.settle()
    assert not waiting.done()
    assert await queue.get() == 4
    assert await queue.get() == 1
    await clock.settle()
    assert waiting.done()
    assert [await queue.get(), await queue.get()] == [2, 3]


async def test_what_expired_is_never_handed_out_and_is_reported(clock):
    gone = []
    queue = LaneQueue(clock=clock, expired=gone.append)
    queue.put_nowait("old", expires_at=clock.monotonic() + 5)
    queue.put_nowait("new", expires_at=clock.monotonic() + 50)
    await clock.advance(5)
    assert await queue.get() == "new"
    assert gone == ["old"]
    assert queue.expired_count == 1


async def test_an_expired_entry_makes_room_for_who_waits_to_put(clock):
    queue = LaneQueue(1, clock=clock)
    queue.put_nowait("old", expires_at=clock.monotonic() + 1)
    waiting = asyncio.create_task(queue.put("new"))
    getter = asyncio.create_task(queue.get())
    await clock.settle()
    assert await getter == "old"
    await waiting
    queue2 = LaneQueue(1, clock=clock)
    queue2.put_nowait("old", expires_at=clock.monotonic() + 1)
    await clock.advance(2)
    waiting = asyncio.create_task(queue2.put("new"))
    await clock.settle()
    assert await asyncio.wait_for(queue2.get(), 1) == "new"
    await waiting


async def test_close_tells_everybody_and_what_is_left_can_be_given_back(clock):
    queue = LaneQueue(1, clock=clock)
    getter = asyncio.create_task(queue.get())
    await clock.settle()
    queue.put_nowait("a")
    await clock.settle()
    assert getter.result() == "a"
    queue.put_nowait("b")
    putter = asyncio.create_task(queue.put("c"))
    await clock.settle()
    queue.close()
    await clock.settle()
    with pytest.raises(QueueClosedError):
        putter.result()
    with pytest.raises(QueueClosedError):
        await queue.get()
    with pytest.raises(QueueClosedError):
        queue.put_nowait("d")
    assert queue.drain() == ["b"]
    assert len(queue) == 0


async def test_a_getter_told_and_cancelled_in_the_same_moment_passes_the_word_on(clock):
    queue = LaneQueue(clock=clock)
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await clock.settle()
    queue.put_nowait("item")
    first.cancel()
    await clock.settle()
    assert second.done()
    assert second.result() == "item"


async def test_a_putter_told_and_cancelled_in_the_same_moment_passes_the_word_on(clock):
    queue = LaneQueue(1, clock=clock)
    queue.put_nowait(0)
    first, second = (asyncio.create_task(queue.put(n)) for n in (1, 2))
    await clock.settle()
    assert queue.get_nowait() == 0
    first.cancel()
    await clock.settle()
    assert second.done()
    assert queue.get_nowait() == 2


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), capacity=st.integers(1, 4))
def test_no_item_is_lost_or_doubled_and_nobody_sleeps_on_when_getters_and_putters_are_cancelled(seed, capacity):
    dice = random.Random(seed)
    clock = FakeClock()

    async def scene():
        queue = LaneQueue(capacity, clock=clock)
        put, got = [], []

        async def putter(n):
            await clock.sleep(dice.uniform(0, 2))
            await queue.put(n, lane=Lane(n % 3), member=str(n % 2))
            put.append(n)

        async def getter():
            await clock.sleep(dice.uniform(0, 2))
            got.append(await queue.get())

        tasks = [asyncio.create_task(putter(n) if n % 2 else getter()) for n in range(60)]
        for _ in range(20):
            await clock.advance(0.1)
            dice.choice(tasks).cancel()
        await clock.advance(3)
        waiting_getters = sum(not task.done() for n, task in enumerate(tasks) if n % 2 == 0)
        waiting_putters = [n for n, task in enumerate(tasks) if n % 2 == 1 and not task.done()]
        assert not (waiting_getters and len(queue))
        for n in waiting_putters:
            assert queue.room(Lane(n % 3)) == 0
        queue.close()
        left = queue.drain()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert sorted(got + left) == sorted(put)

    asyncio.run(scene())
