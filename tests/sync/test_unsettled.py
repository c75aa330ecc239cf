"""Records in a state that no list of changes shows them leave: looked at by their id until they have left it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from syncd.model import Lane
from syncd.store import Store
from syncd.sync.plan import Strategy
from syncd.sync.pull import Pull
from syncd.testing.clock import FakeClock
from tests.sync.inboxed import REST, Desk

MINUTE = 60.0
ORDERS: dict[str, Any] = {
    "path": "/orders",
    "records": "items",
    "updated": "updated_at",
    "one": "/orders/{id}",
    "unsettled": {"field": "status", "values": ["queued", "held"], "every": "15m"},
    "fields": {"status": {"as": "text"}, "parts": {"as": "integer"}},
}
PARTS: dict[str, Any] = {
    "path": "/orders/{parent.id}/parts",
    "parent": "orders",
    "where": "parts",
    "records": "items",
    "fields": {"name": {"as": "text"}},
}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def desk(database: str, key_ring: Any, clock: FakeClock) -> AsyncIterator[Desk]:
    async with await Store.open(database, clock=clock, key_ring=key_ring, pool_size=4, migrate=False) as store:
        yield await Desk.open(store, clock, rest={**REST, "resources": {"orders": ORDERS, "parts": PARTS}})


def order(desk: Desk, external_id: str, status: str, parts: int | None = 0) -> dict[str, Any]:
    """Let the partner have it so."""
    raw = {"id": external_id, "status": status, "parts": parts, "updated_at": desk.clock.now().isoformat()}
    desk.partner.truth[f"/orders/{external_id}"] = raw
    return raw


async def listed(desk: Desk, *orders: dict[str, Any]) -> None:
    desk.partner.truth["/orders"] = {"items": list(orders)}
    await Pull(desk.account, desk.account.plans["orders"], Lane.NORMAL, "test", wanted_full=True).run()


async def test_it_is_looked_at_ever_more_seldom_until_it_has_left_the_state(desk: Desk, clock: FakeClock) -> None:
    await listed(desk, order(desk, "a", "queued"), order(desk, "b", "done"))
    assert await desk.do_tasks() == 0, "not before its time"
    desk.partner.calls.clear()
    for minutes in (15, 30, 60):
        await clock.advance(minutes * MINUTE - 1)
        assert await desk.do_tasks() == 0
        await clock.advance(1)
        assert await desk.do_tasks() == 1
    order(desk, "a", "done")
    await clock.advance(120 * MINUTE)
    assert await desk.do_tasks() == 1
    assert (await desk.live("orders"))["a"]["status"] == "done"
    await clock.advance(7 * 24 * 60 * MINUTE)
    assert await desk.do_tasks() == 0
    assert desk.partner.calls == ["/orders/a"] * 4


async def test_a_listing_that_shows_it_unchanged_ends_no_looks_and_one_that_shows_it_settled_spares_the_call(
    desk: Desk, clock: FakeClock
) -> None:
    queued = order(desk, "a", "held")
    await listed(desk, queued)
    await clock.advance(10 * MINUTE)
    await listed(desk, queued)
    await clock.advance(5 * MINUTE)
    desk.partner.calls.clear()
    assert await desk.do_tasks() == 1
    assert desk.partner.calls == ["/orders/a"]
    await listed(desk, order(desk, "a", "done"))
    await clock.advance(30 * MINUTE)
    desk.partner.calls.clear()
    assert await desk.do_tasks() == 1
    assert desk.partner.calls == []
    assert await desk.take_tasks() == []


async def test_one_that_is_gone_when_it_is_looked_at_is_a_tombstone(desk: Desk, clock: FakeClock) -> None:
    await listed(desk, order(desk, "a", "queued"))
    del desk.partner.truth["/orders/a"]
    await clock.advance(15 * MINUTE)
    assert await desk.do_tasks() == 1
    assert await desk.live("orders") == {}
    await clock.advance(24 * 60 * MINUTE)
    assert await desk.do_tasks() == 0


async def test_what_is_unsettled_and_nobody_looks_at_is_looked_at_again(desk: Desk, clock: FakeClock) -> None:
    queued, held = order(desk, "a", "queued"), order(desk, "b", "held")
    await listed(desk, queued, held, order(desk, "c", "done"))
    await clock.advance(15 * MINUTE)
    plans = desk.account.plans
    desk.account.plans = {}
    assert await desk.do_tasks() == 2, "dropped: the resource is switched off"
    desk.account.plans = plans
    desk.partner.calls.clear()
    await listed(desk, queued, held, order(desk, "c", "done"))
    assert sorted(task.external_id or "" for task in await desk.store.tasks.list(desk.account.name)) == ["a", "b"]
    await clock.advance(10 * MINUTE)
    await listed(desk, queued, held)  # which puts none off, and makes none twice
    assert len(await desk.store.tasks.list(desk.account.name)) == 2
    await clock.advance(5 * MINUTE)
    assert await desk.do_tasks() == 2
    assert sorted(desk.partner.calls)[-2:] == ["/orders/a", "/orders/b"]


async def test_once_for_each_configuration_a_run_that_lists_nothing_looks_for_them_too(desk: Desk) -> None:
    await listed(desk, order(desk, "a", "queued"))
    desk.partner.truth["/orders"] = {"items": []}
    for looked_for, waiting in (({"orders"}, 0), (set[str](), 1)):
        await desk.store._database.execute("DELETE FROM syncd.tasks")
        desk.account.looked_for = looked_for
        plan = replace(desk.account.plans["orders"], strategy=Strategy.FEED)
        await Pull(desk.account, plan, Lane.NORMAL, "test").run()
        assert len(await desk.store.tasks.list(desk.account.name)) == waiting


async def test_looks_to_come_are_no_backlog(desk: Desk) -> None:
    await listed(desk, order(desk, "a", "queued"))
    assert [depth for depth in await desk.store.queues.depths() if depth.queue.startswith("tasks")] == []


async def test_nobody_asks_below_a_parent_that_says_that_there_is_nothing(desk: Desk, clock: FakeClock) -> None:
    for name in ("a", "c", "d"):
        desk.partner.truth[f"/orders/{name}/parts"] = {"items": [{"id": f"p{name}", "name": "x"}]}
    orders = [
        order(desk, "a", "done", 2),
        order(desk, "b", "done", 0),
        order(desk, "c", "done"),
        order(desk, "d", "done", 1),
    ]
    await listed(desk, *orders)
    desk.partner.calls.clear()
    while await desk.do_tasks():
        pass
    assert sorted(desk.partner.calls) == ["/orders/a/parts", "/orders/d/parts"]
    desk.partner.calls.clear()
    await Pull(desk.account, desk.account.plans["parts"], Lane.NORMAL, "test").run()
    assert desk.partner.calls == ["/orders/a/parts", "/orders/d/parts"]
    assert sorted(await desk.live("parts")) == ["pa", "pd"]
