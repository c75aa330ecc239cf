"""`syncd contract` looks at one resource after the other under one bound: what it says meanwhile, and what it leaves out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from syncd.contracts import Contracts
from syncd.errors import BreakerOpenError, RateLimitError, TransientError
from syncd.kit import Request
from syncd.store import Store
from tests.sync.ranged import Desk


async def opened(store: Store, before: Callable[[Request], Awaitable[None]] | None = None) -> tuple[Desk, Contracts]:
    desk = await Desk.open(store)
    for number in range(3):
        desk.partner.put(number)
    await desk.pull()
    desk.partner.calls.clear()
    desk.partner.before = before
    told = SimpleNamespace(contract=SimpleNamespace(specs=(), every=86_400.0), rest={}, name="plain")
    config: Any = SimpleNamespace(partners={"plain": told})
    return desk, Contracts(
        config=lambda: config,
        directory=Path("config"),
        accounts=lambda: [desk.account],
        clock=desk.clock,
        names=lambda: {"acme": list(desk.plans)},
    )


def notes(found: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    return {one["resource"]: (one["note"], one["later"]) for one in found["resources"]}


async def test_a_look_at_all_is_whole(store: Store) -> None:
    _, contracts = await opened(store)
    found = await contracts.contract("acme")
    assert found["ok"]
    assert notes(found) == {"things": ("", False), "notes": ("", False)}
    assert contracts.looking("acme") is None


async def test_what_it_is_at_and_waits_for_is_told_while_it_is_under_way(store: Store) -> None:
    desk, contracts = await opened(store)
    seen: list[Any] = []

    async def limited(request: Request) -> None:
        seen.append(contracts.looking("acme"))
        if len(seen) == 1:
            raise RateLimitError("429", retry_at=desk.clock.now() + timedelta(seconds=40))

    asleep = desk.clock.sleep

    async def sleep(seconds: float) -> None:
        seen.append(contracts.looking("acme"))
        await asleep(seconds)

    desk.partner.before, desk.clock.sleep = limited, sleep  # type: ignore[method-assign]
    assert (await contracts.contract("acme"))["ok"]
    asks, waits, again, below = seen[:4]
    assert (asks["resource"], asks["number"], asks["of"], asks["waits_for"]) == ("things", 1, 2, "")
    assert (waits["waits_for"], waits["until"] > desk.clock.now() - timedelta(seconds=41)) == ("429", True)
    assert (again["waits_for"], below["resource"], below["number"]) == ("", "notes", 2)
    assert 250 < below["left_seconds"] < 261


async def test_a_limit_that_outlasts_the_look_is_left_for_later_and_the_others_are_looked_at(store: Store) -> None:
    async def limited(request: Request) -> None:
        if request.path == "/things":
            raise RateLimitError("five a day are spent", retry_at=desk.clock.now() + timedelta(hours=3))

    desk, contracts = await opened(store, limited)
    found = await contracts.contract("acme", seconds=60.0)
    note, later = notes(found)["things"]
    assert (found["ok"], later) == (False, True)
    assert note.startswith("a limit lasts until 20")
    assert note.endswith("Z: five a day are spent")
    assert notes(found)["notes"] == ("", False)
    assert desk.clock.skipped == 0.0
    with pytest.raises(RateLimitError, match="five a day"):
        await contracts.contract("acme", "things", seconds=60.0)


async def test_one_bound_holds_for_all_resources_together(store: Store) -> None:
    async def slow(request: Request) -> None:
        desk.clock.skipped += 61.0
        if request.path == "/things":
            desk.partner.before = None

    desk, contracts = await opened(store, slow)
    found = await contracts.contract("acme", seconds=60.0)
    assert notes(found) == {"things": ("", False), "notes": ("the 60 s were over", True)}
    assert not found["ok"]


async def test_an_open_breaker_is_said_at_once(store: Store) -> None:
    async def broken(request: Request) -> None:
        raise BreakerOpenError("the breaker of acme is open", retry_at=desk.clock.now() + timedelta(seconds=20))

    desk, contracts = await opened(store, broken)
    with pytest.raises(BreakerOpenError, match="is open") as caught:
        await contracts.contract("acme")
    assert (desk.clock.skipped, caught.value.hint) == (0.0, "syncd status acme")


async def test_a_partner_that_does_not_answer_is_not_asked_for_what_is_left(store: Store) -> None:
    async def gone(request: Request) -> None:
        raise TransientError("refused the connection")

    desk, contracts = await opened(store, gone)
    with pytest.raises(TransientError, match="refused the connection"):
        await contracts.contract("acme")
    assert desk.partner.calls == ["/things"]


async def test_one_listing_that_answers_500_says_nothing_of_the_others(store: Store) -> None:
    async def ill(request: Request) -> None:
        if request.path == "/things":
            raise TransientError("answered 500", status=500)

    _, contracts = await opened(store, ill)
    assert notes(await contracts.contract("acme")) == {"things": ("answered 500", True), "notes": ("", False)}


async def test_a_wait_at_the_gate_that_outlasts_the_look_is_named(store: Store) -> None:
    async def stands(request: Request) -> None:
        desk.account.gate.pause(desk.clock.now() + timedelta(seconds=100), "told to wait")
        desk.clock.skipped += 61.0
        await asyncio.Event().wait()

    desk, contracts = await opened(store, stands)
    desk.clock.timeout = lambda seconds: asyncio.timeout(min(seconds, 0.05))  # type: ignore
    with pytest.raises(TransientError, match=r"waiting for a limit until \S+ \S+Z or later: paused: told") as caught:
        await contracts.contract("acme", seconds=60.0)
    assert "--wait" in caught.value.hint
    assert contracts.looking("acme") is None
