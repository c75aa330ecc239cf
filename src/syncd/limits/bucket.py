"""Counting one token bucket, by the same reasoning as a window."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from syncd.limits.meter import DRIFT, SHORT_SECONDS, Meter
from syncd.limits.rings import NEAR, Mark, Ring
from syncd.limits.tiers import TierSpec
from syncd.limits.windows import Window
from syncd.model import Lane


class Bucket(Meter):
    """A token bucket, exact by the same reasoning.

    The arrivals of any stretch of t seconds must stay within `burst + t * rate`. The worst case puts every call at the
    moment of its answer and those in flight at now: so a level that rises with each answer and drains at `rate` may not
    exceed, together with what is in flight, the burst.
    """

    def __init__(self, spec: TierSpec, *, share: float, reserved: Mapping[Lane, float]) -> None:
        self.flying = 0.0
        self._held = self._sent = 0.0
        self._drained_at = -math.inf
        self._late: deque[tuple[float, float]] = deque()
        """Requests whose answers never came: when they have surely arrived, and their weight."""
        self._answers = Ring(spec.window_seconds / 50)
        """What was answered within the last window: the level tells nothing of that."""
        self._since: float | None = None
        """When the first of all answers came."""
        super().__init__(spec, share=share, reserved=reserved)

    def settle(self) -> None:
        super().settle()
        told = self.most / self.spec.limit
        learned = self.per_window / self.configured
        self.ceiling = max(1.0, (self.spec.burst or self.spec.limit) * told)
        self.rate = self.spec.per_second * (1 - DRIFT) * told
        self.budget = max(1.0, self.ceiling * self.portion * min(1.0, learned / told))
        self.pace = self.rate * self.portion * min(1.0, learned / told)
        self.hold_seconds = (self.spec.burst or self.spec.limit) / (self.spec.per_second * (1 - DRIFT))
        self.is_short = self.hold_seconds <= SHORT_SECONDS * 1.01

    def used(self, now: float) -> float:
        self._drain(now)
        return self._sent

    def held_now(self, now: float) -> float:
        self._drain(now)
        return self._held + self.flying

    def accepted(self, now: float) -> float:
        """What was answered within the last window; 0 where we have not counted for so long."""
        self._answers.sweep(now)
        return self._answers.total if self._since is not None and now - self._since >= self.spec.window_seconds else 0.0

    def admits(self, now: float, lane: int, weight: float, idle: tuple[bool, ...]) -> bool:
        self._drain(now)
        if self.bounded and (
            self.barred_until(now, lane, weight) > now
            or self._sent + min(weight, self.budget) > max(1.0, self.budget * self.ramped(now)) + NEAR
        ):
            return False
        return (
            self._sent + min(weight, self.budget) <= self.budget + NEAR
            and self._held + self.flying + weight <= self.ceiling + NEAR
        )

    def owns(self, lane: int, weight: float) -> bool:
        return False  # a bucket refills all the time: whoever is first in line never waits long

    def opens(self, now: float, lane: int, weight: float, idle: tuple[bool, ...]) -> float:
        if self.flying + weight > self.ceiling + NEAR:
            at = self._late[0][0] if self._late else math.inf
        else:
            at = max(self.bound(now, weight), self.barred_until(now, lane, weight) if self.bounded else now)
        return min(at, self.changes_at) if self.changes_at > now else at

    def bound(self, now: float, weight: float) -> float:
        self._drain(now)
        needed = self._sent + min(weight, self.budget)
        paced = (needed - self.budget) / self.pace
        held = (self._held + self.flying + weight - self.ceiling) / self.rate
        at = now + max(0.0, paced, held)
        if self.bounded and (ramped := self.ramped(now)) < 1.0 and needed > max(1.0, self.budget * ramped) + NEAR:
            grows = self.budget * (1.0 - self.ramp_start) / (self.ramp_ends - self.ramp_at)  # towards what drains
            met = (needed - self.budget * ramped) / (self.pace + grows)
            at = max(at, now + min(met, (needed - 1.0) / self.pace))
        return at

    def take(self, now: float, lane: int, weight: float, idle: tuple[bool, ...]) -> Mark | None:
        self._drain(now)
        self.flying += weight
        self._sent += weight
        if self.bounded:
            self.spend(now, weight)
        return None

    def answer(self, mark: Mark | None, weight: float, now: float, grace_seconds: float = 0.0) -> None:
        if grace_seconds > 0:
            self._late.append((now + grace_seconds, weight))  # until then it is in flight
            return
        self._drain(now)
        self.flying = max(0.0, self.flying - weight)
        self._held += weight
        self._since = now if self._since is None else self._since
        self._answers.sweep(now)
        self._answers.push(now + self.step_seconds, weight)

    def undo(self, mark: Mark | None, weight: float) -> None:
        self.flying = max(0.0, self.flying - weight)
        self._sent = max(0.0, self._sent - weight)
        if self.bounded:
            self.unspend(weight)

    def correct(self, mark: Mark | None, expected: float, weight: float) -> None:
        self.flying = max(0.0, self.flying + weight - expected)
        self._sent = max(0.0, self._sent + weight - expected)

    def view(self, now: float) -> dict[str, Any]:
        used, held = self.used(now), self.held_now(now)
        return self.show(now, used, held, self.budget, self.ceiling, self.bound(now, 1.0))

    def export(self, now: float) -> dict[str, Any]:
        self._drain(now)
        return {
            "window": self.spec.window_seconds,
            "level": True,
            "flying": max(0.0, self.flying - sum(weight for _, weight in self._late)),
            "held": ([[now, self._held]] if self._held else []) + [[at, weight] for at, weight in self._late],
            "sent": [[now, self._sent, Lane.NORMAL.value]] if self._sent else [],
        }

    def forget(self) -> None:
        self._held = self._sent = 0.0

    def absorb(self, now: float, state: Mapping[str, Any], late_seconds: float = math.inf) -> None:
        self._drain(now)
        late, held = list(self._late), []
        for at, weight in state.get("held", ()):
            if at > now:  # it may arrive yet
                late.append((min(at, now + late_seconds), weight))
                self.flying += weight
            else:
                held.append((at, weight))
        self._late = deque(sorted(late))
        full = max(self._held, self.ceiling)  # full is full
        self._held = min(self._held + _level(held, now, self.rate), full)
        self._sent += _level([(at, weight) for at, weight, *_ in state.get("sent", ())], now, self.pace)
        self._sent = min(self._sent, self.budget)
        self._drained_at = now

    def charge(self, now: float, weight: float, *, flown: float = 0.0, late_seconds: float = 0.0) -> None:
        self._drain(now)
        more = min(weight + flown, max(0.0, self.ceiling - self._held))
        if more > 0 and late_seconds > 0:
            self._late = deque(sorted([*self._late, (now + late_seconds, more)]))
            self.flying += more
        else:
            self._held += more
        self._sent = min(self._sent + weight, max(self._sent, self.budget))

    def board(self, now: float, lane: int, weight: float) -> Mark | None:
        self._drain(now)
        self.flying += weight
        self._sent += weight
        return None

    def _drain(self, now: float) -> None:
        while self._late and self._late[0][0] <= now:
            at, weight = self._late.popleft()
            self._drain_to(at)
            self.flying = max(0.0, self.flying - weight)
            self._held = max(self._held, min(self._held + weight, self.ceiling))
        self._drain_to(now)
        if now >= self.changes_at:
            self.renew(now)

    def _drain_to(self, now: float) -> None:
        if now > self._drained_at:
            gone = now - self._drained_at
            self._held = max(0.0, self._held - self.rate * gone) if math.isfinite(gone) else 0.0
            self._sent = max(0.0, self._sent - self.pace * gone) if math.isfinite(gone) else 0.0
            self._drained_at = now


def _level(entries: Iterable[tuple[float, float]], now: float, rate: float) -> float:
    """What is left of these amounts, which came at these moments and drain at one rate together."""
    level, last = 0.0, -math.inf
    for at, weight in sorted(entries):
        at = min(at, now)
        level = (max(0.0, level - rate * (at - last)) if level else 0.0) + weight
        last = at
    return max(0.0, level - rate * (now - last)) if level else 0.0


Tier = Window | Bucket
_KINDS: dict[str, type[Window] | type[Bucket]] = {"sliding": Window, "fixed": Window, "bucket": Bucket}


def build(specs: Iterable[TierSpec], *, share: float, reserved: Mapping[Lane, float]) -> list[Tier]:
    """The counters of these rates. Rates with one key are one counter, which keeps them all."""
    chosen: dict[str, TierSpec] = {}
    for spec in specs:
        other = chosen.get(spec.key)
        chosen[spec.key] = spec if other is None else _both(spec, other, share)
    return [_KINDS[s.kind](s, share=share, reserved=reserved) for s in chosen.values()]


def _both(one: TierSpec, other: TierSpec, share: float) -> TierSpec:
    """The rate that keeps two of the same key: the lower limit, and the lower budget."""
    lower = min(one, other, key=lambda spec: spec.limit)
    budget = min(spec.limit * (spec.share or share) for spec in (one, other))
    bursts = [spec.burst or spec.limit for spec in (one, other)] if lower.kind == "bucket" else []
    return replace(lower, share=min(1.0, budget / lower.limit), burst=min(bursts, default=None))
