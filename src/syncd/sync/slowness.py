"""Is a partner slow? Told by its latest answers, with the thresholds of the seeds' checklists. Pure but for its memory."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from syncd.client.pace import SLOW_SECONDS, VERY_SLOW_SECONDS, Pace
from syncd.explain import Explanation

NOW_SECONDS: Final = 30.0
LATELY_SECONDS: Final = 60.0
QUIET_SECONDS: Final = 180.0
"""Looked at where less than two answers came just now: a quiet partner is probed every half a minute."""
FRESH_SECONDS: Final = 20.0
"""Looked at for whether it is over."""
FEW: Final = 4
LEAST: Final = 2
"""Answers of which most have to be slow before anything is said: one may have met a hiccup."""
LONG_SECONDS: Final = 600.0
MANY: Final = 20
"""Answers within the long time before the slowest in twenty of them tell anything."""
ONE_IN: Final = 20
SILENT_SECONDS: Final = 600.0
"""Nothing was asked for so long: it may be as fast as ever."""


class Slowness:
    """Of one integration."""

    def __init__(self, integration: str) -> None:
        self._integration = integration
        self.told: Explanation | None = None
        self._tail = False
        """Were only the slowest answers what was told of?"""

    def look(self, pace: Pace, at: float, now: datetime) -> Explanation | None:
        """What to say of it now; `at` is now by the monotonic clock."""
        if self.told is None:
            self.told = self._found(pace, at, now)
        elif self._is_over(pace, at):
            self.told = None
        return self.told

    def _found(self, pace: Pace, at: float, now: datetime) -> Explanation | None:
        few, lately, long = (pace.within(seconds, at) for seconds in (NOW_SECONDS, LATELY_SECONDS, LONG_SECONDS))
        if few.total < LEAST:
            few = pace.within(QUIET_SECONDS, at)
        if few.total >= LEAST and few.slow * 2 > few.total and not _is_fast(pace, at):
            self._tail = False
            return self._explained(
                f"{few.slow} of its last {few.total} answers took more than {SLOW_SECONDS:g} s, "
                f"{few.seconds / few.total:.1f} s on average",
                now,
            )
        if long.total >= MANY and all(each.very_slow * ONE_IN > each.total for each in (long, lately)):
            self._tail = True
            return self._explained(f"one call in {ONE_IN} takes more than {VERY_SLOW_SECONDS:g} s", now)
        return None

    def _is_over(self, pace: Pace, at: float) -> bool:
        """A tail is over once a minute was without one; what was slow as a whole, with the first answers that are not."""
        lately = pace.within(LATELY_SECONDS, at)
        tail = self._tail and lately.very_slow * ONE_IN > lately.total
        silent = pace.last_at is not None and at - pace.last_at > SILENT_SECONDS
        return (_is_fast(pace, at) and not tail) or silent

    def _explained(self, how: str, since: datetime) -> Explanation:
        return Explanation(
            "partner-slow",
            f"the partner answers slowly: {how}",
            since,
            cause="the partner is overloaded, or the way to it is; what is due is fetched all the same, only later",
            action=f"syncd credential test {self._integration}",
        )


def _is_fast(pace: Pace, at: float) -> bool:
    """As the newest answers tell: most of them, or where they come seldom, two in a row."""
    fresh = pace.within(FRESH_SECONDS, at)
    if fresh.total <= FEW:
        return pace.quick >= LEAST
    return fresh.slow * 4 < fresh.total
