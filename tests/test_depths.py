"""Queues as a person sees them: depth, age, rate, drain, and why one does not flow."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from syncd import metrics, planning
from syncd.config import PartnerConfig
from syncd.depths import Depths
from syncd.store.queues import Depth
from syncd.sync.flow import Flow
from syncd.sync.pool import Pool
from syncd.testing.clock import FakeClock


class Tables:
    """The store, as far as it is counted."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.found: list[Depth] = []
        self.asked = 0
        self.takes_seconds = 0.0

    async def depths(self) -> list[Depth]:
        self.asked += 1
        if self.takes_seconds:
            await self.clock.sleep(self.takes_seconds)
        return self.found


class Stage:
    """One partner with one integration, whose tables hold what the test says."""

    def __init__(self, clock: FakeClock, *, limit: str = "1000/s") -> None:
        self.clock = clock
        self.tables = Tables(clock)
        self.flow = Flow()
        self.may_call = True
        self.pool = Pool("plain", 4, ["acme"], clock)
        self.pool._alive = 4
        config = PartnerConfig.model_validate(
            {
                "name": "plain",
                "driver": "rest",
                "base_url": "http://127.0.0.1:1",
                "rest": {
                    "auth": {"kind": "none"},
                    "test": "/me",
                    "limits": {"tiers": [limit], "share": 1.0},
                    "resources": {"things": {"path": "/things", "records": "items"}},
                },
                "integrations": {"acme": {}},
            }
        )
        account = SimpleNamespace(
            name="acme", scope=config.scope_for("acme"), flow=self.flow, may_call=lambda: self.may_call,
            session=SimpleNamespace(spent=SimpleNamespace(seconds=0.0, calls=0)),
            gate=SimpleNamespace(view=lambda: {"tiers": [], "next_call": {"in_seconds": 0.0}}),
        )  # fmt: skip
        self.runner = SimpleNamespace(accounts={"acme": account}, pool=self.pool, paused={})
        running = SimpleNamespace(runner=self.runner, built=SimpleNamespace(config=config))
        supervisor: Any = SimpleNamespace(running={"plain": running})
        store: Any = SimpleNamespace(queues=self.tables)
        self.depths = Depths(lambda: store, lambda: supervisor, clock, worked=lambda: ["acme", "away"])

    async def count(self, **waiting: int) -> None:
        old = self.clock.now() - timedelta(minutes=3)
        self.tables.found = [Depth(name.replace("_", " "), "acme", count, 0, old) for name, count in waiting.items()]
        await self.depths.measure()

    def view(self, name: str) -> dict[str, Any]:
        return next(each for each in self.depths.view() if each["name"] == name)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def stage(clock: FakeClock) -> Stage:
    return Stage(clock)


async def test_every_queue_is_shown_with_its_depth_age_and_the_seeds_capacity(stage: Stage):
    await stage.count(inbox=12, tasks_low=1500)
    assert [each["name"] for each in stage.depths.view()] == [
        "inbox", "tasks high", "tasks normal", "tasks low", "outbox", "plain",
    ]  # fmt: skip
    low = stage.view("tasks low")
    assert (low["waiting"], low["capacity"], low["oldest_seconds"], low["integrations"]) == (
        1500,
        2000,
        180.0,
        {"acme": 1500},
    )
    assert (stage.view("tasks high")["state"], stage.view("tasks high")["capacity"]) == ("empty", 1000)
    assert metrics.QUEUE_LENGTH.labels("inbox")._value.get() == 12
    assert metrics.OLDEST_WORK.labels("tasks low")._value.get() == 180
    assert stage.view("plain")["workers"] == {"alive": 4, "total": 4}


async def test_the_drain_comes_from_what_left_the_queue_while_it_was_not_empty(stage: Stage):
    await stage.count(inbox=1000)
    assert stage.view("inbox")["drains_in_seconds"] is None, "nothing is known yet"
    for _ in range(60):
        await stage.clock.advance(5)
        stage.flow.ended["inbox"] += 50
        await stage.count(inbox=1000)
    assert stage.view("inbox")["rate_per_second"] == pytest.approx(10.0)
    assert stage.view("inbox")["drains_in_seconds"] == pytest.approx(100.0)
    for _ in range(100):  # an idle night says nothing about how fast it goes
        await stage.clock.advance(600)
        await stage.count(inbox=0)
    await stage.count(inbox=500)
    await stage.clock.advance(2)
    await stage.count(inbox=500)
    assert stage.view("inbox")["drains_in_seconds"] == pytest.approx(50.0, rel=0.2)


