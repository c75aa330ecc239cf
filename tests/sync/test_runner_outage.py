"""What the runner and the feeder take while a breaker is not closed, and how what waited begins once it is."""

import itertools
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from syncd.errors import TransientError
from syncd.explain import State
from syncd.limits import OverBudgetError
from syncd.model import Lane
from syncd.sync import runner
from syncd.sync.tally import Tally
from syncd.sync.unit import Unit
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
    stage.checkpoints.began = dict.fromkeys(NAMES, clock.now() - timedelta(seconds=60))
    stage.gate.away_seconds = 3600.0
    await stage.runner._returning.come_back()
    assert stage.gate.view()["ramp"] is None, "nothing waited"
    stage.gate.away_seconds = 3600.0
    stage.checkpoints.began["r3"] = clock.now() - timedelta(seconds=3600)
    await stage.runner._returning.come_back()
    assert stage.gate.view()["ramp"]["share"] == pytest.approx(0.1)
    await clock.advance(61)
    await stage.runner._returning.come_back()
    assert stage.gate.view()["ramp"] is None


@pytest.mark.parametrize(("away", "waiting", "ramps"), [(30.0, True, False), (61.0, False, False), (61.0, True, True)])
async def test_a_ramp_needs_a_minute_of_absence_and_work_that_waits(clock: FakeClock, away, waiting, ramps):
    stage = Stage(clock, *([task(1, "r1")] if waiting else []))
    stage.gate.away_seconds = away
    await stage.runner._returning.come_back()
    assert (stage.gate.view()["ramp"] is not None) == ramps


async def refused(stage: Stage, name: str, error: Exception) -> Unit:
    """A run of this resource ended like that just now."""
    unit = stage.runner.units["acme", name]
    pull: Any = SimpleNamespace(tally=Tally("acme", name))
    await stage.runner._outcomes.failed(unit, pull, [], error)
    return unit


async def test_after_a_reset_the_run_that_met_the_open_breaker_comes_back_with_the_others(clock: FakeClock):
    stage = Stage(clock)
    await stage.breaks()
    for _ in range(4):
        await clock.advance(301)
        await stage.breaks()
    unit = await refused(stage, "r0", stage.gate.breakers.refusal("", clock.monotonic()))
    assert unit.due_at > clock.now() + timedelta(seconds=100)
    assert stage.gate.reset() == [""]
    stage.runner._offer_due()
    assert unit.due_at <= clock.now() + timedelta(seconds=30)
    await clock.advance(31)
    stage.runner._offer_due()
    assert "r0" in stage.offered()


@pytest.mark.parametrize("broken", [True, False])
async def test_a_probe_that_failed_comes_back_with_the_reset_and_keeps_its_backoff_where_no_breaker_is_open(
    clock: FakeClock, broken: bool
):
    stage = Stage(clock)
    if broken:
        await stage.breaks()
    error = TransientError("GET /r0: answered 503", retry_at=clock.now() + timedelta(seconds=200))
    error.blameless = True
    unit = await refused(stage, "r0", error)
    stage.gate.reset()
    stage.runner._offer_due()
    assert (unit.due_at <= clock.now() + timedelta(seconds=30)) == broken


async def test_the_run_that_healed_the_partner_is_not_made_up_for_again(clock: FakeClock, monkeypatch):
    class HealingPull:
        def __init__(self, *_: Any, **__: Any) -> None:
            self.tally = Tally("acme", "r1")

        async def run(self) -> None:
            await stage.heals()

    monkeypatch.setattr(runner, "Pull", HealingPull)
    stage = Stage(clock)
    await stage.breaks()
    stage.runner._offer_due()
    await clock.advance(61)
    unit = stage.runner.units["acme", "r1"]
    assert unit.barred
    await stage.runner._pull(unit)
    stage.runner._offer_due()
    assert unit.due_at == clock.now() + timedelta(seconds=900)


async def test_a_run_that_goes_on_no_longer_waits_for_the_limit_it_was_put_off_for(clock: FakeClock, monkeypatch):
    states: list[State] = []

    class LookingPull:
        def __init__(self, *_: Any, **__: Any) -> None:
            self.tally = Tally("acme", "r1")

        async def run(self) -> None:
            states.append(stage.account.health.judge(stage.gate.view(), clock.now())[0])

    monkeypatch.setattr(runner, "Pull", LookingPull)
    stage = Stage(clock)
    unit = await refused(stage, "r1", OverBudgetError("20/d is full", retry_at=clock.now() + timedelta(hours=9)))
    assert stage.account.health.judge(stage.gate.view(), clock.now())[0] is State.WAITING
    await stage.runner._pull(unit)
    assert states == [State.HEALTHY]


@pytest.mark.parametrize("held", ["acme", "acme/r1", "refused"])
async def test_tasks_that_wait_for_a_seat_go_back_where_their_calls_were_stopped_meanwhile(clock: FakeClock, held: str):
    stage = Stage(clock, *(task(number, f"r{number % 2 + 1}") for number in range(4)))
    worked: list[int] = []

    async def work(tasks: list[Any]) -> None:
        worked.extend(each.id for each in tasks)

    feeder = stage.runner._feeder
    feeder._workers = {"acme": SimpleNamespace(run=work)}  # type: ignore[dict-item]
    await feeder.feed(())
    if held == "refused":
        stage.account.may_call = lambda: False
    await feeder.feed({held})
    for key, batch in list(feeder._taken.items()):
        await feeder._work(key, batch)
    assert sorted(stage.tasks.back) == ([0, 2] if held == "acme/r1" else [0, 1, 2, 3])
    assert sorted(worked + stage.tasks.back) == [0, 1, 2, 3]
    assert feeder._taken == {}


async def test_tasks_of_a_paused_resource_stay_in_their_rows(clock: FakeClock):
    stage = Stage(clock, *(task(number, f"r{number % 2 + 1}") for number in range(4)))
    await stage.runner._feeder.feed({"acme/r1"})
    assert [each.resource for each in stage.tasks.waiting] == ["r1", "r1"]
    await stage.breaks()
    await clock.advance(61)
    await stage.runner._feeder.feed({"acme/r1"})
    assert [each.resource for each in stage.tasks.waiting] == ["r1", "r1"], "not even as the probe"
    await stage.heals()
    await stage.runner._feeder.feed(())
    assert stage.tasks.waiting == []


async def test_one_integration_has_no_more_out_than_its_share_of_a_lane(clock: FakeClock):
    stage = Stage(clock, *(task(number, "r1") for number in range(3000)))
    feeder = stage.runner._feeder
    feeder._share = dict.fromkeys(Lane, 120)
    while await feeder.feed(()):
        pass
    assert len(stage.begun()) == 150, "no more is taken once it has its share"
    stage.tasks.waiting += [task(4000, "r2", lane=Lane.HIGH)]
    await feeder.feed(())
    assert "task:4000" in stage.begun(), "what is urgent has a share of its own"
    assert feeder._full() == {("acme", Lane.NORMAL)}
