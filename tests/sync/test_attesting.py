"""What a listing should show and does not is said, by name and once, and nothing is deleted."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import structlog.testing

from syncd import drivers
from syncd.explain import State
from syncd.store import Stand, Store
from syncd.sync.attesting import tell_unattested
from syncd.sync.health import Health
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.schedule import Schedule
from tests.store.parts import START, Desk, at, row

SPEC: dict[str, Any] = {
    "resources": {
        "stays": {"path": "/stays", "fields": {"leaves": {"as": "date"}, "status": "status"}},
        "coming": {
            "path": "/coming",
            "attests": {"resource": "stays", "field": "leaves", "but": {"status": ["cancelled", "denied"]}},
        },
    }
}


class Stage:
    def __init__(self, store: Store) -> None:
        driver = drivers.load("rest", rest=SPEC, partner="inn")
        plans = {
            name: ResourcePlan(resource, Strategy.FULL, Schedule(every_seconds=900))
            for name, resource in driver.spec.resources.items()
        }
        clock = SimpleNamespace(now=lambda: START)
        self.health = Health("acme")
        self.account: Any = SimpleNamespace(
            name="acme", partner="inn", plans=plans, store=store, health=self.health, clock=clock
        )

    async def pass_ended(self, began: float = 100) -> str:
        stand: Any = SimpleNamespace(started_at=at(began))
        await tell_unattested(self.account, self.account.plans["coming"], stand)
        told = self.health.of("coming").unattested
        return told.reason if told is not None else ""


@pytest.fixture
async def desk(store: Store) -> Desk:
    desk = await Desk.open(store, resource="stays")
    await desk.begin()
    tomorrow, today = (START + timedelta(days=1)).date().isoformat(), START.date().isoformat()
    await desk.commit(
        row("shown", {"leaves": tomorrow}, resource="stays"),
        row("past", {"leaves": today}, resource="stays"),
        row("off", {"leaves": tomorrow, "status": "cancelled"}, resource="stays"),
        row("undated", {}, resource="stays"),
        row("just-come", {"leaves": tomorrow}, resource="stays", fetched=200),
        row("lost", {"leaves": tomorrow, "status": "new"}, resource="stays"),
        row("shown", {}, resource="coming"),
        row("lost", {}, resource="coming"),
        row("lost", {}, resource="coming", fetched=1, deleted=True),
    )
    return desk


async def test_a_record_the_listing_should_show_and_does_not_is_named_and_kept(store: Store, desk: Desk) -> None:
    stage = Stage(store)
    assert await stage.pass_ended() == "stays: 1 with a leaves to come are not in coming: lost"
    assert stage.health.judge({}, START)[0] is State.HEALTHY
    assert getattr(stage.health.judge({}, START)[1], "code", "") == "unattested"
    assert await desk.data("lost") is not None


async def test_it_is_said_once_and_over_once_the_listing_shows_it(store: Store, desk: Desk) -> None:
    stage = Stage(store)
    with structlog.testing.capture_logs() as lines:
        await stage.pass_ended()
        await stage.pass_ended()
    assert [line["ids"] for line in lines if line["event"] == "records_unattested"] == [["lost"]]
    await desk.commit(row("lost", {"again": 1}, resource="coming", fetched=2))
    assert await stage.pass_ended() == ""


async def test_without_a_pass_nothing_is_said(store: Store, desk: Desk) -> None:
    stage = Stage(store)
    none: Stand | None = None
    await tell_unattested(stage.account, stage.account.plans["coming"], none)
    await tell_unattested(stage.account, stage.account.plans["stays"], SimpleNamespace(started_at=START))  # type: ignore[arg-type]
    assert stage.health.of("coming").unattested is None
