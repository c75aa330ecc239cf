"""Who needs much of the thread's time at once lets the others go first."""

from __future__ import annotations

import asyncio

from syncd.sync.inflight import Inflight
from syncd.sync.turns import FREE_SECONDS, LONGEST_REST_SECONDS, RESTS, SLICE_SECONDS, Turns
from syncd.testing.clock import FakeClock


async def rested(clock: FakeClock, turn: object, seconds: float) -> bool:
    """Does its rest end within so many seconds?"""
    resting = asyncio.ensure_future(turn.rest())  # type: ignore[attr-defined]
    await clock.advance(seconds)
    over = resting.done()
    resting.cancel()
    return over


async def test_a_usual_page_costs_no_rest():
    clock = FakeClock()
    turns = Turns(clock)
    turn, other = turns.of("one"), turns.of("other")
    for _ in range(1000):
        other.took(0.001)
        turn.took(FREE_SECONDS)
    assert await rested(clock, turn, 0.0)


async def test_alone_nobody_rests():
    clock = FakeClock()
    turn = Turns(clock).of("one")
    turn.took(3.0)
    assert await rested(clock, turn, 0.0)


async def test_while_others_work_a_page_that_took_long_is_followed_by_a_rest_many_times_as_long():
    clock = FakeClock()
    turns = Turns(clock)
    turn, other = turns.of("one"), turns.of("other")
    turn.took(FREE_SECONDS + 1.0)
    resting = asyncio.ensure_future(turn.rest())
    for _ in range(int(RESTS / 0.5) - 1):
        other.took(0.001)
        await clock.advance(0.5)
        assert not resting.done()
    other.took(0.001)
    await clock.advance(0.6)
    assert resting.done()


async def test_the_rest_is_over_once_the_others_have_nothing_more_to_do():
    clock = FakeClock()
    turns = Turns(clock)
    turn, other = turns.of("one"), turns.of("other")
    other.took(0.001)
    turn.took(2.0)
    assert await rested(clock, turn, 1.5)


async def test_no_rest_is_without_an_end():
    clock = FakeClock()
    turns = Turns(clock)
    turn, other = turns.of("one"), turns.of("other")
    for _ in range(10):
        turn.took(100.0)
    resting = asyncio.ensure_future(turn.rest())
    for _ in range(int(LONGEST_REST_SECONDS) * 2 + 1):
        other.took(0.001)
        await clock.advance(0.5)
    assert resting.done()


async def test_who_rests_holds_no_memory():
    clock = FakeClock()
    turns, inflight = Turns(clock), Inflight(100)
    turn, other = turns.of("one"), turns.of("other")
    hold = inflight.share(turn).hold()
    other.took(0.001)
    turn.took(1.0)
    taking = asyncio.ensure_future(hold.take(90))
    await clock.advance(0.5)
    assert not taking.done() and not inflight.large
    await clock.advance(10.0)
    assert taking.done() and inflight.large
    hold.close()


async def test_work_is_cut_where_it_has_lasted_and_only_there():
    clock = FakeClock()
    turns = Turns(clock)
    slices = turns.of("one").slices()
    others: list[str] = []

    async def somebody() -> None:
        others.append("had a turn")

    waiting = asyncio.ensure_future(somebody())
    await slices.pause()
    assert not others, "it has only begun"
    clock._monotonic += 2 * SLICE_SECONDS  # a piece of work takes time without anybody else having any
    await slices.pause()
    assert others and waiting.done()
    slices.end()


async def test_who_waited_for_a_large_answer_of_its_own_rests_for_that_one_too():
    clock = FakeClock()
    turns, inflight = Turns(clock), Inflight(100)
    turn, other = turns.of("one"), turns.of("other")
    share = inflight.share(turn)
    first, second = share.hold(), share.hold()
    await first.take(90)
    taking = asyncio.ensure_future(second.take(90))
    await clock.advance(0.1)
    other.took(0.001)
    turn.took(1.0)
    first.close()
    await clock.advance(0.5)
    assert not taking.done() and not inflight.large, "somebody else could have the seat meanwhile"
    await clock.advance(10.0)
    assert taking.done()
    second.close()
    assert share.held == 0


async def test_all_the_time_a_large_answer_took_to_its_commit_counts():
    clock = FakeClock()
    turns, inflight = Turns(clock), Inflight(100)
    turn, other = turns.of("one"), turns.of("other")
    hold = inflight.share(turn).hold()
    await hold.take(90)
    await clock.advance(0.5)
    other.took(0.001)
    hold.give(90)
    assert turn.tired and not inflight.large
    small = inflight.share(other).hold()
    await small.take(20)
    await clock.advance(0.5)
    small.give(20)
    assert not other.tired, "a small one's way may be long because the database is slow for all"
