"""A wall clock that was ahead and is set right delays nothing by as much as it was ahead."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from syncd.errors import StoreError
from syncd.model import Lane, Mode
from syncd.store import NewPush, NewTask, Store
from syncd.sync.pull import Pull
from syncd.sync.returning import Returning
from syncd.sync.setbacks import AGAIN_SECONDS, Setbacks
from syncd.sync.unit import Unit
from syncd.testing.clock import FakeClock
from tests.sync.inboxed import Desk, thing

YEAR = timedelta(days=365)


@pytest.fixture
async def desk(database: str, key_ring):
    clock = FakeClock()
    async with await Store.open(database, clock=clock, key_ring=key_ring, pool_size=4, migrate=False) as store:
        yield await Desk.open(store, clock)


def setbacks(desk: Desk, *units: Unit) -> Setbacks:
    accounts = {"acme": desk.account}
    return Setbacks(accounts, {(unit.integration, unit.plan.name): unit for unit in units}, desk.store, desk.clock)


async def test_schedules_and_retries_follow_a_clock_that_is_set_back(desk: Desk):
    right = desk.clock.now()
    desk.clock.set_now(right + YEAR)
    unit = Unit("acme", desk.account.plans["things"], desk.clock.now() + timedelta(minutes=15))
    watch = setbacks(desk, unit)
    desk.account.health.auth_retry_at = desk.clock.now() + timedelta(minutes=5)
    soon = desk.clock.now() + timedelta(seconds=30)
    await desk.store.tasks.put("acme", NewTask(kind="fetch", resource="things", external_id="1", not_before=soon))
    await watch.look()
    desk.clock.set_now(right)
    await watch.look()
    assert unit.due_at == right + timedelta(minutes=15)
    assert desk.account.health.auth_retry_at == right + timedelta(minutes=5)
    assert await desk.take_tasks() == []
    await desk.clock.advance(31)
    await watch.look()
    assert len(await desk.take_tasks()) == 1


async def test_what_could_not_be_brought_forward_is_tried_again_and_holds_up_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    right = desk.clock.now()
    desk.clock.set_now(right + YEAR)
    watch = setbacks(desk)
    soon = desk.clock.now() + timedelta(seconds=1)
    await desk.store.tasks.put("acme", NewTask(kind="fetch", resource="things", external_id="1", not_before=soon))
    desk.clock.set_now(right)

    async def away(*_: object) -> int:
        raise StoreError("the database did not answer in time")

    with monkeypatch.context() as patched:
        patched.setattr(desk.store.postponed, "set_back", away)
        await watch.look()
    await watch.look()
    await desk.clock.advance(2)
    assert await desk.take_tasks() == [], "it was tried a moment ago"
    await desk.clock.advance(AGAIN_SECONDS)
    await watch.look()
    await desk.clock.advance(2)
    assert len(await desk.take_tasks()) == 1


@pytest.mark.parametrize("seconds", [-1.0, 3600.0])
async def test_a_clock_that_is_corrected_a_little_or_set_forward_moves_nothing(desk: Desk, seconds: float):
    unit = Unit("acme", desk.account.plans["things"], desk.clock.now() + timedelta(minutes=15))
    due_at, watch = unit.due_at, setbacks(desk, unit)
    desk.clock.set_now(desk.clock.now() + timedelta(seconds=seconds))
    await watch.look()
    assert unit.due_at == due_at


async def test_what_a_process_before_us_put_off_by_a_clock_that_was_ahead_goes_at_the_next_start(desk: Desk):
    right = desk.clock.now()
    plan = desk.account.plans["stamped"]
    desk.clock.set_now(right + YEAR)
    desk.partner.truth["/stamped"] = {"items": [thing("1", "first", right)]}
    await Pull(desk.account, plan, Lane.NORMAL, "test").run()
    await desk.store.tasks.put(
        "acme", NewTask(kind="fetch", resource="stamped", external_id="1", not_before=desk.clock.now())
    )
    chosen = right + timedelta(days=40)
    await desk.store.outbox.put(
        NewPush("acme", "stamped", "update", {"name": "x"}, external_id="1", idempotency_key="k", not_before=chosen)
    )
    desk.clock.set_now(right)
    assert await desk.take_tasks() == []
    units: dict[tuple[str, str], Unit] = {}
    await Returning({"acme": desk.account}, units, desk.store, desk.clock).look(["acme"])
    unit = units["acme", "stamped"]
    assert right <= unit.due_at <= right + timedelta(seconds=2 * (plan.schedule.every_seconds or 0))
    assert len(await desk.take_tasks()) == 1
    (kept,) = await desk.rows("SELECT not_before FROM syncd.outbox")
    assert kept["not_before"] == chosen, "whoever wrote it chose that moment"


async def test_a_complete_pass_of_a_time_to_come_is_not_waited_for(desk: Desk):
    right = desk.clock.now()
    plan = desk.account.plans["things"]
    desk.clock.set_now(right + YEAR)
    desk.partner.truth["/things"] = {"items": [thing("1", "first", right)]}
    await Pull(desk.account, plan, Lane.NORMAL, "test").run()
    stand = await desk.store.checkpoints.stand("acme", "things")
    assert stand is not None and stand.passed_at is not None
    followed = replace(plan, strategy=type(plan.strategy).INCREMENTAL)
    stand = replace(stand, checkpoint=replace(stand.checkpoint, watermark=right))
    assert followed.mode(stand, stand.passed_at, wanted=False) is Mode.INCREMENTAL
    assert followed.mode(stand, right, wanted=False) is Mode.FULL
