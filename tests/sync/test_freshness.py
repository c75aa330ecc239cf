"""What counts as read already, whatever the wall clock does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from syncd.sync.freshness import UNNOTICED, Freshness
from syncd.testing.clock import FakeClock
from tests.sync.stage import task


async def nothing(*_: object) -> dict[Any, Any]:
    return {}


def opened(clock: FakeClock) -> Freshness:
    store: Any = SimpleNamespace(records=SimpleNamespace(fetched=nothing))
    return Freshness(store, "acme", clock)


PLAN: Any = SimpleNamespace(name="r1", resource=SimpleNamespace(sparse=False))


async def test_a_clock_set_back_by_little_makes_no_answer_of_what_was_read_before():
    """However often it is: each time too little to be noticed, together too much to be passed over."""
    clock = FakeClock()
    freshness = opened(clock)
    one = replace(task(1, "r1"), external_id="7")
    freshness.asked(one, clock.now())
    for _ in range(3):
        await clock.advance(0.1)
        clock.set_now(clock.now() - timedelta(seconds=0.45))
        asked_for = replace(one, created_at=clock.now(), wanted_at=clock.now())
        assert not freshness.read_since("r1", "7", clock.now())
        assert await freshness.answered(PLAN, [asked_for]) == set()


async def test_what_was_read_clearly_later_is_answered():
    clock = FakeClock()
    freshness = opened(clock)
    one = replace(task(1, "r1"), external_id="7", created_at=clock.now(), wanted_at=clock.now())
    await clock.advance(UNNOTICED.total_seconds() + 0.1)
    freshness.asked(one, clock.now())
    assert freshness.read_since("r1", "7", one.since)
    assert await freshness.answered(PLAN, [one]) == {1}
