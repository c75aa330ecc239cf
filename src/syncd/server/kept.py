"""An answer that everybody may ask for and that takes its time: now and then it is fresh, and a flood is not felt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from syncd.clock import Clock

Answer = TypeVar("Answer")

SHARE: Final = 20.0
"""In the long run making it takes at most one part in so many of the one thread's time, by whomever it is asked for."""
AHEAD_SECONDS: Final = 10.0
"""So far ahead of that it may be: a few are made at once where nobody asked for a while."""
LONGEST_SECONDS: Final = 5.0
"""No answer is older, whatever held up its making."""


class Kept(Generic[Answer]):
    """Made anew for each who asks, until that was too often: then what was made last, for a moment, where nothing has
    `turned`."""

    def __init__(self, make: Callable[[], Answer], clock: Clock, turned: Callable[[], int] = lambda: 0) -> None:
        """`turned`: how often something has begun or ended that has to be told at once."""
        self._make = make
        self._clock = clock
        self._turned = turned
        self._turn = 0
        self._made: Answer | None = None
        self._paid_until = float("-inf")
        """So long what was made so far may take of the time."""

    def __call__(self) -> Answer:
        now = self._clock.monotonic()
        if self._made is None or self._paid_until <= now + AHEAD_SECONDS or self._turned() != self._turn:
            self._made = self._make()
            self._turn = self._turned()
            took = self._clock.monotonic() - now
            due = max(self._paid_until, now) + took * SHARE
            self._paid_until = min(due, now + took + AHEAD_SECONDS + LONGEST_SECONDS)
        return self._made
