"""What 429s teach: halve at once, recover slowly, remember where it broke. Pure; methods take the monotonic `now`.

A partner that answers 429 although we kept to what it stated has tightened its limit, or somebody else spends from it.
What it accepted within the last window tells how much it allows, if it is enough to tell anything: the limit is then a
little below that, and at most half of what it was. From there it grows by a twentieth of the configured limit a window, up
to a twentieth below where it broke. That memory lasts six hours, and twice as long with each time the limit proves to be
real, so a limit that stays tightened costs a few 429s and then hardly ever one again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from syncd.limits.tiers import TierSpec

DECREASE = 0.5
ACCEPTED = 0.9
GROWTH = 0.05
BELOW = 0.95
TELLS = 0.5
"""Less than so much of the limit says nothing of it: then somebody else had spent the rest, or the partner was not well."""
AGAIN = 30
"""Unless it breaks again within so many windows: then what was accepted is what there is, however little."""
DEEPEST = 0.1
"""But one 429 never takes more than nine tenths of it: a pause may have emptied the window that is looked at."""
MEMORY_SECONDS = 6 * 3600.0
LONGEST_MEMORY_SECONDS = 30 * 86400.0
_UNITS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


class Learned:
    """How much of one limit the partner really allows, in the limit's own unit; `limit` is None where it is not known."""

    __slots__ = ("broke_at", "events", "forgets_at", "grows_at", "limit", "since")

    def __init__(self) -> None:
        self.limit: float | None = None
        self.broke_at = math.inf
        """What was being spent when it was too much."""
        self.events = 0
        self.since = -math.inf
        """When it broke last; monotonic."""
        self.grows_at = math.inf
        self.forgets_at = math.inf

    def broke(self, now: float, configured: float, accepted: float, step_seconds: float) -> float:
        """A 429 came while `configured` was allowed and `accepted` had been counted; returns the new limit."""
        was = configured if self.limit is None else min(self.limit, configured)
        again = now - self.since < AGAIN * step_seconds
        tells = accepted >= (1.0 if again else max(1.0, TELLS * was))
        accepted = max(accepted, DEEPEST * was)
        self.limit = max(1.0, min(was * DECREASE, accepted * ACCEPTED if tells else math.inf))
        self.broke_at = min(accepted, was) if tells else math.inf
        self.events += 1
        self.since = now
        self.grows_at = now + 2 * step_seconds  # one window is full of what it was before
        self.forgets_at = now + min(MEMORY_SECONDS * 2.0 ** min(self.events - 1, 10), LONGEST_MEMORY_SECONDS)
        return self.limit

    def grow(self, now: float, configured: float, step_seconds: float) -> None:
        """Take the steps that are due; at `configured`, all is forgotten."""
        if self.limit is None:
            return
        if now >= self.forgets_at:
            self.broke_at = math.inf
            self.forgets_at = math.inf
            self.grows_at = min(self.grows_at, now)
        if now >= self.grows_at:
            steps = 1.0 + math.floor((now - self.grows_at) / step_seconds)
            top = max(1.0, self.broke_at * BELOW) if math.isfinite(self.broke_at) else configured
            proven = self.limit >= top < configured  # a window ago, and no 429 since
            self.limit = max(self.limit, min(self.limit + steps * GROWTH * configured, top))
            self.grows_at = math.inf if proven else self.grows_at + steps * step_seconds
        if self.limit >= configured:
            self.limit = None
            self.grows_at = self.forgets_at = math.inf

    @property
    def growing(self) -> bool:
        """Is it on its way to a limit that is not proven yet?"""
        return self.grows_at < math.inf

    @property
    def changes_at(self) -> float:
        """When `grow` has something to do; infinity: never."""
        return min(self.grows_at, self.forgets_at)

    def export(self) -> dict[str, Any] | None:
        """As JSON, moments monotonic; None where nothing is known."""
        if self.limit is None:
            return None
        told = {"limit": self.limit, "events": self.events, "since": self.since, "forgets_at": self.forgets_at}
        return told | ({"broke_at": self.broke_at} if math.isfinite(self.broke_at) else {})

    def absorb(self, state: Mapping[str, Any], now: float, step_seconds: float) -> None:
        """Take over what `export` told; its moments are on our monotonic clock already."""
        self.limit = float(state["limit"])
        self.broke_at = float(state.get("broke_at") or math.inf)
        self.events = int(state.get("events", 1))
        self.since = min(float(state.get("since", now)), now)
        forgets_at = state.get("forgets_at")
        self.forgets_at = math.inf if forgets_at is None else min(float(forgets_at), now + LONGEST_MEMORY_SECONDS)
        self.grows_at = now + step_seconds


def rate_text(limit: int, window_seconds: float) -> str:
    """A rate as YAML has it: `95/min`, `300/120s`."""
    for unit, seconds in _UNITS:
        count = window_seconds / seconds
        if count == 1:
            return f"{limit}/{unit}"
        if count >= 1 and count == int(count) and (unit != "min" or count > 2):
            return f"{limit}/{int(count)}{unit}"
    return f"{limit}/{window_seconds:g}s"


def quoted(name: str) -> str:
    """A budget's name as YAML takes it inside braces: a route may have braces of its own."""
    return f'"{name}"' if set(name) & set("{}[],:#&*?!") else name


def yaml_line(spec: TierSpec, limit: float) -> str:
    """What to write into the partner's file so that this tier is spent at no more than `limit`."""
    rate = rate_text(max(1, math.floor(limit)), spec.window_seconds)
    more = [f"kind: {spec.kind}"] if spec.kind != "sliding" else []
    more += [f"budget: {quoted(spec.budget)}"] if spec.budget else []
    more += ["weighted: true"] if spec.weighted else []
    return f"limits: {{tiers: [{'{rate: ' + ', '.join([rate, *more]) + '}' if more else rate}]}}"
