"""Counting one window, sliding or fixed, exactly as `tiers.py` promises; O(1) amortised a call, no timer of its own."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from syncd.limits.tiers import TierSpec
from syncd.model import Lane

DRIFT = 1e-4
"""The partner's clock may run slower than ours by so much (100 ppm is far more than a quartz strays)."""
_GUARD = 0.001
"""Seconds added to each window: whether a partner counts the edge itself is never written down."""
_FINE = 1000
"""A window remembers at most about so many moments, whatever its limit (R12); larger limits are rounded up to them."""
NEAR = 1e-9


_LATE_LOANS = 3
"""Loans that fell due while there was no room are made up for, so many at once."""

LANES = tuple(Lane)


class Mark:
    """Calls that are counted until `free_at`: one, or several of the same moment."""

    __slots__ = ("alive", "first_at", "free_at", "lane", "lent", "weight")

    def __init__(self, free_at: float, weight: float, lane: int, lent: bool) -> None:
        self.first_at = free_at
        self.free_at = free_at
        self.weight = weight
        self.lane = lane
        self.lent = lent
        self.alive = True


class Ring:
    """Marks in the order they are freed, and their sum; O(1) amortised a call, no timer."""

    __slots__ = ("_grain", "by_lane", "lent", "marks", "total")

    def __init__(self, grain_seconds: float = 0.0) -> None:
        self.marks: deque[Mark] = deque()
        self.total = 0.0
        self.by_lane = [0.0] * len(LANES)
        self.lent = 0.0
        self._grain = grain_seconds

    def sweep(self, now: float) -> None:
        """Give back everything due."""
        marks = self.marks
        while marks and marks[0].free_at <= now:
            mark = marks.popleft()
            mark.alive = False
            self._add(mark, -mark.weight)
        if not marks:  # sums of fractions drift; an empty ring is the moment to forget that
            self.total = self.lent = 0.0
            self.by_lane = [0.0] * len(LANES)

    def push(self, free_at: float, weight: float, lane: int = Lane.NORMAL, lent: bool = False) -> Mark:
        last = self.marks[-1] if self.marks else None
        if last is not None:
            free_at = max(free_at, last.free_at)  # the wall clock of an aligned window may have stepped back
            if last.lane == lane and last.lent == lent and free_at - last.first_at <= self._grain:
                last.free_at = free_at
                last.weight += weight
                self._add(last, weight)
                return last
        mark = Mark(free_at, weight, lane, lent)
        self.marks.append(mark)
        self._add(mark, weight)
        return mark

    def clear(self) -> None:
        for mark in self.marks:
            mark.alive = False
        self.marks.clear()
        self.sweep(0.0)

    def adjust(self, mark: Mark, difference: float) -> None:
        """Correct a mark still counted; one already given back stays so."""
        if mark.alive:
            difference = max(difference, -mark.weight)
            mark.weight += difference
            self._add(mark, difference)

    def frees(self, weight: float) -> float | None:
        """When so much of the sum will have been given back; None if the sum is smaller than that."""
        for mark in self.marks:
            weight -= mark.weight
            if weight <= NEAR:
                return mark.free_at
        return None

    def _add(self, mark: Mark, weight: float) -> None:
        self.total += weight
        self.by_lane[mark.lane] += weight
        if mark.lent:
            self.lent += weight


class Hold:
    """What one call holds of one tier."""

    __slots__ = ("mark", "weight")

    def __init__(self, weight: float, mark: Mark | None) -> None:
        self.weight = weight
        self.mark = mark


