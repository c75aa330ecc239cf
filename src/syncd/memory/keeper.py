"""What is done about resident memory, once a second: above the ceiling less goes on at once, below it more again.

First whatever is free is given back to the system; only if that does not help is anything narrowed. Opening takes its time,
so that memory which hovers about the ceiling does not open and close with every beat.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from datetime import datetime

import structlog

from syncd import metrics, own_troubles
from syncd.clock import Clock
from syncd.conditions.own import Trouble
from syncd.explain import State
from syncd.memory.ceiling import Ceiling
from syncd.pulse import resident_bytes
from syncd.sync.narrowing import LEVELS, NARROWEST, Narrowing

log = structlog.get_logger()

FAR_ABOVE = 1.1
"""Of the ceiling: then it is narrowed as far as it goes at once."""
CALM = 0.85
"""Of the ceiling: below this it is opened again, a step each time it was so for `CALM_SECONDS`."""
CALM_SECONDS = 5.0
TRIM_SECONDS = 5.0
"""So often at most what is free is given back: it takes the thread's time, and what large answers leave behind is resident
until then. Where it does not help, half as often each time."""
TRIM_MOST_SECONDS = 60.0
HELPS = 0.05
"""Of the ceiling: less given back is no help."""
TRIM_SHARE = 0.02
"""Of the thread's time at most."""


class Keeper:
    """Of one process. `beat` is called once a second; the rest tells how it is."""

    def __init__(
        self,
        narrowing: Narrowing,
        clock: Clock,
        *,
        measure: Callable[[], int] | None = None,
        trim: Callable[[], None] | None = None,
    ) -> None:
        self.narrowing = narrowing
        narrowing.glance = self.glance
        self.ceiling = Ceiling(0, "not known yet")
        self.rss = 0
        """Resident bytes at the last beat."""
        self.highest = 0
        self.since: datetime | None = None
        """Since when it has been narrowed; None: it is not."""
        self.trims = 0
        self._clock = clock
        self._measure = measure or resident_bytes
        self._trim = trim or give_back
        self._trims_from = 0.0
        self._trims_every = TRIM_SECONDS
        self._calm_since: float | None = None

    def use(self, ceiling: Ceiling) -> None:
        """From now on this one holds."""
        if ceiling != self.ceiling:
            self.ceiling = ceiling
            metrics.MEMORY_CEILING.set(ceiling.size)
            log.info("memory_ceiling_set", bytes=ceiling.size, told_by=ceiling.told_by)

    def beat(self) -> None:
        """Look how much memory there is, and do something about it."""
        before, now = self.rss, self._clock.monotonic()
        self._see(self._measure())
        expected = self.rss + max(self.rss - before, 0) if before else self.rss  # it goes on growing as it grew
        most = self.ceiling.size
        if not most:
            self._to(0)
        elif expected >= most:
            self._calm_since = None
            if now >= self._trims_from:
                self._give_back(now)
            if self.rss + max(self.rss - before, 0) * bool(before) >= most:
                self._to(NARROWEST if self.rss > most * FAR_ABOVE else self.narrowing.level + 1)
        elif self.rss < most * CALM:
            self._calm_since = now if self._calm_since is None else self._calm_since
            if self.narrowing.level and now - self._calm_since >= CALM_SECONDS:
                self._calm_since = now
                self._to(self.narrowing.level - 1)
        else:
            self._calm_since = None
        self.narrowing.look()

    def glance(self) -> None:
        """Between two beats: narrow what is above the ceiling already. Nothing is opened, nothing given back."""
        most = self.ceiling.size
        if not most:
            return
        size = self._measure()
        self.highest = max(self.highest, size)
        if size >= most:
            self._calm_since = None
            self._to(NARROWEST if size > most * FAR_ABOVE else self.narrowing.level + 1, size)

    def told(self) -> str:
        """What is narrowed, in words; empty: nothing is."""
        most = LEVELS[self.narrowing.level]
        if most is None:
            return ""
        return "one answer in hand at a time" if most == 1 else f"at most {most} answers in hand, none fetched ahead"

    def trouble(self) -> Trouble | None:
        """What there is to say of it; None: nothing."""
        if not self.narrowing.level:
            return None
        told = own_troubles.memory_high(self.rss, self.ceiling.size, self.told(), self.since)
        return Trouble(State.DEGRADED, told)

    def _see(self, size: int) -> None:
        self.rss = size
        self.highest = max(self.highest, size)
        metrics.RSS.set(size)

    def _give_back(self, now: float) -> None:
        held, self.trims = self.rss, self.trims + 1
        self._trim()
        self._see(self._measure())
        took = self._clock.monotonic() - now
        helped = held - self.rss >= HELPS * self.ceiling.size
        self._trims_every = TRIM_SECONDS if helped else min(2 * self._trims_every, TRIM_MOST_SECONDS)
        self._trims_from = now + max(self._trims_every, took / TRIM_SHARE)

    def _to(self, level: int, rss: int | None = None) -> None:
        rss = self.rss if rss is None else rss
        level, before = min(level, NARROWEST), self.narrowing.level
        if level == before:
            return
        self.narrowing.narrow(level)
        metrics.MEMORY_NARROWING.set(level)
        if not before:
            self.since = self._clock.now()
            log.warning(
                "memory_narrowed", rss_bytes=rss, ceiling_bytes=self.ceiling.size, now=self.told(),
                action="syncd memory --trace 60s",
            )  # fmt: skip
        elif not level:
            self.since = None
            log.info("memory_opened", rss_bytes=rss, ceiling_bytes=self.ceiling.size)


def give_back() -> None:
    """Free what only cycles hold, and give what is free back to the system, where the C library can."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # another C library than glibc
        return
