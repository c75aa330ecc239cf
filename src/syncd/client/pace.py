"""How fast a partner answers lately, and when it last let us in; kept by whoever makes the calls, at next to no cost.

Answers are counted by spans of ten seconds: how many there were, and how many of them were slow and very slow. That is all
it takes to tell whether the middle one, or the slowest in twenty, was.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Final, NamedTuple

SPAN_SECONDS: Final = 10.0
SPANS: Final = 60
"""Ten minutes."""
SLOW_SECONDS: Final = 3.0
VERY_SLOW_SECONDS: Final = 5.0


class Answered(NamedTuple):
    """What came within a time."""

    total: int
    slow: int
    very_slow: int
    seconds: float
    """All together."""


class Pace:
    """Of one integration's calls. Only what was answered counts: what was not is the breaker's business."""

    __slots__ = ("_spans", "authenticated_at", "last_at", "quick")

    def __init__(self) -> None:
        self._spans: deque[list[float]] = deque(maxlen=SPANS)
        """Number of the span, answers, slow ones, very slow ones, their seconds."""
        self.last_at: float | None = None
        """When the latest answer came, by the monotonic clock."""
        self.quick = 0
        """Answers in a row, up to the latest, that were not slow."""
        self.authenticated_at: datetime | None = None
        """When the partner last answered a call that bore our credential, and did not refuse it."""

    def note(self, at: float, seconds: float) -> None:
        """A complete answer came at this moment, after so many seconds."""
        self.last_at = at
        self.quick = 0 if seconds > SLOW_SECONDS else self.quick + 1
        number = at // SPAN_SECONDS
        if not self._spans or self._spans[-1][0] != number:
            self._spans.append([number, 0, 0, 0, 0.0])
        span = self._spans[-1]
        span[1] += 1
        span[2] += seconds > SLOW_SECONDS
        span[3] += seconds > VERY_SLOW_SECONDS
        span[4] += seconds

    def within(self, seconds: float, now: float) -> Answered:
        """What was answered within so many seconds before now, to the span."""
        first = (now - seconds) // SPAN_SECONDS
        last = [span for span in self._spans if span[0] > first]
        total, slow, very_slow = (int(sum(span[place] for span in last)) for place in (1, 2, 3))
        return Answered(total, slow, very_slow, sum(span[4] for span in last))
