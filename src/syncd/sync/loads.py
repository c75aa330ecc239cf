"""What spends from a scope: its resources with their schedules and the cost of their runs, and the limits they share.

A forecast is only as good as its figures, so each one says where it comes from: `measured` by earlier runs, `stated` by the
partner, `assumed` from the driver's description, or `unknown`. What is unknown counts as the least it can be (one call a
run): that such a schedule does not fit is certain, that it fits is not said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from syncd.limits.capacity import Capacity, Duration, Stream, duration
from syncd.sync.plan import Strategy

TOKEN = "token"  # noqa: S105 - a name, no secret
"""The budget that token requests, and nothing else, are counted under."""
DEFAULT_LATENCY_SECONDS = 0.3
"""Assumed response time where nothing was called yet."""


class Known(StrEnum):
    """Where a figure comes from."""

    MEASURED = "measured"
    STATED = "stated"
    ASSUMED = "assumed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number and where it comes from."""

    value: float | None = None
    known: Known = Known.UNKNOWN

    @property
    def is_known(self) -> bool:
        return self.value is not None

    def least(self, otherwise: float) -> float:
        """The number, or the least it can be."""
        return otherwise if self.value is None else self.value


@dataclass(frozen=True, slots=True)
class Load:
    """One resource of one integration: when it runs, and what its runs cost."""

    partner: str
    integration: str
    resource: str
    strategy: Strategy
    period_seconds: float
    """From one start to the next, on average."""
    shortest_seconds: float
    """The same at the least: what a run has to end in."""
    full_every_seconds: float
    names: frozenset[str] = frozenset({"read"})
    """By what names its calls are counted."""
    weight: float = 1.0
    flight: int = 1
    """Calls of one run that may be under way at once."""
    records: Figure = field(default_factory=Figure)
    page: Figure = field(default_factory=Figure)
    """Records a call brings."""
    full: Figure = field(default_factory=Figure)
    """Calls of a complete pass; 0 for a feed, which has none."""
    run: Figure = field(default_factory=Figure)
    """Calls of a run that is no complete pass."""
    caused_per_second: float = 0.0
    """Calls a second that changed parents cause, whatever the schedule."""
    overlap_seconds: float = 0.0
    """How far behind the last change a run reads again."""
    parent: str = ""
    written: str = ""
    """The schedule as a person would write it: `every: 15m`."""
    seldom: bool = False
    """Webhooks bring its changes, `caused_per_second` the calls they cause; the schedule is that of the backup."""
    notes: tuple[str, ...] = ()
    """What these figures take for granted."""

    @property
    def always_full(self) -> bool:
        return self.strategy in (Strategy.FULL, Strategy.CHILDREN)

    @property
    def full_calls(self) -> float:
        return 0.0 if self.strategy is Strategy.FEED else self.full.least(1.0)

    @property
    def run_calls(self) -> float:
        """Calls of the run that the schedule mostly makes."""
        return self.full_calls if self.always_full else self.run.least(1.0)

    @property
    def full_seconds(self) -> float:
        """From one complete pass to the next; infinity where there is none."""
        if self.strategy is Strategy.FEED:
            return math.inf
        if self.always_full:
            return self.period_seconds
        runs = self.full_every_seconds / self.period_seconds
        if self.seldom:  # the backup nearest to when a pass is due is the pass
            runs -= min(1.0, runs) / 2
        return max(1, math.ceil(runs - 1e-9)) * self.period_seconds

    @property
    def deadlines(self) -> list[tuple[str, float, float]]:
        """What has to end in time: the setting that says so, calls, and seconds."""
        found = [("every", self.run_calls, self.shortest_seconds)]
        if self.strategy is Strategy.INCREMENTAL:
            found.append(("full_every", self.full_calls, self.full_every_seconds))
        return found

    @property
    def is_known(self) -> bool:
        """Were the calls of its runs measured, or derived from what the partner stated?"""
        needs_full = self.strategy is not Strategy.FEED
        return (self.full.is_known or not needs_full) and (self.run.is_known or self.always_full)

    @property
    def full_per_second(self) -> float:
        """Calls a second that complete passes make, on average."""
        return self.full_calls / self.full_seconds

    @property
    def run_per_second(self) -> float:
        """Calls a second that the other runs make, on average."""
        if self.always_full:
            return 0.0
        return self.run_calls * max(0.0, 1 / self.period_seconds - 1 / self.full_seconds)

    @property
    def per_second(self) -> float:
        """Calls a second, on average."""
        return self.full_per_second + self.run_per_second + self.caused_per_second

    def most_in(self, seconds: float) -> float:
        """The most calls its schedule may ask for within so many seconds."""
        runs = math.floor(seconds / self.shortest_seconds) + 1
        if self.always_full:
            return runs * self.full_calls + self.caused_per_second * seconds
        full = min(runs, math.floor(seconds / self.full_seconds) + 1)
        return full * self.full_calls + (runs - full) * self.run_calls + self.caused_per_second * seconds

    def stream(self, calls: float) -> Stream:
        return Stream(calls, self.names, self.weight, self.flight)

    def every(self, seconds: float) -> Load:
        """The same with another interval: the longer it is, the more changes a run finds, beside those of the overlap."""
        stretch = (seconds + self.overlap_seconds) / (self.shortest_seconds + self.overlap_seconds)
        run = self.run if self.run.value is None else replace(self.run, value=1 + (self.run.value - 1) * stretch)
        return replace(self, shortest_seconds=seconds, period_seconds=seconds + min(seconds / 10, 30.0) / 2, run=run)


