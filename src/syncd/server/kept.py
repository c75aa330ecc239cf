"""An answer that everybody may ask for and that takes its time: made anew only so often that this cannot be felt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from syncd.clock import Clock

Answer = TypeVar("Answer")

SHARE: Final = 20.0
"""Making it takes at most one part in so many of the one thread's time, however often and by whomever it is asked for."""
LONGEST_SECONDS: Final = 5.0
"""No answer is older, whatever held up its making."""


class Kept(Generic[Answer]):
    """What was made last, as long as it is fresh enough: for twenty times as long as the making took, and no longer than
    nothing has `turned`."""

    def __init__(self, make: Callable[[], Answer], clock: Clock, turned: Callable[[], int] = lambda: 0) -> None:
        """`turned`: how often something has begun or ended that has to be told at once."""
        self._make = make
        self._clock = clock
        self._turned = turned
        self._turn = 0
        self._made: Answer | None = None
        self._until = float("-inf")

    def __call__(self) -> Answer:
        now = self._clock.monotonic()
        if self._made is None or now >= self._until or self._turned() != self._turn:
            self._made = self._make()
            self._turn = self._turned()
            ended = self._clock.monotonic()
            self._until = ended + min((ended - now) * SHARE, LONGEST_SECONDS)
        return self._made
