"""The one source of time and chance (R11). Nothing else in syncd reads a clock, sleeps or rolls dice.

`testing.clock.FakeClock` takes its place in tests, so hours pass in milliseconds. Durations are float seconds, moments are
aware UTC datetimes. `monotonic()` is for measuring and waiting; `now()` for what is stored or sent.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the rest of syncd may know about time and chance."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""
        ...

    def now(self) -> datetime:
        """The wall clock, aware, UTC. May jump: never subtract two of these to measure."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds; at once for zero or less, after letting others run."""
        ...

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Raise TimeoutError inside the block once so many seconds have passed; None is for ever."""
        ...

    def random(self) -> float:
        """A fresh number in [0, 1)."""
        ...


class SystemClock:
    """The machine's own clocks and dice."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(seconds)

    def random(self) -> float:
        return random.random()  # noqa: S311 - jitter, not secrecy
