"""Is a partner slow? Told by its latest answers, with the thresholds of the seeds' checklists. Pure but for its memory."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from syncd.client.pace import SLOW_SECONDS, VERY_SLOW_SECONDS, Pace
from syncd.explain import Explanation

NOW_SECONDS: Final = 60.0
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

    def look(self, pace: Pace, at: float, now: datetime) -> Explanation | None:
        """What to say of it now; `at` is now by the monotonic clock."""
        lately, long = pace.within(NOW_SECONDS, at), pace.within(LONG_SECONDS, at)
        few = (
            lately if lately.total >= LEAST else pace.within(3 * NOW_SECONDS, at)
        )  # a quiet partner is probed once a minute
        most = few.total >= LEAST and few.slow * 2 > few.total
        tail = long.total >= MANY and all(each.very_slow * ONE_IN > each.total for each in (long, lately))
        if self.told is None:
            if most or tail:
                since = now
                self.told = self._explained(few.seconds / max(few.total, 1), most, since)
            return self.told
        fast = few.total >= LEAST and few.slow * 4 < few.total and lately.very_slow * ONE_IN <= lately.total
        silent = pace.last_at is not None and at - pace.last_at > SILENT_SECONDS
        if fast or silent:
            self.told = None
        return self.told

    def _explained(self, seconds: float, most: bool, since: datetime) -> Explanation:
        reason = (
            f"the partner answers slowly: {seconds:.1f} s a call lately, more than {SLOW_SECONDS:g} s is slow"
            if most
            else f"the partner answers slowly: one call in {ONE_IN} takes more than {VERY_SLOW_SECONDS:g} s"
        )
        return Explanation(
            "partner-slow",
            reason,
            since,
            cause="the partner is overloaded, or the way to it is; what is due is fetched all the same, only later",
            action=f"syncd credential test {self._integration}",
        )
