"""What a partner calls gone: believed of a record, of a listing never, and of what stands below a record only with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from syncd.errors import AuthError, GoneError, RejectedError
from syncd.kit import Request
from syncd.kit.listing import Each
from syncd.model import Lane
from syncd.store import NewTask, Store
from syncd.sync.backfill_walk import Walk
from syncd.sync.decide import RetryPolicy
from syncd.sync.passing import tell_refused
from syncd.sync.pull import Pull
from syncd.sync.tally import Tally
from syncd.sync.work import Worker

from .ranged import START, Desk, rest


async def test_a_listing_that_is_not_found_is_a_refusal_that_keeps_all_that_is_known_of_the_call(store: Store):
    desk = await Desk.open(store)
    gone = GoneError(
        "no such list", status=404, code="x", request_id="r", partner="plain", resource="things", hint="look"
    )
    gone.evidence = {"answer": "no"}

    async def call(request: Request, **_: Any) -> Any:
        raise gone

    desk.account.session.call = call  # type: ignore[method-assign]
    with pytest.raises(RejectedError) as of_run:
        await Pull(desk.account, desk.plans["things"], Lane.NORMAL, "schedule", wanted_full=True).run()
    known = vars(gone)
    assert vars(of_run.value) == known
    await store.backfills.ask("acme", "things", START, START + timedelta(days=1))
    [waiting] = await store.backfills.active(["acme"])
    taken = await store.backfills.take(waiting, scope="acme", fence=desk.ownership.fence)
    assert taken is not None
    careful = await desk.backfilling()._look_back(desk.account, waiting, desk.ownership.fence)
    with pytest.raises(RejectedError) as of_backfill:
        await Walk(desk.account, desk.plans["things"], taken, desk.ownership.fence, careful).page()
    assert vars(of_backfill.value) == known


async def test_where_gone_is_a_word_of_permission_the_list_of_another_part_is_no_proof(store: Store):
    """A property that shut us out says 403 of each of its records; that the list of another one is open tells nothing."""
    desk = await Desk.open(store, rest())
    desk.partner.put(7)
    await desk.pull(full=True)
    plan = desk.plans["things"]
    each = Each(param="yard", values=("a", "b"))
    desk.plans["things"] = replace(plan, resource=plan.resource.model_copy(update={"each": (each,)}))
    desk.account.driver.test = lambda options=None: Request("/me")  # type: ignore[method-assign, assignment]
    calls: list[str] = []

    async def call(request: Request, **_: Any) -> Any:
        calls.append(request.path)
        if request.path.startswith("/things/"):
            raise GoneError("no_access", status=403)

    desk.account.session.call = call  # type: ignore[method-assign]
    await desk.clock.sleep(10)
    await store._database.execute("DELETE FROM syncd.tasks")  # what is below it
    await store.tasks.put("acme", NewTask("fetch", "things", "t0007"))
    await Worker(desk.account, RetryPolicy()).run(await store.tasks.take("acme", fence=desk.ownership.fence, limit=1))
    assert calls == ["/things/t0007", "/me"]
    assert list(await desk.stored()) == ["t0007"]
    [letter] = await store.dead_letters.list("acme")
    assert (letter.error_class, letter.external_id) == ("RejectedError", "t0007")


async def passes(desk: Desk, times: int = 1) -> None:
    for _ in range(times):
        await desk.clock.sleep(10)
        await Pull(desk.account, desk.plans["notes"], Lane.NORMAL, "schedule", wanted_full=True).run()


async def notes(desk: Desk) -> list[str]:
    return [one.external_id async for one in desk.store.records.scan("acme", "notes")]


async def with_notes(store: Store) -> tuple[Desk, list[str]]:
    """Ten things, each with two notes; returns also what is asked for of one of them, which refuses to list its notes."""
    desk = await Desk.open(store, rest())
    for number in range(10):
        desk.partner.put(number)
        desk.partner.notes[f"t{number:04}"] = [{"id": f"n{number}-{one}", "text": "x"} for one in "ab"]
    await desk.pull(full=True)
    desk.account.driver.test = lambda options=None: Request("/me")  # type: ignore[method-assign, assignment]
    await passes(desk)
    asked: list[str] = []

    async def before(request: Request) -> None:
        if request.path == "/me" or request.path.startswith("/things/t0003"):
            asked.append(request.path)
        if request.path == "/things/t0003/notes" or (
            request.path == "/things/t0003" and "t0003" not in desk.partner.truth
        ):
            raise GoneError("no_access", status=403)

    desk.partner.before = before
    return desk, asked


async def test_a_pass_misses_nothing_below_a_record_that_is_shown_and_may_not_be_listed_below(store: Store):
    desk, asked = await with_notes(store)
    del desk.partner.notes["t0005"][0]
    await passes(desk, 3)
    assert asked == ["/things/t0003/notes", "/me", "/things/t0003"] * 3
    assert set(await notes(desk)) == {f"n{n}-{one}" for n in range(10) for one in "ab"} - {"n5-a"}, (
        "the others are swept"
    )
    told = desk.account.health.of("notes").refused
    assert told is not None and told.reason == "notes: the partner refuses to list below things t0003: no_access"
    assert told.action == "give acme the right to list it, at the partner"
    desk.partner.before = None
    desk.partner.notes["t0003"].pop()
    await passes(desk, 2)
    assert desk.account.health.of("notes").refused is None
    assert [one for one in await notes(desk) if one.startswith("n3")] == ["n3-a"]


async def test_what_stands_below_a_record_that_is_gone_with_it_is_missed(store: Store):
    desk, asked = await with_notes(store)
    del desk.partner.truth["t0003"]
    await passes(desk, 2)
    assert asked == ["/things/t0003/notes", "/me", "/things/t0003"] * 2
    assert len(await notes(desk)) == 18 and desk.account.health.of("notes").refused is None


async def test_a_pass_that_the_account_is_shut_out_of_fails_and_misses_nothing(store: Store):
    desk, _ = await with_notes(store)
    answer = desk.partner.before

    async def shut(request: Request) -> None:
        if request.path == "/me":
            raise RejectedError("answered 403", status=403)
        assert answer is not None
        await answer(request)

    desk.partner.before = shut
    for _ in range(3):
        with pytest.raises(AuthError):
            await passes(desk)
    assert len(await notes(desk)) == 20


async def test_of_many_that_refuse_some_are_named(store: Store):
    desk = await Desk.open(store, rest())
    tally = Tally("acme", "notes", refused={f"below things {one}": "no" for one in range(3_000)})
    tell_refused(desk.account, desk.plans["notes"], tally)
    told = desk.account.health.of("notes").refused
    assert told is not None and told.reason.endswith("below things 9 and 2990 more: no") and len(told.reason) < 300
