"""Sleeps that are written down and skipped, for `strangers.py`: a wait of a day takes no time, and its figure is kept.

What a real sleep would refuse (a negative time, NaN, more than 292 years) is refused in the same words. `time.time` goes on
as if the sleep had been slept, until the next row; `time.monotonic` never goes back.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import Any

SLEEPS: list[float] = []
_REAL = {"sleep": time.sleep, "time": time.time, "monotonic": time.monotonic, "asleep": asyncio.sleep}
_SKIPPED = [0.0]
"""Seconds not slept, of this row; the server's clock, which is the real one, is where each row begins."""
_AHEAD = [0.0]
MOST_SLEEPS = 200
LONGEST_SLEEP = 2**63 / 1e9


class StuckError(BaseException):
    """A row took too long in real time, or asked for more sleeps than any policy would."""


def new_row() -> None:
    """Forget the sleeps so far; the clock is the real one again."""
    SLEEPS.clear()
    _SKIPPED[0] = 0.0


def _skip(seconds: float) -> None:
    if math.isnan(seconds) or seconds < 0:
        raise ValueError("sleep length must be non-negative")  # as the real one does
    if seconds > LONGEST_SLEEP:
        raise OverflowError("timestamp too large to convert to C _PyTime_t")
    if seconds > 0:
        SLEEPS.append(float(seconds))
        _SKIPPED[0] += seconds
        _AHEAD[0] += seconds
        if len(SLEEPS) > MOST_SLEEPS:
            raise StuckError("sleeps without end")


def patch() -> None:
    """Replace all ways of sleeping in this process. To be called before a tool is imported."""

    async def asleep(seconds: float, result: Any = None) -> Any:
        _skip(max(seconds, 0.0))
        return await _REAL["asleep"](0, result)

    def wait(self: threading.Event, timeout: float | None = None) -> bool:
        if timeout is None or self.is_set() or threading.current_thread() is not threading.main_thread():
            return real_wait(self, timeout)
        _skip(timeout)
        return self.is_set()

    real_wait = threading.Event.wait
    time.sleep = _skip
    time.time = lambda: _REAL["time"]() + _SKIPPED[0]
    time.monotonic = lambda: _REAL["monotonic"]() + _AHEAD[0]  # never back
    asyncio.sleep = asleep  # type: ignore[assignment]
    threading.Event.wait = wait  # type: ignore[method-assign]
