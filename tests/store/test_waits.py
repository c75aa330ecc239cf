"""An outage of the database is said once, however many wait, and seldom again."""

from __future__ import annotations

from syncd.store.waits import SAY_AGAIN_SECONDS, Waits
from syncd.testing.clock import FakeClock


async def test_an_outage_is_said_by_the_first_who_waits_and_its_end_by_the_last():
    clock = FakeClock()
    waits = Waits(clock)
    assert [waits.began(name) for name in ("a", "b", "a", "b")] == [True, False, False, False]
    assert not waits.ended("a")
    assert not waits.ended("c"), "it never waited"
    assert waits.ended("b")
    assert not waits.ended("b")
    assert waits.began("b"), "another outage"


async def test_one_that_lasts_is_said_again_seldom():
    clock = FakeClock()
    waits = Waits(clock)
    said = 0
    for _ in range(int(3 * SAY_AGAIN_SECONDS)):
        said += waits.began("a") + waits.began("b")
        await clock.advance(1.0)
    assert said == 3
