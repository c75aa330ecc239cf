"""From deliveries to rows: what is stored, what is read again, what is buried, and what a death costs."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd import drivers, metrics
from syncd.errors import StoreError
from syncd.kit import Delivery, Event
from syncd.kit.listing import Each
from syncd.model import Mode, Outcome
from syncd.store import KeyRing, PageWrite, Reject, Row, Store
from syncd.testing.clock import FakeClock
from tests.sync.inboxed import REST, Desk, event, later, thing


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(database: str, clock: FakeClock, key_ring: KeyRing) -> AsyncIterator[Store]:
    async with await Store.open(database, clock=clock, key_ring=key_ring, pool_size=4, migrate=False) as opened:
        yield opened


@pytest.fixture
async def desk(store: Store, clock: FakeClock) -> Desk:
    return await Desk.open(store, clock)


async def test_a_thin_event_becomes_a_read_and_the_read_a_record(desk: Desk, clock: FakeClock):
    desk.partner.truth["/things/7"] = thing("7", "new", clock.now())
    woken = []
    desk.account.tasks_added = lambda: woken.append(True)
    await desk.deliver(event("7"))
    await desk.work()
    assert await desk.fates() == [("done", None)]
    assert woken == [True]
    (task,) = await desk.store.tasks.list("acme")
    assert (task.kind, task.resource, task.external_id, int(task.lane)) == ("fetch", "things", "7", 0)
    assert task.cause.startswith("webhook e")
    await desk.do_tasks()
    assert (await desk.live())["7"]["name"] == "new"
    assert [task.kind for task in await desk.store.tasks.list("acme")] == ["children"]


async def test_a_record_that_comes_whole_is_stored_at_once_and_says_which_delivery_brought_it(
    desk: Desk, clock: FakeClock
):
    await desk.deliver(event("7", record=thing("7", "whole", clock.now())))
    await desk.work()
    stored = await desk.store.records.get("acme", "things", "7")
    assert stored is not None and stored.raw["name"] == "whole"
    assert stored.cause.startswith("webhook e")
    assert stored.fetched_at == clock.now()
    assert [task.kind for task in await desk.store.tasks.list("acme")] == ["children"], (
        "what is listed below it, no read"
    )
    assert desk.partner.calls == []


async def test_the_order_in_which_whole_records_come_does_not_matter(desk: Desk, clock: FakeClock):
    start = clock.now()
    for at in (3, 1, 5, 2):
        await desk.deliver(event("7", record=thing("7", f"at {at}", later(start, at + 0.5))))
        await desk.work()
    assert (await desk.live())["7"]["name"] == "at 5"


async def test_a_deletion_stays_against_late_changes_and_yields_to_a_later_recreation(desk: Desk, clock: FakeClock):
    start = clock.now()
    await desk.deliver(event("7", record=thing("7", "old", later(start, 1.5))))
    await desk.deliver(event("7", "gone", at=later(start, 5.5)))
    await desk.deliver(event("7", record=thing("7", "late", later(start, 4.5))))
    await desk.work()
    assert await desk.live() == {}
    await clock.advance(100)
    await desk.deliver(event("7", record=thing("7", "later still", later(start, 3.5))))
    await desk.work()
    assert await desk.live() == {}, "received long after, changed long before"
    again = desk.partner.truth["/things/7"] = thing("7", "again", later(start, 9.5))
    await desk.deliver(event("7", record=again))
    await desk.work()
    await desk.do_tasks()
    assert (await desk.live())["7"]["name"] == "again"
    assert "/things/7" in desk.partner.calls, "what comes back from the dead is looked at"
    await desk.deliver(event("7", "gone", at=later(start, 5.5)))
    await desk.work()
    assert (await desk.live())["7"]["name"] == "again", "the same deletion once more is an old one"


async def test_a_late_change_does_not_raise_what_went_at_a_time_nobody_told(desk: Desk, clock: FakeClock):
    late = event("7", record=thing("7", "late", clock.now()))
    await clock.advance(10)
    await desk.deliver(event("7", "gone"))
    await desk.work()
    await clock.advance(10)
    await desk.deliver(late)
    await desk.work()
    await desk.do_tasks()
    assert await desk.live() == {}


async def test_a_change_and_an_end_without_a_time_that_come_together_are_settled_by_reading(
    desk: Desk, clock: FakeClock
):
    late = event("7", record=thing("7", "late", clock.now()))
    await clock.advance(10)
    await desk.deliver(event("7", "gone"))
    await clock.advance(10)
    await desk.deliver(late)
    await desk.work()
    await clock.advance(1)
    await desk.do_tasks()
    assert desk.partner.calls[0] == "/things/7"
    assert await desk.live() == {}


async def test_a_deletion_of_something_never_seen_leaves_a_tombstone(desk: Desk, clock: FakeClock):
    await desk.deliver(event("7", "gone", at=later(clock.now(), 5.5)))
    await desk.work()
    await desk.deliver(event("7", record=thing("7", "late", later(clock.now(), 4.5))))
    await desk.work()
    assert await desk.live() == {}


async def test_what_lies_below_a_deleted_record_goes_with_it(desk: Desk, clock: FakeClock):
    desk.partner.truth["/things/7/notes"] = {"items": [{"id": "n1", "name": "below"}]}
    await desk.deliver(event("7", record=thing("7", "parent", clock.now())))
    await desk.work()
    await desk.do_tasks()
    assert set(await desk.live("notes")) == {"n1"}
    await clock.advance(10)
    await desk.deliver(event("7", "gone", at=clock.now()))
    await desk.work()
    assert (await desk.live(), await desk.live("notes")) == ({}, {})


async def test_two_versions_of_one_moment_are_settled_by_reading(desk: Desk, clock: FakeClock):
    moment = clock.now()
    await desk.deliver(event("7", record=thing("7", "one", moment)))
    await desk.deliver(event("7", record=thing("7", "other", moment)))
    await desk.work()
    kinds = sorted(task.kind for task in await desk.store.tasks.list("acme"))
    assert kinds == ["children", "fetch"]


async def test_a_deletion_in_the_second_of_the_last_change_is_settled_by_reading(desk: Desk, clock: FakeClock):
    second = clock.now().replace(microsecond=0)
    await desk.deliver(event("7", record=thing("7", "one", later(second, 0.7))))
    await desk.deliver(event("7", "gone", at=second))
    await desk.work()
    await clock.advance(5)
    await desk.do_tasks()
    assert desk.partner.calls[0] == "/things/7"
    assert await desk.live() == {}


async def test_the_same_change_told_twice_is_no_tie(desk: Desk, clock: FakeClock):
    record = thing("7", "one", clock.now())
    await desk.deliver(event("7", record=record))
    await desk.work()
    await desk.deliver(event("7", record=record))
    await desk.deliver(event("7", record=record))
    await desk.work()
    assert [task.kind for task in await desk.store.tasks.list("acme")] == ["children"]


async def test_a_whole_record_without_any_version_is_read_again_instead(desk: Desk, clock: FakeClock):
    await desk.deliver(event("7", resource="unstamped", record={"id": "7", "name": "when?"}))
    await desk.work()
    assert await desk.live("unstamped") == {}
    assert [task.resource for task in await desk.store.tasks.list("acme")] == ["unstamped"]


async def test_a_record_read_alive_after_it_is_said_to_have_gone_is_read_once_more(desk: Desk, clock: FakeClock):
    desk.partner.truth["/unstamped/7"] = {"id": "7", "name": "there"}
    await desk.deliver(event("7", resource="unstamped"))
    await desk.work()
    await desk.do_tasks()
    await clock.advance(60)
    await desk.deliver(event("7", "gone", resource="unstamped", at=later(clock.now(), -90)))
    await desk.work()
    assert set(await desk.live("unstamped")) == {"7"}
    await desk.do_tasks()
    assert set(await desk.live("unstamped")) == {"7"}
    assert desk.partner.calls == ["/unstamped/7"] * 2


async def test_a_delivery_that_cannot_be_read_is_a_dead_letter_and_the_others_go_on(desk: Desk, clock: FakeClock):
    await desk.deliver(event("1"))
    bad = await desk.deliver(body=b"not json at all")
    await desk.deliver(event("3"))
    await desk.work()
    assert [state for state, _ in await desk.fates()] == ["done", "buried", "done"]
    (letter,) = await desk.store.dead_letters.list("acme")
    assert (letter.origin, letter.origin_id, letter.error_class) == ("inbox", str(bad), "PayloadError")
    assert letter.fingerprint
    assert len(await desk.store.tasks.list("acme")) == 2


async def test_a_defect_in_a_driver_costs_only_the_deliveries_it_meets(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    events = desk.driver.events

    def broken(delivery: Delivery) -> list[Event]:
        found = events(delivery)
        if found[0].external_id == "2":
            raise KeyError("a defect")
        return found

    monkeypatch.setattr(desk.driver, "events", broken)
    for number in "123":
        await desk.deliver(event(number))
    await desk.work()
    assert [state for state, _ in await desk.fates()] == ["done", "buried", "done"]
    (letter,) = await desk.store.dead_letters.list("acme")
    assert letter.error_class == "KeyError"
    assert "broken" in (letter.traceback or "")


async def test_a_value_that_the_database_cannot_hold_costs_only_its_delivery(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    """Not a record's (those become rejects), but one that spoils whatever statement it is in."""
    finish = desk.store.inbox.finish

    async def refusing(work):  # type: ignore[no-untyped-def]
        if any("2" in task.external_id for task in work.tasks):
            await desk.store._database.fetch("SELECT 'x'::jsonb")
        return await finish(work)

    monkeypatch.setattr(desk.store.inbox, "finish", refusing)
    for number in "12345":
        await desk.deliver(event(number))
    await desk.work()
    assert [state for state, _ in await desk.fates()] == ["done", "buried", "done", "done", "done"]
    assert len(await desk.store.tasks.list("acme")) == 4


