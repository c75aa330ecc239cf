"""What stamps say is wrong for good in a few cases: then the record's own URL, or an old enough listing, decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from syncd.model import Lane
from syncd.store import NewTask, Row, Store
from syncd.store.records import Stamps
from syncd.sync import doubts
from syncd.sync.pull import Pull
from syncd.testing.clock import FakeClock
from tests.sync.inboxed import Desk, event, later, thing

DAY = 86_400.0


@pytest.fixture
async def desk(database: str, key_ring):
    clock = FakeClock()
    async with await Store.open(database, clock=clock, key_ring=key_ring, pool_size=4, migrate=False) as store:
        yield await Desk.open(store, clock)


async def complete_pass(desk: Desk, name: str) -> Pull:
    shown = [raw for path, raw in desk.partner.truth.items() if path.startswith(f"/{name}/")]
    if shown:
        desk.partner.truth[f"/{name}"] = {"items": shown}
    pull = Pull(desk.account, desk.account.plans[name], Lane.NORMAL, "test", wanted_full=True)
    await pull.run()
    return pull


async def imported(desk: Desk, name: str = "stamped", stamp: float = -100, many: int = 2) -> None:
    """Records 1 and 2 and so on."""
    at = later(desk.clock.now(), stamp)
    for number in range(1, many + 1):
        desk.partner.truth[f"/{name}/{number}"] = thing(str(number), "first", at)
    await complete_pass(desk, name)
    await desk.clock.advance(60)


async def test_a_record_restored_without_a_stamp_of_its_own_is_alive_after_the_next_complete_pass(desk: Desk):
    await imported(desk)
    kept = desk.partner.truth.pop("/stamped/1")
    await desk.deliver(event("1", "gone", resource="stamped", at=desk.clock.now()))
    await desk.work()
    assert sorted(await desk.live("stamped")) == ["2"]
    await desk.clock.advance(3600)
    desk.partner.truth["/stamped/1"] = kept
    await complete_pass(desk, "stamped")
    assert sorted(await desk.live("stamped")) == ["2"], "a listing may lag: its word alone raises nobody"
    assert await desk.do_tasks() == 1
    assert sorted(await desk.live("stamped")) == ["1", "2"]
    desk.partner.calls.clear()
    await complete_pass(desk, "stamped")
    assert await desk.do_tasks() == 0 and desk.partner.calls == ["/stamped"], "settled once, it costs nothing more"


async def test_a_record_shown_alive_moments_after_its_end_is_believed_when_a_complete_pass_shows_it_too(desk: Desk):
    await imported(desk)
    kept = desk.partner.truth.pop("/stamped/1")
    await desk.deliver(event("1", "gone", resource="stamped", at=desk.clock.now()))
    await desk.work()
    await desk.clock.advance(10)
    desk.partner.truth["/stamped/1"] = kept  # there again, or out of a cache: nobody can tell
    await desk.deliver(event("1", resource="stamped", at=desk.clock.now()))
    await desk.work()
    assert await desk.do_tasks() == 1
    assert sorted(await desk.live("stamped")) == ["2"]
    await desk.clock.advance(DAY)
    assert await desk.do_tasks() == 0, "its own URL alone raises nobody: some show what is gone for ever"
    await complete_pass(desk, "stamped")
    assert await desk.do_tasks() == 1
    assert sorted(await desk.live("stamped")) == ["1", "2"]


async def test_a_record_that_its_own_url_goes_on_showing_after_its_end_stays_dead(desk: Desk):
    await imported(desk)
    gone = desk.partner.truth["/stamped/1"]
    at = desk.clock.now()
    await desk.deliver(event("1", "gone", resource="stamped", at=at), event("1", resource="stamped", at=at))
    await desk.work()
    for _ in range(4):
        await desk.do_tasks()
        await desk.clock.advance(20)
    assert sorted(await desk.live("stamped")) == ["2"]
    assert desk.partner.truth["/stamped/1"] is gone


async def test_a_stamp_of_a_time_to_come_that_the_partner_mends_holds_the_record_until_the_next_complete_pass_only(
    desk: Desk,
):
    await imported(desk, stamp=50 * 365 * DAY)
    desk.partner.truth["/stamped/1"] = thing("1", "mended", desk.clock.now())
    await desk.clock.advance(DAY)
    await complete_pass(desk, "stamped")
    assert await desk.do_tasks() == 1
    assert (await desk.live("stamped"))["1"]["name"] == "mended"
    await desk.clock.advance(60)
    desk.partner.truth["/stamped/1"] = thing("1", "changed", desk.clock.now())
    await complete_pass(desk, "stamped")
    assert (await desk.live("stamped"))["1"]["name"] == "changed"


async def test_a_listing_that_lags_behind_a_webhook_changes_nothing_and_costs_a_read_at_most(desk: Desk):
    await imported(desk)
    old = desk.partner.truth["/stamped/1"]
    new = thing("1", "second", desk.clock.now())
    await desk.deliver(event("1", resource="stamped", at=desk.clock.now(), record=new))
    await desk.work()
    await desk.clock.advance(20)
    await complete_pass(desk, "stamped")
    assert await desk.do_tasks() == 0, "so soon it says nothing"
    await desk.clock.advance(60)
    await complete_pass(desk, "stamped")
    desk.partner.truth["/stamped/1"] = new
    assert await desk.do_tasks() == 1
    assert (await desk.live("stamped"))["1"]["name"] == "second"
    await desk.clock.advance(60)
    desk.partner.truth["/stamped/1"] = old  # its own URL answers out of a cache
    await complete_pass(desk, "stamped")
    assert await desk.do_tasks() == 1
    assert (await desk.live("stamped"))["1"]["name"] == "second"


async def test_a_pass_whose_listing_is_behind_in_general_asks_for_a_hundred_records_at_most(desk: Desk):
    await imported(desk, many=doubts.READS_LEAST + 40)
    for number in range(1, doubts.READS_LEAST + 41):
        new = thing(str(number), "second", desk.clock.now())
        await desk.deliver(event(str(number), resource="stamped", at=desk.clock.now(), record=new))
    await desk.work()
    await desk.clock.advance(DAY)
    pull = await complete_pass(desk, "stamped")
    assert pull.tally.stale == pull.tally.doubted == doubts.READS_LEAST + 40
    assert len(await desk.take_tasks()) == doubts.READS_LEAST


async def test_where_no_record_can_be_read_by_itself_the_listing_is_believed_after_an_hour(desk: Desk):
    desk.partner.truth["/listed"] = {"items": [thing(str(n), "first", later(desk.clock.now(), -100)) for n in (1, 2)]}
    await complete_pass(desk, "listed")
    await desk.clock.advance(60)
    await desk.deliver(event("1", "gone", resource="listed", at=desk.clock.now()))
    await desk.work()
    await desk.clock.advance(600)
    await complete_pass(desk, "listed")
    assert sorted(await desk.live("listed")) == ["2"]
    await desk.clock.advance(3600)
    await complete_pass(desk, "listed")
    assert sorted(await desk.live("listed")) == ["1", "2"]
    assert await desk.do_tasks() == 0


async def test_a_delivery_that_comes_late_does_not_raise_what_two_passes_missed_since(desk: Desk):
    names = [thing(str(n), "first", later(desk.clock.now(), -100)) for n in range(1, 20)]
    desk.partner.truth["/listed"] = {"items": names}
    await complete_pass(desk, "listed")
    await desk.clock.advance(100)
    at = desk.clock.now()
    await desk.clock.advance(100)
    desk.partner.truth["/listed"] = {"items": names[1:]}
    for _ in range(2):
        await desk.clock.advance(3600)
        await complete_pass(desk, "listed")
    assert "1" not in await desk.live("listed")
    await desk.deliver(event("1", resource="listed", at=at, record=thing("1", "second", at)))
    await desk.work()
    assert "1" not in await desk.live("listed")
    await desk.deliver(event("1", resource="listed", record=thing("1", "third", desk.clock.now())))
    await desk.work()
    assert "1" in await desk.live("listed"), "one that tells of a later change does"


@pytest.mark.parametrize("seconds", [30, 31])
def test_what_was_stored_half_a_minute_before_a_listing_began_is_not_doubted(seconds: int):
    clock = FakeClock()
    began_at = clock.now() + timedelta(seconds=seconds)
    row = Row("1", "things", b"{}", b"{}", b"new", began_at + timedelta(hours=3))
    stored = {("things", "1"): Stamps(clock.now(), None, clock.now(), b"old", False)}
    assert doubts.doubted([row], stored, began_at) == ([row] if seconds > 30 else [])


async def test_what_was_stored_while_our_clock_was_ahead_follows_the_partner_once_it_is_right_again(desk: Desk):
    right = desk.clock.now()
    desk.clock.set_now(right + timedelta(days=365))
    shown = [{"id": str(number), "name": "first"} for number in range(12)]
    for raw in shown:
        desk.partner.truth[f"/unstamped/{raw['id']}"] = raw
    await complete_pass(desk, "unstamped")
    desk.clock.set_now(right)
    desk.partner.truth["/unstamped/1"] = {"id": "1", "name": "second"}
    del desk.partner.truth["/unstamped/2"]
    for _ in range(2):
        await desk.clock.advance(DAY)
        await complete_pass(desk, "unstamped")
    live = await desk.live("unstamped")
    assert live["1"]["name"] == "second"
    assert "2" not in live
    del desk.partner.truth["/unstamped/3"]
    await desk.deliver(event("3", "gone", resource="unstamped", at=desk.clock.now()))
    desk.partner.truth["/unstamped/4"] = {"id": "4", "name": "third"}
    await desk.deliver(event("4", resource="unstamped", at=desk.clock.now()))
    await desk.work()
    await desk.do_tasks()
    live = await desk.live("unstamped")
    assert "3" not in live
    assert live["4"]["name"] == "third"


async def test_a_child_stored_while_our_clock_was_ahead_goes_when_two_listings_miss_it(desk: Desk):
    right = desk.clock.now()
    desk.partner.truth["/things/1"] = thing("1", "first", right)
    await complete_pass(desk, "things")
    desk.clock.set_now(right + timedelta(days=365))
    desk.partner.truth["/things/1/notes"] = {"items": [{"id": f"n{number}", "name": "x"} for number in range(9)]}
    await desk.store.tasks.put("acme", NewTask(kind="children", resource="notes", parent_id="1"))
    await desk.do_tasks()
    assert len(await desk.live("notes")) == 9
    desk.clock.set_now(right)
    desk.partner.truth["/things/1/notes"]["items"].pop()
    for _ in range(2):
        await desk.clock.advance(3600)
        await desk.store.tasks.put("acme", NewTask(kind="children", resource="notes", parent_id="1"))
        await desk.do_tasks()
    assert len(await desk.live("notes")) == 8


async def test_one_record_without_a_name_among_many_unsound_ones_proves_that_nothing_is_proven(desk: Desk):
    first = later(desk.clock.now(), -100)
    sound = [thing(str(number), "first", first) for number in range(20)]
    unsound = [{**thing(f"0-{number}", "", first), "name": {"no": "text"}} for number in range(150)]
    desk.partner.truth["/things"] = {"items": sound}
    await complete_pass(desk, "things")
    desk.partner.truth["/things"] = {"items": [*sound[1:], {"name": "who am I?"}, *unsound]}
    for _ in range(3):
        await desk.clock.advance(3600)
        await complete_pass(desk, "things")
    assert len(await desk.store.rejects.keys("acme", limit=1000)) == 151
    assert "0" in await desk.live("things")
    desk.partner.truth["/things"] = {"items": [*sound[1:], *unsound]}
    for _ in range(2):
        await desk.clock.advance(3600)
        await complete_pass(desk, "things")
    assert "0" not in await desk.live("things")


async def test_a_listing_of_hours_that_shows_what_was_there_when_it_began_undoes_nothing(desk: Desk):
    shown = [thing(str(number), "first", later(desk.clock.now(), -100)) for number in range(20)]
    desk.partner.truth["/listed"] = {"items": shown}
    await complete_pass(desk, "listed")
    await desk.clock.advance(3600)
    inner = desk.partner.call

    async def call(request, **known):
        answer = await inner(request, **known)
        await desk.clock.advance(600)
        at = desk.clock.now()
        await desk.deliver(event("15", resource="listed", at=at, record=thing("15", "second", at)))
        await desk.deliver(event("16", "gone", resource="listed", at=at))
        await desk.work()
        await desk.clock.advance(7200)
        return replace(answer, requested_at=desk.clock.now())

    desk.account.session.call = call  # type: ignore[method-assign]
    await complete_pass(desk, "listed")
    live = await desk.live("listed")
    assert live["15"]["name"] == "second"
    assert "16" not in live


async def test_a_page_asked_for_before_an_end_without_a_time_does_not_raise_the_dead(desk: Desk):
    await imported(desk, many=10)
    desk.partner.truth["/stamped/1"] = thing("1", "second", desk.clock.now())
    await desk.clock.advance(4)
    inner = desk.partner.call

    async def call(request, **known):
        answer = await inner(request, **known)
        if request.path == "/stamped":
            await desk.clock.advance(1)
            del desk.partner.truth["/stamped/1"]
            await desk.deliver(event("1", "gone", resource="stamped"))
            await desk.work()
        return answer

    desk.account.session.call = call  # type: ignore[method-assign]
    await complete_pass(desk, "stamped")
    await desk.do_tasks()
    assert "1" not in await desk.live("stamped")


async def test_an_end_without_a_time_that_was_told_late_does_not_end_the_next_life(desk: Desk):
    await imported(desk, many=10)
    await desk.deliver(event("1", "gone", resource="stamped"))
    await desk.work()
    assert "1" not in await desk.live("stamped")
    await desk.clock.advance(0.1)
    assert await desk.do_tasks() == 1
    assert "1" in await desk.live("stamped")


async def test_a_record_that_comes_unsound_is_read_before_it_is_a_reject(desk: Desk):
    at = desk.clock.now()
    odd = {"id": "1", "name": {"no": "text"}, "updated_at": at.isoformat()}
    desk.partner.truth["/stamped/1"] = thing("1", "sound", at)
    await desk.deliver(event("1", resource="stamped", at=at, record=odd))
    await desk.work()
    await desk.do_tasks()
    assert (await desk.live("stamped"))["1"]["name"] == "sound"
    assert await desk.store.rejects.keys("acme", limit=10) == set()
    desk.partner.truth["/stamped/2"] = {**odd, "id": "2"}
    await desk.deliver(event("2", resource="stamped", at=at, record={**odd, "id": "2"}))
    await desk.work()
    await desk.do_tasks()
    assert await desk.store.rejects.keys("acme", limit=10) == {("stamped", "2")}


async def test_a_delivery_about_a_record_that_is_put_aside_is_not_handed_to_the_driver(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    at = desk.clock.now()
    processor = desk.account.processor
    processor.aside.add(processor.resources["stamped"], thing("1", "deadly", at), "1")

    def dies(resource, raw, adapter="v1"):
        assert raw["id"] != "1", "it would have ended the process"
        return identify(resource, raw, adapter)

    identify = desk.driver.identify
    monkeypatch.setattr(desk.driver, "identify", dies)
    desk.partner.truth["/stamped/1"] = thing("1", "deadly", at)
    for number in (1, 2):
        await desk.deliver(event(str(number), resource="stamped", at=at, record=thing(str(number), "deadly", at)))
    await desk.work()
    await desk.do_tasks()
    assert set(await desk.live("stamped")) == {"2"}
    assert await desk.store.rejects.keys("acme", limit=10) == {("stamped", "1")}
