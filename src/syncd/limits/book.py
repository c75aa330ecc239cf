"""The quota book of one scope: seats and every tier in one decision or nothing, by lane, fair among members.

Pure: no loop, no clock; every method takes the monotonic `now`. `gate.py` makes callers wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from syncd.limits.bucket import Tier, build
from syncd.limits.fair import FairQueue
from syncd.limits.tiers import TierSpec
from syncd.limits.windows import LANES, Hold
from syncd.model import Lane

_PATIENCE = 10.0
"""Seconds after which the head of a passed-over lane goes first once, so that no load starves a lane."""


class Ask:
    """One call that wants to go."""

    __slots__ = (
        "asked_at", "blocked_by", "budget", "deadline_at", "error", "group", "lane", "member", "on_change", "order",
        "slot", "ticket", "weight",
    )  # fmt: skip

    def __init__(
        self,
        lane: Lane,
        member: str,
        weight: float,
        budget: str,
        group: str = "",
        deadline_at: float | None = None,
        asked_at: float = 0.0,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.lane = lane
        self.member = member
        self.weight = weight
        self.budget = budget
        self.group = group
        self.deadline_at = deadline_at
        self.asked_at = asked_at
        self.on_change = on_change
        self.order = 0
        self.ticket: tuple[str, int] | None = None
        self.blocked_by = ""
        self.slot: Spent | None = None
        self.error: Exception | None = None

    @property
    def waiting(self) -> bool:
        return self.slot is None and self.error is None


class Spent:
    """What a call that was let go holds: a seat, and its weight in each tier that counts it."""

    __slots__ = ("budget", "holds", "lane", "number", "open", "seated", "weight")

    def __init__(self, number: int, lane: Lane, weight: float, budget: str, holds: list[tuple[Tier, Hold]]) -> None:
        self.number = number
        self.lane = lane
        self.weight = weight
        self.budget = budget
        self.holds = holds
        self.open = True
        """Not answered yet: the partner may count it at any moment."""
        self.seated = True


class _Line:
    """Who waits in one lane for one budget: only the head is ever looked at."""

    __slots__ = ("blocked_by", "budget", "lane", "queue")

    def __init__(self, lane: Lane, budget: str, shares: Mapping[str, float]) -> None:
        self.lane = lane
        self.budget = budget
        self.queue: FairQueue[Ask] = FairQueue(shares)
        self.blocked_by = ""


class Book:
    """All tiers and seats of one scope, and who waits for them. A waiting call holds nothing."""

    def __init__(
        self,
        specs: Iterable[TierSpec],
        *,
        wall: Callable[[], float],
        concurrency: int | None = None,
        share: float = 0.7,
        lanes: Mapping[Lane, float] | Mapping[str, float] | None = None,
        members: Mapping[str, float] | None = None,
    ) -> None:
        self._wall = wall
        self.members: Mapping[str, float] = members or {}
        self.flying: dict[int, Spent] = {}
        """Calls let go and not answered, by number."""
        self.seats_used = 0
        self.granted = 0
        """Calls ever let go; the number of the last one."""
        self._lines: dict[tuple[Lane, str], _Line] = {}
        self._count = 0
        self.waiting = [0] * len(LANES)
        self._last_at = [-math.inf] * len(LANES)
        self.tiers: list[Tier] = []
        self._by_budget: dict[str, list[Tier]] = {}
        self.configure(specs, now=0.0, concurrency=concurrency, share=share, lanes=lanes)

    def configure(
        self,
        specs: Iterable[TierSpec],
        *,
        now: float,
        concurrency: int | None,
        share: float,
        lanes: Mapping[Lane, float] | Mapping[str, float] | None,
    ) -> None:
        """Take new numbers; slots in use stay in use, and tiers that are new learn from the old ones."""
        reserved = {Lane[key.upper()] if isinstance(key, str) else key: part for key, part in (lanes or {}).items()}
        if any(part < 0 for part in reserved.values()) or sum(reserved.values()) > 1:
            raise ValueError("the reserved shares of the lanes must not be negative nor exceed 1 together")
        if concurrency is not None and concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        fresh = build(specs, share=share, reserved=reserved, wall=self._wall)
        old = {tier.spec.key: tier for tier in self.tiers}
        kept: list[Tier] = []
        for tier in fresh:
            known = old.get(tier.spec.key)
            if known is not None:
                known.configure(tier.spec, share=share, reserved=reserved)
                kept.append(known)
                continue
            kept.append(tier)
            source = _teacher(tier, self.tiers)
            if source is not None:
                tier.absorb(now, source.export(now))
            for spent in self.flying.values():
                if _counts(tier, spent.budget):
                    weight = spent.weight if tier.spec.weighted else 1.0
                    spent.holds.append((tier, tier.board(now, spent.lane, weight)))
        self.tiers = kept
        self.concurrency = concurrency
        self.reserved = reserved
        self._by_budget.clear()

    # -- one call

    def limit_of(self, budget: str) -> float:
        """The greatest weight a single call of this budget may have."""
        return min((t.ceiling for t in self._tiers(budget) if t.spec.weighted), default=math.inf)

    def take(self, ask: Ask, now: float) -> Spent | None:
        """Let it go now if nobody waits and everything has room; None otherwise."""
        if any(self.waiting) or not self._seat_free():
            return None
        idle = self._idle()
        for tier in self._tiers(ask.budget):
            if not tier.admits(now, ask.lane, _weight(tier, ask), idle):
                return None
        return self._grant(ask, now, idle)

    def wait(self, ask: Ask) -> None:
        """Put it in line."""
        line = self._lines.get((ask.lane, ask.budget))
        if line is None:
            line = self._lines[ask.lane, ask.budget] = _Line(ask.lane, ask.budget, self.members)
        self._count += 1
        ask.order = self._count
        ask.ticket = line.queue.push(ask.member, ask, ask.weight)
        self.waiting[ask.lane] += 1

    def leave(self, ask: Ask) -> None:
        """Take it out of the line, if it is still there."""
        if ask.ticket is None:
            return
        line = self._lines[ask.lane, ask.budget]
        if line.queue.discard(ask.ticket):
            self._left(line, ask)
        ask.ticket = None

    def bound(self, ask: Ask, now: float) -> float:
        """A moment before which it surely cannot go: what its own member has in line before it goes first."""
        line = self._lines.get((ask.lane, ask.budget))
        calls, cost = line.queue.ahead(ask.member) if line is not None else (0, 0.0)
        found = now
        for tier in self._tiers(ask.budget):
            found = max(found, tier.bound(now, cost + ask.weight if tier.spec.weighted else calls + 1.0))
        return found

    # -- everybody

    def dispatch(self, now: float) -> tuple[list[Ask], float]:
        """Let go whom there is room for, in order; also tells when to look again (infinity: after the next answer)."""
        gone: list[Ask] = []
        while True:
            ask, wake_at = self._choose(now)
            if ask is None:
                return gone, wake_at
            ask.slot = self._grant(ask, now, self._idle())
            gone.append(ask)

    def _choose(self, now: float) -> tuple[Ask | None, float]:
        if not any(self.waiting):
            return None, math.inf
        heads = [(line, head) for line in self._lines.values() if (head := line.queue.peek()) is not None]
        if not self._seat_free():
            for line, _ in heads:
                line.blocked_by = "concurrency"
            return None, math.inf
        heads.sort(key=lambda pair: (not self._aged(pair[1], now), pair[1].lane, pair[1].order))
        idle = self._idle()
        barred: set[int] = set()
        wake_at = math.inf
        for line, head in heads:
            opens, full = now, []
            for tier in self._tiers(line.budget):
                weight = _weight(tier, head)
                if not tier.admits(now, head.lane, weight, idle):
                    opens = max(opens, tier.opens(now, head.lane, weight, idle))
                    full.append(tier)
                elif id(tier) in barred and not tier.owns(head.lane, weight):
                    opens = math.inf  # someone before it waits for this tier, and is woken for it
                    line.blocked_by = "lane"
            if not full and opens <= now:
                line.queue.pop()
                self._left(line, head)
                head.ticket = None
                head.blocked_by = line.blocked_by or head.blocked_by
                return head, now
            if full:
                line.blocked_by = full[0].name
                barred.update(id(tier) for tier in full)
            wake_at = min(wake_at, opens)
        return None, wake_at

    def answer(self, spent: Spent, now: float, *, grace_seconds: float = 0.0) -> None:
        """Its answer came: each tier counts it for one window more. `grace_seconds`: none came, it may still arrive."""
        if spent.open:
            spent.open = False
            self.flying.pop(spent.number, None)
            for tier, hold in spent.holds:
                tier.answer(hold, now, grace_seconds)

    def undo(self, spent: Spent) -> None:
        """It was never sent: as if it had never been let go."""
        if spent.open:
            spent.open = False
            self.flying.pop(spent.number, None)
            for tier, hold in spent.holds:
                tier.undo(hold)
        self.vacate(spent)

    def vacate(self, spent: Spent) -> None:
        """Give the seat back."""
        if spent.seated:
            spent.seated = False
            self.seats_used -= 1

    def correct(self, spent: Spent, weight: float) -> None:
        """The partner told what the call cost; weighted tiers count that instead of what was expected."""
        spent.weight = weight
        if spent.open:
            for tier, hold in spent.holds:
                if tier.spec.weighted:
                    tier.correct(hold, weight)

    def blame(self, reason: str) -> None:
        """Everybody waits for this now, whatever else they waited for."""
        for line in self._lines.values():
            line.blocked_by = reason

    # -- inside

    def _grant(self, ask: Ask, now: float, idle: tuple[bool, ...]) -> Spent:
        holds = [(tier, tier.take(now, ask.lane, _weight(tier, ask), idle)) for tier in self._tiers(ask.budget)]
        self.granted += 1
        self.seats_used += 1
        self._last_at[ask.lane] = now
        spent = Spent(self.granted, ask.lane, ask.weight, ask.budget, holds)
        self.flying[spent.number] = spent
        return spent

    def _left(self, line: _Line, ask: Ask) -> None:
        self.waiting[ask.lane] -= 1
        if not line.queue:
            del self._lines[line.lane, line.budget]

    def _aged(self, ask: Ask, now: float) -> bool:
        return ask.lane != LANES[0] and now - max(ask.asked_at, self._last_at[ask.lane]) >= _PATIENCE

    def _idle(self) -> tuple[bool, ...]:
        return tuple(count == 0 for count in self.waiting)

    def _seat_free(self) -> bool:
        return self.concurrency is None or self.seats_used < self.concurrency

    def _tiers(self, budget: str) -> list[Tier]:
        found = self._by_budget.get(budget)
        if found is None:
            found = self._by_budget[budget] = [tier for tier in self.tiers if _counts(tier, budget)]
        return found


def _counts(tier: Tier, budget: str) -> bool:
    return tier.spec.budget in ("", budget)


def _weight(tier: Tier, ask: Ask) -> float:
    return ask.weight if tier.spec.weighted else 1.0


def _teacher(tier: Tier, known: list[Tier]) -> Tier | None:
    """Which known tier remembers most of what a new one should: the same calls, and the longest window."""
    alike = [
        old for old in known
        if old.spec.budget in ("", tier.spec.budget) and old.spec.weighted == tier.spec.weighted
    ]  # fmt: skip
    exact = [old for old in alike if old.spec.budget == tier.spec.budget]
    return max(exact or alike, key=lambda old: old.spec.window_seconds, default=None)
