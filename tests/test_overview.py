"""What a wish for a whole integration reads, and what a status costs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from syncd.engine import Engine
from syncd.kit import Resource
from syncd.store import Store
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.schedule import Schedule
from syncd.testing.clock import FakeClock
from syncd.wishes import Wishes

DAY = timedelta(days=1)


async def wished(read: dict[str, timedelta], resource: str | None = None) -> set[str]:
    """The resources a wish names; `read`: how long ago each was read whole."""
    clock = FakeClock()
    resources = [
        Resource(name="orders", path="/orders"),
        Resource(name="users", path="/users", ttl="1d"),
        Resource(name="teams", path="/teams", ttl="1d"),
    ]
    plans = {one.name: ResourcePlan(one, Strategy.FULL, Schedule(every_seconds=60)) for one in resources}
    stands = [
        SimpleNamespace(checkpoint=SimpleNamespace(resource=name), passed_at=clock.now() - ago)
        for name, ago in read.items()
    ]

    async def checkpoints(_: str) -> list[Any]:
        return stands

    asked: set[str] = set()

    async def wish(_: Any, tasks: list[Any], *told: Any) -> list[int]:
        asked.update(task.resource for task in tasks)
        return [1]

    account = SimpleNamespace(name="acme", plans=plans)
    engine: Any = SimpleNamespace(
        _account=lambda _: account,
        _store=lambda: SimpleNamespace(checkpoints=SimpleNamespace(list=checkpoints)),
        _clock=clock,
        _wish=wish,
    )
    engine._worth_reading = lambda account: Wishes._worth_reading(engine, account)
    await Wishes.sync(engine, "acme", resource, None, who="ann")
    return asked


@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        ({}, {"orders", "users", "teams"}),
        ({"orders": DAY / 48, "users": DAY / 2, "teams": DAY * 2}, {"orders", "teams"}),
        ({"orders": DAY / 48, "users": DAY / 2, "teams": DAY / 2}, {"orders"}),
        ({"users": -DAY}, {"orders", "users", "teams"}),
    ],
    ids=["nothing was read", "one is old", "both serve", "by a clock that was ahead"],
)
async def test_what_seldom_changes_is_left_alone_while_its_copy_serves(read: dict[str, timedelta], wanted: set[str]):
    assert await wished(read) == wanted


async def test_what_is_asked_for_by_name_is_read_however_fresh_its_copy():
    assert await wished({"users": DAY / 48}, "users") == {"users"}


async def test_a_status_of_a_hundred_integrations_asks_the_database_no_more_than_one_of_one(store: Store):
    def nothing(*_: Any) -> Any:
        raise AssertionError("not asked here")

    config: Any = SimpleNamespace(integrations={}, partners={}, state_directory=None)
    engine = Engine(
        config=lambda: config, supervisor=lambda: None, store=lambda: store, clock=FakeClock(), stuck=list, unready=list,
        storable=nothing, refusing=dict, reload=nothing,
    )  # fmt: skip

    async def asked(names: list[str]) -> int:
        before = store.vitals.heard_of
        await engine.shown._seen(names)
        await asyncio.sleep(0.01)  # the library tells of a statement a turn of the loop later
        return store.vitals.heard_of - before

    await asked(["acme"])
    once = await asked(["acme"])
    assert 0 < once <= 10
    assert await asked([f"acme{number}" for number in range(100)]) == once
