"""The quota book of one scope: seats and every tier in one decision or nothing, by lane, fair among members.

Pure: no loop, no clock; every method takes the monotonic `now`. `gate.py` makes callers wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from syncd.limits.bucket import Tier, build
from syncd.limits.fair import FairQueue, Turns
from syncd.limits.pauses import Following
from syncd.limits.readings import Reading
from syncd.limits.rings import LANES, Mark
from syncd.limits.tiers import TierSpec
from syncd.model import Lane

_PATIENCE = 10.0
"""Seconds after which the head of a passed-over line (a lane, for the same tiers) goes first once, so that no load
starves it."""
_LASTS = 0.9
"""A window that is shorter than this part of the wait a 429 asks for is not what the partner waits for."""
_SAME = 0.01
"""Two figures of a limit within so much of each other are the same one."""
_ALL_IDLE = (True,) * len(LANES)
Holds = list[tuple[Tier, Mark | None]]


class Call:
    """One call that wants to go, and once it goes what it holds: a seat, and its weight in each tier that counts it."""

    asked_at = 0.0
    """When it came to the gate."""
    order = 0
    blocked_by = ""
    """What it waited for last."""
    ticket: tuple[str, int] | None = None
    error: Exception | None = None
    on_change: Callable[[], None] | None = None
    number = 0
    """Its number among all calls ever let go; 0: it was not."""
    holds: Holds
    sent_at = 0.0
    open = False
    """Sent and not answered: the partner may count it at any moment."""
    seated = False

    def __init__(
        self,
        lane: Lane,
        member: str,
        weight: float,
        budgets: Sequence[str],
        group: str = "",
        deadline_at: float | None = None,
    ) -> None:
        self.lane = lane
        self.member = member
        self.weight = weight
        self.budgets = budgets
        self.group = group
        self.deadline_at = deadline_at

    @property
    def waiting(self) -> bool:
        return not self.number and self.error is None


class _Line:
    """Who waits in one lane for the same tiers: only the head is ever looked at."""

    __slots__ = ("blocked_by", "lane", "queue", "tiers")

    def __init__(self, lane: Lane, tiers: list[Tier], turns: Turns) -> None:
        self.lane = lane
        self.tiers = tiers
        self.queue: FairQueue[Call] = FairQueue(turns)
        self.blocked_by = ""


class Book:
    """All tiers and seats of one scope, and who waits for them. A waiting call holds nothing."""

    def __init__(
        self,
        specs: Iterable[TierSpec],
        *,
        concurrency: int | None = None,
        share: float = 0.7,
        lanes: Mapping[Lane, float] | Mapping[str, float] | None = None,
        members: Mapping[str, float] | None = None,
    ) -> None:
        self._turns = [Turns(members) for _ in LANES]
        self.flying: dict[int, Call] = {}
        """Calls let go and not answered, by number."""
        self.seats_used = 0
        self._ghosts: list[tuple[float, int]] = []
        """Seats of calls of a process that is gone, and until when the partner may be busy with them."""
        self.slowed: int | None = None
        """So many seats at most for now, whatever `concurrency` allows."""
        self.granted = 0
        """Calls ever let go; the number of the last one."""
        self._lines: dict[tuple[Lane, int], _Line] = {}
        self._count = 0
        self.waiting = [0] * len(LANES)
        self.crowd = 0
        """How many wait in all lanes together."""
        self._last_at: dict[tuple[Lane, int], float] = {}
        """When the last call of a line went."""
        self.tiers: list[Tier] = []
        self._counting: dict[Sequence[str], list[Tier]] = {}
        self._following: dict[int, Tier] = {}
        """Tiers as those calls see them that do not wait for their windows, by the tier's id."""
        self._sets: dict[tuple[int, ...], list[Tier]] = {}
        """The sets of tiers that some call counts in, each once: who waits for the same ones stands in one line."""
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
        fresh = build(specs, share=share, reserved=reserved)
        old = {tier.key: tier for tier in self.tiers}
        kept: list[Tier] = []
        for tier in fresh:
            known = old.get(tier.key)
            if known is not None:
                known.used(now)  # what drained until now drained by the old numbers
                known.configure(tier.spec, share=share, reserved=reserved)
                kept.append(known)
                continue
            kept.append(tier)
            source = _teacher(tier, self.tiers)
            if source is not None:
                tier.absorb(now, source.export(now))
            for call in self.flying.values():
                if counts(tier, call.budgets):
                    call.holds.append((tier, tier.board(now, call.lane, weight_in(tier, call))))
        self.tiers = kept
        self.concurrency = concurrency
        self.reserved = reserved
        self._counting.clear()
        self._sets.clear()
        self._following = {id(tier): cast(Tier, Following(tier)) for tier in kept if tier.spec.after}
        self._last_at.clear()
        self._queue_anew()

    def share_among(self, members: Mapping[str, float]) -> None:
        """Take new fair weights of the members (1 each)."""
        for turns in self._turns:
            turns.shares = members

    def _queue_anew(self) -> None:
        """After a change of tiers: everybody stands in the line for the new ones, in the old order."""
        waiting = sorted((call for line in self._lines.values() for call in line.queue), key=lambda call: call.order)
        self._lines.clear()
        self.waiting = [0] * len(LANES)
        self.crowd = 0
        for call in waiting:
            self._stand(call)

    # -- one call

    def limit_of(self, budgets: Sequence[str]) -> float:
        """The greatest weight a single call of these budgets may have."""
        return min((t.ceiling for t in self.counting(budgets) if t.weighted), default=math.inf)

    def take(self, call: Call, now: float) -> bool:
        """Let it go now if nobody waits and everything has room; False otherwise."""
        if self.crowd or not self.seat_free:
            return False
        lane, weight = call.lane, call.weight
        tiers = self._counting.get(call.budgets)
        if tiers is None:
            tiers = self.counting(call.budgets)
        for tier in tiers:
            if not tier.admits(now, lane, weight if tier.weighted else 1.0, _ALL_IDLE):
                return False
        self._grant(call, tiers, now, _ALL_IDLE)
        return True

    def wait(self, call: Call) -> None:
        """Put it in line."""
        self._count += 1
        call.order = self._count
        self._stand(call)

    def _stand(self, call: Call) -> None:
        tiers = self.counting(call.budgets)
        line = self._lines.get((call.lane, id(tiers)))
        if line is None:
            line = self._lines[call.lane, id(tiers)] = _Line(call.lane, tiers, self._turns[call.lane])
        # What it takes of the scarcest limit, in seconds of it: so a heavy call and many light ones are the same share.
        cost = max((weight_in(t, call) * t.spec.window_seconds / t.budget for t in tiers), default=1.0)
        call.ticket = line.queue.push(call.member, call, cost, call.weight)
        self.waiting[call.lane] += 1
        self.crowd += 1

    def leave(self, call: Call) -> None:
        """Take it out of the line, if it is still there."""
        if call.ticket is None:
            return
        line = self._lines[call.lane, id(self.counting(call.budgets))]
        call.blocked_by = call.blocked_by or line.blocked_by  # it waited for what its line waited for
        if line.queue.discard(call.ticket):
            self._left(line)
        call.ticket = None

    def bound(self, call: Call, now: float) -> float:
        """A moment before which it surely cannot go: what its own member has in line before it goes first."""
        tiers = self.counting(call.budgets)
        line = self._lines.get((call.lane, id(tiers)))
        calls, weight = line.queue.ahead(call.member) if line is not None else (0, 0.0)
        found = now
        for tier in tiers:
            found = max(found, tier.bound(now, weight + call.weight if tier.weighted else calls + 1.0))
        return found

    def next_at(self, now: float, lane: Lane, budgets: Sequence[str]) -> tuple[float, str]:
        """When a call like this may leave at the soonest, and what holds it till then ("": nothing does)."""
        if not self.seat_free:
            return min((until for until, _ in self._ghosts), default=math.inf), "concurrency"
        idle = self._idle()
        found, why = now, ""
        for tier in self.counting(budgets):
            if not tier.admits(now, lane, 1.0, idle):
                opens = tier.opens(now, lane, 1.0, idle)
                if opens > found:
                    found, why = opens, tier.name
        return found, why

    # -- everybody

    def dispatch(self, now: float) -> tuple[list[Call], float]:
        """Let go whom there is room for, in order; also tells when to look again (infinity: after the next answer)."""
        gone: list[Call] = []
        if self._ghosts:
            self._lay_ghosts(now)
        while True:
            call, wake_at = self._choose(now)
            if call is None:
                return gone, wake_at
            self._grant(call, self.counting(call.budgets), now, self._idle())
            gone.append(call)

    def _choose(self, now: float) -> tuple[Call | None, float]:
        if not self.crowd:
            return None, math.inf
        heads = [(line, head) for line in self._lines.values() if (head := line.queue.peek()) is not None]
        if not self.seat_free:
            for line, _ in heads:
                line.blocked_by = "concurrency"
            return None, min((until for until, _ in self._ghosts), default=math.inf)
        turns = self._turns
        heads.sort(
            key=lambda pair: (
                not self._aged(pair[0], pair[1], now), pair[1].lane, turns[pair[1].lane].of(pair[1].member), pair[1].order
            )
        )  # fmt: skip
        idle = self._idle()
        barred: set[int] = set()
        wake_at = math.inf
        for line, head in heads:
            opens, full = now, []
            for tier in line.tiers:
                weight = weight_in(tier, head)
                if not tier.admits(now, head.lane, weight, idle):
                    opens = max(opens, tier.opens(now, head.lane, weight, idle))
                    full.append(tier)
                elif id(tier) in barred and not tier.owns(head.lane, weight):
                    opens = math.inf  # someone before it waits for this tier, and is woken for it
                    line.blocked_by = "lane"
            if not full and opens <= now:
                line.queue.pop()
                self._left(line)
                head.ticket = None
                head.blocked_by = line.blocked_by or head.blocked_by
                return head, now
            if full:
                line.blocked_by = full[0].name
                barred.update(id(tier) for tier in full)
            wake_at = min(wake_at, opens)
        return None, wake_at

    def answer(self, call: Call, now: float, *, grace_seconds: float = 0.0) -> None:
        """Its answer came: each tier counts it for one window more. `grace_seconds`: none came, it may still arrive."""
        if call.open:
            call.open = False
            self.flying.pop(call.number, None)
            weight = call.weight
            for tier, mark in call.holds:
                tier.answer(mark, weight if tier.weighted else 1.0, now, grace_seconds)

    def undo(self, call: Call) -> None:
        """It was never sent: as if it had never been let go."""
        if call.open:
            call.open = False
            self.flying.pop(call.number, None)
            for tier, mark in call.holds:
                tier.undo(mark, weight_in(tier, call))
        self.vacate(call)

    def vacate(self, call: Call) -> None:
        """Give the seat back."""
        if call.seated:
            call.seated = False
            self.seats_used -= 1

    def haunt(self, calls: float, until: float) -> None:
        """Calls of a process that is gone may hold seats at the partner until then; never more than all there are."""
        free = (self.concurrency or 0) - sum(number for _, number in self._ghosts)
        seats = math.ceil(min(calls, free))
        if seats > 0:
            self._ghosts.append((until, seats))
            self.seats_used += seats

    def correct(self, call: Call, weight: float) -> None:
        """The partner told what the call cost; weighted tiers count that instead of what was expected."""
        if call.open:
            for tier, mark in call.holds:
                if tier.weighted:
                    tier.correct(mark, call.weight, weight)
            call.weight = weight

    def blame(self, reason: str) -> None:
        """Everybody waits for this now, whatever else they waited for."""
        for line in self._lines.values():
            line.blocked_by = reason

    # -- what the partner says

    def told(self, call: Call, readings: Iterable[Reading], now: float) -> list[tuple[Tier, Reading, str]]:
        """Take the partner's own counts from the answer to this call; returns what is news: "near", "relaxed", "lowered"."""
        news = []
        for reading in readings:
            tier = self.matching(call, reading)
            if tier is None:
                continue
            held, mine = tier.held_now(now), weight_in(tier, call) if call.open else 0.0
            limit = reading.limit
            if reading.window_seconds is None and limit is not None and not _same(limit, tier):
                limit = None if (reading.reset_seconds or 0.0) < tier.spec.window_seconds / 4 else limit
            said = tier.told(
                now,
                number=call.number,
                limit=limit,
                remaining=reading.remaining,
                reset_seconds=reading.reset_seconds,
                counted=held,
                flying=max(0.0, tier.flying - mine),
            )
            if said:
                news.append((tier, reading, said))
        return news

    def matching(self, call: Call, reading: Reading) -> Tier | None:
        """The tier a reading speaks of: by its window and budget, by the stated figure, or the only one there is."""
        tiers = [tier for tier in self.counting(call.budgets) if tier.weighted == (reading.budget == "points")]
        if reading.budget and reading.budget != "points":
            tiers = [tier for tier in tiers if tier.spec.budget == reading.budget]
        if reading.window_seconds is not None:
            window = reading.window_seconds
            tiers = [tier for tier in tiers if abs(tier.spec.window_seconds - window) <= _SAME * window]
            if len(tiers) > 1 and reading.limit is not None:
                tiers = [tier for tier in tiers if _same(reading.limit, tier)] or tiers
            return min(tiers, key=lambda tier: tier.spec.limit, default=None)
        if reading.limit is not None:
            alike = [tier for tier in tiers if _same(reading.limit, tier)]
            if alike:
                return alike[0]
        if len(tiers) == 1 and (reading.reset_seconds or 0.0) <= 1.05 * tiers[0].spec.window_seconds:
            return tiers[0]
        return None

    def to_blame(self, call: Call | None, now: float, wait_seconds: float) -> Tier | None:
        """Which tier a 429 to this call speaks of, told to wait so long: of those it may be, the fullest.

        None of which the same answer says that much is left, and none whose whole window is over before the wait is.
        """
        tiers = self.counting(call.budgets if call is not None else ("read",))
        guilty = [tier for tier in tiers if call is None or not tier.has_left(call.number)]
        if not guilty:  # then what the partner says of itself is not so, and the wait tells best
            return min(tiers, key=lambda tier: abs(math.log(tier.step_seconds / max(wait_seconds, 1.0))), default=None)
        lasting = [tier for tier in guilty if tier.step_seconds >= _LASTS * wait_seconds]
        return max(lasting or guilty, key=lambda tier: tier.used(now) / tier.budget)

    # -- inside

    def _grant(self, call: Call, tiers: list[Tier], now: float, idle: tuple[bool, ...]) -> None:
        lane, weight = call.lane, call.weight
        call.holds = [(tier, tier.take(now, lane, weight if tier.weighted else 1.0, idle)) for tier in tiers]
        self.granted += 1
        self.seats_used += 1
        self._last_at[lane, id(tiers)] = now
        call.number = self.granted
        call.open = call.seated = True
        call.sent_at = now
        self.flying[call.number] = call

    def ghosts(self, now: float) -> list[tuple[float, int]]:
        """Seats that calls of a process that is gone may hold, and until when."""
        self._lay_ghosts(now)
        return list(self._ghosts)

    def _lay_ghosts(self, now: float) -> None:
        for ghost in [ghost for ghost in self._ghosts if ghost[0] <= now]:
            self._ghosts.remove(ghost)
            self.seats_used -= ghost[1]

    def _left(self, line: _Line) -> None:
        self.waiting[line.lane] -= 1
        self.crowd -= 1
        if not line.queue:
            del self._lines[line.lane, id(line.tiers)]

    def _aged(self, line: _Line, head: Call, now: float) -> bool:
        if line.lane == LANES[0]:
            return False
        return now - max(head.asked_at, self._last_at.get((line.lane, id(line.tiers)), -math.inf)) >= _PATIENCE

    def _idle(self) -> tuple[bool, ...]:
        return tuple(count == 0 for count in self.waiting)

    @property
    def seats(self) -> int | None:
        """How many calls may be under way at once now; None: any number."""
        if self.slowed is None or self.concurrency is None:
            return self.concurrency if self.slowed is None else self.slowed
        return min(self.slowed, self.concurrency)

    @property
    def seat_free(self) -> bool:
        if self.slowed is None:
            return self.concurrency is None or self.seats_used < self.concurrency
        return self.seats_used < (self.seats or 1)

    def counting(self, budgets: Sequence[str]) -> list[Tier]:
        """The tiers that count a call of these budgets."""
        found = self._counting.get(budgets)
        if found is None:
            if len(self._counting) >= _MOST_BUDGETS:
                self._counting.clear()
            tiers = [
                self._following[id(tier)] if follows(tier, budgets) else tier
                for tier in self.tiers
                if counts(tier, budgets)
            ]
            found = self._counting[budgets] = self._sets.setdefault(tuple(map(id, tiers)), tiers)
        return found


_MOST_BUDGETS = 1024
"""Different sets of budgets remembered; routes are few, but nothing here may grow for ever."""


def counts(tier: Tier, budgets: Sequence[str]) -> bool:
    return not tier.spec.budget or tier.spec.budget in budgets or follows(tier, budgets)


def follows(tier: Tier, budgets: Sequence[str]) -> bool:
    """Does its window only follow a call of these budgets?"""
    return bool(tier.spec.after) and tier.spec.after in budgets


def weight_in(tier: Tier, call: Call) -> float:
    return call.weight if tier.weighted else 1.0


def _same(limit: float, tier: Tier) -> bool:
    return any(abs(limit - known) <= _SAME * known for known in (tier.spec.stated_or_limit, tier.spec.limit))


def _teacher(tier: Tier, known: list[Tier]) -> Tier | None:
    """Which known tier remembers most of what a new one should: the same calls, and the longest window."""
    alike = [
        old for old in known
        if old.spec.budget in ("", tier.spec.budget) and old.weighted == tier.weighted
    ]  # fmt: skip
    exact = [old for old in alike if old.spec.budget == tier.spec.budget]
    return max(exact or alike, key=lambda old: old.spec.window_seconds, default=None)
