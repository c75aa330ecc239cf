"""What is kept of a partner's answer with the push: no more of the record than is stored of it, and no secrets."""

from __future__ import annotations

import dataclasses

from syncd.kit import Change, Item, Resource, Response
from syncd.store import Store

from .test_sending import DOUBT, Stage


async def test_of_the_record_in_an_answer_that_is_kept_which_the_driver_makes_of_it(store: Store):
    stage = await Stage.open(store, {"id": "t1", "n": 1, "pass_to_pay": "pi_3_x_8f2", "warning": "w"})
    driver = stage.account.driver
    whole = driver.pushed

    def pushed(resource: Resource, change: Change, response: Response) -> Item | None:
        item = whole(resource, change, response)
        raw = {name: value for name, value in item.raw.items() if name != "pass_to_pay"}
        return dataclasses.replace(item, raw=raw)

    driver.pushed = pushed
    row = await stage.send(await stage.put("natural"))
    assert row.answer == {"status": 200, "record": "t1", "body": {"id": "t1", "n": 1, "warning": "w"}}


async def test_an_answer_without_a_record_is_kept_with_its_secrets_masked(store: Store):
    stage = await Stage.open(store, {"ok": True, "note": {"text": "x", "client_secret": "pi_3_x_8f2"}})
    row = await stage.send(await stage.put("looked"))
    body = {"ok": True, "note": {"text": "x", "client_secret": "****"}}
    assert row.answer == {"status": 200, "record": "t1", "body": body}


async def test_a_record_that_cannot_be_read_is_not_kept_as_it_came(store: Store):
    stage = await Stage.open(store, {"no": "id", "pass_to_pay": "pi_3_x_8f2"})
    row = await stage.send(await stage.put("natural"))
    assert row.answer == {"status": 200, "record": "t1"}


async def test_what_was_looked_up_is_no_answer_to_it(store: Store):
    stage = await Stage.open(store, DOUBT, [{"ref": "k1", "pass_to_pay": "pi_3_x_8f2"}])
    number = await stage.put("looked")
    await stage.send(number)
    await store._database.execute("UPDATE syncd.outbox SET sent_at = sent_at - interval '3 s'")
    assert (await stage.send(number)).answer == {"status": 200, "record": "t1", "looked_up": True}
