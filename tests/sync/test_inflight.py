"""What all listings of a process together have in memory."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.sync.inflight import Inflight


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_answers_wait_until_what_came_before_is_stored_and_one_is_let_in_in_any_case():
    inflight = Inflight(100)
    first, second, third = inflight.hold(), inflight.hold(), inflight.hold()
    await first.take(250)
    waiting = [asyncio.ensure_future(second.take(60)), asyncio.ensure_future(third.take(60))]
    await settle()
    assert not waiting[0].done() and not waiting[1].done()
    first.give(250)
    await settle()
    assert waiting[0].done() and not waiting[1].done(), "first come, first served"
    second.close()
    await asyncio.wait_for(waiting[1], 1)
    third.close()
    assert inflight.used == 0


async def test_a_large_answer_is_not_passed_over_for_ever_by_small_ones():
    inflight = Inflight(100)
    one, large, small = inflight.hold(), inflight.hold(), inflight.hold()
    await one.take(50)
    waits = asyncio.ensure_future(large.take(90))
    await settle()
    behind = asyncio.ensure_future(small.take(10))
    await settle()
    assert not behind.done()
    one.close()
    await settle()
    assert waits.done() and behind.done()


async def test_who_goes_away_while_it_waits_holds_nothing_and_lets_the_next_in():
    inflight = Inflight(100)
    one, gone, other = inflight.hold(), inflight.hold(), inflight.hold()
    await one.take(60)
    waits = asyncio.ensure_future(gone.take(90))
    await settle()
    next_one = asyncio.ensure_future(other.take(40))
    await settle()
    waits.cancel()
    await settle()
    assert next_one.done()
    one.give(60)
    other.close()
    assert inflight.used == 0


async def test_who_goes_away_in_the_moment_it_is_let_in_holds_nothing():
    inflight = Inflight(100)
    one, gone = inflight.hold(), inflight.hold()
    await one.take(100)
    waits = asyncio.ensure_future(gone.take(10))
    await settle()
    one.close()
    waits.cancel()
    await settle()
    assert waits.cancelled()
    gone.close()
    assert inflight.used == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 150)), max_size=30))
async def test_whatever_comes_everybody_gets_in_and_never_more_than_the_bound_or_one(pages: list[tuple[int, int]]):
    inflight = Inflight(100)
    held: list[int] = []
    stored = 0

    async def run(sizes: list[int]) -> None:
        nonlocal stored
        hold = inflight.hold()
        for size in sizes:
            await hold.take(size)
            held.append(size)
            assert sum(held) <= 100 or len(held) == 1
            await asyncio.sleep(0)
            held.remove(size)
            hold.give(size)
            stored += 1

    runs = [[size for run, size in pages if run == number] for number in range(5)]
    await asyncio.wait_for(asyncio.gather(*(run(sizes) for sizes in runs)), 10)
    assert stored == len(pages) and inflight.used == 0
