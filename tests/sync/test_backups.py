"""Drift beside webhooks: the daily pass and the backup tell it, and runs that events ask for take nothing of it back."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from syncd.kit import Request, Response
from syncd.model import Headers, Lane
from syncd.store import KeyRing, Store
from syncd.sync.health import Drift
from syncd.sync.pull import Pull
from syncd.sync.schedule import Schedule
from syncd.testing.clock import FakeClock
from tests.sync.inboxed import REST, Desk, later, thing


class Listing:
    """`/listed` of fifty records, read since a moment or whole."""

    def __init__(self, desk: Desk, clock: FakeClock) -> None:
        self.desk, self.clock = desk, clock
        self.items = {str(number): thing(str(number), "v1", later(clock.now(), -1000)) for number in range(50)}
        self.plan = replace(desk.account.plans["listed"], backup=Schedule(every_seconds=86400))
        desk.account.plans["listed"] = self.plan  # type: ignore[index]
        desk.account.session.call = self.call  # type: ignore[method-assign]
        self.health = desk.account.health.of("listed")

    async def call(self, request: Request, **_: Any) -> Response:
        since = dict(request.params or {}).get("since", "")
        shown = [one for one in self.items.values() if one["updated_at"] >= since[:19]]
        return Response(
            200, Headers({}), orjson.dumps({"items": shown}), requested_at=self.clock.now(), elapsed_seconds=0.1
        )

    def change(self, count: int, name: str) -> None:
        for number in range(count):
            self.items[str(number)] = thing(str(number), name, self.clock.now())

    async def run(self, trigger: str, *, full: bool = False) -> Drift | None:
        self.health.told_at = self.clock.now()
        await Pull(self.desk.account, self.plan, Lane.NORMAL, trigger, wanted_full=full).run()
        return self.health.drift


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def listing(database: str, clock: FakeClock, key_ring: KeyRing) -> AsyncIterator[Listing]:
    rest = copy.deepcopy(REST)
    rest["resources"]["listed"]["since"] = {"param": "since"}
    async with await Store.open(database, clock=clock, key_ring=key_ring, pool_size=4, migrate=False) as store:
        listing = Listing(await Desk.open(store, clock, rest=rest), clock)
        await listing.run("schedule", full=True)
        listing.health.told_since = clock.now()
        await clock.advance(3600)
        yield listing


async def test_what_the_daily_pass_found_stays_told_until_the_next_one(listing: Listing, clock: FakeClock):
    listing.change(30, "v2")
    await clock.advance(3600)
    assert await listing.run("schedule", full=True) == Drift(updated=30)
    await clock.advance(70)
    assert await listing.run("wish") == Drift(updated=30)
    listing.change(2, "v3")
    await clock.advance(3600)
    assert await listing.run("schedule") == Drift(updated=30), "a backup that found less says no more than the pass"
    listing.change(40, "v4")
    await clock.advance(3600)
    assert await listing.run("schedule") == Drift(updated=40)
    await clock.advance(3600)
    assert await listing.run("schedule", full=True) == Drift()


async def test_a_run_that_an_event_asked_for_measures_nothing(
    listing: Listing, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    def mixed(*_: object) -> None:
        raise AssertionError("all its records were looked at")

    monkeypatch.setattr(type(listing.desk.store.comparisons), "mixed", mixed)
    listing.change(30, "v2")
    await clock.advance(3600)
    assert await listing.run("wish") is None
