"""When resources are due after a time in which this process did not call: a start, or a scope taken over."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from syncd.errors import StoreError
from syncd.model import Lane
from syncd.sync.careful import DEATHS, REQUEST
from syncd.sync.schedule import Schedule
from syncd.testing.clock import FakeClock
from tests.sync.stage import NAMES, Stage, task


async def standby(clock: FakeClock) -> Stage:
    """A runner that was started while another instance had the scope; all ran a minute before."""
    stage = Stage(clock)
    stage.checkpoints.began = dict.fromkeys(NAMES, clock.now() - timedelta(seconds=60))
    stage.account.ownership = SimpleNamespace(held=False)
    stage.account.may_call = lambda: stage.account.ownership.held
    await stage.runner._prepare()
    return stage


def takes_over(stage: Stage, away_seconds: float = 1800.0) -> None:
    stage.account.ownership.held, stage.gate.away_seconds = True, away_seconds


def begins(stage: Stage) -> list[float]:
    """Seconds until each unit is due."""
    return sorted((unit.due_at - stage.clock.now()).total_seconds() for unit in stage.runner.units.values())


async def test_a_standby_that_takes_over_hours_later_spreads_what_is_overdue_and_ramps_up():
    clock = FakeClock()
    stage = await standby(clock)
    await clock.advance(3 * 3600)
    takes_over(stage)
    await stage.runner._returning.come_back()
    stage.runner._offer_due()
    assert len(stage.offered()) < 3
    due = begins(stage)
    assert 10 < due[-1] - due[0] <= 30
    assert max(late - early for early, late in itertools.pairwise(due)) < 10
    assert stage.gate.view()["ramp"] is not None


async def test_a_standby_that_takes_over_where_all_was_done_in_time_waits_for_the_regular_start():
    clock = FakeClock()
    stage = await standby(clock)
    await clock.advance(3 * 3600)
    stage.checkpoints.began = dict.fromkeys(NAMES, clock.now() - timedelta(seconds=100))
    takes_over(stage)
    await stage.runner._returning.come_back()
    assert begins(stage) == [800.0] * len(NAMES)
    assert stage.gate.view()["ramp"] is None


async def test_what_somebody_waits_for_and_what_runs_stays_as_it_is():
    clock = FakeClock()
    stage = await standby(clock)
    await clock.advance(3 * 3600)
    stage.runner._wish(task(1, "r7", kind="sync", lane=Lane.HIGH))
    running = stage.runner.units["acme", "r8"]
    running.running, running.due_at = True, clock.now() - timedelta(hours=1)
    takes_over(stage)
    await stage.runner._returning.come_back()
    assert stage.runner.units["acme", "r7"].due_at == clock.now()
    assert running.due_at == clock.now() - timedelta(hours=1)


async def test_nothing_is_offered_between_the_takeover_and_the_look_at_the_rows():
    clock = FakeClock()
    stage = await standby(clock)
    await clock.advance(3 * 3600)
    takes_over(stage)  # while the feeder asked the database, say
    stage.runner._offer_due()
    assert stage.offered() == []


async def test_a_look_that_failed_is_made_again():
    clock = FakeClock()
    stage = await standby(clock)
    await clock.advance(3 * 3600)
    takes_over(stage)
    asked, stage.checkpoints.list = stage.checkpoints.list, away  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        await stage.runner._returning.come_back()
    stage.runner._offer_due()
    assert stage.offered() == []
    stage.checkpoints.list = asked  # type: ignore[method-assign]
    await stage.runner._returning.come_back()
    assert stage.gate.away_seconds == 0
    assert begins(stage)[0] >= 0


async def away(name: str) -> list[object]:
    raise StoreError("the database is away")


async def test_after_a_restart_what_was_never_read_whole_begins_at_once_the_rest_when_it_is_due():
    clock = FakeClock()
    stage = Stage(clock)
    stage.checkpoints.began = dict.fromkeys(NAMES, clock.now() - timedelta(seconds=60))
    await stage.runner._prepare()
    assert begins(stage) == [840.0] * len(NAMES)
    stage.checkpoints.passed = False
    await stage.runner._prepare()
    assert begins(stage) == [0.0] * len(NAMES)


@pytest.mark.parametrize(("away", "begins_soon"), [(200.0, False), (400.0, True)])
async def test_who_may_have_missed_deliveries_reads_what_they_feed_once_and_soon(away: float, begins_soon: bool):
    clock = FakeClock()
    stage = await standby(clock)
    for name in ("r3", "r4"):  # what webhooks feed; nothing was ever told of r4
        plan = replace(stage.account.plans[name], backup=Schedule(every_seconds=86_400.0))
        stage.account.plans[name] = stage.runner.units["acme", name].plan = plan
    stage.account.health.of("r3").told_at = clock.now()
    stage.checkpoints.began = dict.fromkeys(NAMES, clock.now() - timedelta(seconds=100))
    takes_over(stage, away)
    await stage.runner._returning.come_back()
    due = {name: (unit.due_at - clock.now()).total_seconds() for (_, name), unit in stage.runner.units.items()}
    assert (due["r3"] <= 30) == begins_soon
    assert begins_soon or due["r3"] == 86_300.0
    assert due["r4"] == due["r5"] == 800.0


async def test_what_the_process_died_over_is_due_at_once_unless_it_is_parked_which_is_said_from_the_start():
    clock = FakeClock()
    stage = await standby(clock)
    stage.runner.units.clear()
    stage.perils.suspects = {"r3": {"r3/17": 2}, "r4": {REQUEST: DEATHS}}
    await stage.runner._prepare()
    assert stage.runner.units["acme", "r3"].due_at == clock.now()
    assert stage.runner.units["acme", "r4"].due_at > clock.now()
    told = {name: stage.account.health.of(name).trouble for name in NAMES}
    assert [name for name, trouble in told.items() if trouble is not None] == ["r4"]
    assert "this resource alone is parked" in told["r4"].reason
    assert told["r4"].action.endswith("syncd sync acme/r4")


async def test_a_reload_has_what_is_parked_tried_once_more():
    clock = FakeClock()
    stage = await standby(clock)
    stage.perils.suspects = {"r4": {REQUEST: DEATHS}}
    await stage.runner.try_again()
    assert stage.runner.units["acme", "r4"].due_at > clock.now(), "another instance has the scope, and decides"
    stage.account.ownership.held = True
    await stage.runner.try_again()
    assert stage.runner.units["acme", "r4"].due_at == clock.now()
    assert stage.perils.suspects == {"r4": {REQUEST: DEATHS - 1}}, "one more death parks it again"
