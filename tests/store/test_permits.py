"""The few connections are shared fairly."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.store.permits import Permits, asker, asking


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_integration_has_half_of_them_at_most_and_the_rest_is_there_for_others():
    permits = Permits(10)
    for _ in range(5):
        await permits.take("busy")
    waits = [asyncio.ensure_future(permits.take("busy")) for _ in range(20)]
    await settle()
    assert not any(one.done() for one in waits) and permits.free == 5
    await asyncio.wait_for(permits.take("other"), 1)
    await asyncio.wait_for(permits.take(""), 1)
    permits.give("busy")
    await settle()
    assert waits[0].done() and not waits[1].done()
    for one in waits[1:]:
        one.cancel()
    await settle()
    assert permits.waiting == 0


async def test_of_those_who_wait_goes_first_who_has_fewest():
    permits = Permits(4)
    for who in ("one", "one", "two", "three"):
        await permits.take(who)
    order: list[str] = []

    async def take(who: str) -> None:
        await permits.take(who)
        order.append(who)

    waits = [asyncio.ensure_future(take(who)) for who in ("two", "three", "new", "one")]
    await settle()
    for who in ("one", "one", "two", "three"):
        permits.give(who)
        await settle()
    assert order == ["new", "one", "two", "three"], "of equals the one that came first"
    await asyncio.gather(*waits)


async def test_what_has_no_integration_has_no_bound_but_the_whole():
    permits = Permits(4)
    for _ in range(4):
        await asyncio.wait_for(permits.take(""), 1)
    assert permits.free == 0


async def test_who_goes_away_in_the_moment_it_gets_one_leaves_it_to_the_next():
    permits = Permits(2)
    await permits.take("a")
    await permits.take("b")
    gone = asyncio.ensure_future(permits.take("c"))
    waits = asyncio.ensure_future(permits.take("d"))
    await settle()
    permits.give("a")
    gone.cancel()
    await settle()
    assert gone.cancelled() and waits.done()
    permits.give("b")
    permits.give("d")
    assert permits.free == 2


async def test_who_goes_away_just_before_one_is_given_back_is_passed_over():
    permits = Permits(1)
    await permits.take("a")
    gone = asyncio.ensure_future(permits.take("b"))
    waits = asyncio.ensure_future(permits.take("c"))
    await settle()
    gone.cancel()
    permits.give("a")
    await settle()
    assert gone.cancelled() and waits.done() and permits.waiting == 0
    permits.give("c")
    assert permits.free == 1


async def test_tasks_begun_within_ask_for_the_same_integration():
    async def look() -> str:
        await asyncio.sleep(0)
        return asker()

    with asking("acme"):
        task = asyncio.ensure_future(look())
        with asking("other"):
            assert asker() == "other"
        assert asker() == "acme"
    assert asker() == "" and await task == "acme"


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 6), st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.integers(0, 3)), max_size=40))
async def test_everybody_gets_one_and_never_are_there_more_than_so_many(size: int, uses: list[tuple[str, int]]):
    permits = Permits(size)
    held: list[str] = []

    async def use(who: str, turns: int) -> None:
        await permits.take(who)
        held.append(who)
        assert len(held) <= size and all(held.count(one) <= permits.most_each for one in "abc")
        for _ in range(turns):
            await asyncio.sleep(0)
        held.remove(who)
        permits.give(who)

    await asyncio.wait_for(asyncio.gather(*(use(*each) for each in uses)), 10)
    assert permits.free == size and not permits.waiting