@dataclass(frozen=True)
class ScopeLoad:
    """Everything that spends from one scope."""

    scope: str
    tiers: tuple[Capacity, ...]
    loads: tuple[Load, ...]
    seats: int | None = None
    workers: int = 8
    """Runs that may go on at once."""
    latency: Figure = field(default_factory=Figure)
    """Mean response time, seconds."""
    tokens_per_second: float = 0.0
    """Calls to the token endpoint, counted as `token`."""

    @property
    def latency_seconds(self) -> float:
        return self.latency.least(DEFAULT_LATENCY_SECONDS)

    @cached_property
    def integrations(self) -> list[str]:
        return list(dict.fromkeys(load.integration for load in self.loads))

    def spent(self, loads: Iterable[Load]) -> dict[str, float]:
        """What these take of each tier on average, calls or points a second."""
        found = dict.fromkeys([tier.name for tier in self.tiers], 0.0)
        for load in loads:
            calls = load.per_second
            for tier in self.tiers:
                if tier.counted(load.names):
                    found[tier.name] += calls * (load.weight if tier.weighted else 1.0)
        return found

    @cached_property
    def asked(self) -> dict[str, float]:
        """What all together ask of each tier, calls or points a second."""
        found = self.spent(self.loads)
        for tier in self.tiers:
            if tier.counts == TOKEN:
                found[tier.name] += self.tokens_per_second
        return found

    @cached_property
    def shares(self) -> dict[str, float]:
        """How much of each tier that is; 1 is all it yields."""
        return {tier.name: self.asked[tier.name] / tier.per_second(self.latency_seconds) for tier in self.tiers}

    def beside(self, loads: Iterable[Load]) -> dict[str, float]:
        """What all others ask of each tier."""
        mine = self.spent(loads)
        return {name: max(0.0, asked - mine[name]) for name, asked in self.asked.items()}

    def overruns(self) -> Iterator[tuple[Load, str, float]]:
        """The schedules that are too short for their runs: whose, `every` or `full_every`, and how long a run lasts."""
        for load in self.loads:
            others: dict[str, float] | None = None
            for key, calls, allowed in load.deadlines:
                if not self._surely(load, calls, allowed):
                    others = self.beside([load]) if others is None else others
                    lasts = self.lasts([load.stream(calls)], others).seconds
                    if lasts > allowed:
                        yield load, key, lasts

    def _surely(self, load: Load, calls: float, seconds: float) -> bool:
        """A quick yes: even where nothing overlaps, so many calls end in that time."""
        most = calls * self.latency_seconds
        for tier in self.tiers:
            if tier.counted(load.names):
                rate = tier.per_second(self.latency_seconds)
                left = max(1.0 - self.asked[tier.name] / rate, 0.02)
                most += calls * (load.weight if tier.weighted else 1.0) / (rate * left) + tier.hold_seconds
        return most <= seconds

    def lasts(self, streams: Sequence[Stream], taken: Mapping[str, float] | None = None) -> Duration:
        """How long these calls take while others take so much of each tier (calls or points a second, by its name)."""
        seats = min(self.seats or math.inf, self.workers * 4)
        return duration(
            streams,
            self.tiers,
            latency_seconds=self.latency_seconds,
            seats=int(seats),
            taken=taken,
            members=len(self.integrations),
        )
