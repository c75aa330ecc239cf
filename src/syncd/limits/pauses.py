"""A pause that follows a call and does not hold it up: an acknowledgement goes at once, and what comes next waits.

Some partners ask for time between one kind of call and another, and in that order only. A tier says so with `after`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncd.limits.bucket import Tier


class Following:
    """A tier as those calls see it after which its pause runs: they wait for what is under way, and for no window.

    All else is the tier's: they are counted in it, and what it counts waits for them.
    """

    __slots__ = ("tier",)

    def __init__(self, tier: Tier) -> None:
        self.tier = tier

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tier, name)

    def admits(self, now: float, lane: int, weight: float, idle: tuple[bool, ...]) -> bool:
        """May it go now? Not while what its pause keeps apart from it is under way: which came first, nobody knows then."""
        return bool(self.tier.flying + weight <= self.tier.ceiling)

    def opens(self, now: float, lane: int, weight: float, idle: tuple[bool, ...]) -> float:
        """Infinity: an answer tells."""
        return now if self.admits(now, lane, weight, idle) else math.inf

    def bound(self, now: float, weight: float) -> float:
        """It may go at any moment."""
        return now
