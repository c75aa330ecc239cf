"""Counting one window, sliding or fixed, exactly as `tiers.py` promises; O(1) amortised a call, no timer of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from syncd.limits.meter import SHORT_SECONDS, Meter
from syncd.limits.rings import LANES, NEAR, LaneRing, Mark, Ring
from syncd.limits.tiers import TierSpec
from syncd.model import Lane

_FINE = 1000
"""A window remembers at most about so many moments, whatever its limit (R12); larger limits are rounded up to them."""
_LATE_LOANS = 3
"""Loans that fell due while there was no room are made up for, so many at once."""
_HIGH = LANES[0]


class Window(Meter):
    """A sliding or fixed window, exact as `tiers.py` says. Not thread safe; every method takes the monotonic `now`.

    Two sums. `held`: calls not answered, or answered less than a window ago, never above `ceiling` (the written limit).
    `sent`: calls sent less than a window ago, never above `budget` (the share): it paces, and knows the lanes.

    Each lane may have a part of the budget reserved. What nobody claims is lent, evenly over the window: so the slots lent
    come back one by one, and the lane that owns them waits `window / reserve` for its first one, not a whole window. And
    where a window is longer than an urgent call should wait, the last slot of the highest lane is never lent.
    """

    def __init__(self, spec: TierSpec, *, share: float, reserved: Mapping[Lane, float]) -> None:
        self.flying = 0.0
        self._heaviest = 1.0
        self._next_loan_at = -math.inf
        grain = spec.window_seconds / _FINE if spec.limit > _FINE else 0.0
        self.held = Ring(grain)
        self.sent = LaneRing(grain)
        super().__init__(spec, share=share, reserved=reserved)

    def settle(self) -> None:
        super().settle()
        self.ceiling = self.most
        self.budget = self.per_window
        self.reserved = [math.floor(self.budget * share + NEAR) for share in self.shares]
        high = self.reserved[_HIGH]
        if self.shares[_HIGH] > 0 and not self.is_short and self.budget >= 10:
            high = self.reserved[_HIGH] = max(high, 1)
        self._reserves = any(self.reserved)
        self._standby = self._never_lent(float(high))
        # Below these every call may go, whatever its lane.
        self._easy_held = self.ceiling - self._standby
        self._easy_sent = self.budget - sum(self.reserved)
        self._due_at = -math.inf

    # -- asking

    def used(self, now: float) -> float:
        """Calls sent within the last window; at most the budget."""
        self._renew(now)
        return self.sent.total

    def accepted(self, now: float) -> float:
        """What was answered within the last window."""
        return self.held_now(now) - self.flying

    def held_now(self, now: float) -> float:
        """Calls the partner may still be counting; at most the written limit."""
        self._renew(now)
        return self.held.total + self.flying

    def admits(self, now: float, lane: int, weight: float, idle: tuple[bool, ...]) -> bool:
        """May a call of this lane go now? `idle` tells for each lane that nobody waits in it."""
        if now >= self._due_at:
            self._renew(now)
        if (
            self.held.total + self.flying + weight <= self._easy_held
            and self.sent.total + weight <= self._easy_sent
            and not self.bounded
        ):
            return True
        if self._frees(now, lane, weight) > now:
            return False
        if not self._reserves:
            return True
        if self.owns(lane, weight) or self.sent.total <= NEAR:  # a call greater than all that is not kept goes alone
            return True
        short = self._short(lane, weight)
        return short <= NEAR or self._lends_at(now, lane, weight, short, idle) <= now

    def owns(self, lane: int, weight: float) -> bool:
        """Would the call stay within its lane's own reserved share?"""
        return self.sent.by_lane[lane] + weight <= self.reserved[lane] + NEAR

    def opens(self, now: float, lane: int, weight: float, idle: tuple[bool, ...]) -> float:
        """When a refused call may pass at the soonest; infinity when only an answer can tell."""
        at = self._frees(now, lane, weight)
        if at <= now and self._reserves:
            # There is room, but it is kept for other lanes: until more comes back, or the next loan is due.
            short = self._short(lane, weight)
            grown = self.sent.frees(min(short, self.sent.total)) or math.inf
            at = min(grown, self._lends_at(now, lane, weight, short, idle))
        return min(at, self.changes_at) if self.changes_at > now else at

    def bound(self, now: float, weight: float) -> float:
        """A moment before which the last of so many calls surely cannot go."""
        at = self._frees(now, _HIGH, min(weight, self.budget))
        if at == math.inf:  # only an answer can free it, and that one is counted for a window yet
            at = now + self.spec.window_seconds
        return max(at, now + max(0, math.ceil(weight / self.budget) - 1) * self.spec.window_seconds)

    # -- spending

    def take(self, now: float, lane: int, weight: float, idle: tuple[bool, ...]) -> Mark:
        """Count a call that is about to be sent."""
        lent = False
        if not self.sent.marks:
            self._next_loan_at = max(self._next_loan_at, now)  # while nothing was asked for, no loan fell due
        if self._reserves and now >= self._next_loan_at and not self.owns(lane, weight):
            # A loan that is due is taken before common room is: so loans lie evenly in the window from its start.
            lendable = self._lendable(lane, idle)
            loan = max(self._short(lane, weight), min(weight, lendable))
            lent = loan > NEAR and self._lends_at(now, lane, weight, loan, idle) <= now
            if lent:
                pace = self.hold_seconds * loan / lendable
                self._next_loan_at = max(self._next_loan_at, now - _LATE_LOANS * pace) + pace
        if self.bounded:
            self.spend(now, weight)
        if self.weighted and weight > self._heaviest:
            self._heaviest = weight
            self.settle()
        self.flying += weight
        return self._sent(now, weight, lane, lent)

    def answer(self, mark: Mark | None, weight: float, now: float, grace_seconds: float = 0.0) -> None:
        """The call's answer came: one window from now it is forgotten. With a grace it may arrive that much later."""
        flying = self.flying - weight
        self.flying = flying if flying > 0.0 else 0.0
        if weight > 0:
            free_at = now + grace_seconds + self.hold_seconds
            self.held.push(free_at, weight)
            if free_at < self._due_at:
                self._due_at = free_at

    def undo(self, mark: Mark | None, weight: float) -> None:
        """The call was never sent."""
        self.flying = max(0.0, self.flying - weight)
        if mark is not None:
            self.sent.adjust(mark, -weight)
        if self.bounded:
            self.unspend(weight)

    def correct(self, mark: Mark | None, expected: float, weight: float) -> None:
        """The partner told what the call really cost."""
        self.flying = max(0.0, self.flying + weight - expected)
        if mark is not None:
            self.sent.adjust(mark, weight - expected)

    def view(self, now: float) -> dict[str, Any]:
        """Plain data for a person."""
        used, held = self.used(now), self.held_now(now)
        return self.show(now, used, held, self.budget, self.ceiling, self.bound(now, 1.0))

    # -- remembering: moments of answers and of sends, so that another window can read them too

    def export(self, now: float) -> dict[str, Any]:
        self._renew(now)
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

    def absorb(self, now: float, state: Mapping[str, Any], late_seconds: float = math.inf) -> None:
        """Count what `export` told. Requests without an answer have moments in the future, when they may arrive at last;
        later ones than `late_seconds` from now mean a clock that was set back."""
        if state.get("level"):  # a bucket's: how many calls within a window made it, it does not tell
            self.charge(now, self.ceiling, late_seconds=min(late_seconds, 0.0))
            return
        for at, weight in state.get("held", ()):
            self.held.push(min(at, now + late_seconds) + self.hold_seconds, weight)
        for at, weight, *lane in state.get("sent", ()):
            self.sent.place(min(at, now) + self.hold_seconds, weight, lane[0] if lane else Lane.NORMAL)
        self._due_at = -math.inf

    def charge(self, now: float, weight: float, *, flown: float = 0.0, late_seconds: float = 0.0) -> None:
        """Count calls nobody remembers, and those `flown` (sent, known): they may still arrive `late_seconds` from now."""
        held, sent = min(weight + flown, self.ceiling), min(weight, self.ceiling)
        if held > 0:
            self.held.push(now + late_seconds + self.hold_seconds, held)
        if sent > 0:
            self.sent.place(now + self.hold_seconds, sent, Lane.NORMAL)
        self._due_at = -math.inf

    def board(self, now: float, lane: int, weight: float) -> Mark:
        """Count a call that is in flight already (a tier added by a reload)."""
        self.flying += weight
        return self._sent(now, weight, lane, lent=False)

    # -- inside

    def _never_lent(self, reserved: float) -> float:
        """So much of the highest lane's reserve that one urgent call after another finds a slot within two seconds.

        A slot spent is made up for by the next loan that comes back, which takes `window / reserve`; more than a hundredth
        of the budget is not kept for that.
        """
        if self.is_short or reserved <= 0:
            return 0.0
        wanted = math.ceil(self.hold_seconds / reserved / SHORT_SECONDS)
        slots = max(1.0, min(wanted, math.floor(self.budget / 100)))
        return min(reserved, slots * self._heaviest if self.weighted else slots)

    def _sent(self, now: float, weight: float, lane: int, lent: bool) -> Mark:
        free_at = now + self.hold_seconds
        if free_at < self._due_at:
            self._due_at = free_at
        return self.sent.place(free_at, weight, lane, lent)

    def _renew(self, now: float) -> None:
        """Give back what is due, and take over numbers that changed; until `_due_at` all sums stand."""
        if now >= self.changes_at:
            self.renew(now)
        self.held.sweep(now)
        self.sent.sweep(now)
        due_at = self.changes_at
        for ring in (self.held, self.sent):
            if ring.marks and ring.marks[0].free_at < due_at:
                due_at = ring.marks[0].free_at
        self._due_at = due_at

    def _frees(self, now: float, lane: int, weight: float) -> float:
        """When a call of this weight fits in at the soonest, by all sums; infinity if only an answer can tell."""
        self._renew(now)
        at = now
        ramped = self.ramped(now) if self.bounded else 1.0
        needed = self.sent.total + min(weight, self.budget)  # above the whole share it may go alone
        if needed > self.budget + NEAR:
            at = self.sent.frees(needed - self.budget) or math.inf
        if ramped < 1.0 and needed > max(1.0, self.budget * ramped) + NEAR:
            at = max(at, self._ramp_frees(now, needed))
        back = min(self._kept_back(lane), max(0.0, self.ceiling - weight))  # what needs the whole limit goes alone
        over = self.held.total + self.flying + weight + back - self.ceiling
        if over > NEAR:
            at = max(at, self.held.frees(over) or math.inf)
        return max(at, self.barred_until(now, lane, weight)) if self.bounded else at

    def _ramp_frees(self, now: float, needed: float) -> float:
        """When the ramp, which grows, meets what is wanted of it, which shrinks with each slot that comes back."""
        best, at = math.inf, now
        for mark in (None, *self.sent.marks):
            if mark is not None:
                needed -= mark.weight
                at = mark.free_at
            if at >= best:
                break
            if needed <= self.budget + NEAR:
                grown = -math.inf if needed <= 1.0 + NEAR else self.ramps_to(needed / self.budget)
                best = min(best, max(at, grown))
        return best

    def _kept_back(self, lane: int) -> float:
        """What is never lent of the highest lane's reserve, while that lane has not used it."""
        if lane == _HIGH or not self._standby:
            return 0.0
        return min(self._standby, max(0.0, self.reserved[_HIGH] - self.sent.by_lane[_HIGH]))

    def _kept(self, lane: int) -> float:
        """What other lanes have reserved and not spent."""
        spent, kept = self.sent.by_lane, 0.0
        for x, reserved in enumerate(self.reserved):
            if x != lane and reserved > spent[x]:
                kept += reserved - spent[x]
        return kept

    def _short(self, lane: int, weight: float) -> float:
        """How much of the call finds no room but what is kept for other lanes; what is lent is not kept twice.

        Lanes are counted by what was sent: that the slots of answers come back a latency later is the same for all.
        """
        kept, back = self._kept(lane), self._kept_back(lane)
        common = self.budget - self.sent.total + min(self.sent.lent, kept - back) - kept
        return weight - max(common, 0.0)

    def _lendable(self, lane: int, idle: tuple[bool, ...]) -> float:
        """The unspent reserve of lanes in which nobody waits, but for what is never lent."""
        spent, lendable = self.sent.by_lane, 0.0
        for x, reserved in enumerate(self.reserved):
            if x != lane and idle[x] and reserved > spent[x]:
                lendable += reserved - spent[x]
        return max(0.0, lendable - self._kept_back(lane)) if idle[_HIGH] else lendable

    def _lends_at(self, now: float, lane: int, weight: float, loan: float, idle: tuple[bool, ...]) -> float:
        """When so much of what is kept may be lent to a call of this weight; infinity: not before more comes back.

        Loans come back a window later, so one given shortly after a burst is missing until the burst is forgotten. What
        the highest lane has used of late tells what it may want until then: twice that stays.
        """
        if self._lendable(lane, idle) + NEAR < loan:
            return math.inf
        at, used = self._next_loan_at, self.sent.by_lane[_HIGH]
        if lane == _HIGH:
            return at
        left = self.budget - self.sent.total - weight
        if left + NEAR >= self.reserved[_HIGH] - used:
            return at
        back_at = self.held.marks[0].free_at if self.held.marks else now + self.hold_seconds
        spare = left - self._standby
        if spare < -NEAR:
            return max(at, back_at)
        return max(at, back_at - spare * self.hold_seconds / (2 * used)) if used > NEAR else at
