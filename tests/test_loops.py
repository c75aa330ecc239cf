"""A loop that crashes goes on after a pause, and takes nobody with it."""

from __future__ import annotations

from syncd.loops import LONGEST_PAUSE_SECONDS, lasting
from syncd.testing.clock import FakeClock


async def test_a_loop_that_crashes_begins_again_ever_later_and_at_once_after_a_good_while():
    clock, begun = FakeClock(), list[float]()

    async def work() -> None:
        begun.append(clock.monotonic())
        if len(begun) == 4:
            await clock.sleep(LONGEST_PAUSE_SECONDS + 1)
        if len(begun) < 6:
            raise PermissionError(13, "nobody thought of that")

    at = clock.monotonic()
    await clock.run(lasting("one", work, clock))
    assert [round(each - at) for each in begun] == [0, 1, 3, 7, 69, 71]
