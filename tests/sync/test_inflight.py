"""What all listings of a process together have in memory."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.sync.inflight import Inflight


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_answers_wait_until_what_came_before_is_stored():
    inflight = Inflight(100)
    holds = [inflight.hold() for _ in range(4)]
    for hold in holds:
        await hold.take(25)
    second, third = inflight.hold(), inflight.hold()
    waiting = [asyncio.ensure_future(second.take(20)), asyncio.ensure_future(third.take(20))]
    await settle()
    assert not waiting[0].done() and not waiting[1].done()
    holds[0].give(25)
    await settle()
    assert waiting[0].done() and not waiting[1].done(), "of equals the first that came"
    second.close()
    await asyncio.wait_for(waiting[1], 1)
    third.close()
    for hold in holds:
        hold.close()
    assert inflight.used == 0


async def test_nobody_waits_for_the_large_answers_of_another_and_those_go_one_at_a_time():
    inflight = Inflight(100)
    sick, sick_too, well = inflight.hold(), inflight.hold(), inflight.hold()
    await sick.take(5000)
    waits = asyncio.ensure_future(sick_too.take(90))
    await settle()
    assert not waits.done()
    for _ in range(4):
        await asyncio.wait_for(well.take(25), 1)
    assert inflight.used == 100 and inflight.large
    sick.give(5000)
    await asyncio.wait_for(waits, 1)
    sick_too.close()
    well.close()
    assert inflight.used == 0 and not inflight.large


async def test_whose_integration_holds_least_goes_first():
    inflight = Inflight(100)
    much, little = inflight.share(), inflight.share()
    for _ in range(3):
        await much.hold().take(25)
    last = little.hold()
    await last.take(25)
    behind = [asyncio.ensure_future(much.hold().take(25)) for _ in range(3)]
    await settle()
    first = asyncio.ensure_future(little.hold().take(25))
    await settle()
    last.close()
    await settle()
    assert first.done() and not any(one.done() for one in behind), (
        "it came last, and the others' came from one integration"
    )


async def test_who_goes_away_while_it_waits_holds_nothing_and_lets_the_next_in():
    inflight = Inflight(100)
    one, gone, other = inflight.hold(), inflight.hold(), inflight.hold()
    for _ in range(4):
        await one.take(22)
    waits = asyncio.ensure_future(gone.take(25))
    await settle()
    next_one = asyncio.ensure_future(other.take(12))
    await settle()
    assert not next_one.done()
    waits.cancel()
    await settle()
    assert next_one.done()
    one.give(88)
    other.close()
    assert inflight.used == 0


async def test_who_goes_away_in_the_moment_it_is_let_in_holds_nothing():
    inflight = Inflight(100)
    one, gone = inflight.hold(), inflight.hold()
    for _ in range(4):
        await one.take(25)
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
async def test_whatever_comes_everybody_gets_in_and_never_more_than_the_bound_and_one_large(
    pages: list[tuple[int, int]],
):
    inflight = Inflight(100)
    held: list[int] = []
    stored = 0

    async def run(sizes: list[int]) -> None:
        nonlocal stored
        hold = inflight.hold()
        for size in sizes:
            await hold.take(size)
            held.append(size)
            assert sum(one for one in held if one <= 25) <= 100 and sum(one > 25 for one in held) <= 1
            await asyncio.sleep(0)
            held.remove(size)
            hold.give(size)
            stored += 1

    runs = [[size for run, size in pages if run == number] for number in range(5)]
    await asyncio.wait_for(asyncio.gather(*(run(sizes) for sizes in runs)), 10)
    assert stored == len(pages) and inflight.used == 0
