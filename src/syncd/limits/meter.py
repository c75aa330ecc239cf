"""The numbers of one limit that are in force now: what was written, what the partner tells and teaches, and ramping up.

Windows and buckets count; this is what they count against. Nothing here ever allows more than the configuration does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from syncd.limits.adaptive import Learned, yaml_line
from syncd.limits.rings import LANES, NEAR
from syncd.limits.tiers import TierSpec
from syncd.model import Lane

DRIFT = 1e-4
"""The partner's clock may run slower than ours by so much (100 ppm is far more than a quartz strays)."""
GUARD = 0.001
"""Seconds added to each window: whether a partner counts the edge itself is never written down."""
SHORT_SECONDS = 2.0
"""One window of this length or less is waited out: by a new process, and by an urgent call."""
LOW_SHARE = 1 / 6
"""When less than this is left and others spend too, calls are spread evenly until the reset."""
LONGEST_TOLD_SECONDS = 3600.0
"""A remainder told without a reset is believed for one window, and at most for so long."""
_AGAIN = 0.3
"""So much must be left before a warning that little was left is taken back."""


class Meter:
    """One limit's numbers. `ceiling` may never be exceeded at the partner; `budget` is how much of it we send."""

    def __init__(self, spec: TierSpec, *, share: float, reserved: Mapping[Lane, float]) -> None:
        self.spec = spec
        self.learned = Learned()
        self.told_limit: float | None = None
        """A limit told by the partner that is smaller than the written one."""
        self._least_told = math.inf
        """The smallest limit told so far: a smaller one is news, the same again is not."""
        self.left = math.inf
        """Calls that may be sent until `left_until`, by the partner's own word."""
        self.left_until = -math.inf
        self.foreign = 0.0
        """What others spent, when the partner told last."""
        self.warned = False
        """It has been said that little is left, and not by our doing."""
        self._low_gap = 0.0
        self.gap_seconds = 0.0
        """Calls are kept so far apart: while little is left, and while a learned limit grows (so a step too far costs one
        429, not as many as calls can be under way)."""
        self.next_at = -math.inf
        self.ramp_at = self.ramp_ends = -math.inf
        self.ramp_start = 1.0
        self.changes_at = math.inf
        """When one of these numbers changes by itself."""
        self.bounded = False
        """Is anything but the plain numbers in force: a remainder, a gap, a ramp?"""
        self._told_number = 0
        self._remaining = 0, 0.0
        """The last remainder told, and by the answer to which call."""
        self.configure(spec, share=share, reserved=reserved)

    def configure(self, spec: TierSpec, *, share: float, reserved: Mapping[Lane, float]) -> None:
        """Take new numbers; what is counted stays counted, and what was learned of the old ones stays known."""
        if spec.limit < self.spec.limit and self._says(spec):
            self.learned = Learned()
        self.spec = spec
        self.key = spec.key
        self.name = spec.name
        self.weighted = spec.weighted
        self.portion = spec.share or share
        self.shares = [reserved.get(lane, 0.0) for lane in LANES]
        self.hold_seconds = self.step_seconds = spec.window_seconds * (1 + DRIFT) + GUARD
        self.is_short = self.hold_seconds <= SHORT_SECONDS * 1.01
        """Is one window quicker waited out than remembered?"""
        if self.told_limit is not None and self.told_limit >= spec.limit:
            self.told_limit = None
        self.configured = self._within(spec.limit)
        """What we would send in a window if nothing had been learned."""
        self.settle()

    def settle(self) -> None:
        """Compute what is in force anew; subclasses derive their own numbers."""
        stated = self.spec.limit if self.told_limit is None else self.told_limit
        self.most = stated
        self.per_window = self._within(stated)
        if self.learned.limit is not None:
            self.per_window = max(1.0, min(self.per_window, self.learned.limit))
        self.gap_seconds = self._low_gap
        if self.learned.growing:
            self.gap_seconds = max(self.gap_seconds, self.step_seconds / self.per_window)
        if not self.gap_seconds:
            self.next_at = -math.inf
        self._schedule()

    def renew(self, now: float) -> None:
        """Take the changes that are due."""
        if now >= self.left_until:
            self.left, self.left_until, self._low_gap, self.foreign = math.inf, -math.inf, 0.0, 0.0
        if now >= self.ramp_ends:
            self.ramp_at = self.ramp_ends = -math.inf
        self.learned.grow(now, self.configured, self.step_seconds)
        self.settle()

    # -- what the partner says

    def told(
        self, now: float, *, number: int, limit: float | None, remaining: float | None, reset_seconds: float | None,
        counted: float, flying: float,
    ) -> str:  # fmt: skip
        """Take the partner's own count, from the answer to call `number`.

        `counted` is all of ours that the partner may be counting, `flying` what else was sent and is not answered. Returns
        "near", "relaxed" or "lowered" (the limit itself is smaller than ever told) when that is news, else "".
        """
        fresh = number >= self._told_number
        lowered = False
        if limit is not None and limit >= 1 and fresh:
            self.told_limit = limit if limit < self.spec.limit else None
            lowered = limit < min(self.spec.limit, self._least_told)
            self._least_told = min(self._least_told, limit)
        if remaining is not None:
            most = self.most if limit is None else limit
            until = now + (
                min(self.spec.window_seconds, LONGEST_TOLD_SECONDS)
                if reset_seconds is None
                else min(reset_seconds, max(self.step_seconds, self.hold_seconds))  # no count lasts longer than that
            )
            self._remaining = number, remaining
            left = max(0.0, remaining - flying)
            self.left = left if fresh or now >= self.left_until else min(left, self.left)
            self.left_until = until
            self.foreign = max(0.0, most - remaining - counted)
            low = remaining < LOW_SHARE * most and self.foreign > 0
            self._low_gap = (until - now) / max(1.0, left) if low else 0.0
        if fresh:
            self._told_number = number
        self.settle()
        if lowered or remaining is None:
            return "lowered" if lowered else ""
        share = remaining / max(1.0, self.most)
        if self._low_gap and not self.warned:
            self.warned = True
            return "near"
        if self.warned and share >= _AGAIN:
            self.warned = False
            return "relaxed"
        return ""

    def has_left(self, number: int) -> bool:
        """Does the answer to this call say that there is more to spend?"""
        return self._remaining[0] == number and self._remaining[1] >= 1.0

    @property
    def is_proven(self) -> bool:
        """Is it known what the partner really allows, and not only that it once was less?"""
        return self.told_limit is not None or math.isfinite(self.learned.broke_at)

    def break_down(self, now: float, accepted: float) -> float:
        """The partner said 429 to a call within this limit; returns what is sent in a window from now on."""
        self.learned.broke(now, self.configured, accepted, self.step_seconds)
        self.settle()
        return self.per_window

    def ramp(self, now: float, seconds: float, start: float) -> None:
        """Send a share of the budget that grows from `start` to all over so many seconds. The later end stands."""
        if now + seconds > self.ramp_ends:
            self.ramp_at, self.ramp_ends, self.ramp_start = now, now + seconds, start
            self.settle()

    def ramped(self, now: float) -> float:
        """The share of the budget in force, 0 to 1."""
        if now >= self.ramp_ends:
            return 1.0
        return self.ramp_start + (1.0 - self.ramp_start) * max(0.0, now - self.ramp_at) / (
            self.ramp_ends - self.ramp_at
        )

    def ramps_to(self, share: float) -> float:
        """When the ramp has grown to this share."""
        if share <= self.ramp_start:
            return -math.inf
        return self.ramp_at + (min(share, 1.0) - self.ramp_start) / (1.0 - self.ramp_start) * (
            self.ramp_ends - self.ramp_at
        )

    # -- bounds beside the count

    def barred_until(self, now: float, lane: int, weight: float) -> float:
        """When the partner's remainder and the even spreading let a call go; `now` or earlier if they do."""
        at = now
        if now < self.left_until and weight > self.left + NEAR:
            at = self.left_until
        if self.gap_seconds and lane != LANES[0]:  # what is urgent is let through while there is anything left
            at = max(at, self.next_at)
        return at

    def spend(self, now: float, weight: float) -> None:
        """A call goes: count it against the remainder."""
        self.left -= weight
        if self.gap_seconds:
            late = self.gap_seconds if self.next_at > -math.inf else 0.0  # what a timer lost is made up for, once
            self.next_at = max(self.next_at, now - late) + self.gap_seconds

    def unspend(self, weight: float) -> None:
        self.left += weight

    # -- telling and remembering

    def show(
        self, now: float, used: float, held: float, budget: float, ceiling: float, frees_at: float
    ) -> dict[str, Any]:
        """This limit as a person reads it: `used` was sent within the window, `held` the partner may still count."""
        return {
            "name": self.name,
            "kind": self.spec.kind,
            "used": used,
            "held": held,
            "budget": budget,
            "limit": ceiling,
            "configured": self.spec.limit,
            "stated": self.spec.stated_or_limit,
            "window_seconds": self.spec.window_seconds,
            "frees_in_seconds": max(0.0, frees_at - now),
            "foreign": self.foreign,
            "learned": self._lesson(now),
            "left": self.left if math.isfinite(self.left) else None,
        }

    def _lesson(self, now: float) -> dict[str, Any] | None:
        if self.learned.limit is not None:
            broke_at = self.learned.broke_at
            return {
                "limit": self.learned.limit,
                "broke_at": broke_at if math.isfinite(broke_at) else None,
                "since_seconds": max(0.0, now - self.learned.since),
                "events": self.learned.events,
                "source": "429",
                "yaml": self.yaml,
            }
        if self.told_limit is not None:
            return {
                "limit": self.told_limit,
                "broke_at": None,
                "since_seconds": None,
                "events": 0,
                "source": "headers",
                "yaml": self.yaml,
            }
        return None

    @property
    def yaml(self) -> str:
        """The line that makes the configuration say what was learned."""
        broke_at = self.learned.broke_at
        known = max(self.per_window, broke_at * 0.95) if math.isfinite(broke_at) else self.per_window
        return yaml_line(self.spec, known)

    def lessons(self) -> dict[str, Any]:
        """What was learned, as JSON, for the stored state."""
        told = self.learned.export()
        return {} if told is None else {"learned": told | {"of": self.spec.limit}}

    def relearn(self, state: Mapping[str, Any], now: float) -> None:
        """Take over what a former owner had learned."""
        told = state.get("learned")
        if isinstance(told, Mapping):
            self.learned.absorb(told, now, self.step_seconds)
            if self.spec.limit < float(told.get("of", 0.0)) and self._says(self.spec):
                self.learned = Learned()
            self.learned.grow(now, self.configured, self.step_seconds)
            self.settle()

    # -- inside

    def _says(self, spec: TierSpec) -> bool:
        """Does the limit that is written now say what was learned?"""
        known = self.learned
        if known.limit is None:
            return False
        return spec.limit <= (known.broke_at if math.isfinite(known.broke_at) else known.limit)

    def _within(self, limit: float) -> float:
        return max(1.0, math.floor(limit * self.portion + NEAR))

    def _schedule(self) -> None:
        self.changes_at = self.learned.changes_at
        for at in (self.left_until, self.ramp_ends):
            if at > -math.inf:
                self.changes_at = min(self.changes_at, at)
        self.bounded = self.left < math.inf or self.gap_seconds > 0 or self.ramp_ends > -math.inf
