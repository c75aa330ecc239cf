"""How much a scope's limits let through, and how long so many calls take. Pure arithmetic over what `tiers.py` promises.

The gate decides call by call; here the same rules are summed up. A window of H seconds (the partner's, and the gate's
guard) that syncd uses B calls of is two rules: at most B calls are sent in any H, and at most the written limit L are
unanswered or answered less than H ago, which is one call a slot every H + latency. Whichever is slower binds:
W / (W + latency) of the rate where all of the limit is used. Calls go as early as the rules let them, so the first B leave
at once and the next ones when those come back; several tiers nest, the shorter ones within a turn of the longer.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from syncd.limits.adaptive import rate_text
from syncd.limits.meter import DRIFT, GUARD, SHORT_SECONDS
from syncd.limits.tiers import TierSpec
from syncd.model import Lane

_LOANS_AT_ONCE = 4
"""After a while without loans the gate grants so many of other lanes' slots at once, the others evenly."""
_LEAST = 0.02
"""What is left of a tier beside a crowd of one's own, for the sake of a finite answer."""
SEATS = "seats"
PARTNER = "response time"
"""What binds where no limit does: the partner's answers, one after the other."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """One tier as a forecast sees it. All figures are of one window, calls or points."""

    name: str
    budget: float
    """What we may send in a window."""
    ceiling: float
    """What the partner may count in it; of a bucket: its burst."""
    window_seconds: float
    counts: str = ""
    """The kind of calls it counts; empty: all."""
    weighted: bool = False
    bucket: bool = False
    refill: float = 0.0
    """Of a bucket: what comes back in a window, before our share."""
    lent: float = 0.0
    """Reserved for other lanes and lent out evenly over the window while they are idle."""
    stated: float = 0.0
    """The written limit, before any share; what a person would raise."""
    most: float | None = None
    """What the partner itself states, where the driver knows it: no file should name more."""
    own: float | None = None
    """What the driver uses of that: a file that names more accepts a risk."""
    learned: bool = False
    """The partner turned out to allow less than is written."""

    @classmethod
    def of(cls, spec: TierSpec, *, share: float, lanes: Mapping[Lane, float] | None = None) -> Capacity:
        """What a scheduled call (normal lane) finds of this tier while nobody else is about."""
        portion = spec.share or share
        if spec.kind == "bucket":
            burst = spec.burst or spec.limit
            return cls(
                spec.name, max(1.0, burst * portion), burst, spec.window_seconds, spec.budget, spec.weighted,
                bucket=True, refill=spec.limit * portion, stated=spec.limit,
            )  # fmt: skip
        budget = max(1.0, math.floor(spec.limit * portion + 1e-9))
        parts = {lane: math.floor(budget * part + 1e-9) for lane, part in (lanes or {}).items() if lane != Lane.NORMAL}
        kept = 1.0 if parts.get(Lane.HIGH) and spec.window_seconds > SHORT_SECONDS else 0.0
        return cls(
            spec.name, max(1.0, budget - kept), max(1.0, spec.limit - kept), spec.window_seconds, spec.budget, spec.weighted,
            lent=max(0.0, sum(parts.values()) - kept), stated=spec.limit,
        )  # fmt: skip

    def lowered(self, budget: float, ceiling: float) -> Capacity:
        """The same tier where the partner allows less at this moment than is written."""
        if budget >= self.budget and ceiling >= self.ceiling:
            return self
        part = min(budget / self.budget, 1.0)
        return replace(
            self, budget=max(1.0, min(budget, self.budget)), ceiling=max(1.0, min(ceiling, self.ceiling)),
            refill=self.refill * part, lent=self.lent * part, learned=True,
        )  # fmt: skip

    @property
    def written(self) -> str:
        """The limit as a person writes it: `60/h`, `read 100/s`."""
        rate = rate_text(int(self.stated), self.window_seconds)
        return f"{self.counts} {rate}" if self.counts else rate

    @property
    def hold_seconds(self) -> float:
        return self.window_seconds * (1 + DRIFT) + GUARD

    def counted(self, names: Collection[str]) -> bool:
        """Does it count calls that go by these names?"""
        return not self.counts or self.counts in names

    def per_second(self, latency_seconds: float) -> float:
        """What it lets through in the long run, calls or points a second: of the rate W / (W + latency) at most."""
        if self.bucket:
            pace = self.refill / self.window_seconds * (1 - DRIFT)
            return min(pace, self.ceiling / latency_seconds) if latency_seconds > 0 else pace
        return min(self.budget / self.hold_seconds, self.ceiling / (self.hold_seconds + latency_seconds))


@dataclass(frozen=True, slots=True)
class Stream:
    """So many calls of one kind: how many may be under way at once (a listing read page by page has one)."""

    calls: float
    names: frozenset[str]
    weight: float = 1.0
    flight: int = 1


@dataclass(frozen=True, slots=True)
class Duration:
    """How long calls take, and what makes it so long."""

    seconds: float
    binding: str
    """A tier as it is written, `seats`, or `response time`."""


def duration(
    streams: Sequence[Stream],
    tiers: Iterable[Capacity],
    *,
    latency_seconds: float,
    seats: int | None = None,
    taken: Mapping[str, float] | None = None,
    members: int = 1,
) -> Duration:
    """From the first send to the last answer, beginning with empty windows. No calls take no time.

    `taken` is what others spend of each tier meanwhile, by its name, calls or points a second; however much that is, of
    several `members` each has its fair share.
    """
    streams = [stream for stream in streams if stream.calls > 0]
    tiers = list(tiers)
    found = Duration(0.0, PARTNER)
    # Whatever a tier counts takes at least as long as the tiers make it that count all of that.
    for some in _together(streams, tiers):
        bound = sum(stream.flight for stream in some)
        by_seats = seats is not None and seats < bound
        shared = [tier for tier in tiers if all(tier.counted(stream.names) for stream in some)]
        rules = _nested(some, shared, latency_seconds, taken or {}, members)
        calls = sum(stream.calls for stream in some)
        sent, binding = _sent(calls, rules, latency_seconds, min(bound, seats or bound), SEATS if by_seats else PARTNER)
        if sent + latency_seconds > found.seconds:
            found = Duration(sent + latency_seconds, binding)
    return found


def _together(streams: Sequence[Stream], tiers: Sequence[Capacity]) -> list[list[Stream]]:
    """All of them, those that one tier counts, and each by itself."""
    if len(streams) < 2:
        return [list(streams)] if streams else []
    sets = [tuple(range(len(streams)))]
    sets += [tuple(n for n, stream in enumerate(streams) if tier.counted(stream.names)) for tier in tiers]
    sets += [(n,) for n in range(len(streams))]
    return [[streams[n] for n in some] for some in dict.fromkeys(sets) if some]


@dataclass(frozen=True, slots=True)
class _Rule:
    """At most `room` calls of the mix in `turn` seconds; the last `lent` of a turn come evenly."""

    name: str
    room: float
    turn: float
    lent: float = 0.0
    smooth: bool = False
    later: float = 0.0

    def within(self, calls: float) -> float:
        """When the last of so many calls, all of one turn, leaves at the soonest."""
        if self.smooth:
            return max(0.0, calls - self.room) * self.turn + (self.later if calls > self.room else 0.0)
        over = calls - (self.room - self.lent) - _LOANS_AT_ONCE
        return self.turn * over / self.lent if self.lent > 0 and over > 0 else 0.0


def _nested(
    streams: Sequence[Stream], tiers: Iterable[Capacity], latency: float, taken: Mapping[str, float], members: int
) -> list[_Rule]:
    """The tiers as rules over the whole mix of calls, the shortest turn first."""
    calls = sum(stream.calls for stream in streams)
    found = []
    for tier in tiers:
        # What a call of the mix costs here, on average.
        each = sum(stream.calls * (stream.weight if tier.weighted else 1.0) for stream in streams) / calls
        rate = tier.per_second(latency)
        left = max(1.0 - taken.get(tier.name, 0.0) / rate, 1 / members if members > 1 else _LEAST)
        if tier.bucket:
            pace = tier.refill / tier.window_seconds * (1 - DRIFT)
            late = latency if tier.budget >= tier.ceiling else 0.0
            found.append(_Rule(tier.written, tier.budget * left / each, each / (pace * left), smooth=True, later=late))
            if latency > 0:
                found.append(_Rule(tier.written, max(1.0, tier.ceiling * left / each), latency))
            continue
        hold, room, turn = tier.hold_seconds, tier.budget, tier.hold_seconds
        if tier.ceiling / (hold + latency) < tier.budget / hold:
            room, turn = tier.ceiling, hold + latency
        found.append(_Rule(tier.written, max(1.0, room * left / each), turn, tier.lent * left / each))
    return sorted(found, key=lambda rule: (not rule.smooth, rule.turn))


def _sent(calls: float, rules: Sequence[_Rule], latency: float, flight: int, otherwise: str) -> tuple[float, str]:
    """When the last of so many calls is sent, and what it waited for; `otherwise` for an answer."""

    @cache
    def at(count: float, depth: int) -> tuple[float, str]:
        if depth == 0:
            return max(0, math.ceil(count / flight - 1e-9) - 1) * latency, otherwise
        rule, inner = rules[depth - 1], at(count, depth - 1)
        if rule.smooth:
            mine = rule.within(count)
        else:
            turns = max(0, math.ceil(count / rule.room - 1e-9) - 1)
            rest = count - turns * rule.room
            turn = max(rule.turn, at(rule.room + 1, depth - 1)[0]) if turns else 0.0
            mine = turns * turn + max(rule.within(rest), at(rest, depth - 1)[0])
        return (mine, rule.name) if mine > inner[0] + 1e-9 else inner

    return at(calls, len(rules))
