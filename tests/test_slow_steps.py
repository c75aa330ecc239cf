"""Who keeps the event loop from the others is named, once."""

from __future__ import annotations

import asyncio
import io
import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from syncd import log, metrics
from syncd.clock import SystemClock
from syncd.kit import Driver
from syncd.slow_steps import SlowSteps


class Spec:
    name = "molasses"


class Molasses(Driver):
    """A driver that waits."""

    def block(self, seconds: float) -> None:
        time.sleep(seconds)


Molasses.__abstractmethods__ = frozenset()


class Account:
    name = "acme"


class Reading:
    def __init__(self) -> None:
        self._account = Account()

    def read(self, seconds: float) -> None:
        Molasses(Spec()).block(seconds)  # type: ignore[abstract,arg-type]


@pytest.fixture
def told() -> io.StringIO:
    stream = io.StringIO()
    log.configure("info", "json", stream)
    return stream


def lines(told: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in told.getvalue().splitlines() if "loop_step_slow" in line]


async def until_told(told: io.StringIO, count: int) -> list[dict[str, object]]:
    for _ in range(200):
        if len(lines(told)) >= count:
            break
        await asyncio.sleep(0.01)
    return lines(told)


async def test_a_driver_that_blocks_is_named_with_task_integration_and_place_and_not_again(told: io.StringIO):
    before = metrics.REGISTRY.get_sample_value("syncd_loop_slow_steps_total") or 0
    with SlowSteps(SystemClock()) as steps:
        await asyncio.sleep(0.3)

        async def seat() -> None:
            Reading().read(0.7)

        await asyncio.create_task(seat(), name="molasses seat 3")
        (line,) = await until_told(told, 1)
        await asyncio.create_task(seat(), name="molasses seat 4")
        await asyncio.sleep(0.3)
    assert steps.last is not None and steps.last["task"] == "molasses seat 4", "the latest, told or not"
    assert datetime.now(UTC) - steps.last["at"] < timedelta(minutes=1)  # type: ignore[operator]
    assert len(lines(told)) == 1, "once in ten minutes"
    assert line["driver"] == "molasses" and line["integration"] == "acme" and line["task"] == "molasses seat 3"
    assert "in block" in str(line["place"]) and "molasses" in str(line["action"])
    assert any("in read" in str(one) for one in line["stack"])  # type: ignore[attr-defined]
    assert 0.25 < float(str(line["seconds"])) < 5
    assert (metrics.REGISTRY.get_sample_value("syncd_loop_slow_steps_total") or 0) >= before + 2


async def test_a_quick_loop_is_asked_and_nothing_is_told(told: io.StringIO):
    with SlowSteps(SystemClock()):
        await asyncio.sleep(0.8)
    assert not lines(told)
    assert (metrics.REGISTRY.get_sample_value("syncd_loop_wait_seconds_count") or 0) >= 1


async def test_a_step_that_began_just_after_the_loop_was_asked_is_told_too(told: io.StringIO):
    """What ran before the loop was asked is not seen: that has to be little."""
    with SlowSteps(SystemClock()) as steps:
        await asyncio.sleep(0.3)
        asked = metrics.REGISTRY.get_sample_value("syncd_loop_wait_seconds_count")
        while metrics.REGISTRY.get_sample_value("syncd_loop_wait_seconds_count") == asked:
            await asyncio.sleep(0.001)
        time.sleep(0.4)
        await until_told(told, 1)
    assert steps.last is not None
