"""A push that says how the record was when it was written: held against the record as the partner has it, just before."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.errors import GoneError
from syncd.store import NewPush, Store

from .test_sending import BUSY, DOUBT, REFUSED, Stage


async def copied(stage: Stage, n: int) -> None:
    """Our copy of the record, as of some time ago."""
    stage.partner.steps.append({"id": "t1", "n": n})
    assert (await stage.send(await stage.put("natural"))).state == "done"
    await stage.store._database.execute("DELETE FROM syncd.outbox")
    stage.partner.calls.clear()


async def test_what_somebody_else_changed_meanwhile_is_noticed_though_our_copy_is_as_expected(store: Store):
    stage = await Stage.open(store)
    await copied(stage, 1)
    stage.partner.steps += [{"id": "t1", "n": 2}]
    row = await stage.send(await stage.put("cautious", {"word": "x", "if_n": 1}))
    assert (row.state, row.sent_at, stage.methods) == ("buried", None, ["GET"])
    assert row.reason == "field if_n: the record was changed since: its n is another one"
    stored = await store.records.get("acme", "things", "t1")
    assert stored is not None
    assert stored.data == {"n": 2}, "what was read is kept"


@pytest.mark.parametrize("copy", [1, 5, None])
async def test_it_is_sent_where_the_record_is_as_expected_whatever_our_copy_says(store: Store, copy: int | None):
    stage = await Stage.open(store)
    if copy is not None:
        await copied(stage, copy)
    stage.partner.steps += [{"id": "t1", "n": 1}, {"id": "t1", "n": 2}]
    assert (await stage.send(await stage.put("cautious", {"word": "x", "if_n": 1}))).state == "done"
    assert stage.methods == ["GET", "PUT"]


async def test_without_a_condition_nothing_is_read(store: Store):
    stage = await Stage.open(store, {"id": "t1", "n": 2})
    assert (await stage.send(await stage.put("cautious", {"word": "x"}))).state == "done"
    assert stage.methods == ["PUT"]


async def test_a_record_that_cannot_be_read_lets_it_wait_and_one_that_is_not_there_ends_it(store: Store):
    stage = await Stage.open(store)
    await copied(stage, 1)
    stage.partner.steps += [REFUSED, GoneError("404", status=404)]
    number = await stage.put("cautious", {"word": "x", "if_n": 1})
    assert (await stage.send(number)).state == "waiting"
    assert (await stage.send(number)).state == "buried"
    assert stage.methods == ["GET", "GET"]


@pytest.mark.parametrize(("shown", "state", "methods"), [(1, "done", ["GET", "PUT"]), (2, "buried", ["GET"])])
async def test_after_a_lost_answer_the_record_is_read_again_before_it_is_repeated(
    store: Store, shown: int, state: str, methods: list[str]
):
    stage = await Stage.open(store, {"id": "t1", "n": 1}, BUSY, {"id": "t1", "n": shown}, {"id": "t1", "n": 2})
    number = await stage.put("cautious", {"word": "x", "if_n": 1})
    assert (await stage.send(number)).state == "unknown"
    row = await stage.send(number)
    assert (row.state, stage.methods[2:]) == (state, methods)
    if state == "buried":
        assert row.unsure_since is not None, "it may have been our own try that changed it"
        assert row.reason is not None and "perhaps by this very push" in row.reason


async def test_what_was_looked_up_and_is_not_there_is_held_against_the_record_once_more(store: Store):
    stage = await Stage.open(store, {"id": "t1", "n": 1}, DOUBT, [], {"id": "t1", "n": 2})
    number = await stage.put("cautious_note", {"word": "x", "if_n": 1})
    assert (await stage.send(number)).state == "unknown"
    row = await stage.send(number)
    assert (row.state, row.unsure_since) == ("buried", None)
    assert row.reason == "field if_n: the record was changed since: its n is another one"
    assert stage.methods == ["GET", "POST", "GET", "GET"]


async def test_where_no_record_can_be_read_it_is_held_against_our_copy(store: Store):
    stage = await Stage.open(store)
    await copied(stage, 1)
    reader: Any = stage.account.driver
    reader.one = lambda resource, external_id: None
    push = NewPush("acme", "things", "cautious", {"if_n": 2}, external_id="t1", idempotency_key="k2")
    number, _ = await store.outbox.put(push)
    row = await stage.send(number)
    assert (row.state, row.sent_at, stage.methods) == ("buried", None, [])
    row = await stage.send(await stage.put("cautious", {"if_n": 2}, external_id="t9"))
    assert (row.state, row.sent_at, stage.methods) == ("buried", None, []), "of this one there is no copy"


async def test_one_that_arrived_and_changed_the_record_itself_is_done_where_that_can_be_looked_up(store: Store):
    stage = await Stage.open(store, {"id": "t1", "n": 1}, DOUBT, {"id": "t1", "n": 2})
    number = await stage.put("set_if", {"n": 2, "if_n": 1})
    assert (await stage.send(number)).state == "unknown"
    assert (await stage.send(number)).state == "done"
    assert stage.methods == ["GET", "PUT", "GET"], "one reading serves both questions"
