"""What a listing should show and does not is said, by name and once, and nothing is deleted."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import structlog.testing

from syncd import drivers
from syncd.explain import State
from syncd.store import Row, Stand, Store
from syncd.sync.account import Account
from syncd.sync.attesting import take_shown, tell_unattested
from syncd.sync.health import Health
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.schedule import Schedule
from tests.store.parts import START, Desk, at, row

SPEC: dict[str, Any] = {
    "resources": {
        "stays": {"path": "/stays", "fields": {"leaves": {"as": "date"}, "status": "status"}},
        "coming": {
            "path": "/coming",
            "attests": {
                "resource": "stays",
                "field": "leaves",
                "but": {"status": ["cancelled", "denied"]},
                "same": ["leaves", "rooms"],
            },
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
            name="acme",
            partner="inn",
            plans=plans,
            store=store,
            health=self.health,
            clock=clock,
            scope="acme",
            fence=None,
            history={},
            moved=lambda: None,
        )
        self.account.write = partial(Account.write, self.account)

    async def page_stored(self, desk: Desk, *rows: Row, began: float = 100, seen: float = 100) -> int:
        """A page of the listing, whose own items of the other resource are stamped as older than any message."""
        self.account.scope, self.account.fence = desk.scope, desk.fence
        write: Any = SimpleNamespace(rows=rows, cause="run 7")
        return await take_shown(self.account, self.account.plans["coming"], write, at(began), at(seen))

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


SOON, LATER = ((START + timedelta(days=days)).date().isoformat() for days in (1, 9))


def shown(external_id: str, **told: Any) -> Row:
    """What the listing's own item of it is: partial, and older than every message by its stamp."""
    return row(external_id, told, resource="stays", fetched=101, updated=-86400, sparse=True)


async def test_a_change_whose_message_nobody_saw_is_taken_from_what_the_listing_shows(store: Store, desk: Desk) -> None:
    stage = Stage(store)
    await desk.put(
        row("told", {"leaves": SOON, "rooms": [1], "guest": "Ilse"}, resource="stays", fetched=50, updated=50)
    )
    item = shown("told", leaves=LATER, rooms=[2, 3])
    await desk.put(item)
    assert (await desk.data("told") or {})["leaves"] == SOON, "by its stamp alone it is older than the message"
    assert await stage.page_stored(desk, item) == 1
    assert await desk.data("told") == {"leaves": LATER, "rooms": [2, 3], "guest": "Ilse"}
    found = await store.records.get("acme", "stays", "told")
    assert found is not None
    assert (found.cause, found.source_updated_at) == ("run 7: coming shows it otherwise", at(100))
    # A message of later still is newer; one that a slower answer brings is not.
    await desk.put(row("told", {"leaves": SOON}, resource="stays", fetched=120, updated=99))
    assert (await desk.data("told") or {})["leaves"] == LATER
    await desk.put(row("told", {"leaves": SOON}, resource="stays", fetched=120, updated=110))
    assert (await desk.data("told") or {})["leaves"] == SOON


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ({"leaves": SOON, "rooms": [1, 2]}, {"leaves": SOON, "rooms": ["in other words", "too"]}),
        ({"leaves": SOON}, {"rooms": [1]}),
        ({"leaves": SOON, "status": "cancelled"}, {"leaves": LATER}),
    ],
    ids=["only otherwise told", "one of them does not tell", "what need not be shown"],
)
async def test_what_is_the_same_in_what_both_tell_stays_as_its_message_told_it(
    store: Store, desk: Desk, stored: dict[str, Any], told: dict[str, Any]
) -> None:
    await desk.put(row("told", stored, resource="stays", fetched=50, updated=50))
    assert await Stage(store).page_stored(desk, shown("told", **told)) == 0
    assert await desk.data("told") == stored


async def test_a_message_that_came_while_the_pass_went_on_is_not_undone_by_it(store: Store, desk: Desk) -> None:
    await desk.put(row("told", {"leaves": SOON}, resource="stays", fetched=101, updated=90))
    assert await Stage(store).page_stored(desk, shown("told", leaves=LATER)) == 0
    assert await desk.data("told") == {"leaves": SOON}
