"""Hysteresis in time: what has to last before it counts, and has to be over for a while before it does not."""

from __future__ import annotations

from datetime import datetime

from syncd.clock import Clock


class Hold:
    """Of one thing that is wrong or not at each look."""

    def __init__(self, clock: Clock, begin_seconds: float, end_seconds: float) -> None:
        """It begins once it was wrong for so long without a break, and ends once it was right for so long."""
        self._clock = clock
        self._begin = begin_seconds
        self._end = end_seconds
        self._turned: float | None = None
        """When what is seen began to differ from what is said."""
        self._seen_at: datetime | None = None
        self._since: datetime | None = None

    def look(self, wrong: bool) -> datetime | None:
        """Since when it has been wrong; None: nothing to be said."""
        now = self._clock.monotonic()
        if wrong is (self._since is not None):
            self._turned = None
            return self._since
        if self._turned is None:
            self._turned, self._seen_at = now, self._clock.now()
        if now - self._turned >= (self._begin if wrong else self._end):
            self._since, self._turned = self._seen_at if wrong else None, None
        return self._since
