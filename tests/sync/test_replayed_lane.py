"""A day that is replayed is worked on in the lowest lane: what comes now goes first, also about the same record."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from syncd.model import Lane
from syncd.store import KeyRing, Store
from syncd.testing.clock import FakeClock
from tests.sync.inboxed import Desk, event, thing


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def desk(database: str, clock: FakeClock, key_ring: KeyRing) -> AsyncIterator[Desk]:
    async with await Store.open(database, clock=clock, key_ring=key_ring, pool_size=4, migrate=False) as store:
        yield await Desk.open(store, clock)


async def lanes(desk: Desk) -> dict[str, Lane]:
    return {task.external_id or "": task.lane for task in await desk.store.tasks.list("acme") if task.kind == "fetch"}


async def test_a_replay_goes_last_and_a_live_event_about_its_record_lifts_it(desk: Desk, clock: FakeClock):
    for name in ("7", "8"):
        desk.partner.truth[f"/things/{name}"] = thing(name, "there", clock.now())
    old = [await desk.deliver(event(name)) for name in ("7", "8")]
    await desk.work()
    assert set((await lanes(desk)).values()) == {Lane.HIGH}
    for task in await desk.take_tasks():
        await desk.store.tasks.done(task)  # done, and nothing of it remembered
    await clock.advance(7200)
    await desk.restart()
    assert await desk.store.inbox.replay("acme", old) == 2
    await desk.work()
    assert await lanes(desk) == {"7": Lane.LOW, "8": Lane.LOW}
    await desk.deliver(event("7"))
    await desk.work()
    assert await lanes(desk) == {"7": Lane.HIGH, "8": Lane.LOW}


async def test_what_died_in_hand_and_what_waited_long_is_as_urgent_as_ever(desk: Desk, clock: FakeClock):
    desk.paused.append("acme")
    await desk.deliver(event("7"))
    await desk.deliver(event("8"))
    await desk.work()
    await clock.advance(7200)
    desk.paused.clear()
    taken = await desk.store.inbox.take("acme", scope="acme", fence=desk.ownership.fence, limit=1, size=1000)
    assert len(taken) == 1
    await desk.restart()
    await desk.work()
    assert await lanes(desk) == {"7": Lane.HIGH, "8": Lane.HIGH}
