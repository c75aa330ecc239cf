"""What a wish for a whole integration reads."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from syncd.kit import Resource
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

    async def wish(_: Any, tasks: list[Any]) -> list[int]:
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
