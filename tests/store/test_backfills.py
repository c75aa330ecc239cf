"""A backfill's row: its place moves with the page or not at all, whoever else writes, stops or dies."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from syncd.errors import OwnershipError
from syncd.store import Backfill, NewTask, Store

from .parts import Desk, at, row

SINCE, UNTIL = at(0), at(3600)


async def asked(store: Store, **more: object) -> Backfill:
    found, new = await store.backfills.ask("acme", "things", SINCE, UNTIL, who="ann", expected_calls=3)
    assert new
    return found


async def take(store: Store, backfill: Backfill, fence: int) -> Backfill | None:
    return await store.backfills.take(backfill, scope="acme", fence=fence)


async def anew(store: Store) -> int:
    """The scope is acquired once more: its next fence."""
    fence = await store.leases.acquire("acme", "test:1", 600)
    assert fence is not None
    return fence


async def taken(store: Store, desk: Desk) -> Backfill:
    found = await take(store, await asked(store), desk.fence)
    assert found is not None
    return found


async def stored(store: Store) -> list[str]:
    return [record.external_id async for record in store.records.scan("acme", "things")]


async def now(store: Store, backfill: Backfill) -> Backfill:
    [found] = await store.backfills.find([backfill.id])
    return found


async def test_a_page_and_its_place_are_stored_together(store: Store):
    desk = await Desk.open(store)
    backfill = await taken(store, desk)
    page = replace(desk.page(row("a"), row("b")), run_id=None, cursor_read=None, cursor_next="2", last=False, calls=1)
    result = await store.backfills.commit(backfill, page, seen=2, reached_at=at(5))
    assert sorted(result.added) == ["a", "b"]
    found = await now(store, backfill)
    assert (found.state, found.cursor, found.pages, found.added, found.seen, found.calls) == (
        "running",
        "2",
        1,
        2,
        2,
        1,
    )
    assert found.reached_at == at(5)
    last = replace(desk.page(row("c")), run_id=None, cursor_read="2", cursor_next=None, last=True)
    await store.backfills.commit(backfill, last, seen=1)
    found = await now(store, backfill)
    assert (found.state, found.pages, found.added) == ("done", 2, 3)
    assert found.ended_at is not None
    assert await store.checkpoints.get("acme", "things") is None, "the schedule knows nothing of it"
    assert await store.runs.list("acme") == []


@pytest.mark.parametrize("what", ["cursor", "fence", "stopped", "lost"])
async def test_a_page_read_with_anything_older_is_not_stored(what: str, store: Store):
    desk = await Desk.open(store)
    backfill = await taken(store, desk)
    first = replace(desk.page(row("a")), run_id=None, cursor_read=None, cursor_next="1", last=False)
    await store.backfills.commit(backfill, first, seen=1)
    page = replace(desk.page(row("b")), run_id=None, cursor_read="1", cursor_next="2", last=False)
    match what:
        case "cursor":
            page = replace(page, cursor_read=None)
        case "fence":
            assert await take(store, backfill, await anew(store))
        case "stopped":
            assert await store.backfills.cancel("acme", None, who="ben")
        case "lost":
            await store.leases.release("acme", "test:1", desk.fence)
            assert await store.leases.acquire("acme", "test:2", 600)
    with pytest.raises(OwnershipError):
        await store.backfills.commit(
            backfill, page, seen=1, children=[NewTask("children", "notes", parent_id="b", dedupe_key="k")]
        )
    assert await stored(store) == ["a"]
    assert await store.tasks.list("acme") == []
    assert (await now(store, backfill)).pages == 1


async def test_listings_below_are_made_whether_or_not_the_parent_changed(store: Store):
    desk = await Desk.open(store)
    backfill = await taken(store, desk)
    page = replace(desk.page(row("a")), run_id=None, cursor_read=None, cursor_next="1", last=False)
    below = [NewTask("children", "notes", parent_id="gone before", dedupe_key="children:notes:x")]
    await store.backfills.commit(backfill, page, seen=1, children=below)
    assert [task.parent_id for task in await store.tasks.list("acme")] == ["gone before"]
    assert (await now(store, backfill)).tasks == 1


async def test_who_asks_again_joins_what_is_under_way_and_goes_on_with_what_failed(store: Store):
    desk = await Desk.open(store)
    backfill = await taken(store, desk)
    other, new = await store.backfills.ask("acme", "things", SINCE, UNTIL + timedelta(days=1))
    assert (other.id, new) == (backfill.id, False)
    page = replace(desk.page(row("a")), run_id=None, cursor_read=None, cursor_next="1", last=False)
    await store.backfills.commit(backfill, page, seen=1)
    await store.backfills.fail(backfill, fence=desk.fence, reason="a 422")
    again, new = await store.backfills.ask("acme", "things", SINCE, UNTIL)
    assert (again.id, again.state, again.cursor, again.reason, new) == (backfill.id, "waiting", "1", None, False)
    assert await take(store, again, desk.fence)
    await store.backfills.cancel("acme", "things", who="ben")
    fresh, new = await store.backfills.ask("acme", "things", SINCE, UNTIL + timedelta(days=1))
    assert (fresh.id != backfill.id, new, fresh.cursor) == (True, True, None)
    assert [found.id for found in await store.backfills.latest(["acme"])] == [fresh.id]


async def test_one_that_is_done_begins_anew(store: Store):
    desk = await Desk.open(store)
    backfill = await taken(store, desk)
    last = replace(desk.page(row("a")), run_id=None, cursor_read=None, cursor_next=None, last=True)
    await store.backfills.commit(backfill, last, seen=1)
    fresh, new = await store.backfills.ask("acme", "things", SINCE, UNTIL)
    assert (new, fresh.pages) == (True, 0)


async def test_it_is_taken_by_whoever_owns_the_scope_now_and_not_before_its_time(store: Store):
    desk = await Desk.open(store)
    backfill = await taken(store, desk)
    await store.backfills.later(
        backfill, store._database.clock.now() + timedelta(hours=1), fence=desk.fence, counts=True, reason="later"
    )
    assert (await now(store, backfill)).attempts == 1
    newer = await anew(store)
    assert await take(store, backfill, newer) is None
    await store.backfills.later(
        backfill, store._database.clock.now() - timedelta(hours=1), fence=desk.fence, counts=False, reason="now"
    )
    assert await take(store, backfill, newer)
    assert await take(store, backfill, desk.fence) is None, "an older owner does not take it back"
    await store.backfills.later(
        backfill, store._database.clock.now() + timedelta(hours=1), fence=desk.fence, counts=True, reason="mine"
    )
    assert (await now(store, backfill)).reason == "now", "an older owner puts nothing off"


async def test_it_goes_on_under_another_scope_whose_fences_count_lower(store: Store):
    desk = await Desk.open(store)
    for _ in range(5):
        desk.fence = await anew(store)
    backfill = await taken(store, desk)
    other = await store.leases.acquire("shared", "test:2", 600)
    assert other is not None
    assert other < desk.fence
    found = await store.backfills.take(backfill, scope="shared", fence=other)
    assert found is not None
    assert (found.state, found.fence) == ("running", other)
    late = replace(desk.page(row("a")), run_id=None, cursor_read=None, cursor_next="1", last=False)
    with pytest.raises(OwnershipError):
        await store.backfills.commit(backfill, late, seen=1)
    await store.backfills.commit(found, replace(late, scope="shared", fence=other), seen=1)
    assert await stored(store) == ["a"]


async def test_what_lies_within_a_range_is_counted(store: Store):
    desk = await Desk.open(store)
    await desk.put(row("a", updated=10), row("b", updated=20), row("c", updated=30), row("d"))
    assert await store.backfills.within("acme", "things", at(10), at(30)) == 2
