"""What goes on beside the work for as long as the process lives: a fault in one such loop ends neither it nor the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from syncd.clock import Clock

say = structlog.get_logger()

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


async def lasting(name: str, work: Callable[[], Awaitable[None]], clock: Clock) -> None:
    """Run `work`, and again after a growing pause whenever it raises what nobody foresaw; until cancelled or it returns."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        began = clock.monotonic()
        try:
            return await work()
        except Exception:
            if clock.monotonic() - began > LONGEST_PAUSE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            say.exception("loop_crashed", loop=name, pause_seconds=pause)
        await clock.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