async def test_unknown_types_are_kept_counted_and_listed(desk: Desk):
    for _ in range(3):
        await desk.deliver({"type": "moon.landed", "id": "1"})
    await desk.deliver(event("9", resource="elsewhere"))
    await desk.deliver(event("1"))
    await desk.work()
    types = {one.event_type: (one.known, one.count) for one in await desk.store.inbox.types("acme")}
    assert types == {"(no type)": (False, 3), "elsewhere.changed of elsewhere": (False, 1), "things.changed": (True, 1)}
    fates = await desk.fates()
    assert [state for state, _ in fates] == ["dropped"] * 4 + ["done"]
    assert fates[3] == ("dropped", "elsewhere is not synced here")
    (kept, *_) = reversed(await desk.store.inbox.list("acme"))
    assert kept.size, "its body is there to be replayed when a driver knows it"


async def test_an_event_of_another_part_of_the_account_is_dropped_and_counted(desk: Desk):
    """A house that the options do not name: one that another integration may be about, or nobody."""
    plan = desk.account.plans["things"]
    each = Each(param="yard", option="yards", values=("a", "b"), id="yard")
    desk.account.plans["things"] = replace(
        plan, resource=plan.resource.model_copy(update={"id": ("yard", "id"), "each": (each,)})
    )
    for one in ("a:7", "c:7", "b:1"):
        await desk.deliver(event(one))
    await desk.work()
    assert [state for state, _ in await desk.fates()] == ["done", "dropped", "done"]
    assert (await desk.fates())[1][1] == "what the options do not name: things c:7 is not synced here"
    assert sorted(task.external_id or "" for task in await desk.store.tasks.list("acme")) == ["a:7", "b:1"]
    types = {one.event_type: (one.known, one.count) for one in await desk.store.inbox.types("acme")}
    assert types["things.changed of things"] == (False, 1)


