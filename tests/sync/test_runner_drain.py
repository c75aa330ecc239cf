"""What was taken and not finished goes back to its row, however the runner ends."""

import asyncio
from typing import Any

import anyio
import pytest

from syncd.model import Lane
from syncd.sync import runner
from syncd.sync.tally import Tally
from syncd.testing.clock import FakeClock
from tests.sync.stage import Stage, task


async def hang() -> None:
    await anyio.sleep_forever()


class HangingPull:
    """A run whose call is never answered."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.tally = Tally("acme", "r2")

    async def run(self) -> None:
        await hang()


async def cut_short(stage: Stage) -> None:
    """A drain that is given up while something is still held, and the runner's end after it."""
    draining = asyncio.ensure_future(stage.runner.drain())
    await anyio.wait_all_tasks_blocked()
    draining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await draining


async def test_a_drain_that_is_given_up_gives_back_what_never_began():
    stage = Stage(FakeClock())
    async with anyio.create_task_group() as parts:
        parts.start_soon(stage.runner.pool.run)
        for number in range(8):
            stage.runner.pool.offer("acme", Lane.NORMAL, f"run:{number}", hang, long=True)
        await anyio.wait_all_tasks_blocked()
        await stage.runner._feeder._offer([task(1, "r1"), task(2, "r1")], None)
        stage.runner._wish(task(3, "r2", kind="sync", lane=Lane.HIGH))
        await cut_short(stage)
        parts.cancel_scope.cancel()
    assert sorted(stage.tasks.back) == [1, 2, 3]


async def test_a_run_that_is_cancelled_gives_back_the_wish_it_was_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "Pull", HangingPull)
    stage = Stage(FakeClock())
    unit = stage.runner.units["acme", "r2"]
    async with anyio.create_task_group() as parts:
        stage.runner._wish(task(7, "r2", kind="sync", lane=Lane.HIGH))
        parts.start_soon(stage.runner._pull, unit)
        await anyio.wait_all_tasks_blocked()
        assert (unit.running, unit.wishes) == (True, [])
        parts.cancel_scope.cancel()
    assert stage.tasks.back == [7]
    assert not unit.running


async def test_a_wish_is_given_back_also_where_the_end_of_its_run_was_being_stored(monkeypatch: pytest.MonkeyPatch):
    class FailingPull(HangingPull):
        async def run(self) -> None:
            raise ValueError("a defect")

    monkeypatch.setattr(runner, "Pull", FailingPull)
    stage = Stage(FakeClock())
    stage.runner._outcomes._settle = lambda *_: hang()  # type: ignore[method-assign]
    async with anyio.create_task_group() as parts:
        stage.runner._wish(task(7, "r2", kind="sync", lane=Lane.HIGH))
        parts.start_soon(stage.runner._pull, stage.runner.units["acme", "r2"])
        await anyio.wait_all_tasks_blocked()
        parts.cancel_scope.cancel()
    assert stage.tasks.back == [7]


async def test_a_new_feeder_frees_what_one_before_it_had_taken_under_the_same_fence_and_only_once():
    stage = Stage(FakeClock())
    for _ in range(2):
        await stage.runner._feeder.feed(())
    assert stage.tasks.freed == [("acme", None)], "under whatever fence: our own, 1, with it"
    stage.account.fence = 5
    await stage.runner._feeder.feed(())
    assert stage.tasks.freed[1:] == [("acme", 5)], "what we hold under a fence of our own is not taken from us"


async def test_now_and_then_it_looks_for_what_an_owner_before_took_after_the_first_look():
    clock = FakeClock()
    stage = Stage(clock)
    for _ in range(130):
        await stage.runner._feeder.feed(())
        await clock.advance(1)
    assert stage.tasks.freed == [("acme", None), ("acme", 1), ("acme", 1)]
