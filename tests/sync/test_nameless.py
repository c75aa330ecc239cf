"""Deliveries of what nobody can name yet: they wait, and cost those that can be worked on next to nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from syncd import metrics
from syncd.kit import Event
from syncd.store import KeyRing, Store
from syncd.store.queues import INBOX
from syncd.sync.naming import NAMED_LATER, NAMED_MOST
from syncd.testing.clock import FakeClock
from tests.sync.inboxed import Desk, event, thing

NAMED_BY = ("things", "not there yet")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def desk(
    database: str, clock: FakeClock, key_ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    async with await Store.open(database, clock=clock, key_ring=key_ring, pool_size=4, migrate=False) as store:
        desk = await Desk.open(store, clock)

        def named_by(self: object, told: Event) -> tuple[str, str] | None:
            return NAMED_BY if told.resource == "elsewhere" else None

        monkeypatch.setattr(type(desk.driver), "named_by", named_by)
        yield desk


async def nameless(desk: Desk, count: int) -> None:
    bodies = [orjson.dumps({"events": [event(str(n), resource="elsewhere")]}) for n in range(count)]
    await desk.deliver_all(bodies)


async def test_one_look_for_a_name_serves_all_that_wait_for_it(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[Any, ...]] = []
    look = type(desk.store.records).get

    async def get(self: Any, *key: Any) -> Any:
        asked.append(key)
        return await look(self, *key)

    monkeypatch.setattr(type(desk.store.records), "get", get)
    await nameless(desk, 40)
    await desk.work()
    assert len(asked) == 1
    assert {state for state, _ in await desk.fates()} == {"waiting"}


async def test_what_is_put_off_has_not_left_the_queue(desk: Desk, clock: FakeClock):
    timed = metrics.WEBHOOK_SECONDS.labels("plain")
    before = timed._sum.get(), sum(bucket.get() for bucket in timed._buckets)
    await nameless(desk, 2)
    for _ in range(5):
        await desk.work()
        await clock.advance(6)
    assert desk.account.flow.ended[INBOX] == 0
    assert (timed._sum.get(), sum(bucket.get() for bucket in timed._buckets)) == before
    await desk.deliver(event("1"))
    await desk.work()
    assert desk.account.flow.ended[INBOX] == 1


async def test_a_good_delivery_goes_past_thousands_whose_time_to_be_looked_at_again_has_come(
    desk: Desk, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("syncd.sync.events.BATCH", 20)
    await nameless(desk, 100)
    await desk.work()
    await clock.advance(6)
    desk.partner.truth["/things/1"] = thing("1", "new", desk.clock.now())
    good = await desk.deliver(event("1"))
    await desk.events.look()
    (row,) = await desk.rows("SELECT state FROM syncd.inbox WHERE id = $1", good)
    assert row["state"] == "done"


async def test_more_than_are_remembered_come_to_an_end_as_well(
    desk: Desk, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("syncd.sync.naming.UNNAMED_MOST", 2)
    monkeypatch.setattr("syncd.sync.naming.NAMED_WITHIN", 2 * NAMED_LATER)
    await nameless(desk, 5)
    for _ in range(3):
        await desk.work()
        await clock.advance(NAMED_LATER.total_seconds() + 1)
    await clock.advance(NAMED_MOST.total_seconds())
    await desk.work()
    assert {state for state, _ in await desk.fates()} == {"dropped"}