async def test_a_delivery_of_another_account_is_dropped_and_counted(store: Store, clock: FakeClock):
    """What intake could hand to nobody. One that names no account, and any where the file names none, is worked on."""
    rest = {
        **REST,
        "options": {"account": {"about": "Whose.", "as": "integer"}},
        "webhooks": {**REST["webhooks"], "account": {"named": "of", "option": "account"}},
    }
    desk = await Desk.open(store, clock, rest=rest, options={"account": 7})
    for of in (7, "8", None):
        await desk.deliver(body=orjson.dumps({"events": [event("1")], "of": of}), event_type="things.changed")
    await desk.work()
    assert [state for state, _ in await desk.fates()] == ["done", "dropped", "done"]
    assert (await desk.fates())[1][1] == "it is of account 8, which this integration is not of"
    await desk.deliver(body=orjson.dumps({"events": [event("1")], "of": "8"}), event_type="things.changed")
    await desk.work()
    types = {one.event_type: (one.known, one.count) for one in await desk.store.inbox.types("acme")}
    assert types == {"things.changed": (True, 2), "things.changed of another account": (False, 2)}


async def test_event_types_without_end_are_counted_together(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("syncd.sync.deriving.TYPES_MOST", 5)
    for number in range(12):
        await desk.deliver({"type": "x"}, event_type=f"type {number}")
    await desk.work()
    types = {one.event_type: one.count for one in await desk.store.inbox.types("acme")}
    assert len(types) == 6
    assert types["(other)"] == 7


async def test_a_replayed_delivery_is_worked_on_again_and_overwrites_nothing_newer(desk: Desk, clock: FakeClock):
    first = await desk.deliver(event("7", record=thing("7", "old", clock.now())))
    await desk.work()
    await clock.advance(60)
    await desk.deliver(event("7", record=thing("7", "new", clock.now())))
    await desk.work()
    assert await desk.store.inbox.replay("acme", [first]) == 1
    assert await desk.store.inbox.replay("acme", [first]) == 0, "it waits already"
    await desk.work()
    assert [state for state, _ in await desk.fates()] == ["done", "done"]
    assert (await desk.live())["7"]["name"] == "new"


async def test_paused_integrations_and_scopes_of_others_keep_their_deliveries(desk: Desk):
    await desk.deliver(event("1"))
    desk.paused = ["acme"]
    await desk.work()
    assert await desk.fates() == [("waiting", None)]
    desk.paused = []
    desk.ownership.held = False
    await desk.work()
    assert await desk.fates() == [("waiting", None)]
    desk.ownership.held = True
    await desk.work()
    assert await desk.fates() == [("done", None)]


async def test_trouble_with_the_deliveries_of_one_integration_does_not_hold_up_the_others(
    desk: Desk, store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    worked = []

    async def work(account: SimpleNamespace) -> bool:
        worked.append(account.name)
        if account.name == "a":
            raise StoreError("canceling statement due to statement timeout")
        return False

    accounts = {name: SimpleNamespace(name=name, ownership=desk.ownership) for name in ("a", "b", "c")}
    monkeypatch.setattr(desk.events, "_accounts", accounts)
    monkeypatch.setattr(desk.events, "_work", work)

    async def ready(owned: list[str]) -> list[str]:
        return owned

    monkeypatch.setattr(desk.events, "_ready", ready)
    with pytest.raises(StoreError, match="timeout"):
        await desk.events.look()
    assert worked == ["a", "b", "c"]

    async def away() -> None:
        raise StoreError("away")

    monkeypatch.setattr(store, "ping", away)
    with pytest.raises(StoreError, match="away"):
        await desk.events.look()
    assert worked[3:] == ["a"], "the others would only wait for it too"


async def test_who_lost_the_scope_finishes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    finish = desk.store.inbox.finish

    async def overtaken(work):  # type: ignore[no-untyped-def]
        await desk.store.leases.release("acme", "test:1", desk.ownership.fence)
        await desk.store.leases.acquire("acme", "other:1", 600)
        return await finish(work)

    monkeypatch.setattr(desk.store.inbox, "finish", overtaken)
    await desk.deliver(event("1"))
    await desk.events.look()
    assert await desk.fates() == [("waiting", None)]
    assert await desk.store.tasks.list("acme") == []


async def test_access_taken_away_stops_the_calls_at_once_and_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(desk.driver, "events", lambda _: [Event("", "", "app.uninstalled", revoked=True)])
    assert desk.account.may_call()
    await desk.deliver(event("1"))
    await desk.work()
    assert not desk.account.may_call()
    state, told = desk.account.health.judge(desk.account.gate.view(), desk.clock.now())
    assert state == "auth_required"
    assert told is not None and "app.uninstalled" in told.reason and told.action
    assert await desk.fates() == [("done", None)]


# -- deaths ----------------------------------------------------------------------------------------------------------


async def die_reading(desk: Desk, poison: str) -> None:
    """The process goes on until it meets the poison, and dies of it without a word."""
    events = type(desk.driver).events.__get__(desk.driver)

    def deadly(delivery: Delivery) -> list[Event]:
        found = events(delivery)
        if any(one.external_id == poison for one in found):
            raise Died
        return found

    desk.driver.events = deadly  # type: ignore[method-assign]
    try:
        await desk.work()
    except Died:
        await desk.restart()


class Died(BaseException):
    pass


async def test_a_delivery_that_ends_the_process_is_buried_after_five_takes_and_harms_no_other(desk: Desk):
    for number in range(30):
        await desk.deliver(event(str(number)))
    for _ in range(5):
        await die_reading(desk, "13")
    await die_reading(desk, "13")
    states = [state for state, _ in await desk.fates()]
    assert states == ["done"] * 13 + ["buried"] + ["done"] * 16
    (letter,) = await desk.store.dead_letters.list("acme")
    assert letter.error_class == "PoisonError"
    lost = [row[0] for row in await desk.rows("SELECT lost FROM syncd.inbox ORDER BY id")]
    assert lost[13] == 5
    assert max(lost[:13] + lost[14:]) == 1, "only the first death took others with it"


async def test_what_died_under_another_scope_is_free_whatever_its_fence_was(desk: Desk):
    for _ in range(3):
        await desk.restart()
    await desk.deliver(event("1", resource="elsewhere"))
    assert await desk.store.inbox.take("acme", scope="acme", fence=desk.ownership.fence, limit=9, size=9999)
    fence = await desk.store.leases.acquire("other", "test:1", 600)  # the file says another scope now
    assert fence is not None and fence < desk.ownership.fence
    desk.ownership.scope, desk.ownership.fence = "other", fence
    assert await desk.store.inbox.free("acme", scope="other", fence=fence + 1) == 0, "nor is it of who has no lease"
    desk.begin()
    await desk.work()
    assert await desk.rows("SELECT FROM syncd.inbox_batches") == []
    (row,) = await desk.rows("SELECT lost, state FROM syncd.inbox")
    assert (row["lost"], row["state"]) == (1, "dropped")


async def test_what_came_in_after_a_death_does_not_wait_for_what_died(desk: Desk):
    for number in range(30):
        await desk.deliver(event(str(number)))
    await die_reading(desk, "0")
    await desk.deliver(event("fresh"))
    with suppress(Died):
        await desk.events.look()
    assert (await desk.fates())[30][0] == "done"


async def test_a_poison_that_is_replayed_has_one_life(desk: Desk):
    number = await desk.deliver(event("13"))
    for _ in range(6):
        await die_reading(desk, "13")
    assert await desk.fates() == [("buried", "PoisonError: the process ended 5 times while it was read")]
    assert await desk.store.inbox.replay("acme", [number]) == 1
    assert await desk.store.dead_letters.list("acme") == []
    await die_reading(desk, "13")
    await die_reading(desk, "13")
    assert (await desk.fates())[0][0] == "buried"
    assert await desk.store.inbox.replay("acme", [number]) == 1
    await die_reading(desk, "nothing: the driver was mended")
    assert await desk.fates() == [("done", None)]


async def test_a_stop_finishes_the_batch_in_hand_and_takes_no_other(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("syncd.sync.events.BATCH", 2)
    for number in range(6):
        await desk.deliver(event(str(number)))
    finish, reached, go = desk.store.inbox.finish, asyncio.Event(), asyncio.Event()

    async def slow(work):  # type: ignore[no-untyped-def]
        reached.set()
        await go.wait()
        return await finish(work)

    monkeypatch.setattr(desk.store.inbox, "finish", slow)
    running = asyncio.ensure_future(desk.events.run())
    await reached.wait()
    stopping = asyncio.ensure_future(desk.events.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    go.set()
    await stopping
    await running
    assert [state for state, _ in await desk.fates()] == ["done"] * 2 + ["waiting"] * 4
    assert await desk.rows("SELECT * FROM syncd.inbox_batches") == []


async def test_a_batch_that_is_cancelled_goes_back_untouched(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    await desk.deliver(event("1"))
    reached = asyncio.Event()

    async def hangs(work):  # type: ignore[no-untyped-def]
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(desk.store.inbox, "finish", hangs)
    running = asyncio.ensure_future(desk.events.run())
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    monkeypatch.undo()
    assert await desk.rows("SELECT * FROM syncd.inbox_batches") == []
    await desk.restart()
    await desk.work()
    (row,) = await desk.rows("SELECT state, attempts, lost FROM syncd.inbox")
    assert tuple(row) == ("done", 1, 0)


async def test_an_answer_of_the_database_that_got_lost_is_found_out(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    """COMMIT arrived, its answer did not."""
    from syncd.errors import StoreError

    finish = desk.store.inbox.finish

    async def lost(work):  # type: ignore[no-untyped-def]
        await finish(work)
        monkeypatch.undo()
        raise StoreError("the connection was closed")

    monkeypatch.setattr(desk.store.inbox, "finish", lost)
    await desk.deliver(event("1"))
    await desk.deliver(event("2"))
    with pytest.raises(StoreError):
        await desk.events.look()
    await desk.work()
    rows = await desk.rows("SELECT state, attempts, lost FROM syncd.inbox")
    assert [tuple(row) for row in rows] == [("done", 1, 0)] * 2


async def test_deliveries_of_a_resource_that_cannot_be_read_by_id_have_its_listing_read(desk: Desk, clock: FakeClock):
    for number in range(20):
        await desk.deliver(event(str(number), resource="listed"))
    await desk.work()
    (task,) = await desk.store.tasks.list("acme")
    assert (task.kind, task.resource, task.not_before) == ("sync", "listed", None)
    await desk.rows("DELETE FROM syncd.tasks")
    await desk.deliver(event("again", resource="listed"))
    await desk.work()
    (task,) = await desk.store.tasks.list("acme")
    assert task.not_before == clock.now() + timedelta(seconds=60)


async def test_a_delivery_that_names_no_record_of_such_a_resource_has_its_listing_read_too(desk: Desk):
    for kind in ("listed.changed", "things.changed", "listed.gone"):
        await desk.deliver({"type": kind})
    await desk.work()
    (task,) = await desk.store.tasks.list("acme")
    assert (task.kind, task.resource) == ("sync", "listed")
    fates = await desk.fates()
    assert fates[0] == ("done", "it names no record: the listing of listed is read")
    assert [state for state, _ in fates[1:]] == ["buried", "buried"], "who can read by ids has to be told which"
    types = {one.event_type: (one.known, one.count) for one in await desk.store.inbox.types("acme")}
    assert types["listed.changed"] == (True, 1)


async def test_a_child_that_cannot_be_read_by_id_is_listed_below_its_parent(desk: Desk, clock: FakeClock):
    desk.partner.truth["/things/7/notes"] = {"items": [{"id": "n1", "name": "below"}]}
    await desk.deliver(event("7", record=thing("7", "parent", clock.now())))
    await desk.work()
    await desk.do_tasks()
    desk.partner.truth["/things/7/notes"] = {"items": [{"id": "n1", "name": "changed"}]}
    await clock.advance(300)
    await desk.deliver(event("n1", resource="notes"), event("n2", resource="notes"))
    await desk.work()
    assert await desk.do_tasks() == 1, "of a note nobody knows, nobody knows the thing"
    assert (await desk.live("notes"))["n1"]["name"] == "changed"


# -- names -----------------------------------------------------------------------------------------------------------

OBJECT = "1b2c3d4e-5f60-4172-93a4-b5c6d7e8f90a"
PERSON = "7a8b9c0d-1e2f-4304-8516-273849506172"


async def test_a_child_whose_parent_nobody_knows_is_not_said_to_be_done(desk: Desk, clock: FakeClock):
    why = "of which record of things this one of notes is, nobody knows yet: the next pass brings it"
    await desk.deliver(event("n1", resource="notes"))
    desk.partner.truth["/things/7"] = thing("7", "new", clock.now())
    await desk.deliver(event("7"), event("n2", resource="notes"))
    await desk.work()
    assert await desk.fates() == [("dropped", why), ("done", why)]
    assert [(task.kind, task.external_id) for task in await desk.store.tasks.list("acme")] == [("fetch", "7")]


def attio_event(kind: str = "record.updated") -> bytes:
    ids = {"workspace_id": OBJECT, "object_id": OBJECT, "record_id": PERSON}
    return orjson.dumps({"webhook_id": OBJECT, "events": [{"event_type": kind, "id": ids}]})


async def test_an_object_told_by_its_uuid_is_found_by_what_is_stored_of_it(store: Store, clock: FakeClock):
    desk = await Desk.open(store, clock, driver=drivers.load("attio"))
    await desk.deliver(body=attio_event())
    await desk.work()
    (task,) = await store.tasks.list("acme")
    assert (task.kind, task.resource) == ("sync", "objects"), "whose name it is has to be known first"
    assert [state for state, _ in await desk.fates()] == ["waiting"]
    await desk.rows("DELETE FROM syncd.tasks")
    row = Row(OBJECT, "objects", b"{}", orjson.dumps({"api_slug": "people"}), b"1", clock.now())
    page = PageWrite("attio", "acme", "objects", "acme", desk.ownership.fence, None, None, None, False, rows=[row])
    await store.pages.commit_one(page)
    await desk.work()
    assert await store.tasks.list("acme") == [], "not yet"
    await clock.advance(31)
    await desk.work()
    (task,) = await store.tasks.list("acme")
    assert (task.kind, task.resource, task.external_id) == ("fetch", "people", PERSON)
    assert [state for state, _ in await desk.fates()] == ["done"]


async def list_objects(desk: Desk, store: Store) -> None:
    """A run of what names resources, that names nothing new."""
    fence = desk.ownership.fence
    _, run_id = await store.checkpoints.begin("acme", "objects", Mode.FULL, scope="acme", fence=fence, trigger="event")
    await store.checkpoints.finish("acme", "objects", run_id, fence=fence, outcome=Outcome.DONE)


async def test_a_delivery_that_waits_for_its_name_does_so_until_names_were_listed_since(store: Store, clock: FakeClock):
    """However long nothing was worked on, before it is first looked at and after: a pause, an outage."""
    desk = await Desk.open(store, clock, driver=drivers.load("attio"))
    await list_objects(desk, store)
    await desk.deliver(body=attio_event())
    await clock.advance(3600)
    for _ in range(3):
        await desk.work()
        (task,) = await store.tasks.list("acme")
        assert task.resource == "objects"
        assert [state for state, _ in await desk.fates()] == ["waiting"]
        await clock.advance(1200)
    await list_objects(desk, store)
    await clock.advance(61)
    await desk.work()
    assert [state for state, _ in await desk.fates()] == ["dropped"]


async def test_an_object_nobody_ever_stores_is_counted_as_unknown_in_the_end(store: Store, clock: FakeClock):
    desk = await Desk.open(store, clock, driver=drivers.load("attio"))
    await desk.deliver(body=attio_event())
    await desk.work()
    await clock.advance(31)
    await list_objects(desk, store)
    for _ in range(25):
        await desk.work()
        await clock.advance(31)
    assert [state for state, _ in await desk.fates()] == ["dropped"]
    (told,) = await store.inbox.types("acme")
    assert not told.known
    assert told.event_type.startswith("record.updated of object_1b2c3d4e")
    assert told.count == 1


# -- what was restored -----------------------------------------------------------------------------------------------


async def test_what_was_restored_without_a_new_stamp_lives_again_once_it_is_read(desk: Desk, clock: FakeClock):
    record = thing("7", "there", clock.now())
    await desk.deliver(event("7", record=record))
    await clock.advance(10)
    await desk.deliver(event("7", "gone", at=clock.now()))
    await desk.work()
    assert await desk.live() == {}
    await clock.advance(60)
    desk.partner.truth["/things/7"] = record
    await desk.deliver(event("7"))
    await desk.work()
    await desk.do_tasks()
    assert await desk.live() == {"7": record}
    kinds = [row[0] for row in await desk.rows("SELECT kind FROM syncd.changes WHERE resource = 'things' ORDER BY id")]
    assert kinds == ["delete", "insert"]


async def test_a_reader_that_lags_behind_the_deletion_raises_nobody(desk: Desk, clock: FakeClock):
    record = thing("7", "there", clock.now())
    await desk.deliver(event("7", record=record))
    await clock.advance(10)
    await desk.deliver(event("7"))
    await desk.deliver(event("7", "gone", at=clock.now()))
    await desk.work()
    desk.partner.truth["/things/7"] = record
    await clock.advance(2)
    await desk.do_tasks()
    assert "/things/7" in desk.partner.calls
    assert await desk.live() == {}


async def test_a_revocation_older_than_a_call_that_was_let_in_stops_nothing(
    desk: Desk, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(desk.driver, "events", lambda _: [Event("", "", "app.uninstalled", revoked=True)])
    await desk.deliver(event("1"))
    await clock.advance(60)
    desk.account.health.succeeded("things", clock.now())
    await desk.work()
    assert desk.account.may_call()
    assert await desk.fates() == [("done", None)]


async def test_a_thousand_letters_of_one_cause_are_said_once(desk: Desk, capsys: pytest.CaptureFixture[str]):
    await desk.deliver_all([b"not json at all"] * 300)
    await desk.work()
    assert len(await desk.store.dead_letters.list("acme", limit=500)) == 300
    said = capsys.readouterr()
    assert (said.out + said.err).count("event_buried") == 1


async def test_what_is_stored_and_buried_is_counted_by_resource(desk: Desk, clock: FakeClock):
    def count(resource: str, what: str) -> float:
        return metrics.RECORDS.labels("acme", resource, what)._value.get()

    before = [count("things", "added"), count("listed", "added"), count("listed", "deleted")]
    await desk.deliver(
        event("1", record=thing("1", "one", clock.now())),
        event("2", record=thing("2", "two", clock.now())),
        event("3", resource="listed", record=thing("3", "three", clock.now())),
    )
    await desk.work()
    await clock.advance(10)
    await desk.deliver(event("3", "gone", resource="listed", at=clock.now()))
    await desk.work()
    after = [count("things", "added"), count("listed", "added"), count("listed", "deleted")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 1, 1]


async def test_a_record_that_was_rejected_is_healed_by_a_delivery_and_by_a_read(desk: Desk, clock: FakeClock):
    for number in ("1", "2"):
        bad = Reject(b"{}", "no name", number, "things", "no-name")
        page = PageWrite(
            "plain", "acme", "things", "acme", desk.ownership.fence, None, None, None, False, rejects=[bad]
        )
        await desk.store.pages.commit_one(page)
    assert len(await desk.store.rejects.list("acme")) == 2
    desk.partner.truth["/things/2"] = thing("2", "sound", clock.now())
    await desk.deliver(event("1", record=thing("1", "sound", clock.now())), event("2"))
    await desk.work()
    assert [one.external_id for one in await desk.store.rejects.list("acme")] == ["2"]
    await clock.advance(1)
    await desk.do_tasks()
    assert await desk.store.rejects.list("acme") == []


async def test_a_whole_record_that_makes_no_sense_is_a_reject_and_not_a_dead_letter(desk: Desk, clock: FakeClock):
    record = {**thing("1", "", clock.now()), "name": {"not": "text"}}
    await desk.deliver(event("1", record=record), event("2", record=thing("2", "sound", clock.now())))
    await desk.work()
    assert set(await desk.live()) == {"2"}
    desk.partner.truth["/things/1"] = record
    await desk.do_tasks()
    assert [one.external_id for one in await desk.store.rejects.list("acme")] == ["1"]
    assert await desk.store.dead_letters.list("acme") == []


# -- bursts and nonsense ---------------------------------------------------------------------------------------------


async def test_a_burst_of_whole_records_is_one_write(desk: Desk, clock: FakeClock):
    start = clock.now()
    order = list(range(400))
    random.Random(3).shuffle(order)
    bodies = [
        orjson.dumps({"events": [event("7", record=thing("7", f"n{at}", later(start, at + 0.5)))]}) for at in order
    ]
    await desk.deliver_all(bodies)
    await desk.work()
    stored = await desk.store.records.get("acme", "things", "7")
    assert stored is not None
    assert stored.raw["name"] == "n399"
    assert stored.row_version <= 2, "a batch holds 250 of them"


async def test_one_delivery_with_thousands_of_facts_is_no_burden(desk: Desk, clock: FakeClock):
    facts = [event("7", record=thing("7", f"n{n}", later(clock.now(), n + 0.5))) for n in range(4000)]
    await desk.deliver(*facts, *(event(str(n)) for n in range(4000)))
    began = time.process_time()
    await desk.work()
    assert time.process_time() - began < 20, "not a second for each of them squared"
    assert (await desk.live())["7"]["name"] == "n3999"
    assert len([one for one in await desk.store.tasks.list("acme", limit=9999) if one.kind == "fetch"]) == 4000


async def test_an_end_in_the_far_future_is_one_without_a_time(desk: Desk, clock: FakeClock):
    await desk.deliver(event("7", "gone", at=later(clock.now(), 1e9)))
    await desk.work()
    await clock.advance(10)
    desk.partner.truth["/things/7"] = thing("7", "there", clock.now())
    await desk.deliver(event("7"))
    await desk.work()
    await desk.do_tasks()
    assert set(await desk.live()) == {"7"}


@given(
    body=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["events", "type", "id", "at", "record", "updated_at", "name", "\x00"]), inner
                )
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(["things.changed", "things.gone", "unstamped.changed", "notes.changed"]),
                "id": st.one_of(st.text(max_size=600), st.integers(), st.none(), st.just("a\x00b")),
            },
            optional={
                "at": st.one_of(st.text(max_size=30), st.integers(), st.just("2026-01-01T12:00:00Z")),
                "record": st.dictionaries(
                    st.sampled_from(["id", "name", "updated_at"]), st.text(max_size=9) | st.integers()
                ),
            },
        ).map(lambda fact: json.dumps({"events": [fact]}).encode()),
    )
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_a_delivery_holds_it_comes_to_an_end_and_its_neighbours_are_done(desk: Desk, body: bytes):
    await desk.rows("TRUNCATE syncd.inbox, syncd.inbox_batches, syncd.dead_letters, syncd.tasks")
    await desk.deliver(event("before"))
    await desk.deliver(body=body)
    await desk.deliver(event("after"))
    await desk.work()
    states = [state for state, _ in await desk.fates()]
    assert (states[0], states[2]) == ("done", "done")
    assert states[1] in ("done", "dropped", "buried")
    assert len(await desk.store.dead_letters.list("acme")) == states.count("buried")


async def test_a_read_in_the_second_of_the_one_before_is_not_taken_for_the_older(desk: Desk, clock: FakeClock):
    """The partner's clock is seen by whole seconds, less the time an answer took: the slower one seems to be earlier."""
    desk.partner.dated = True
    for name, slow in (("first", 0.01), ("second", 0.3)):
        desk.partner.truth["/observed/7"] = {"id": "7", "name": name}
        desk.partner.slow_seconds = slow
        await desk.deliver(event("7", resource="observed"))
        await desk.work()
        await desk.rows("UPDATE syncd.tasks SET not_before = NULL")
        desk.account.coalescing._began.clear()
        await clock.advance(0.2)
        await desk.do_tasks()
    assert (await desk.live("observed"))["7"]["name"] == "second"


async def test_what_is_only_named_in_passing_is_read_where_nothing_is_stored_of_it(desk: Desk, clock: FakeClock):
    named = ["7", "8"]
    desk.account.driver.events = lambda delivery: [Event("things", one, "said", unless_stored=True) for one in named]
    for external_id in named:
        desk.partner.truth[f"/things/{external_id}"] = thing(external_id, "new", clock.now())
    await desk.deliver(event("7"))
    await desk.work()
    assert sorted(task.external_id for task in await desk.store.tasks.list("acme")) == named
    await desk.do_tasks()
    await clock.advance(60)
    await desk.deliver(event("8"))
    await desk.work()
    assert [task.kind for task in await desk.store.tasks.list("acme") if task.kind == "fetch"] == []
    assert [state for state, _ in await desk.fates()] == ["done", "done"]


async def test_what_nothing_is_done_for_is_not_kept_where_it_may_hold_what_must_not_be(desk: Desk):
    spec = desk.account.driver.spec
    assert spec.webhooks is not None
    desk.account.driver.spec = spec.model_copy(update={"webhooks": spec.webhooks.model_copy(update={"forgets": True})})
    await desk.deliver({"type": "card.updated", "id": "1", "card": "4111 1111 1111 1111"})
    await desk.deliver(event("1"))
    await desk.work()
    assert [state for state, _ in await desk.fates()] == ["dropped", "done"]
    bodies = await desk.store._database.fetch("SELECT body FROM syncd.inbox ORDER BY id")
    assert [each["body"] is None for each in bodies] == [True, False]
