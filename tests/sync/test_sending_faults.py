"""A driver that dies over a push, wherever it is asked: the push is a dead letter in the end, and nobody loops."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from syncd.errors import RejectedError
from syncd.store import PushRow, Store
from syncd.sync.processor import Processor
from syncd.sync.target import Target

from .test_sending import DOUBT, Stage, Step

REFUSAL = RejectedError("422: no such status", status=422)
BUSY = RejectedError("409: in progress", status=409)


def crash(*_: Any) -> None:
    raise ZeroDivisionError("a fault of the driver's")


@pytest.mark.parametrize(
    ("method", "kind", "steps", "reason", "doubt"),
    [
        ("replaces", "natural", [REFUSAL], "422: no such status", False),
        ("idempotent", "natural", [DOUBT], "the connection broke", True),
        ("look_up", "looked", [DOUBT], "the connection broke", True),
    ],
)
async def test_whatever_the_driver_dies_over_the_push_is_a_letter(
    store: Store, method: str, kind: str, steps: list[Step], reason: str, doubt: bool
):
    stage = await Stage.open(store, *steps)
    setattr(stage.account.driver, method, crash)
    row = await stage.send(await stage.put(kind))
    assert (row.state, row.unsure_since is not None) == ("buried", doubt)
    assert reason in (row.reason or "")
    [letter] = await store.dead_letters.list("acme")
    assert letter.origin_id == str(row.id)


@pytest.mark.parametrize("method", ["idempotent", "look_up"])
async def test_a_refusal_over_which_the_driver_dies_is_a_letter_that_keeps_the_doubt(store: Store, method: str):
    stage = await Stage.open(store, DOUBT, BUSY)
    number = await stage.put("keyed")
    assert (await stage.send(number)).state == "unknown"
    driver = stage.account.driver
    healthy, asked = getattr(driver, method), []

    def later(*args: Any) -> Any:
        asked.append(1)
        return healthy(*args) if method == "idempotent" and len(asked) == 1 else crash()

    setattr(driver, method, later)
    driver.idempotent = driver.idempotent if method == "idempotent" else lambda *_: len(stage.partner.calls) < 2
    row = await stage.send(number)
    assert (row.state, row.unsure_since is not None, len(stage.partner.calls)) == ("buried", True, 2)
    assert "409" in (row.reason or "")


async def test_what_cannot_be_decided_however_often_it_is_tried_is_a_letter_in_the_end(store: Store):
    stage = await Stage.open(store, *[DOUBT] * 9)
    number = await stage.put("natural")
    stage.account.health = SimpleNamespace(task_failed=crash)
    states = [(await stage.send(number)).state for _ in range(4)]
    assert states == ["unknown"] * 3 + ["buried"]
    [letter] = await store.dead_letters.list("acme")
    assert "ZeroDivisionError" in (letter.traceback or "")
    row = await store.outbox.get("acme", number)
    assert row is not None
    assert row.unsure_since is not None


class Watched:
    """The driver, and whether the push was said to be in hand whenever it was asked."""

    def __init__(self, driver: Any, store: Store) -> None:
        self._driver = driver
        self.in_hand = False
        self.unwatched: set[str] = set()
        self.asked: set[str] = set()
        handles = store.outbox.handles

        async def said(push: PushRow, *, now: bool) -> None:
            await handles(push, now=now)
            self.in_hand = now

        store.outbox.handles = said  # type: ignore[method-assign]

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._driver, name)
        if not callable(found):
            return found

        def ask(*args: Any, **named: Any) -> Any:
            self.asked.add(name)
            if not self.in_hand:
                self.unwatched.add(name)
            return found(*args, **named)

        return ask


@pytest.mark.parametrize(
    ("kind", "steps", "asks"),
    [
        ("natural", [{"id": "t1", "n": 5}], {"check", "push", "confirms", "pushed", "identify", "reading"}),
        ("natural", [REFUSAL], {"replaces"}),
        ("natural", [DOUBT], {"idempotent"}),
        ("looked", [DOUBT, [{"ref": "k1"}]], {"look_up", "look_up_after", "already"}),
        ("keyed", [DOUBT, BUSY], {"idempotent", "push"}),
        ("looked", [DOUBT, REFUSAL], {"look_up", "look_up_after"}),
    ],
)
async def test_of_a_suspect_it_is_said_that_it_is_in_hand_whatever_the_driver_is_asked(
    store: Store, kind: str, steps: list[Any], asks: set[str]
):
    stage = await Stage.open(store, *steps)
    account = stage.account
    account.driver = watched = Watched(account.driver, store)
    account.processor = Processor(watched, "acme", {"things": Target(account.plans["things"].resource)}, store)  # type: ignore[arg-type]
    number = await stage.put(kind)
    for _ in steps:
        await store._database.execute(
            "UPDATE syncd.outbox SET suspicion = 2, lost = 2, attempts = 2, sent_at = sent_at - interval '1 minute'"
        )
        await stage.send(number)
    assert asks <= watched.asked
    assert watched.unwatched == set()
