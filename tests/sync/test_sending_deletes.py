"""A push that deletes: what its lost answer leaves open, the partner's "there is no such thing" tells."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.errors import GoneError, PartnerError, RateLimitError, RejectedError
from syncd.store import Store

from .test_sending import BUSY, DOUBT, Stage, Step

GONE = GoneError("answered 404", status=404)
TAKEN = RejectedError("answered 200 (no such THING)", status=200)
ODD = RejectedError("answered 200 (something odd)", status=200)
THING = {"id": "t1", "n": 1}


async def copied(stage: Stage) -> None:
    stage.partner.steps.append(THING)
    assert (await stage.send(await stage.put("natural"))).state == "done"
    await stage.store._database.execute("DELETE FROM syncd.outbox")
    stage.partner.calls.clear()


async def is_buried(store: Store) -> bool:
    found = await store.records.get("acme", "things", "t1")
    assert found is not None
    return found.deleted_at is not None


async def test_what_was_deleted_is_buried_here_at_once(store: Store):
    stage = await Stage.open(store)
    await copied(stage)
    stage.partner.steps += [{"ok": True}]
    row = await stage.send(await stage.put("remove", cause="order 7"))
    assert (row.state, stage.methods, await is_buried(store)) == ("done", ["DELETE"], True)
    found = await store.records.get("acme", "things", "t1")
    assert found is not None and found.cause == f"push {row.id}: order 7"
    assert await store.tasks.list("acme") == [], "nothing is left to be read"


@pytest.mark.parametrize("between", [[], [RateLimitError("429", status=429)]])
async def test_one_whose_answer_was_lost_and_that_is_gone_by_then_is_done(store: Store, between: list[Step]):
    stage = await Stage.open(store)
    await copied(stage)
    stage.partner.steps += [DOUBT, *between, GONE]
    number = await stage.put("remove")
    for _ in between:
        assert (await stage.send(number)).state == "unknown"
    assert (await stage.send(number)).state == "unknown"
    row = await stage.send(number)
    assert (row.state, row.answer) == ("done", {"status": 404, "settled": "answered 404"})
    assert await is_buried(store)


async def test_at_the_first_try_it_may_be_another_record_that_is_meant(store: Store):
    stage = await Stage.open(store)
    await copied(stage)
    stage.partner.steps += [GONE]
    assert (await stage.send(await stage.put("remove"))).state == "buried"
    assert not await is_buried(store)


async def test_what_only_takes_something_from_a_record_says_nothing_of_the_record(store: Store):
    stage = await Stage.open(store)
    await copied(stage)
    stage.partner.steps += [DOUBT, GONE]
    number = await stage.put("untag")
    assert (await stage.send(number)).state == "unknown"
    assert (await stage.send(number)).state == "buried"
    assert not await is_buried(store)


async def test_a_refusal_whose_words_leave_nothing_to_do_ends_it_well(store: Store):
    stage = await Stage.open(store)
    await copied(stage)
    stage.partner.steps += [TAKEN]
    row = await stage.send(await stage.put("drop"))
    assert (row.state, await is_buried(store)) == ("done", True)


@pytest.mark.parametrize(
    ("shown", "state"),
    [(GONE, "done"), (THING, "buried"), (RejectedError("403", status=403), "unknown")],
)
async def test_a_repeat_refused_in_odd_words_is_looked_for(store: Store, shown: Any, state: str):
    stage = await Stage.open(store)
    await copied(stage)
    stage.partner.steps += [BUSY, ODD, shown]
    number = await stage.put("drop")
    assert (await stage.send(number)).state == "unknown"
    row = await stage.send(number)
    assert (row.state, await is_buried(store)) == (state, state == "done")
    assert stage.methods == ["POST", "POST", "GET"]
    if state == "done":
        assert row.answer == {"status": 404, "record": "t1", "looked_up": True}


@pytest.mark.parametrize(
    ("shown", "state"),
    [([{"id": "t2"}], "done"), ([], "done"), ([{"id": "t1"}], "buried"), ({"odd": True}, "unknown")],
)
async def test_what_a_list_does_not_show_any_more_is_deleted(store: Store, shown: Any, state: str):
    stage = await Stage.open(store)
    await copied(stage)
    stage.partner.steps += [DOUBT, ODD, {"items": shown}]
    number = await stage.put("strike")
    assert (await stage.send(number)).state == "unknown"
    row = await stage.send(number)
    assert (row.state, await is_buried(store)) == (state, state == "done")


@pytest.mark.parametrize("error", [ODD, GONE])
async def test_a_letter_stays_one_where_nothing_was_unclear(store: Store, error: PartnerError):
    stage = await Stage.open(store)
    await copied(stage)
    stage.partner.steps += [error]
    assert (await stage.send(await stage.put("strike"))).state == "buried"
    assert stage.methods == ["POST"]