async def test_where_a_limit_binds_its_forecast_says_how_long_it_lasts(clock: FakeClock):
    stage = Stage(clock, limit="60/min")
    await stage.count(tasks_high=60, tasks_normal=540)
    high, normal = stage.view("tasks high"), stage.view("tasks normal")
    assert high["drains_in_seconds"] < 70, "what is urgent goes first"
    assert 500 < normal["drains_in_seconds"] < 700
    assert normal["bound_by"] == "60/min"


async def test_what_was_taken_into_memory_is_part_of_the_queue_until_it_is_done(clock: FakeClock):
    stage = Stage(clock, limit="120/min")
    stage.tables.found = [Depth("tasks high", "acme", 400, 1000, clock.now())]
    await stage.depths.measure()
    high = stage.view("tasks high")
    assert (high["waiting"], high["under_way"], high["state"]) == (1400, 1000, "full")
    assert 600 < high["drains_in_seconds"] < 800


async def test_worker_down_is_told_from_queue_full(stage: Stage):
    await stage.count(tasks_normal=900)
    assert stage.view("tasks normal")["state"] == "full"
    stage.pool._alive = 0
    assert stage.view("tasks normal")["state"] == "no_workers"
    stage.pool._alive = 4
    stage.may_call = False
    assert stage.view("tasks normal")["state"] == "held"
    stage.may_call = True
    stage.runner.paused["acme"] = object()
    assert stage.view("tasks normal")["state"] == "held"
    await stage.clock.advance(5)
    await stage.count(tasks_normal=10)
    stage.runner.paused.clear()
    assert stage.view("tasks normal")["state"] == "flows"


async def test_counting_takes_a_twentieth_of_the_time_at_most(stage: Stage):
    stage.tables.takes_seconds = 3.0
    for _ in range(100):
        await stage.clock.run(stage.count(inbox=1))
        await stage.clock.advance(1)
    assert stage.tables.asked <= 3 + 400 / 60


async def test_a_reload_that_counts_anew_is_no_negative_rate(stage: Stage):
    await stage.count(inbox=10)
    stage.flow.ended["inbox"] = 100
    await stage.clock.advance(5)
    await stage.count(inbox=10)
    stage.flow.ended["inbox"] = 3
    await stage.clock.advance(5)
    await stage.count(inbox=10)
    assert stage.view("inbox")["rate_per_second"] >= 0


async def test_limits_are_looked_at_once_a_minute_and_only_where_something_waits(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []
    scopes_of = planning.scopes_of

    def counting(config: PartnerConfig, sight: planning.Sight) -> Any:
        asked.append(config.name)
        return scopes_of(config, sight)

    monkeypatch.setattr(planning, "scopes_of", counting)
    await stage.count(inbox=10)
    assert asked == []
    for _ in range(11):
        await stage.clock.advance(10)
        await stage.count(tasks_high=10)
        stage.depths.view()
    assert asked == ["plain", "plain"]


async def test_what_a_removed_integration_left_has_no_age_and_is_told_apart():
    stage = Stage(FakeClock())
    now = stage.clock.now()
    stage.tables.found = [
        Depth("inbox", "acme", 3, 0, now - timedelta(minutes=1)),
        Depth("inbox", "away", 1, 0, now - timedelta(minutes=2)),
        Depth("inbox", "gone", 5, 0, now - timedelta(days=30)),
        Depth("outbox", "gone", 2, 0, now - timedelta(days=30)),
    ]
    await stage.depths.measure()
    inbox, outbox = stage.view("inbox"), stage.view("outbox")
    assert (inbox["waiting"], inbox["oldest_seconds"], inbox["left"]) == (9, 120.0, {"gone": 5})
    assert (outbox["waiting"], outbox["oldest_seconds"], outbox["left"]) == (2, 0.0, {"gone": 2})
    assert stage.view("tasks high")["left"] == {}
    assert metrics.OLDEST_WORK.labels("inbox")._value.get() == 120.0
