"""Is this process alive? The loop's lag, each part's progress, resident memory: what feeds the watchdog and /health."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from syncd import metrics
from syncd.clock import Clock
from syncd.sdnotify import Notifier

BEAT_SECONDS = 1.0
LAG_STUCK_SECONDS = 10.0
"""A loop this late with its timers counts as stuck."""
WORK_STUCK_SECONDS = 120.0
"""Takeable work that nobody takes for so long means dead workers."""


class Pulse:
    """Beats once a second. `stuck()` names the parts that make no progress."""

    def __init__(
        self,
        clock: Clock,
        notifier: Notifier,
        parts: Callable[[], Iterable[str]],
        *,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """`beat` is called with every beat: what has to be looked at once a second."""
        self._beat = beat
        self._clock = clock
        self._notifier = notifier
        self._parts = parts
        self._last_beat = clock.monotonic()
        self._lag = 0.0
        self._worst = 0.0

    def worst_lag(self) -> float:
        """How late the loop was at worst since this was last asked, in seconds."""
        worst, self._worst = self._worst, 0.0
        return worst

    def stuck(self) -> list[str]:
        """Answered from memory. A call that gets here at all shows that the loop turns, so only its lag is judged."""
        late = self._clock.monotonic() - self._last_beat - BEAT_SECONDS
        named = ["event loop"] if max(late, self._lag) > LAG_STUCK_SECONDS else []
        return named + list(self._parts())

    async def run(self) -> None:
        while True:
            before = self._clock.monotonic()
            await self._clock.sleep(BEAT_SECONDS)
            self._last_beat = self._clock.monotonic()
            self._lag = max(self._last_beat - before - BEAT_SECONDS, 0.0)
            self._worst = max(self._worst, self._lag)
            metrics.LOOP_LAG.set(self._lag)
            self._beat()
            metrics.HEARTBEAT.labels("event loop").set(self._clock.now().timestamp())
            if not self.stuck():
                self._notifier.alive()


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
