"""The hand-over between two stages of a run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from syncd.sync.line import Line


@dataclass(frozen=True)
class Thing:
    number: int
    size: int = 1


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def put_all(line: Line[Thing], things: list[Thing]) -> None:
    for thing in things:
        await line.put(thing)
    line.end()


async def test_what_is_ready_is_taken_at_once_and_in_order():
    line: Line[Thing] = Line(4, 100)
    for number in range(3):
        await line.put(Thing(number))
    assert [each.number for each in await line.take()] == [0, 1, 2]


async def test_who_takes_waits_for_one_and_not_for_more():
    line: Line[Thing] = Line(4, 100)
    taking = asyncio.create_task(line.take())
    await turns()
    assert not taking.done()
    await line.put(Thing(7))
    assert [each.number for each in await taking] == [7]


@pytest.mark.parametrize(("length", "most_bytes", "room"), [(3, 100, 3), (10, 25, 2)])
async def test_a_full_line_makes_who_puts_wait(length: int, most_bytes: int, room: int):
    line: Line[Thing] = Line(length, most_bytes)
    putting = asyncio.create_task(put_all(line, [Thing(number, 10) for number in range(8)]))
    await turns(20)
    assert not putting.done()
    found = await line.take()
    assert len(found) == room
    while more := await line.take():
        found += more
    assert [each.number for each in found] == list(range(8))
    await putting


async def test_a_thing_larger_than_the_bound_goes_through_alone():
    line: Line[Thing] = Line(4, 10)
    putting = asyncio.create_task(put_all(line, [Thing(0, 50), Thing(1, 50)]))
    await turns()
    assert [each.number for each in await line.take()] == [0]
    assert [each.number for each in await line.take()] == [1]
    await putting


async def test_an_error_comes_behind_what_was_handed_over_before_it():
    line: Line[Thing] = Line(4, 100)
    await line.put(Thing(1))
    line.end(ValueError("lost"))
    assert [each.number for each in await line.take()] == [1]
    with pytest.raises(ValueError, match="lost"):
        await line.take()


async def test_the_end_is_an_empty_hand_and_stays_one():
    line: Line[Thing] = Line(4, 100)
    line.end()
    line.end(ValueError("too late"))
    assert await line.take() == []
    assert await line.take() == []


async def test_breaking_off_drops_what_waits_and_tells_both_sides():
    line: Line[Thing] = Line(1, 100)
    await line.put(Thing(1))
    putting = asyncio.create_task(line.put(Thing(2)))
    await turns()
    line.break_off(ValueError("broken"))
    for side in (putting, line.take()):
        with pytest.raises(ValueError, match="broken"):
            await side
