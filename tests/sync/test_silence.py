"""The silence watch: told once, proven by what the pull finds, healed by the next delivery, and the same after a restart."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from syncd.errors import StoreError
from syncd.explain import State
from syncd.kit import Resource
from syncd.model import Outcome
from syncd.store import Store
from syncd.sync.health import Health
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.schedule import Schedule
from syncd.sync.silence import Silence
from syncd.sync.tally import Tally
from syncd.sync.unit import Unit
from syncd.testing.clock import FakeClock


class Stage:
    """One integration with two resources and a child; deliveries are rows of the inbox."""

    def __init__(self, clock: FakeClock, store: Store, *, fixed: float | None = 3600.0) -> None:
        self.clock, self.store, self.fixed = clock, store, fixed
        self.plans = {
            name: ResourcePlan(
                Resource(name="notes", path="/things/{parent.id}/notes", parent="things")
                if name == "notes"
                else Resource(name=name, path=f"/{name}"),
                Strategy.CHILDREN if name == "notes" else Strategy.INCREMENTAL,
                Schedule(every_seconds=900),
            )
            for name in ("things", "flow", "notes")
        }
        self.units = {("acme", name): Unit("acme", plan, clock.now()) for name, plan in self.plans.items()}
        self.number = 0
        self.restart()

    def restart(self) -> None:
        self.driver = SimpleNamespace(subscriptions=lambda options: object())
        account: Any = SimpleNamespace(
            driver=self.driver, options={}, partner="plain", name="acme", health=Health("acme"),
            plans=self.plans, ownership=SimpleNamespace(held=True),
            may_call=lambda: True, tasks_added=lambda: None, heard=lambda times: None,
        )  # fmt: skip
        self.account = account
        self.silence = Silence("plain", {"acme": account}, self.units, {"acme": self.fixed}, self.store, self.clock)

    async def look(self) -> None:
        for watched in self.silence._watched.values():
            await self.silence._look(watched)

    async def arrives(self, *resources: str, worked_on: bool = True) -> None:
        self.number += 1
        await self.store._database.execute(
            "INSERT INTO syncd.inbox (integration, event_id, received_at) VALUES ('acme', $1, $2)",
            str(self.number),
            self.clock.now(),
        )
        if worked_on:
            await self.store.deliveries.note("acme", resources, self.clock.now())
            self.account.heard([self.clock.now()])

    async def wishes(self) -> list[str]:
        return sorted(task.resource for task in await self.store.tasks.list("acme") if task.kind == "sync")

    def judged(self) -> tuple[State, str]:
        state, told = self.account.health.judge({}, self.clock.now())
        return state, told.code if told is not None else ""


@pytest.fixture
async def stage(database: str) -> AsyncIterator[Stage]:
    clock = FakeClock()
    async with await Store.open(database, clock=clock, migrate=False) as store:
        yield Stage(clock, store)


async def test_silence_pulls_what_webhooks_told_of_once_and_says_so(stage: Stage):
    await stage.arrives("flow")
    await stage.look()
    await stage.clock.advance(3599)
    await stage.look()
    assert (await stage.wishes(), stage.judged()) == ([], (State.HEALTHY, ""))
    await stage.clock.advance(2)
    await stage.look()
    assert await stage.wishes() == ["flow"]
    [task] = await stage.store.tasks.list("acme")
    assert task.cause.startswith("no webhook since ")
    state, told = stage.account.health.judge({}, stage.clock.now())
    assert (state, told.code, told.action) == (State.HEALTHY, "webhooks-silent", "syncd webhook repair acme")
    assert stage.account.health.of("flow").silent, "what webhooks fed is polled"
    await stage.store._database.execute("DELETE FROM syncd.tasks")
    for _ in range(5):
        await stage.clock.advance(4000)
        await stage.look()
    assert await stage.wishes() == [], "once a silence"


async def test_a_child_is_pulled_by_its_parent_and_everything_where_nothing_is_known(stage: Stage):
    await stage.arrives("notes")
    await stage.clock.advance(4000)
    await stage.look()
    assert await stage.wishes() == ["things"]
    await stage.store._database.execute("DELETE FROM syncd.tasks; ")
    await stage.store._database.execute("DELETE FROM syncd.deliveries")
    await stage.arrives()
    await stage.look()
    await stage.clock.advance(4000)
    await stage.look()
    assert await stage.wishes() == ["flow", "things"]


async def test_what_the_pull_finds_proves_that_deliveries_are_lost(stage: Stage):
    await stage.arrives("flow")
    await stage.clock.advance(4000)
    await stage.look()
    unit = stage.units["acme", "flow"]
    unit.last_started_at, unit.last = stage.clock.now(), Tally("acme", "flow", outcome=Outcome.DONE)
    await stage.look()
    assert stage.judged() == (State.HEALTHY, "webhooks-silent"), "a quiet Sunday is nobody's fault"
    unit.last.updated = 3
    await stage.look()
    assert stage.judged() == (State.DEGRADED, "webhooks-silent")
    stage.restart()
    await stage.look()
    assert stage.judged() == (State.DEGRADED, "webhooks-silent"), "a restart forgets nothing"


async def test_the_next_delivery_heals_and_the_next_silence_is_another_one(stage: Stage):
    await stage.arrives("flow")
    await stage.clock.advance(4000)
    await stage.look()
    await stage.arrives("flow")
    assert stage.judged() == (State.HEALTHY, "")
    assert not stage.account.health.of("flow").silent
    await stage.look()
    assert await stage.store.arrivals.silent("acme") is None
    await stage.store._database.execute("DELETE FROM syncd.tasks")
    await stage.clock.advance(4000)
    await stage.look()
    assert await stage.wishes() == ["flow"]


async def test_a_restart_neither_forgets_a_silence_nor_pulls_twice(stage: Stage):
    await stage.arrives("flow")
    await stage.clock.advance(4000)
    stage.restart()
    await stage.look()
    assert await stage.wishes() == ["flow"], "the inbox knows when the last one came"
    await stage.store._database.execute("DELETE FROM syncd.tasks")
    stage.restart()
    await stage.look()
    assert (await stage.wishes(), stage.judged()[1]) == ([], "webhooks-silent")
    await stage.arrives("flow", worked_on=False)
    stage.restart()
    await stage.look()
    assert stage.judged() == (State.HEALTHY, ""), "one came while nobody worked"


async def test_a_silence_whose_pull_could_not_be_asked_for_is_not_taken_for_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    await stage.arrives("flow")
    await stage.clock.advance(4000)
    put = stage.store.tasks.put

    async def broken(*args: Any) -> int:
        raise StoreError("the process ends here, or the database does")

    monkeypatch.setattr(stage.store.tasks, "put", broken)
    with pytest.raises(StoreError):
        await stage.look()
    monkeypatch.setattr(stage.store.tasks, "put", put)
    stage.restart()
    await stage.look()
    assert (await stage.wishes(), stage.judged()[1]) == (["flow"], "webhooks-silent")


async def test_a_silence_that_could_not_be_told_is_told_with_the_pull_that_waits(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    await stage.arrives("flow")
    await stage.clock.advance(4000)
    tell = stage.store.arrivals.tell

    async def broken(*args: Any) -> bool:
        raise StoreError("the process ends here, or the database does")

    monkeypatch.setattr(stage.store.arrivals, "tell", broken)
    with pytest.raises(StoreError):
        await stage.look()
    monkeypatch.setattr(stage.store.arrivals, "tell", tell)
    stage.restart()
    await stage.look()
    assert (await stage.wishes(), stage.judged()[1]) == (["flow"], "webhooks-silent")
    assert await stage.store.arrivals.silent("acme") is not None


async def test_a_delivery_nobody_has_worked_on_yet_breaks_the_silence(stage: Stage):
    await stage.arrives("flow")
    await stage.look()
    await stage.clock.advance(4000)
    await stage.arrives("flow", worked_on=False)
    await stage.look()
    assert await stage.wishes() == []


async def test_where_nothing_ever_came_and_nothing_is_subscribed_there_is_no_silence(stage: Stage):
    await stage.clock.advance(10 * 86_400)
    await stage.look()
    assert await stage.wishes() == []


@pytest.mark.parametrize(("described", "action"), [(object(), "syncd webhook repair acme"), (None, "look at plain")])
async def test_where_no_driver_can_repair_a_subscription_nobody_is_sent_to_do_so(
    stage: Stage, described: Any, action: str
):
    stage.driver.subscriptions = lambda options: described
    await stage.arrives("flow")
    await stage.clock.advance(4000)
    await stage.look()
    assert stage.account.health.silence.action.startswith(action)


async def test_off_is_off_and_ends_what_was_told(stage: Stage):
    await stage.arrives("flow")
    stage.account.health.falls_silent(SimpleNamespace(code="webhooks-silent"), ["flow"], missed=True)
    stage.fixed = math.inf
    health = stage.account.health
    Silence("plain", {"acme": stage.account}, stage.units, {"acme": math.inf}, stage.store, stage.clock)
    assert health.silence is None
    assert not health.of("flow").silent


async def test_what_is_usual_is_learned_from_the_inbox_and_from_what_is_heard(stage: Stage):
    stage.fixed = None
    for _ in range(3 * 24 * 4):  # three days, one each quarter of an hour, taken in before there was a watch
        await stage.clock.advance(900)
        await stage.arrives("flow", worked_on=False)
    stage.restart()
    await stage.look()
    await stage.clock.advance(3500)
    await stage.look()
    assert await stage.wishes() == []
    await stage.clock.advance(200)
    await stage.look()
    assert await stage.wishes() == ["flow", "things"]
    for _ in range(5 * 24 * 2):  # then it slows down, and that becomes usual
        await stage.clock.advance(1800)
        await stage.arrives("flow")
        await stage.look()
    await stage.store._database.execute("DELETE FROM syncd.tasks")
    await stage.clock.advance(6000)
    await stage.look()
    assert await stage.wishes() == []
    await stage.clock.advance(1300)
    await stage.look()
    assert await stage.wishes() == ["flow"]


async def test_time_in_which_nobody_listened_teaches_nothing(stage: Stage):
    await stage.arrives("flow")
    await stage.look()
    stage.restart()
    await stage.look()
    await stage.clock.advance(50_000)
    await stage.arrives("flow")
    await stage.look()
    hours = await stage.store.arrivals.hours("acme")
    assert max(hour.longest_seconds for hour in hours) == 0.0
    assert stage.clock.now() - hours[-1].hour < timedelta(hours=1)
