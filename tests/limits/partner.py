"""A partner's side of a rate limit, written without a look at ours: it counts arrivals in the plainest way there is."""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Sequence
from typing import Any

from syncd.testing.clock import FakeClock

Arrival = tuple[float, float]
"""(moment, weight)."""


def worst_window(arrivals: Sequence[Arrival], window: float) -> float:
    """The greatest weight that arrived within any half-open stretch of `window` seconds."""
    ordered = sorted(arrivals)
    moments = [at for at, _ in ordered]
    sums = [0.0]
    for _, weight in ordered:
        sums.append(sums[-1] + weight)
    return max((sums[bisect.bisect_left(moments, at + window)] - sums[i] for i, at in enumerate(moments)), default=0.0)


def worst_fixed(arrivals: Sequence[Arrival], window: float, phase: float) -> float:
    """The greatest weight in any of the windows that begin at `phase + k * window`."""
    counts: dict[int, float] = {}
    for at, weight in arrivals:
        k = math.floor((at - phase) / window)
        counts[k] = counts.get(k, 0.0) + weight
    return max(counts.values(), default=0.0)


def worst_bucket(arrivals: Sequence[Arrival], rate: float) -> float:
    """The highest level of a bucket that drains at `rate`: it must never exceed the burst."""
    level = worst = 0.0
    last = -math.inf
    for at, weight in sorted(arrivals):
        level = max(0.0, level - rate * (at - last)) if last > -math.inf else 0.0
        last = at
        level += weight
        worst = max(worst, level)
    return worst


class Partner:
    """Takes calls; each arrives at some moment between its send and its answer, chosen as unkindly as `nature` says."""

    def __init__(
        self, clock: FakeClock, seed: int, *, least: float = 0.01, most: float = 0.6, nature: str = "any"
    ) -> None:
        self.clock = clock
        self.dice = random.Random(seed)
        self.least = least
        self.most = most
        self.nature = nature
        self.arrivals: list[Arrival] = []
        self.by_member: dict[str, int] = {}

    async def call(self, weight: float = 1.0, member: str = "", latency: float | None = None) -> None:
        """Sleep for the latency. A call cut off on its way may arrive all the same."""
        took = self.dice.uniform(self.least, self.most) if latency is None else latency
        share = {"early": 0.0, "late": 1.0, "edges": self.dice.choice((0.0, 1.0)), "any": self.dice.random()}
        self.arrivals.append((self.clock.monotonic() + took * share[self.nature], weight))
        self.by_member[member] = self.by_member.get(member, 0) + 1
        await self.clock.sleep(took)

    def since(self, moment: float) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival[0] >= moment]


async def work(gate: Any, partner: Partner, until: float, **asked: Any) -> int:
    """One worker that calls as often as it is let; returns how often."""
    made = 0
    while partner.clock.monotonic() < until:
        async with gate.admit(**asked) as slot:
            if partner.clock.monotonic() >= until:
                break
            await partner.call(asked.get("weight", 1.0), asked.get("member", ""))
            slot.success()
            made += 1
    return made
