"""R1 for queues: what tells the partner that messages are stored is written with them, once for each of them."""

from __future__ import annotations

import asyncio

import pytest

from syncd.errors import OwnershipError
from syncd.model import Mode
from syncd.store import Acknowledge

from .parts import Desk, row


async def told(desk: Desk) -> list[tuple[str, object, list[str]]]:
    pushes = await desk.store.outbox.list("acme")
    return [(one.operation, one.payload.get("queue"), one.payload["ids"]) for one in reversed(pushes)]


async def test_an_acknowledgement_is_written_with_the_page_it_acknowledges(desk: Desk):
    await desk.begin(Mode.INCREMENTAL)
    await desk.commit(row("a"), row("b"), acknowledges=[Acknowledge("ack", ("a", "b"), {"queue": "new", "at": "noon"})])
    assert await told(desk) == [("ack", "new", ["a", "b"])]
    (push,) = await desk.store.outbox.list("acme")
    assert (push.state, push.payload["at"], push.cause) == ("waiting", "noon", "test")


async def test_a_page_that_is_refused_acknowledges_nothing(desk: Desk):
    await desk.begin(Mode.INCREMENTAL)
    page = desk.page(row("a"), acknowledges=[Acknowledge("ack", ("a",))], cursor_read="page 9")
    with pytest.raises(OwnershipError):
        await desk.store.pages.commit(page)
    assert await told(desk) == []


async def test_what_waits_to_be_acknowledged_is_not_acknowledged_again_but_in_another_queue(desk: Desk):
    await desk.begin(Mode.INCREMENTAL)
    await desk.commit(row("a"), acknowledges=[Acknowledge("ack", ("a",), {"queue": "new"})])
    await desk.commit(row("b"), acknowledges=[Acknowledge("ack", ("a", "b"), {"queue": "new", "at": "later"})])
    await desk.commit(acknowledges=[Acknowledge("ack", ("a", "b"), {"queue": "new"})])
    await desk.commit(acknowledges=[Acknowledge("ack", ("a",), {"queue": "changes"})])
    assert await told(desk) == [("ack", "new", ["a"]), ("ack", "new", ["b"]), ("ack", "changes", ["a"])]


async def test_what_was_acknowledged_and_is_shown_all_the_same_is_acknowledged_anew(desk: Desk):
    await desk.begin(Mode.INCREMENTAL)
    await desk.commit(row("a"), acknowledges=[Acknowledge("ack", ("a",))])
    (push,) = await desk.store.outbox.list("acme")
    taken = await desk.store.outbox.take("acme", push.id, scope=desk.scope, fence=desk.fence)
    assert taken is not None
    await desk.store.outbox.done(taken, answer={})
    await desk.commit(acknowledges=[Acknowledge("ack", ("a",))])
    assert await told(desk) == [("ack", None, ["a"]), ("ack", None, ["a"])]


async def test_a_message_the_database_cannot_hold_is_not_acknowledged(desk: Desk):
    await desk.begin(Mode.INCREMENTAL)
    poison = row("p")._replace(data_json=b'{"name": "\\u0000"}')
    result = await desk.commit(row("a"), poison, acknowledges=[Acknowledge("ack", ("a", "p"))])
    assert (result.refused, await told(desk)) == (["p"], [("ack", None, ["a"])])


async def test_a_page_on_which_nothing_is_sound_acknowledges_nothing(desk: Desk):
    await desk.begin(Mode.INCREMENTAL)
    await desk.commit(row("p")._replace(data_json=b'{"name": "\\u0000"}'), acknowledges=[Acknowledge("ack", ("p",))])
    assert await told(desk) == []


async def test_a_page_with_acknowledgements_waits_for_the_one_before_it(desk: Desk):
    await desk.begin(Mode.INCREMENTAL)
    one = desk.page(row("a"), fresh=True, acknowledges=[Acknowledge("ack", ("a",))])
    two = desk.page(row("b"), fresh=True, acknowledges=[Acknowledge("ack", ("b",))], cursor_read=one.cursor_next)
    before = asyncio.ensure_future(desk.store.pages.commit(one))
    await desk.store.pages.commit_behind(two, one, before)
    assert [ids for *_, ids in await told(desk)] == [["a"], ["b"]]
