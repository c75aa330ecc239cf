"""One call proves its point to all who were refused before it began, and to nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from syncd.errors import AuthError, GoneError, RejectedError
from syncd.kit import Request
from syncd.model import Lane
from syncd.store import NewTask, Store
from syncd.sync.proofs import Proofs
from syncd.testing.clock import FakeClock
from tests.sync.inboxed import Desk


@pytest.fixture
async def desk(database: str) -> AsyncIterator[Desk]:
    clock = FakeClock()
    async with await Store.open(database, clock=clock, migrate=False) as store:
        yield await Desk.open(store, clock)


class Partner:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[None]] = []

    async def call(self) -> None:
        self.calls.append(asyncio.get_running_loop().create_future())
        await self.calls[-1]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_is_refused_while_a_proof_is_out_shares_the_next_one():
    proofs, partner = Proofs(), Partner()

    def asks(lane: Lane = Lane.NORMAL) -> asyncio.Task[None]:
        return asyncio.ensure_future(proofs.ask("account", proofs.refused(), lane, partner.call))

    first = asks()
    await settle()
    later = [asks() for _ in range(3)]
    await settle()
    assert len(partner.calls) == 1
    partner.calls[0].set_result(None)
    await settle()
    assert first.done() and not any(one.done() for one in later), "it began before they were refused"
    assert len(partner.calls) == 2
    urgent = asks(Lane.HIGH)
    await settle()
    assert len(partner.calls) == 3, "another lane waits for nobody"
    partner.calls[1].set_result(None)
    await settle()
    assert all(one.done() for one in later) and not urgent.done() and len(partner.calls) == 3
    partner.calls[2].set_result(None)
    await urgent


async def test_a_proof_that_fails_proves_nothing_and_of_something_else_neither():
    proofs, partner = Proofs(), Partner()
    refusals = [proofs.refused(), proofs.refused()]
    asked = [asyncio.ensure_future(proofs.ask("account", one, Lane.NORMAL, partner.call)) for one in refusals]
    await settle()
    partner.calls[0].set_exception(ValueError("shut"))
    with pytest.raises(ValueError, match="shut"):
        await asked[0]
    await settle()
    assert len(partner.calls) == 2
    partner.calls[1].set_result(None)
    await asked[1]
    other = asyncio.ensure_future(proofs.ask("list things", refusals[1], Lane.NORMAL, partner.call))
    await settle()
    assert len(partner.calls) == 3
    partner.calls[2].set_result(None)
    await other


async def test_a_proof_that_is_refused_is_shared_as_one_that_is_not():
    proofs, partner = Proofs(), Partner()
    refusals = [proofs.refused() for _ in range(3)]
    asked = [asyncio.ensure_future(proofs.ask("account", one, Lane.NORMAL, partner.call)) for one in refusals]
    await settle()
    shut = AuthError("no rights", status=403, permanent=True, code="none")
    shut.evidence = {"answer": "no"}
    partner.calls[0].set_exception(shut)
    raised = await asyncio.gather(*asked, return_exceptions=True)
    assert len(partner.calls) == 1 and raised[0] is shut
    for one in raised[1:]:
        assert type(one) is AuthError and one is not shut, "each has its own to tell of"
        assert (str(one), vars(one)) == (str(shut), vars(shut))
    later = asyncio.ensure_future(proofs.ask("account", proofs.refused(), Lane.NORMAL, partner.call))
    await settle()
    partner.calls[1].set_result(None)
    await later
    await proofs.ask("account", refusals[0], Lane.NORMAL, partner.call)
    assert len(partner.calls) == 2, "what was open later is open to an earlier one too"


@pytest.mark.parametrize("shut", ["/me", "/things"])
async def test_records_that_are_refused_while_the_account_or_their_listing_is_shut_ask_together(desk: Desk, shut: str):
    desk.account.driver.test = lambda options=None: Request("/me")  # type: ignore[method-assign, assignment]
    calls: list[str] = []
    all_asked = asyncio.Event()

    async def call(request: Any, **_: Any) -> Any:
        calls.append(request.path)
        if len(calls) == 20:
            all_asked.set()
        await all_asked.wait()
        await settle()
        if request.path.startswith("/things/"):
            raise GoneError("no_access", status=403)
        if request.path == shut:
            raise RejectedError("answered 403", status=403)

    desk.account.session.call = call  # type: ignore[method-assign]
    await desk.store.tasks.put("acme", *(NewTask("fetch", "things", str(one)) for one in range(20)))
    await asyncio.gather(*(desk.worker.run([task]) for task in await desk.take_tasks()))
    assert 1 <= calls.count("/me") <= 3 and calls.count("/things") <= 3, "not twenty times"
    assert len(await desk.store.dead_letters.list("acme")) == (20 if shut == "/things" else 0)
    assert desk.account.may_call() is (shut == "/things")


async def test_refusals_that_come_while_account_and_listing_are_asked_share_the_next_answer(desk: Desk):
    await desk.store.tasks.put("acme", *(NewTask("fetch", "things", str(one)) for one in range(6)))
    desk.account.driver.test = lambda options=None: Request("/me")  # type: ignore[method-assign, assignment]
    calls: list[str] = []
    all_asked = asyncio.Event()

    async def call(request: Any, **_: Any) -> Any:
        calls.append(request.path)
        if len(calls) == 6:
            all_asked.set()
        await all_asked.wait()
        await settle()
        if request.path.startswith("/things/"):
            raise GoneError("no_access", status=403)

    desk.account.session.call = call  # type: ignore[method-assign]
    await asyncio.gather(*(desk.worker.run([task]) for task in await desk.take_tasks()))
    assert len(calls) == 6 + calls.count("/me") + calls.count("/things")
    assert 1 <= calls.count("/me") <= 3 and 1 <= calls.count("/things") <= 3, "not six of each"
    await desk.store.tasks.put("acme", NewTask("fetch", "things", "9"))
    await desk.do_tasks()
    assert calls[-3:] == ["/things/9", "/me", "/things"], "what was open before says nothing of a later refusal"