class Window:
    """A sliding or fixed window, exact as `tiers.py` says. Not thread safe; every method takes the monotonic `now`.

    Two sums. `held`: calls not answered, or answered less than a window ago, never above `ceiling` (the written limit).
    `sent`: calls sent less than a window ago, never above `budget` (the share): it paces, and knows the lanes.
    """

    def __init__(
        self, spec: TierSpec, *, share: float, reserved: Mapping[Lane, float], wall: Callable[[], float]
    ) -> None:
        self._wall = wall
        self.flying = 0.0
        self._next_loan_at = -math.inf
        self.configure(spec, share=share, reserved=reserved)
        grain = self.hold_seconds / _FINE if spec.limit > _FINE else 0.0
        self.held = Ring(grain)
        self.sent = Ring(grain)

    def configure(self, spec: TierSpec, *, share: float, reserved: Mapping[Lane, float]) -> None:
        """Take new numbers; what is counted stays counted."""
        self.spec = spec
        self.name = spec.name
        self.ceiling = spec.limit
        self.budget = max(1.0, math.floor(spec.limit * (spec.share or share) + NEAR))
        self.hold_seconds = spec.window_seconds * (1 + DRIFT) + _GUARD
        self.reserved = [math.floor(self.budget * reserved.get(lane, 0.0) + NEAR) for lane in LANES]
        self._reserves = any(self.reserved)

    # -- asking

    def used(self, now: float) -> float:
        """Calls sent within the last window; at most the budget."""
        self.sent.sweep(now)
        return self.sent.total

    def held_now(self, now: float) -> float:
        """Calls the partner may still be counting; at most the written limit."""
        self.held.sweep(now)
        return self.held.total + self.flying

    def admits(self, now: float, lane: int, weight: float, idle: tuple[bool, ...]) -> bool:
        """May a call of this lane go now? `idle` tells for each lane that nobody waits in it."""
        if self._frees(now, weight) > now:
            return False
        if not self._reserves:
            return True
        if self.owns(lane, weight) or self.sent.total <= NEAR:  # a call greater than all that is not kept goes alone
            return True
        short = self._short(lane, weight)
        return short <= NEAR or (now >= self._next_loan_at and self._lendable(lane, idle) + NEAR >= short)

    def owns(self, lane: int, weight: float) -> bool:
        """Would the call stay within its lane's own reserved share?"""
        return self.sent.by_lane[lane] + weight <= self.reserved[lane] + NEAR

    def opens(self, now: float, lane: int, weight: float, idle: tuple[bool, ...]) -> float:
        """When a refused call may pass at the soonest; infinity when only an answer can tell."""
        at = self._frees(now, weight)
        if at > now or not self._reserves:
            return at
        # There is room, but it is kept for other lanes: until more comes back, or the next loan is due.
        short = self._short(lane, weight)
        grown = self.sent.frees(min(short, self.sent.total)) or math.inf
        lend = self._next_loan_at if self._lendable(lane, idle) + NEAR >= short else math.inf
        return min(grown, lend)

    def bound(self, now: float, weight: float) -> float:
        """A moment before which the last of so many calls surely cannot go."""
        at = self._frees(now, min(weight, self.budget))
        if at == math.inf:  # only an answer can free it, and that one is counted for a window yet
            at = now + self.spec.window_seconds
        return max(at, now + max(0, math.ceil(weight / self.budget) - 1) * self.spec.window_seconds)

    # -- spending

    def take(self, now: float, lane: int, weight: float, idle: tuple[bool, ...]) -> Hold:
        """Count a call that is about to be sent."""
        lent = False
        if self._reserves and not self.owns(lane, weight):
            # A loan that is due is taken before common room is: so loans lie evenly in the window from its start.
            lendable = self._lendable(lane, idle)
            loan = max(self._short(lane, weight), min(weight, lendable))
            lent = loan > NEAR and now >= self._next_loan_at and lendable + NEAR >= loan
            if lent:
                pace = self.hold_seconds * loan / lendable
                self._next_loan_at = max(self._next_loan_at, now - _LATE_LOANS * pace) + pace
        self.flying += weight
        return Hold(weight, self.sent.push(self._ends(now), weight, lane, lent))

    def answer(self, hold: Hold, now: float, grace_seconds: float = 0.0) -> None:
        """The call's answer came: one window from now it is forgotten. With a grace it may arrive that much later."""
        self.flying = max(0.0, self.flying - hold.weight)
        if hold.weight > 0:
            self.held.push(self._ends(now, grace_seconds), hold.weight)

    def undo(self, hold: Hold) -> None:
        """The call was never sent."""
        self.flying = max(0.0, self.flying - hold.weight)
        if hold.mark is not None:
            self.sent.adjust(hold.mark, -hold.weight)

    def correct(self, hold: Hold, weight: float) -> None:
        """The partner told what the call really cost."""
        self.flying = max(0.0, self.flying + weight - hold.weight)
        if hold.mark is not None:
            self.sent.adjust(hold.mark, weight - hold.weight)
        hold.weight = weight

    def view(self, now: float) -> dict[str, Any]:
        """Plain data for a person."""
        return show(
            self.spec, self.used(now), self.held_now(now), self.budget, self.ceiling, self.bound(now, 1.0) - now
        )

    # -- remembering: moments of answers and of sends, so that another window can read them too

    def export(self, now: float) -> dict[str, Any]:
        self.held.sweep(now)
        self.sent.sweep(now)
        back = self.hold_seconds
        return {
            "window": self.spec.window_seconds,
            "flying": self.flying,
            "held": [[mark.free_at - back, mark.weight] for mark in self.held.marks],
            "sent": [[mark.free_at - back, mark.weight, mark.lane] for mark in self.sent.marks],
        }

    def forget(self) -> None:
        """Count nothing but what is in flight: somebody else's memory is about to be read."""
        for ring in (self.held, self.sent):
            ring.clear()

    def absorb(self, now: float, state: Mapping[str, Any]) -> None:
        """Count what `export` told. Moments in the future mean a clock that was set back: they count from now."""
        for at, weight in state.get("held", ()):
            self.held.push(min(at, now) + self.hold_seconds, weight)
        for at, weight, *lane in state.get("sent", ()):
            self.sent.push(min(at, now) + self.hold_seconds, weight, lane[0] if lane else Lane.NORMAL)
        self.held.sweep(now)
        self.sent.sweep(now)

    def charge(self, now: float, weight: float, *, flown: float = 0.0) -> None:
        """Count calls nobody remembers as sent and answered now, and those `flown` (sent, known) as answered now."""
        held, sent = min(weight + flown, self.ceiling), min(weight, self.ceiling)
        if held > 0:
            self.held.push(now + self.hold_seconds, held)
        if sent > 0:
            self.sent.push(now + self.hold_seconds, sent)

    def board(self, now: float, lane: int, weight: float) -> Hold:
        """Count a call that is in flight already (a tier added by a reload)."""
        self.flying += weight
        return Hold(weight, self.sent.push(now + self.hold_seconds, weight, lane))

    # -- inside

    def _frees(self, now: float, weight: float) -> float:
        """When a call of this weight fits in at the soonest, by both sums; infinity if only an answer can tell."""
        self.held.sweep(now)
        self.sent.sweep(now)
        at = now
        over = self.sent.total + min(weight, self.budget) - self.budget  # above the whole share it may go alone
        if over > NEAR:
            at = self.sent.frees(over) or math.inf
        over = self.held.total + self.flying + weight - self.ceiling
        if over > NEAR:
            at = max(at, self.held.frees(over) or math.inf)
        return at

    def _kept(self, lane: int) -> float:
        """What other lanes have reserved and not spent."""
        spent = self.sent.by_lane
        return sum(max(0.0, self.reserved[x] - spent[x]) for x in range(len(LANES)) if x != lane)

    def _short(self, lane: int, weight: float) -> float:
        """How much of the call finds no room but what is kept for other lanes; what is lent is not kept twice.

        Lanes are counted by what was sent: that the slots of answers come back a latency later is the same for all.
        """
        kept = self._kept(lane)
        common = self.budget - self.sent.total + min(self.sent.lent, kept) - kept
        return weight - max(common, 0.0)

    def _lendable(self, lane: int, idle: tuple[bool, ...]) -> float:
        """The unspent reserve of lanes in which nobody waits.

        It is lent evenly over the window, not at once: so the slots lent come back one by one, and the lane that owns
        them waits `window / reserve` for its first one, not a whole window.
        """
        spent = self.sent.by_lane
        return sum(max(0.0, self.reserved[x] - spent[x]) for x in range(len(LANES)) if x != lane and idle[x])

    def _ends(self, now: float, later: float = 0.0) -> float:
        """When what happened now, or so much later at most, is out of every window the partner may count it in."""
        slid = now + later + self.hold_seconds
        if not self.spec.aligned or self.spec.kind != "fixed":
            return slid
        window, skew = self.spec.window_seconds, self.spec.skew_seconds
        wall = self._wall()
        edge = (math.floor((wall + later + skew) / window) + 1) * window + skew + _GUARD
        return min(slid, now + edge - wall)


def show(spec: TierSpec, used: float, held: float, budget: float, ceiling: float, seconds: float) -> dict[str, Any]:
    """One tier as a person reads it: `used` was sent within the window, `held` the partner may still count."""
    return {
        "name": spec.name,
        "kind": spec.kind,
        "used": used,
        "held": held,
        "budget": budget,
        "limit": ceiling,
        "stated": spec.stated_or_limit,
        "window_seconds": spec.window_seconds,
        "frees_in_seconds": max(0.0, seconds),
    }
