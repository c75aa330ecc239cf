"""Backfills at work: through failures, pauses, stops and new owners, to the end and not beyond it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.errors import AuthError, GoneError, RateLimitError, RejectedError, TransientError
from syncd.kit import Request
from syncd.kit.listing import Each
from syncd.model import Lane
from syncd.store import Backfill, Store
from syncd.sync.backfilling import Backfilling

from .ranged import START, Desk, rest


async def opened(store: Store, count: int = 60, described: dict[str, Any] | None = None) -> Desk:
    desk = await Desk.open(store, described)
    for number in range(count):
        desk.partner.put(number)
        desk.partner.notes[f"t{number:04}"] = [{"id": f"n{number}", "text": "x"}]
    await desk.pull()
    async with store._database.connection() as connection:
        await connection.execute("DELETE FROM syncd.records; DELETE FROM syncd.tasks")
    desk.partner.calls.clear()
    desk.partner.lanes.clear()
    return desk


async def ask(desk: Desk, first: int, last: int) -> Backfill:
    since, until = START + timedelta(minutes=first), START + timedelta(minutes=last)
    found, _ = await desk.store.backfills.ask("acme", "things", since, until)
    return found


@asynccontextmanager
async def working(part: Backfilling) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(part.run)
        yield
        group.cancel_scope.cancel()


async def until(desk: Desk, backfill: Backfill, *states: str, part: Backfilling | None = None) -> Backfill:
    """Wait for one of these states; every look moves the clock by a minute."""
    for _ in range(400):
        [found] = await desk.store.backfills.find([backfill.id])
        if found.state in states:
            return found
        await desk.clock.sleep(60)
        if part is not None:
            part.wake()
        await asyncio.sleep(0.01)
    raise AssertionError(f"still {found}")


def within(first: int, last: int) -> set[str]:
    return {f"t{number:04}" for number in range(first, last)}


async def test_the_range_is_read_in_the_lowest_lane_and_its_children_asked_for(store: Store):
    desk = await opened(store)
    backfill = await ask(desk, 10, 35)
    part = desk.backfilling()
    async with working(part):
        done = await until(desk, backfill, "done", part=part)
    assert set(await desk.stored()) == within(10, 35)
    assert (done.pages, done.calls, done.added, done.tasks) == (3, 3, 25, 25)
    assert desk.partner.lanes == {Lane.LOW}
    tasks = await store.tasks.list("acme", limit=100)
    assert {(task.kind, task.lane, task.parent_id) for task in tasks} == {
        ("children", Lane.LOW, one) for one in within(10, 35)
    }


async def test_a_listing_in_order_is_left_past_the_end(store: Store):
    desk = await opened(store, described=rest({"param": "since", "ascending": True, "format": "iso_ns"}))
    backfill = await ask(desk, 0, 15)
    part = desk.backfilling()
    async with working(part):
        done = await until(desk, backfill, "done", part=part)
    assert done.pages == 2
    assert set(await desk.stored()) == within(0, 20)
    assert done.tasks == 15, "what lies past the end was read beside it and is not listed below"


async def test_trouble_is_waited_out_and_the_place_kept(store: Store):
    desk = await opened(store)
    backfill = await ask(desk, 0, 60)
    troubles: list[Exception] = [
        TransientError("away"), RateLimitError("later"), AuthError("refused"), TransientError("away"),
    ]  # fmt: skip

    async def trouble(request: Request) -> None:
        if troubles and len(desk.partner.calls) % 2 == 0:
            raise troubles.pop()

    desk.partner.before = trouble
    part = desk.backfilling()
    async with working(part):
        done = await until(desk, backfill, "done", part=part)
    assert (done.pages, done.calls, done.attempts, done.reason) == (6, 10, 0, None)
    assert set(await desk.stored()) == within(0, 60)


async def test_a_credential_that_one_of_several_refuses_ends_the_backfill_and_is_no_matter_of_the_others(store: Store):
    desk = await opened(store)
    plan = desk.plans["things"]
    each = Each(param="yard", option="yards", values=("a", "b"))
    desk.plans["things"] = replace(plan, resource=plan.resource.model_copy(update={"each": (each,)}))
    desk.account.driver.test = lambda options=None: Request("/me")  # type: ignore[method-assign, assignment]

    async def refuses(request: Request) -> None:
        if dict(request.params).get("yard") == "b":
            raise AuthError("not available to be connected", status=401, permanent=True)

    desk.partner.before = refuses
    backfill = await ask(desk, 0, 20)
    part = desk.backfilling()
    async with working(part):
        failed = await until(desk, backfill, "failed", part=part)
    assert failed.reason == "not available to be connected (the credential itself is let in)"
    assert desk.account.health.auth is None
    assert set(await desk.stored()) == within(0, 20), "what the one before it listed is kept"


async def test_what_no_wait_mends_fails_and_the_same_range_goes_on_from_there(store: Store):
    desk = await opened(store)
    backfill = await ask(desk, 0, 60)

    async def down(request: Request) -> None:
        if len(desk.partner.calls) > 2:
            raise TransientError("away for good")

    desk.partner.before = down
    part = desk.backfilling()
    async with working(part):
        failed = await until(desk, backfill, "failed", part=part)
        assert (failed.pages, failed.reason) == (2, "away for good")
        desk.partner.before = None
        again = await ask(desk, 0, 60)
        assert again.id == backfill.id
        done = await until(desk, backfill, "done", part=part)
    assert (done.pages, set(await desk.stored())) == (6, within(0, 60))


async def test_a_place_the_partner_no_longer_takes_begins_anew_once(store: Store):
    desk = await opened(store)
    backfill = await ask(desk, 0, 60)

    async def stale(request: Request) -> None:
        if dict(request.params).get("offset") == "30" and len(desk.partner.calls) < 8:
            raise RejectedError("no such place", status=400)

    desk.partner.before = stale
    part = desk.backfilling()
    async with working(part):
        failed = await until(desk, backfill, "failed", "done", part=part)
    assert failed.state == "failed"
    assert failed.pages == 3
    await ask(desk, 0, 60)
    part = desk.backfilling()
    async with working(part):
        done = await until(desk, backfill, "done", "failed", part=part)
    assert (done.state, set(await desk.stored())) == ("done", within(0, 60))


async def test_a_pause_holds_it_between_two_pages(store: Store):
    desk = await opened(store)
    backfill = await ask(desk, 0, 60)

    async def pause(request: Request) -> None:
        if len(desk.partner.calls) == 2:
            desk.paused.add("things")

    desk.partner.before = pause
    part = desk.backfilling()
    async with working(part):
        for _ in range(30):
            await asyncio.sleep(0.01)
        [held] = await store.backfills.find([backfill.id])
        assert (held.state, held.pages, len(desk.partner.calls)) == ("running", 2, 2)
        desk.paused.clear()
        await until(desk, backfill, "done", part=part)
    assert set(await desk.stored()) == within(0, 60)


async def test_a_stop_takes_effect_at_the_page_in_hand(store: Store):
    desk = await opened(store)
    backfill = await ask(desk, 0, 60)

    async def stop(request: Request) -> None:
        if len(desk.partner.calls) == 3:
            await store.backfills.cancel("acme", "things", who="ann")

    desk.partner.before = stop
    part = desk.backfilling()
    async with working(part):
        stopped = await until(desk, backfill, "cancelled", part=part)
        await asyncio.sleep(0.1)
    assert (stopped.pages, stopped.reason) == (2, "stopped by ann")
    assert set(await desk.stored()) == within(0, 20)


async def test_a_new_owner_goes_on_and_the_old_one_writes_nothing_more(store: Store):
    desk = await opened(store)
    backfill = await ask(desk, 0, 60)
    other: list[Backfilling] = []

    async def lose(request: Request) -> None:
        if len(desk.partner.calls) == 3:
            await desk.take_over()
            other.append(desk.backfilling())

    desk.partner.before = lose
    part = desk.backfilling()
    async with working(part):
        for _ in range(200):
            await asyncio.sleep(0.01)
            if other:
                break
        await part.stop()
    async with working(other[0]):
        done = await until(desk, backfill, "done", part=other[0])
    assert (done.pages, done.added, set(await desk.stored())) == (6, 60, within(0, 60))


async def test_stop_comes_back_when_the_page_in_hand_is_stored(store: Store):
    desk = await opened(store)
    backfill = await ask(desk, 0, 60)
    part = desk.backfilling()
    begun = asyncio.Event()

    async def slow(request: Request) -> None:
        begun.set()
        await asyncio.sleep(0.05)

    desk.partner.before = slow
    async with working(part):
        await begun.wait()
        with anyio.fail_after(5):
            await part.stop()
        [left] = await store.backfills.find([backfill.id])
        assert (left.state, left.pages) == ("running", 1)


async def test_children_are_read_below_every_parent_and_one_that_is_gone_is_passed_over(store: Store):
    desk = await Desk.open(store)
    for number in range(5):
        desk.partner.put(number)
        desk.partner.notes[f"t{number:04}"] = [{"id": f"n{number}", "text": "x"}]
    await desk.pull()

    async def gone(request: Request) -> None:
        if request.path == "/things/t0002/notes":
            raise GoneError("no such parent", status=404)

    desk.partner.before = gone
    backfill, _ = await store.backfills.ask("acme", "notes", START, START + timedelta(days=1))
    part = desk.backfilling()
    async with working(part):
        done = await until(desk, backfill, "done", "failed", part=part)
    assert (done.state, done.pages, done.added) == ("done", 5, 4)
    notes = {one.external_id: one.parent_id async for one in store.records.scan("acme", "notes")}
    assert notes == {f"n{number}": f"t{number:04}" for number in (0, 1, 3, 4)}


async def test_below_no_parents_there_is_nothing_and_that_is_done(store: Store):
    desk = await Desk.open(store)
    backfill, _ = await store.backfills.ask("acme", "notes", START, START + timedelta(days=1))
    part = desk.backfilling()
    async with working(part):
        done = await until(desk, backfill, "done", "failed", part=part)
    assert (done.state, done.calls, done.seen) == ("done", 0, 0)


async def test_what_is_no_longer_configured_fails_and_says_so(store: Store):
    desk = await Desk.open(store)
    backfill, _ = await store.backfills.ask("acme", "gone", START, START + timedelta(days=1))
    part = desk.backfilling()
    async with working(part):
        failed = await until(desk, backfill, "failed", part=part)
    assert failed.reason == "acme has no resource gone any more"


async def test_a_listing_of_another_account_is_not_stored(store: Store):
    desk = await opened(store, 20, described=rest(tenant="account"))
    for raw in desk.partner.truth.values():
        raw["account"] = "ours"
    await desk.pull(full=True)
    for raw in desk.partner.truth.values():
        raw["account"], raw["name"] = "theirs", "foreign"
    backfill = await ask(desk, 0, 20)
    part = desk.backfilling()
    async with working(part):
        failed = await until(desk, backfill, "failed", part=part)
    assert "another account" in (failed.reason or "")
    assert "foreign" not in (await desk.stored()).values()


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["before", "after"]), st.integers(1, 3)), max_size=6), st.randoms())
async def test_whatever_dies_wherever_each_page_counts_once(store: Store, deaths: list[tuple[str, int]], dice: Any):
    """The process dies while a page is asked for, or right after it was stored; the next one owns the scope."""
    async with store._database.connection() as connection:
        await connection.execute(
            "TRUNCATE syncd.records, syncd.checkpoints, syncd.backfills, syncd.leases, syncd.tasks"
        )
    desk = await opened(store)
    backfill = await ask(desk, 0, 60)
    for moment, calls in deaths:
        part = desk.backfilling()
        left = [calls]
        died = asyncio.Event()

        async def die(request: Request, left: list[int] = left, died: asyncio.Event = died) -> None:
            left[0] -= 1
            if left[0] == 0:
                died.set()
                await asyncio.sleep(3600)

        desk.partner.before = die if moment == "before" else None
        async with working(part):
            if moment == "before":
                with anyio.move_on_after(0.5):
                    await died.wait()
            else:
                await asyncio.sleep(dice.random() * 0.05)
        await desk.take_over()
    desk.partner.before = None
    part = desk.backfilling()
    async with working(part):
        done = await until(desk, backfill, "done", part=part)
    assert (done.pages, done.seen, done.added, done.tasks) == (6, 60, 60, 60)
    assert set(await desk.stored()) == within(0, 60)
