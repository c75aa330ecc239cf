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
from functools import cache
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Linux draws it anew with every boot; CLOCK_MONOTONIC, which Python reads there, counts from that boot."""


class Clock(Protocol):
    """What the rest of syncd may know about time and chance."""

    @property
    def boot(self) -> str:
        """Names the machine's run in which `monotonic` counts: equal in all its processes. Empty: it is not known."""
        ...

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

    @property
    def boot(self) -> str:
        return _boot()

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


@cache
def _boot() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
