"""The partner's side, judged: what it may have counted at worst, whatever moment each call arrived at.

Written from the definition and without a look at our counting. A call arrives at some moment between its send and its
answer (or, where none came, the last moment it may still be on its way). So the worst a sliding window of W seconds can
have seen is found at a send: this call, and all calls sent before it that were not answered more than W ago. Fixed
windows of any phase are windows of that length too. A bucket at worst sees every answered call at the moment of its
answer and all others now.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from syncd.limits.tiers import TierSpec
from tests.limits.partner import worst_bucket, worst_window

_SLOW = 1 + 9e-5
"""The partner's clock may run that much slower than ours."""


@dataclass(eq=False, slots=True)
class Call:
    """One request as the world saw it; moments are of the world's own clock."""

    sent_at: float
    lane: int
    member: str
    budget: str
    weight: float
    """What the partner counts it for."""
    asked_weight: float
    let_go_at: float = math.inf
    """When the gate let it go, if it was sent only after a reload: by numbers that held no longer."""
    waited_seconds: float = 0.0
    ended_at: float = math.inf
    """Answered then; or, if no answer came, the last moment at which it may arrive."""
    ended: bool = False
    lost: bool = False
    life: int = 0
    """Which process sent it."""
    arrives_at: float = math.inf


@dataclass
class Told:
    """One tier as syncd knew it, from a moment on; `spec` None: not at all."""

    at: float
    spec: TierSpec | None
    life: int
    knows_past: bool = True
    """May it know of calls that were answered before it was told of the tier?"""


@dataclass
class Ledger:
    """Every call there was, and what syncd had been told."""

    calls: list[Call] = field(default_factory=list)
    told: dict[str, list[Told]] = field(default_factory=dict)
    life: int = 0

    def tell(self, at: float, specs: Iterable[TierSpec], *, fresh: bool = False, stored: Iterable[str] = ()) -> None:
        """These tiers hold from now on. `fresh`: a new process, which remembers the tiers of the keys `stored`."""
        now = {spec.key: spec for spec in specs}
        remembered = set(stored) if fresh else {key for key, told in self.told.items() if told[-1].spec is not None}
        first = not self.told
        self.life += fresh
        for key in self.told.keys() | now.keys():
            told = self.told.setdefault(key, [])
            spec = now.get(key)
            told.append(Told(at, spec, self.life, knows_past=first or key in remembered))

    def broken(self) -> list[str]:
        """Every promise to the partner that was not kept, in words; empty if all is well."""
        found: list[str] = []
        for told in self.told.values():
            found += self._judge(told)
        return found

    def _judge(self, told: list[Told]) -> list[str]:
        found = []
        since, life = -math.inf, 0
        for this, then in zip(told, [*told[1:], Told(math.inf, None, 0)], strict=True):
            if this.spec is None:
                continue
            if not this.knows_past:
                since, life = (
                    this.at,
                    this.life,
                )  # it learned of this tier here: what was answered before is not its fault
            mine = [
                call
                for call in self.calls
                if counts(this.spec, call.budget)
                and (call.sent_at >= since or (call.ended_at >= since and call.life == life and not call.lost))
            ]
            if this.spec.kind == "bucket":
                rates = [(t.at, t.spec.per_second) for t in told if t.spec is not None and t.at >= since]
                trouble = _worst_level(this.spec, mine, this.at, then.at, rates)
            else:
                trouble = _worst_count(this.spec, mine, this.at, then.at)
            if trouble:
                found.append(trouble)
        if len(told) == 1 and told[0].spec is not None and told[0].knows_past:
            found += self._arrivals(told[0].spec)
        return found

    def _arrivals(self, spec: TierSpec) -> list[str]:
        """The same by the moments drawn, counted in the plainest way there is."""
        arrivals = [
            (call.arrives_at, call.weight if spec.weighted else 1.0)
            for call in self.calls
            if counts(spec, call.budget) and call.arrives_at < math.inf
        ]
        if spec.kind == "bucket":
            worst, most = worst_bucket(arrivals, spec.per_second), (spec.burst or spec.limit)
        else:
            worst, most = worst_window(arrivals, spec.window_seconds), spec.limit
        return [f"{spec.name}: {worst:g} arrived, {most:g} are allowed"] if worst > most + 1e-6 else []


def counts(spec: TierSpec, budget: str) -> bool:
    return spec.budget in ("", budget)


def weigher(spec: TierSpec) -> Callable[[Call], float]:
    return (lambda call: call.weight) if spec.weighted else (lambda call: 1.0)


def _worst_count(spec: TierSpec, calls: list[Call], since: float, until: float) -> str:
    """`calls` in the order of their sends."""
    weigh = weigher(spec)
    ends = sorted((call.ended_at, weigh(call)) for call in calls)
    sent = gone = 0.0
    next_end = 0
    for call in calls:
        sent += weigh(call)
        before = call.sent_at - spec.window_seconds * _SLOW
        while ends[next_end][0] < before:
            gone += ends[next_end][1]
            next_end += 1
        if call.let_go_at == math.inf and since <= call.sent_at < until and sent - gone > spec.limit + 1e-6:
            return f"{spec.name}: at {call.sent_at:.3f} the partner may count {sent - gone:g} of {spec.limit:g}"
    return ""


def _worst_level(
    spec: TierSpec, calls: list[Call], since: float, until: float, rates: list[tuple[float, float]]
) -> str:
    """`rates`: by which rate it drained, from which moment on."""
    weigh = weigher(spec)
    most = spec.burst or spec.limit
    ends = sorted((call.ended_at, weigh(call)) for call in calls)
    level = flying = 0.0
    at, next_end = -math.inf, 0
    for call in calls:
        while ends[next_end][0] < call.sent_at:
            end, weight = ends[next_end]
            level = max(0.0, level - _drained(rates, at, end)) + weight
            flying -= weight
            at = end
            next_end += 1
        flying += weigh(call)
        now = max(0.0, level - _drained(rates, at, call.sent_at))
        if call.let_go_at == math.inf and since <= call.sent_at < until and now + flying > most + 1e-6:
            return f"{spec.name}: at {call.sent_at:.3f} the bucket may hold {now + flying:.4f} of {most:g}"
    return ""


def _drained(rates: list[tuple[float, float]], since: float, until: float) -> float:
    if since == -math.inf:
        return 0.0
    ends = [*(at for at, _ in rates[1:]), math.inf]
    return sum(
        max(0.0, min(until, end) - max(since, at)) * rate / _SLOW for (at, rate), end in zip(rates, ends, strict=True)
    )
