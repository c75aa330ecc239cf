"""What somebody who asked for a run is told while it does not begin."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from syncd.model import Lane
from syncd.server.ports import RunState
from syncd.store import PAUSE, Control, Task
from syncd.testing.clock import FakeClock
from syncd.wishes import Wishes
from tests.sync.stage import Stage, task

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


async def progress(stage: Stage, asked: Task) -> Any:
    async def find(ids: list[int]) -> list[Task]:
        return [asked] if asked.id in ids else []

    supervisor = SimpleNamespace(running={"plain": SimpleNamespace(runner=stage.runner)})
    engine: Any = SimpleNamespace(
        _supervisor=lambda: supervisor,
        _store=lambda: SimpleNamespace(tasks=SimpleNamespace(find=find)),
        _account=lambda name: stage.runner.accounts[name],
        _clock=stage.clock,
    )
    [told] = await Wishes.progress(engine, [asked.id])
    return told


def pause(resource: str = "") -> dict[str, Control]:
    key = f"acme/{resource}" if resource else "acme"
    return {key: Control("acme", resource, PAUSE, "ann", "they move house", {}, NOON, None)}


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("resource", ["", "r1"])
async def test_a_wish_for_something_paused_says_by_whom_and_why(taken: bool, resource: str):
    stage, asked = Stage(FakeClock()), task(1, "r1", kind="sync", lane=Lane.HIGH)
    stage.runner.set_pauses(pause(resource))
    if taken:
        stage.runner._wish(asked)
    told = await progress(stage, asked)
    assert (told.state, told.waiting_reason) == (RunState.WAITING, "paused by ann: they move house")
    assert told.explanation.action.startswith("syncd resume acme")


@pytest.mark.parametrize("taken", [True, False])
async def test_a_wish_for_something_beside_what_is_paused_is_queued(taken: bool):
    stage, asked = Stage(FakeClock()), task(1, "r2", kind="sync", lane=Lane.HIGH)
    stage.runner.set_pauses(pause("r1"))
    if taken:
        stage.runner._wish(asked)
    told = await progress(stage, asked)
    assert (told.state, told.waiting_reason, told.explanation) == (RunState.QUEUED, "", None)


@pytest.mark.parametrize("taken", [True, False])
async def test_a_wish_behind_an_open_breaker_says_when_it_is_tried_again(taken: bool):
    stage, asked = Stage(FakeClock()), task(1, "r1", kind="sync", lane=Lane.HIGH)
    stage.runner.accounts["acme"].gate.breakers.of("").resume(5, 0, 1.0, 20.0, stage.clock.monotonic())
    if taken:
        stage.runner._wish(asked)
    told = await progress(stage, asked)
    assert (told.state, told.waiting_reason) == (RunState.WAITING, "the breaker is open")
    assert told.resumes_at > stage.clock.now()
    assert (told.explanation.code, told.explanation.reason[:12]) == ("breaker-open", "next try at ")
