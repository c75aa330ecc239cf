"""A pause that follows an acknowledgement: it is sent at once, and the next fetch waits for it."""

import asyncio

import pytest

from syncd.limits import Gate
from syncd.limits.tiers import TierSpec
from syncd.model import Lane
from syncd.testing.clock import FakeClock

PAUSE = TierSpec.parse({"rate": "1/5s", "budget": "queue", "after": "acknowledgement", "share": 1.0})
FETCH, ACKNOWLEDGEMENT = ("read", "queue"), ("write", "acknowledgement")


class Line:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.gate = Gate("s", [PAUSE], clock=self.clock)
        self.went: list[tuple[str, float]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.began_at = self.clock.monotonic()

    async def call(
        self, name: str, budgets: tuple[str, ...], *, lane: Lane = Lane.NORMAL, seconds: float = 0.0
    ) -> None:
        async def go() -> None:
            async with self.gate.admit(lane=lane, member="a", budgets=budgets):
                self.went.append((name, self.clock.monotonic() - self.began_at))
                await self.clock.sleep(seconds)

        self.tasks.append(asyncio.create_task(go()))
        await self.clock.advance(0.0)

    async def end(self, seconds: float) -> list[tuple[str, float]]:
        await self.clock.advance(seconds)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        return [(name, round(at, 1)) for name, at in self.went]


async def test_an_acknowledgement_waits_for_no_pause_and_goes_before_the_fetch_that_does() -> None:
    line = Line()
    await line.call("fetch", FETCH)
    await line.call("the other fetch", FETCH)
    await line.clock.advance(1.0)
    await line.call("acknowledgement", ACKNOWLEDGEMENT, lane=Lane.HIGH)
    assert await line.end(20) == [("fetch", 0.0), ("acknowledgement", 1.0), ("the other fetch", 6.0)]


async def test_a_fetch_that_has_waited_for_long_holds_up_no_acknowledgement() -> None:
    line = Line()
    await line.call("fetch", FETCH)
    await line.call("waits", FETCH)
    for second in range(1, 15):
        await line.clock.advance(1.0)
        await line.call(f"acknowledgement {second}", ACKNOWLEDGEMENT)
    went = dict(await line.end(10))
    assert [went[f"acknowledgement {second}"] for second in range(1, 15)] == [float(n) for n in range(1, 15)]
    assert went["waits"] == 19.0


async def test_it_does_not_leave_while_a_fetch_is_under_way_nor_a_fetch_while_it_is() -> None:
    line = Line()
    await line.call("fetch", FETCH, seconds=3.0)
    await line.call("acknowledgement", ACKNOWLEDGEMENT, seconds=2.0)
    await line.call("the other fetch", FETCH)
    assert await line.end(20) == [("fetch", 0.0), ("acknowledgement", 3.0), ("the other fetch", 10.0)]


@pytest.mark.parametrize("more", [{"kind": "bucket"}, {"weighted": True}, {"budget": ""}])
def test_a_pause_after_a_call_is_a_window_of_some_budgets_calls(more: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="after"):
        TierSpec.parse({"rate": "1/5s", "budget": "queue", "after": "acknowledgement", **more})
