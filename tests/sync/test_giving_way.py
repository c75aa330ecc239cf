"""Who takes deliveries in goes first: what works on them rests in a flood, and what works on other things is left alone."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from syncd.sync.events import BATCH, Events
from syncd.sync.runner import Runner
from syncd.testing.clock import FakeClock


@pytest.mark.parametrize(("came", "expected"), [(BATCH, 5), (BATCH - 1, 10)])
async def test_while_deliveries_come_faster_than_they_are_worked_on_every_other_turn_is_theirs(
    came: int, expected: int
):
    clock, turns = FakeClock(), 0
    events = Events("acme", {}, cast(Any, None), clock)

    async def look(*, woken: bool = False) -> bool:
        nonlocal turns
        turns += 1
        await clock.sleep(0.1)
        for _ in range(came):
            events.wake()
        return True

    cast(Any, events).look = look
    running = asyncio.create_task(events.run())
    await clock.advance(0.95)
    assert turns == expected
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_a_delivery_wakes_only_what_works_on_deliveries():
    woken: list[str] = []
    parts = [
        SimpleNamespace(of_deliveries=True, wake=lambda: woken.append("events")),
        SimpleNamespace(wake=lambda: woken.append("pushes")),
    ]
    runner = cast(Runner, SimpleNamespace(parts=parts))
    Runner.arrived(runner, deliveries=True)
    assert woken == ["events"]
    Runner.arrived(runner)
    assert woken == ["events", "events", "pushes"]
