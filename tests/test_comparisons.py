"""Comparisons under way: as many as may be, ended by whoever began them or when nobody watches any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from syncd.cli.drift import render, render_plan
from syncd.comparisons import LOOK_SECONDS, MOST_KEPT, Comparisons, awaited
from syncd.errors import ConfigError, RejectedError, StoreError
from syncd.explain import Explanation
from syncd.kit import Request
from syncd.limits import Gate
from syncd.model import Lane
from syncd.planning import BLIND
from syncd.store import Store
from syncd.sync.differences import ALTERED
from syncd.testing.clock import FakeClock
from tests.sync.ranged import Desk, Hasty, rest


class Turned(Hasty):
    """Time between two looks for who is watched passes only where the test lets it."""

    passes = False

    async def sleep(self, seconds: float) -> None:
        if seconds == LOOK_SECONDS and not self.passes:
            await asyncio.sleep(0.01)
        else:
            await super().sleep(seconds)


@asynccontextmanager
async def working(desk: Desk) -> AsyncIterator[Comparisons]:
    async def sight() -> Any:
        return BLIND

    found = Comparisons(
        config=lambda: None,  # type: ignore[arg-type, return-value]
        accounts=lambda: [desk.account],
        clock=desk.clock,
        names=lambda: {"acme": list(desk.plans)},
        sight=sight,
    )
    async with anyio.create_task_group() as group:
        group.start_soon(found.run)
        await asyncio.sleep(0)
        yield found
        group.cancel_scope.cancel()


async def opened(store: Store) -> Desk:
    desk = await Desk.open(store, clock=Turned())
    for number in range(12):
        desk.partner.put(number)
    await desk.pull()
    return desk


async def hang(request: Request) -> None:
    await asyncio.Event().wait()


async def ended(comparisons: Comparisons, key: str, *, asking: bool = True) -> dict[str, Any]:
    for _ in range(2000):
        await asyncio.sleep(0.001)
        job = await comparisons.comparison(key) if asking else comparisons._as_json(comparisons._jobs[key])
        assert job is not None
        if job["state"] != "running":
            return job
    raise AssertionError("it does not end")


async def test_it_is_begun_watched_and_told_without_values_unless_they_are_wanted(store: Store):
    desk = await opened(store)
    await desk.change_here(3)
    async with working(desk) as comparisons:
        job = await comparisons.compare("acme", "things", None, None, values=False)
        done = await ended(comparisons, job["id"])
        assert (done["state"], done["drift"]) == ("done", 1)
        [record] = done["resources"][0]["records"]
        assert record["fields"] == [{"field": "name", "here": "text, 5 long", "there": "text, 1 long"}]
        job = await comparisons.compare("acme", "things", None, None, values=True)
        [record] = (await ended(comparisons, job["id"]))["resources"][0]["records"]
        assert record["fields"] == [{"field": "name", "here": "wrong", "there": "n"}]


async def test_one_that_nobody_watches_ends(store: Store):
    desk = await opened(store)
    desk.partner.before = hang
    async with working(desk) as comparisons:
        job = await comparisons.compare("acme", "things", None, None, values=False)
        desk.clock.passes = True  # type: ignore[attr-defined]
        found = await ended(comparisons, job["id"], asking=False)
        assert (found["state"], found["reason"]) == ("stopped", "nobody watched it any more")


async def test_one_that_is_watched_goes_on_until_it_is_stopped(store: Store):
    desk = await opened(store)
    desk.partner.before = hang
    async with working(desk) as comparisons:
        job = await comparisons.compare("acme", "things", None, None, values=False)
        for _ in range(30):
            assert (await comparisons.comparison(job["id"]) or {})["state"] == "running"
            await asyncio.sleep(0)
        assert await comparisons.stop_comparison(job["id"])
        assert (await ended(comparisons, job["id"]))["state"] == "stopped"
        assert not await comparisons.stop_comparison(job["id"])
        assert await comparisons.comparison("no such") is None


async def test_two_at_once_and_not_of_what_is_paused(store: Store):
    desk = await opened(store)
    desk.partner.before = hang
    async with working(desk) as comparisons:
        keys = [(await comparisons.compare("acme", "things", None, 1, values=False))["id"] for _ in range(2)]
        with pytest.raises(RejectedError, match="under way already"):
            await comparisons.compare("acme", "things", None, None, values=False)
        for key in keys:
            await comparisons.stop_comparison(key)
        desk.account.health.paused = Explanation("paused", "paused by ann")
        with pytest.raises(RejectedError, match="acme is paused"):
            await comparisons.compare("acme", "things", None, None, values=False)
        with pytest.raises(StoreError, match="does not run here now"):
            await comparisons.compare("shop", None, None, None, values=False)


async def test_what_failed_says_why_and_only_the_last_ones_are_remembered(store: Store):
    desk = await opened(store)

    async def refuse(request: Request) -> None:
        raise RejectedError("a scope is missing", hint="add it")

    desk.partner.before = refuse
    async with working(desk) as comparisons:
        for _ in range(MOST_KEPT + 3):
            job = await comparisons.compare("acme", "things", None, None, values=False)
            found = await ended(comparisons, job["id"])
            assert (found["state"], found["reason"], found["hint"]) == ("failed", "a scope is missing", "add it")
        assert len(comparisons._jobs) <= MOST_KEPT + 1


async def test_before_the_daemon_has_started_nothing_is_begun(store: Store):
    desk = await opened(store)
    async with working(desk) as comparisons:
        pass
    with pytest.raises(StoreError, match="still starting"):
        await comparisons.compare("acme", "things", None, None, values=False)


async def test_what_a_spent_budget_or_a_pause_makes_it_wait_for_is_part_of_how_long_it_takes():
    clock = FakeClock()
    gate = Gate("acme", ["10/100s"], clock=clock, share=1.0)
    cost = {"calls": 3, "at_least": False, "seconds": 1.0, "binding": "", "shares": {}}
    plan = {**awaited(cost, gate), "integration": "acme", "sample": 3}
    assert (plan["seconds"], plan["waits_seconds"]) == (1.0, 0.0)
    assert not any("can leave" in line for line in render_plan(plan))
    while awaited(cost, gate)["waits_seconds"] == 0.0:
        async with gate.admit(lane=Lane.LOW) as slot:
            slot.answered()
            slot.success()
    plan = {**awaited(cost, gate), "integration": "acme", "sample": 3}
    assert 99.0 <= plan["seconds"] - 1.0 == plan["waits_seconds"] <= 102.0
    assert ", 1m 4" in render_plan(plan)[0]
    assert render_plan(plan)[1].startswith("the first call can leave in 1m 4") and "10/100s" in render_plan(plan)[1]
    gate.pause(600.0, "told to")
    assert awaited(cost, gate)["waits_for"] == "paused: told to"
    assert awaited({**cost, "calls": 0}, gate)["seconds"] == 1.0, "nothing is asked"


def test_of_altered_rows_it_is_said_that_no_pass_mends_them():
    one = {
        "name": "things", "stage": "done", "checked": 2, "drift": 1, "missing_here": 0, "missing_there": 0, "differing": 1,
        "pending": 0, "settled": 0, "unsound": 0, "calls": 1, "notes": [], "sampled": None,
        "records": [{"id": "t1", "kind": "differs", "note": ALTERED, "fields": []}],
    }  # fmt: skip
    lines = render({"integration": "acme", "resources": [one]})
    assert "docs/operations.md" in lines[-1]
    assert not any("reconcile" in line for line in lines)
    other = {
        **one,
        "drift": 2,
        "differing": 2,
        "records": [*one["records"], {"id": "t2", "kind": "differs", "fields": []}],
    }
    assert render({"integration": "acme", "resources": [other]})[-1] == "  do: syncd reconcile acme/things"


async def test_a_queue_is_not_compared_since_to_read_it_may_be_to_take_from_it(store: Store):
    described = rest(since=None)
    things = described["resources"]["things"]
    del things["since"]
    things |= {"strategy": "queue", "queue": {"within": "20m"}}
    desk = await Desk.open(store, described, clock=Turned())
    async with working(desk) as comparisons:
        with pytest.raises(ConfigError, match="a queue"):
            await comparisons.compare("acme", "things", None, None, values=False)
        assert desk.partner.calls == []
