"""Counting one token bucket, by the same reasoning as a window."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from syncd.limits.tiers import TierSpec
from syncd.limits.windows import DRIFT, NEAR, Hold, Window, show
from syncd.model import Lane


class Bucket:
    """A token bucket, exact by the same reasoning.

    The arrivals of any stretch of t seconds must stay within `burst + t * rate`. The worst case puts every call at the
    moment of its answer and those in flight at now: so a level that rises with each answer and drains at `rate` may not
    exceed, together with what is in flight, the burst.
    """

    def __init__(
        self, spec: TierSpec, *, share: float, reserved: Mapping[Lane, float], wall: Callable[[], float]
    ) -> None:
        self.flying = 0.0
        self._held = self._sent = 0.0
        self._held_at = self._sent_at = -math.inf
        self._late: deque[tuple[float, float]] = deque()
        """Requests whose answers never came: when they have surely arrived, and their weight."""
        self.configure(spec, share=share, reserved=reserved)

    def configure(self, spec: TierSpec, *, share: float, reserved: Mapping[Lane, float]) -> None:
        portion = spec.share or share
        self.spec = spec
        self.name = spec.name
        self.ceiling = spec.burst or spec.limit
        self.budget = max(1.0, self.ceiling * portion)
        self.rate = spec.per_second * (1 - DRIFT)
        self.pace = self.rate * portion
        self.hold_seconds = self.ceiling / self.rate

    def used(self, now: float) -> float:
        self._drain(now)
        return self._sent

    def held_now(self, now: float) -> float:
        self._drain(now)
        return self._held + self.flying

    def admits(self, now: float, lane: int, weight: float, idle: tuple[bool, ...]) -> bool:
        self._drain(now)
        return (
            self._sent + min(weight, self.budget) <= self.budget + NEAR
            and self._held + self.flying + weight <= self.ceiling + NEAR
        )

    def owns(self, lane: int, weight: float) -> bool:
        return False  # a bucket refills all the time: whoever is first in line never waits long

    def opens(self, now: float, lane: int, weight: float, idle: tuple[bool, ...]) -> float:
        if self.flying + weight > self.ceiling + NEAR:
            return self._late[0][0] if self._late else math.inf
        return self.bound(now, weight)

    def bound(self, now: float, weight: float) -> float:
        self._drain(now)
        paced = (self._sent + min(weight, self.budget) - self.budget) / self.pace
        held = (self._held + self.flying + weight - self.ceiling) / self.rate
        return now + max(0.0, paced, held)

    def take(self, now: float, lane: int, weight: float, idle: tuple[bool, ...]) -> Hold:
        self._drain(now)
        self.flying += weight
        self._sent += weight
        return Hold(weight, None)

    def answer(self, hold: Hold, now: float, grace_seconds: float = 0.0) -> None:
        if grace_seconds > 0:
            self._late.append((now + grace_seconds, hold.weight))  # until then it is in flight
            return
        self._drain(now)
        self.flying = max(0.0, self.flying - hold.weight)
        self._held += hold.weight

    def undo(self, hold: Hold) -> None:
        self.flying = max(0.0, self.flying - hold.weight)
        self._sent = max(0.0, self._sent - hold.weight)

    def correct(self, hold: Hold, weight: float) -> None:
        self.flying = max(0.0, self.flying + weight - hold.weight)
        self._sent = max(0.0, self._sent + weight - hold.weight)
        hold.weight = weight

    def view(self, now: float) -> dict[str, Any]:
        return show(
            self.spec, self.used(now), self.held_now(now), self.budget, self.ceiling, self.bound(now, 1.0) - now
        )

    def export(self, now: float) -> dict[str, Any]:
        self._drain(now)
        return {
            "window": self.spec.window_seconds,
            "flying": self.flying,
            "held": [[now, self._held]] if self._held else [],
            "sent": [[now, self._sent, Lane.NORMAL.value]] if self._sent else [],
        }

    def forget(self) -> None:
        self._held = self._sent = 0.0

    def absorb(self, now: float, state: Mapping[str, Any]) -> None:
        for at, weight in state.get("held", ()):
            self._held += max(0.0, weight - self.rate * max(0.0, now - at))
        for at, weight, *_ in state.get("sent", ()):
            self._sent += max(0.0, weight - self.pace * max(0.0, now - at))
        self._held_at = self._sent_at = now

    def charge(self, now: float, weight: float, *, flown: float = 0.0) -> None:
        self._drain(now)
        self._held = min(self._held + weight + flown, self.ceiling)
        self._sent = min(self._sent + weight, self.ceiling)

    def board(self, now: float, lane: int, weight: float) -> Hold:
        return self.take(now, lane, weight, ())

    def _drain(self, now: float) -> None:
        while self._late and self._late[0][0] <= now:
            at, weight = self._late.popleft()
            self._drain_to(at)
            self.flying = max(0.0, self.flying - weight)
            self._held += weight
        self._drain_to(now)

    def _drain_to(self, now: float) -> None:
        if now > self._held_at:
            gone = now - self._held_at
            self._held = max(0.0, self._held - self.rate * gone) if math.isfinite(gone) else 0.0
            self._sent = max(0.0, self._sent - self.pace * gone) if math.isfinite(gone) else 0.0
            self._held_at = self._sent_at = now


Tier = Window | Bucket


def build(
    specs: Iterable[TierSpec], *, share: float, reserved: Mapping[Lane, float], wall: Callable[[], float]
) -> list[Tier]:
    """The counters of these rates. Two rates with one key would be one counter: the tighter stays."""
    chosen: dict[str, TierSpec] = {}
    for spec in specs:
        other = chosen.get(spec.key)
        if other is None or spec.limit * (spec.share or share) < other.limit * (other.share or share):
            chosen[spec.key] = spec
    make: dict[str, type[Window] | type[Bucket]] = {"sliding": Window, "fixed": Window, "bucket": Bucket}
    return [make[s.kind](s, share=share, reserved=reserved, wall=wall) for s in chosen.values()]
