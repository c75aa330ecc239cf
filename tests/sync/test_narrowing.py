"""While memory is scarce fewer answers are in hand, and yet something always goes on."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.model import Lane
from syncd.sync.inflight import Inflight
from syncd.sync.line import Line
from syncd.sync.narrowing import LEVELS, NARROWEST, PATIENCE_SECONDS, Narrowing, Ticket
from syncd.sync.walk import Fetched, walk
from syncd.testing.clock import FakeClock
from tests.sync.test_walk import Pages, Partner, step


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_usually_any_number_goes_at_once():
    narrowing = Narrowing(FakeClock())
    for _ in range(1000):
        await narrowing.take(Lane.LOW)
    assert narrowing.held == 1000


async def test_narrowed_to_one_the_next_goes_when_it_is_given_back_and_the_urgent_first():
    narrowing = Narrowing(FakeClock())
    narrowing.narrow(NARROWEST)
    first = await narrowing.take(Lane.LOW)
    low = asyncio.ensure_future(narrowing.take(Lane.LOW))
    high = asyncio.ensure_future(narrowing.take(Lane.HIGH))
    await settle()
    assert not low.done() and not high.done() and narrowing.waiting == 2
    narrowing.give(first)
    await settle()
    assert high.done() and not low.done()
    narrowing.give(high.result())
    await settle()
    assert low.done() and narrowing.waiting == 0


async def test_opened_again_everybody_goes():
    narrowing = Narrowing(FakeClock())
    narrowing.narrow(NARROWEST)
    await narrowing.take(Lane.LOW)
    waiting = [asyncio.ensure_future(narrowing.take(Lane.LOW)) for _ in range(5)]
    await settle()
    narrowing.narrow(0)
    await asyncio.wait_for(asyncio.gather(*waiting), 1)


async def test_who_went_away_while_waiting_keeps_no_ticket():
    narrowing = Narrowing(FakeClock())
    narrowing.narrow(NARROWEST)
    first = await narrowing.take(Lane.LOW)
    gone, next_one = (asyncio.ensure_future(narrowing.take(Lane.LOW)) for _ in range(2))
    await settle()
    narrowing.give(first)  # the turn of the one that goes away in this very moment
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    await asyncio.wait_for(next_one, 1)
    assert narrowing.held == 1


async def test_a_slow_partner_keeps_the_others_waiting_for_seconds_and_not_for_ever():
    clock = FakeClock()
    narrowing = Narrowing(clock)
    narrowing.narrow(NARROWEST)
    await narrowing.take(Lane.NORMAL)  # never given back
    other = asyncio.ensure_future(narrowing.take(Lane.NORMAL))
    await clock.advance(PATIENCE_SECONDS - 1)
    narrowing.look()
    await settle()
    assert not other.done()
    await clock.advance(2)
    narrowing.look()
    await settle()
    assert other.done()


async def test_a_run_that_may_not_read_ahead_asks_for_a_page_once_the_one_before_is_stored():
    inflight = Inflight(narrowing=Narrowing(FakeClock()))
    inflight.narrowing.narrow(1)
    partner, line, hold = Partner(), Line[Fetched](10, 10_000), inflight.hold()
    walking = asyncio.create_task(walk(Pages(5), step(0), partner.fetch, line, hold))  # type: ignore[arg-type]
    for stored in range(5):
        await settle()
        assert len(partner.asked) == stored + 1
        (answer,) = await line.take()
        hold.give(answer.size)
    await asyncio.wait_for(walking, 1)
    hold.close()
    assert inflight.narrowing.held == 0


async def test_what_a_run_held_is_free_when_it_ends_whatever_way():
    inflight = Inflight(narrowing=Narrowing(FakeClock()))
    partner, line, hold = Partner(), Line[Fetched](1, 10_000), inflight.hold()
    walking = asyncio.create_task(walk(Pages(9), step(0), partner.fetch, line, hold))  # type: ignore[arg-type]
    await settle()
    assert inflight.narrowing.held
    walking.cancel()
    await asyncio.gather(walking, return_exceptions=True)
    hold.close()
    assert inflight.narrowing.held == 0


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("take"), st.sampled_from(Lane), st.integers(0, 3)),
            st.tuples(st.just("give"), st.integers(0, 50)),
            st.tuples(st.just("cancel"), st.integers(0, 50)),
            st.tuples(st.just("level"), st.integers(0, NARROWEST)),
            st.tuples(st.just("pass"), st.integers(0, 15)),
        ),
        max_size=60,
    )
)
def test_whatever_comes_the_bound_holds_and_nothing_stands_still(steps: list[tuple[object, ...]]):
    async def play() -> None:
        clock = FakeClock()
        narrowing, asked, held = Narrowing(clock), list[asyncio.Task[Ticket]](), list[Ticket]()
        owners = [None, "a", "b", "c"]

        def fresh() -> int:
            """What counts: a ticket that is held for long keeps nobody waiting."""
            return sum(clock.monotonic() - ticket.since < PATIENCE_SECONDS for ticket in held)

        for what, *more in steps:
            if what == "take":
                lane, owner = more
                asked.append(asyncio.ensure_future(narrowing.take(lane, owners[owner])))  # type: ignore[arg-type,call-overload]
            elif what == "give" and held:
                narrowing.give(held.pop(more[0] % len(held)))  # type: ignore[operator]
            elif what == "cancel" and asked:
                asked[more[0] % len(asked)].cancel()  # type: ignore[operator]
            elif what == "level":
                narrowing.narrow(more[0])  # type: ignore[arg-type]
            elif what == "pass":
                await clock.advance(more[0])  # type: ignore[arg-type]
                narrowing.look()
            before = fresh()
            await settle()
            for task in [task for task in asked if task.done()]:
                asked.remove(task)
                if not task.cancelled():
                    held.append(task.result())
            most = narrowing.most
            assert narrowing.held == len(held)
            assert most is None or fresh() <= max(before, most)
            assert not narrowing.waiting or held, "who waits, waits for somebody"
        while asked:
            narrowing.look()
            await settle()
            for task in [task for task in asked if task.done()]:
                asked.remove(task)
                if not task.cancelled():
                    held.append(task.result())
            assert held, "it stands still"
            narrowing.give(held.pop())

    asyncio.run(play())
    assert LEVELS[NARROWEST] == 1
