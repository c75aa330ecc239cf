"""Whose trouble a refused credential is: the credential's own test is asked, and what that does not tell nobody guesses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from syncd.errors import (
    AuthError,
    BreakerOpenError,
    GoneError,
    OwnershipError,
    PayloadError,
    RateLimitError,
    RejectedError,
    StoreError,
    TransientError,
)
from syncd.kit import Request
from syncd.kit.listing import Each
from syncd.model import Lane
from syncd.store import NewTask, Store
from syncd.sync import let_in
from syncd.sync.account import Account
from syncd.sync.pull import Pull
from syncd.testing.clock import FakeClock
from tests.sync import ranged
from tests.sync.inboxed import Desk

from .test_sending import Stage


@pytest.fixture
async def desk(database: str) -> AsyncIterator[Desk]:
    clock = FakeClock()
    async with await Store.open(database, clock=clock, migrate=False) as store:
        yield await Desk.open(store, clock)


def of_two_yards(account: Account, test: Callable[[], Awaitable[None]]) -> list[str]:
    """Its things are of two yards that an option names, and refuse the credential; its own test is answered by `test`.
    Returns the paths that are asked for."""
    each = Each(param="yard", option="yards", values=("a", "b"))
    plan = account.plans["things"]
    account.plans["things"] = replace(plan, resource=plan.resource.model_copy(update={"each": (each,)}))  # type: ignore[index]
    account.driver.test = lambda options=None: Request("/me")  # type: ignore[method-assign, assignment]
    calls: list[str] = []

    async def call(request: Request, **_: Any) -> Any:
        calls.append(request.path)
        await asyncio.sleep(0)
        if request.path != "/me":
            raise AuthError("answered 401", status=401, permanent=True)
        await test()

    account.session.call = call  # type: ignore[method-assign]
    return calls


def raising(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def test() -> None:
        raise error

    return test


def troubles(clock: FakeClock) -> list[tuple[Exception, int]]:
    """What the test may meet in place of an answer, and whether that counts as a try of the work."""
    soon = clock.now() + timedelta(seconds=30)
    return [
        (TransientError("answered 503", status=503), 1),
        (RateLimitError("too many", retry_at=soon), 0),
        (BreakerOpenError("open", retry_at=soon), 0),
        (StoreError("the database is away"), 0),
    ]


async def test_where_the_question_gets_no_answer_a_task_waits_for_that_and_the_credential_is_not_blamed(desk: Desk):
    for trouble, counts in troubles(desk.clock):
        of_two_yards(desk.account, raising(trouble))
        await desk.store.tasks.put("acme", NewTask("fetch", "things", "7"))
        await desk.do_tasks()
        [waits] = await desk.store.tasks.list("acme")
        assert (waits.reason, waits.attempts) == (str(trouble), counts)
        assert desk.account.may_call() and desk.account.health.auth is None
        await desk.store._database.execute("DELETE FROM syncd.tasks")


async def test_who_no_longer_owns_the_scope_gives_its_tasks_back(desk: Desk):
    of_two_yards(desk.account, raising(OwnershipError("somebody else's")))
    await desk.store.tasks.put("acme", NewTask("fetch", "things", "7"))
    await desk.do_tasks()
    [free] = await desk.take_tasks()
    assert free.lost == 0
    assert desk.account.health.auth is None


async def test_a_driver_that_fails_over_its_own_test_costs_the_task_and_not_the_worker(desk: Desk):
    of_two_yards(desk.account, raising(KeyError("house")))
    await desk.store.tasks.put("acme", NewTask("fetch", "things", "7"))
    await desk.do_tasks()
    assert [letter.error_class for letter in await desk.store.dead_letters.list("acme")] == ["KeyError"]


@pytest.mark.parametrize(
    "answer",
    [
        AuthError("expired", status=401),
        RejectedError("no right", status=403),
        RejectedError("no such call", status=404),
        GoneError("nobody", status=404),
        PayloadError("too large"),
    ],
)
async def test_whatever_answer_is_no_yes_leaves_the_credential_refused(desk: Desk, answer: Exception):
    of_two_yards(desk.account, raising(answer))
    await desk.store.tasks.put("acme", NewTask("fetch", "things", "7"))
    await desk.do_tasks()
    [waits] = await desk.store.tasks.list("acme")
    assert (waits.reason, waits.attempts) == ("answered 401", 0)
    assert not desk.account.may_call()


async def test_a_run_a_backfill_and_a_push_wait_for_it_too(store: Store):
    desk = await ranged.Desk.open(store)
    trouble = TransientError("answered 503", status=503)
    of_two_yards(desk.account, raising(trouble))
    with pytest.raises(TransientError, match="answered 503"):
        await Pull(desk.account, desk.plans["things"], Lane.NORMAL, "schedule", wanted_full=True).run()
    await store.backfills.ask("acme", "things", ranged.START, ranged.START + timedelta(days=1))
    part = desk.backfilling()
    [waiting] = await store.backfills.active(["acme"])
    await part._do(desk.account, waiting)
    [left] = await store.backfills.find([waiting.id])
    assert (left.state, left.reason, left.attempts) == ("running", "answered 503", 1)
    of_two_yards(desk.account, raising(OwnershipError("somebody else's")))
    await desk.clock.sleep(60)
    with pytest.raises(OwnershipError):
        await part._do(desk.account, left)
    await store.leases.release("acme", "test:1", desk.ownership.fence)

    stage = await Stage.open(store, {"ok": True})
    stage.account.options = {}
    of_two_yards(stage.account, raising(trouble))
    number = await stage.put("blind", {"text": "x"})
    row = await stage.send(number)
    assert (row.state, row.reason, row.unsure_since, row.attempts) == ("waiting", "answered 503", None, 1)
    assert stage.account.health.auth is None
    of_two_yards(stage.account, raising(OwnershipError("somebody else's")))
    with pytest.raises(OwnershipError):
        await stage.send(number)


async def test_the_pause_for_a_refused_credential_begins_when_that_is_known(desk: Desk):
    async def at_last() -> None:
        desk.clock.set_now(desk.clock.now() + timedelta(minutes=10))  # it waited for its leave in the lowest lane
        raise AuthError("revoked", status=401)

    of_two_yards(desk.account, at_last)
    await desk.store.tasks.put("acme", NewTask("fetch", "things", "7"))
    await desk.do_tasks()
    assert not desk.account.may_call()


async def test_tasks_that_are_refused_together_ask_together(desk: Desk):
    async def when_all_are_refused() -> None:
        while len([one for one in calls if one != "/me"]) < 20:
            await asyncio.sleep(0.001)

    calls = of_two_yards(desk.account, when_all_are_refused)
    await desk.store.tasks.put("acme", *(NewTask("fetch", "things", str(one)) for one in range(20)))
    await asyncio.gather(*(desk.worker.run([task]) for task in await desk.take_tasks()))
    assert 1 <= calls.count("/me") <= 3, "not twenty times"
    assert len(await desk.store.tasks.list("acme")) == 20 and desk.account.may_call()


async def test_a_word_of_permission_from_the_test_is_of_the_credential_and_keeps_all_that_is_known_of_the_call(
    desk: Desk,
):
    known = {"status": 403, "code": "no_scope", "request_id": "r7", "partner": "plain", "integration": "acme"}
    answer = RejectedError("no right", **known)  # type: ignore[arg-type]
    answer.evidence = {"request": {"path": "/me"}}
    of_two_yards(desk.account, raising(answer))
    with pytest.raises(AuthError, match="no right") as told:
        await let_in.ask(desk.account, desk.account.proofs.refused(), Lane.NORMAL)
    assert told.value.permanent and "lacks all rights" in told.value.cause
    assert {name: getattr(told.value, name) for name in known} == known
    assert told.value.evidence == answer.evidence


@pytest.mark.parametrize("of_an_option", [True, False])
@pytest.mark.parametrize("let_in", [True, False])
async def test_a_run_that_is_refused_asks_once_whose_that_is_where_an_option_names_several(
    store: Store, of_an_option: bool, let_in: bool
):
    """What a description lists may be no more than a filter's values: who is refused for one of them is refused."""
    desk = await ranged.Desk.open(store)

    async def test() -> None:
        if not let_in:
            raise AuthError("revoked", status=401)

    calls = of_two_yards(desk.account, test)
    if not of_an_option:
        each = Each(param="yard", values=("a", "b"))
        plan = desk.plans["things"]
        desk.plans["things"] = replace(plan, resource=plan.resource.model_copy(update={"each": (each,)}))
    error = TransientError if of_an_option and let_in else AuthError
    with pytest.raises(error, match="answered 401"):
        await Pull(desk.account, desk.plans["things"], Lane.NORMAL, "schedule", wanted_full=True).run()
    walked = ["/things", "/me"] * (2 if let_in else 1)
    assert calls == (walked if of_an_option else ["/things"])
