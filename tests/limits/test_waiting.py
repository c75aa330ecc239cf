"""The waiting room: who is sent away leaves no trace, and the others lose nothing by it."""

import asyncio

import pytest

from syncd.limits import Gate, OverBudgetError
from syncd.model import Lane
from syncd.testing.clock import FakeClock


async def call(gate: Gate, member: str, log: list[str], lane: Lane = Lane.NORMAL) -> None:
    async with gate.admit(lane=lane, member=member):
        log.append(member)
        await gate.clock.sleep(0.1)


async def test_a_member_that_stops_leaves_the_line_and_what_it_has_under_way_goes_on():
    clock = FakeClock()
    gate, log = Gate("s", ["2/10s"], clock=clock, share=1, lanes={}), []
    tasks = [asyncio.create_task(call(gate, name, log)) for name in ("stops", "stays", "stops", "stays", "stops")]
    await clock.settle()
    assert log == ["stops", "stays"]
    gate.room.send_away("stops")
    await clock.advance(0.2)
    assert tasks[0].done() and tasks[0].exception() is None
    for left in (tasks[2], tasks[4]):
        with pytest.raises(OverBudgetError):
            await left
    assert not tasks[3].done()
    assert gate.view()["waiting"]["normal"] == 1
    await clock.advance(11)
    assert log == ["stops", "stays", "stays"]
    assert gate.view()["in_flight"] == 0
    assert set(gate.view()["waited_seconds"]) == {"2/10s"}  # who was sent away waited for that too


async def test_whoever_stays_goes_at_once_when_those_before_it_are_sent_away():
    clock = FakeClock()
    gate, log = Gate("s", ["1/10s"], clock=clock, share=1, lanes={}), []
    asked = [("first", Lane.NORMAL), ("stops", Lane.HIGH), ("stays", Lane.LOW)]
    tasks = [asyncio.create_task(call(gate, name, log, lane)) for name, lane in asked]
    await clock.advance(5)
    gate.room.send_away("stops")
    await clock.advance(5.5)
    assert log == ["first", "stays"]
    assert isinstance(tasks[1].exception(), OverBudgetError)
    assert tasks[2].done() or await tasks[2] is None
