"""What the schedules of a scope cost, how long passes take, and whether it all fits the limits. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from syncd.limits.capacity import Capacity, Duration, Stream
from syncd.sync.loads import TOKEN, Figure, Known, Load, ScopeLoad
from syncd.sync.plan import Strategy


@dataclass(frozen=True, slots=True)
class TierForecast:
    """What the schedules ask of one tier."""

    tier: Capacity
    yields_per_second: float
    spent_per_second: float
    most_in_window: float
    """Where everything that can fall into one window does."""

    @property
    def share(self) -> float:
        return self.spent_per_second / self.yields_per_second

    @property
    def fits(self) -> bool:
        return self.share <= 1.0


@dataclass(frozen=True, slots=True)
class ResourceForecast:
    """What one resource costs."""

    load: Load
    full: Duration
    """A complete pass with all else of the scope silent."""
    full_beside: Duration
    """The same while the rest of the scope goes on as scheduled."""
    run_beside: Duration
    """A run that is no complete pass, beside the rest."""
    shares: Mapping[str, float]
    """Of each tier that counts its calls, by name."""
    crowded: tuple[str, ...] = ()
    """Tiers that cannot carry what is asked of them."""

    @property
    def usual_beside(self) -> Duration:
        """The run that the schedule mostly makes, beside the rest."""
        return self.full_beside if self.load.always_full else self.run_beside

    @property
    def late(self) -> bool:
        """Does it last longer than its interval?"""
        return self.usual_beside.seconds > self.load.shortest_seconds

    @property
    def full_late(self) -> bool:
        """Is the next complete pass due before one is over?"""
        return self.load.strategy is Strategy.INCREMENTAL and self.full_beside.seconds > self.load.full_every_seconds

    @property
    def fits(self) -> bool | None:
        """None: nothing speaks against it, but not all is known."""
        if self.crowded or self.late or self.full_late:
            return False
        return True if self.load.is_known else None


@dataclass(frozen=True, slots=True)
class IntegrationForecast:
    """All resources of one integration together."""

    name: str
    resources: tuple[ResourceForecast, ...]
    backfill: Duration
    """A first import of everything, alone in its scope."""
    backfill_beside: Duration
    calls: Figure
    """Of that import, and of a complete pass of everything."""

    @property
    def fits(self) -> bool | None:
        return _all(resource.fits for resource in self.resources)


@dataclass(frozen=True, slots=True)
class ScopeForecast:
    """The whole answer for one scope."""

    load: ScopeLoad
    tiers: tuple[TierForecast, ...]
    integrations: tuple[IntegrationForecast, ...]
    everything: Duration
    """Until all is done when every complete pass falls due in the same moment."""

    @property
    def resources(self) -> list[ResourceForecast]:
        return [resource for integration in self.integrations for resource in integration.resources]

    @property
    def fits(self) -> bool | None:
        return _all([*(integration.fits for integration in self.integrations), *(one.fits for one in self.tiers)])


def forecast(scope: ScopeLoad) -> ScopeForecast:
    """What the scope's schedules cost and how long they take."""
    tiers = tuple(_tier(scope, tier) for tier in scope.tiers)
    crowded = {one.tier.name for one in tiers if not one.fits}
    integrations = []
    for name in scope.integrations:
        own = [load for load in scope.loads if load.integration == name]
        streams = [_first_import(load, scope) for load in own]
        sources = {load.full.known for load in own if load.strategy is not Strategy.FEED}
        total = sum(load.full_calls for load in own)
        known = next((one for one in reversed(Known) if one in sources), Known.UNKNOWN)  # the least certain one
        integrations.append(
            IntegrationForecast(
                name,
                tuple(_resource(scope, load, tiers, crowded) for load in own),
                scope.lasts(streams),
                scope.lasts(streams, scope.beside(own)),
                Figure(None if known is Known.UNKNOWN else total, known),
            )
        )
    everything = scope.lasts([load.stream(load.full_calls) for load in scope.loads])
    return ScopeForecast(scope, tiers, tuple(integrations), everything)


def _first_import(load: Load, scope: ScopeLoad) -> Stream:
    """A first import lists below many parents at once; a later pass goes through them one by one."""
    stream = load.stream(load.full_calls)
    return replace(stream, flight=scope.workers) if load.strategy is Strategy.CHILDREN else stream


def _tier(scope: ScopeLoad, tier: Capacity) -> TierForecast:
    most = sum(
        load.most_in(tier.window_seconds) * (load.weight if tier.weighted else 1.0)
        for load in scope.loads
        if tier.counted(load.names)
    )
    if tier.counts == TOKEN:
        most += math.ceil(scope.tokens_per_second * tier.window_seconds)
    return TierForecast(tier, tier.per_second(scope.latency_seconds), scope.asked[tier.name], most)


def _resource(
    scope: ScopeLoad, load: Load, tiers: Sequence[TierForecast], crowded: Collection[str]
) -> ResourceForecast:
    mine = scope.spent([load])
    others = scope.beside([load])
    counting = [one for one in tiers if one.tier.counted(load.names)]
    full = [load.stream(load.full_calls)]
    return ResourceForecast(
        load,
        full=scope.lasts(full),
        full_beside=scope.lasts(full, others),
        run_beside=scope.lasts([load.stream(load.run_calls)], others),
        shares={one.tier.name: mine[one.tier.name] / one.yields_per_second for one in counting},
        crowded=tuple(one.tier.name for one in counting if one.tier.name in crowded),
    )


def _all(answers: Iterable[bool | None]) -> bool | None:
    found = list(answers)
    if False in found:
        return False
    return None if None in found else True
