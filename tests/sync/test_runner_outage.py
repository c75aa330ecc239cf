"""What the runner and the feeder take while a breaker is not closed, and how what waited begins once it is."""

import itertools

import pytest

from syncd.model import Lane
from syncd.testing.clock import FakeClock
from tests.sync.stage import NAMES, Stage, task


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_while_it_is_open_no_run_is_queued_but_those_of_other_groups(clock: FakeClock):
    stage = Stage(clock)
    await stage.breaks()
    stage.runner._offer_due()
    assert stage.offered() == ["r19"]


async def test_half_open_one_run_goes_the_one_tried_longest_ago_and_the_next_after_it(clock: FakeClock):
    stage = Stage(clock)
    await stage.breaks()
    await clock.advance(61)
    oldest = min(stage.runner.units.values(), key=lambda unit: unit.last_started_at or clock.now())
    stage.runner._offer_due()
    stage.runner._offer_due()
    assert sorted(stage.offered()) == sorted([oldest.plan.name, "r19"])


async def test_what_somebody_waits_for_is_the_probe_before_all_others(clock: FakeClock):
    stage = Stage(clock)
    await stage.breaks()
    await clock.advance(61)
    stage.runner._wish(task(1, "r7", kind="sync", lane=Lane.HIGH))
    stage.runner._offer_due()
    assert sorted(stage.offered()) == ["r19", "r7"]


async def test_once_it_is_closed_each_run_that_waited_begins_once_spread_over_half_a_minute(clock: FakeClock):
    stage = Stage(clock)
    await stage.breaks()
    stage.runner._offer_due()
    await clock.advance(3 * 3600)
    stage.runner._wish(task(1, "r7", kind="sync", lane=Lane.HIGH))
    stage.runner._offer_due()
    before = set(stage.offered())
    await stage.heals()
    back = clock.now()
    stage.runner._offer_due()
    assert set(stage.offered()) - before <= {"r7"}, "only what somebody waits for goes at once"
    begins = sorted(
        (unit.due_at - back).total_seconds()
        for unit in stage.runner.units.values()
        if unit.plan.name not in (*before, "r7")
    )
    assert begins[0] >= 0
    assert begins[-1] <= 30
    assert begins[-1] - begins[0] > 10
    assert max(late - early for early, late in itertools.pairwise(begins)) < 10
    await clock.advance(31)
    stage.runner._offer_due()
    assert sorted(stage.offered()) == sorted(NAMES), "each once, however many intervals were missed"


async def test_a_run_that_waited_for_a_seat_when_the_breaker_opened_begins_no_row(clock: FakeClock):
    stage = Stage(clock)
    await stage.breaks()
    unit = stage.runner.units["acme", "r1"]
    await stage.runner._pull(unit)  # would need a store to begin
    assert not unit.running
    assert unit.due(clock.now())


async def test_while_it_is_open_tasks_stay_in_their_rows(clock: FakeClock):
    stage = Stage(clock, *(task(number, "r1") for number in range(100)), task(200, "r19"))
    await stage.breaks()
    for _ in range(10):
        await stage.runner._feeder.feed(())
        await clock.advance(1)
    assert len(stage.tasks.waiting) == 100
    assert stage.begun() == ["task:200"], "another group's work goes on"


async def test_half_open_one_task_is_taken_and_no_other_until_it_is_over(clock: FakeClock):
    stage = Stage(clock, *(task(number, "r1") for number in range(100)))
    await stage.breaks()
    await clock.advance(61)
    for _ in range(5):
        assert not await stage.runner._feeder.feed(()), "no reason to look again at once"
    assert stage.begun() == ["task:0"]
    assert len(stage.tasks.waiting) == 99
    stage.runner._offer_due()
    assert stage.offered() == ["r19"], "the task is the probe: no run beside it"
    await stage.heals()
    await stage.runner._feeder.feed(())
    assert len(stage.begun()) == 51


async def test_when_all_is_well_nothing_is_asked_of_the_rows_that_was_not_before(clock: FakeClock):
    stage = Stage(clock, *(task(number, "r1") for number in range(3)))
    await stage.runner._feeder.feed(())
    assert stage.tasks.asked == [(50, None)]


async def test_after_downtime_the_budget_ramps_up_where_work_waited_and_only_once(clock: FakeClock):
    stage = Stage(clock)
    stage.gate.away_seconds = 3600.0
    await stage.runner._come_back()
    assert stage.gate.view()["ramp"] is None, "nothing waited"
    stage.gate.away_seconds = 3600.0
    stage.runner.units["acme", "r3"].overdue = True
    await stage.runner._come_back()
    assert stage.gate.view()["ramp"]["share"] == pytest.approx(0.1)
    await clock.advance(61)
    await stage.runner._come_back()
    assert stage.gate.view()["ramp"] is None


@pytest.mark.parametrize(("away", "waiting", "ramps"), [(30.0, True, False), (61.0, False, False), (61.0, True, True)])
async def test_a_ramp_needs_a_minute_of_absence_and_work_that_waits(clock: FakeClock, away, waiting, ramps):
    stage = Stage(clock, *([task(1, "r1")] if waiting else []))
    stage.gate.away_seconds = away
    await stage.runner._come_back()
    assert (stage.gate.view()["ramp"] is not None) == ramps
