"""What would make schedules fit: the least change of `every:` and `full_every:`, or the limit to raise. Computed, and
tried by the same forecast before it is said."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace

from syncd.config.units import format_duration
from syncd.limits.adaptive import quoted, rate_text
from syncd.limits.capacity import Capacity
from syncd.sync.forecast import ScopeForecast
from syncd.sync.loads import Load, ScopeLoad
from syncd.sync.plan import Strategy

ENOUGH = 0.95
"""Advice leaves so much of a tier at the most: figures change."""
STEPS = (
    1, 2, 3, 5, 10, 15, 20, 30, 45,
    60, 120, 180, 300, 600, 900, 1200, 1800, 2700,
    3600, 7200, 10800, 14400, 21600, 28800, 43200,
    86400, 2 * 86400, 3 * 86400, 7 * 86400, 14 * 86400, 30 * 86400,
)  # fmt: skip
"""Intervals a person would write, seconds."""
_TURNS = 2000


@dataclass(frozen=True, slots=True)
class Change:
    """One setting to write."""

    partner: str
    resource: str
    key: str
    """`every`, `full_every` or `backup_every`."""
    seconds: float
    was: str
    """The setting so far."""
    integrations: tuple[str, ...]
    """Whose schedule it is."""

    @property
    def setting(self) -> str:
        return f"{self.key}: {format_duration(self.seconds)}"


@dataclass(frozen=True, slots=True)
class Raise:
    """A limit under which the schedules as they are would fit."""

    tier: str
    needed: float
    """Calls in its window."""
    window_seconds: float
    yaml: str
    most: float | None = None
    """What the partner states itself, where the driver knows it."""

    @property
    def allowed(self) -> bool:
        """Within what the partner states?"""
        return self.most is None or self.needed <= self.most


@dataclass(frozen=True, slots=True)
class Advice:
    """`helps` is False where no schedule would do."""

    changes: tuple[Change, ...] = ()
    raises: tuple[Raise, ...] = ()
    helps: bool = True


Group = tuple[str, str, float, float]
"""Partner, resource, interval, time between complete passes: schedules that are changed together."""


def advise(found: ScopeForecast) -> Advice:
    """What would make it fit; nothing where it fits, or where nothing is known against it."""
    scope = found.load
    if found.fits is not False:
        return Advice()
    steps = _Steps(scope)
    helps = steps.find()
    return Advice(steps.changes() if helps else (), _raises(found), helps)


class _Steps:
    """Schedules stretched step by step until the forecast fits."""

    def __init__(self, scope: ScopeLoad) -> None:
        self._scope = scope
        self._every: dict[Group, float] = {}
        self._full: dict[Group, float] = {}

    def find(self) -> bool:
        for _ in range(_TURNS):
            scope = self._stretched()
            if _good(scope):
                self._ease()
                return True
            if not self._step(scope):
                return False
        return False

    def changes(self) -> tuple[Change, ...]:
        made = []
        for key, chosen in (("every", self._every), ("full_every", self._full)):
            for group, seconds in chosen.items():
                partner, resource, _, full = group
                mine = [load for load in self._scope.loads if _group(load) == group]
                was = mine[0].written if key == "every" else f"full_every: {format_duration(full)}"
                names = tuple(load.integration for load in mine)
                word = "backup_every" if key == "every" and mine[0].seldom else key
                made.append(Change(partner, resource, word, seconds, was, names))
        return tuple(made)

    def _stretched(self) -> ScopeLoad:
        return replace(self._scope, loads=tuple(self._one(load) for load in self._scope.loads))

    def _one(self, load: Load) -> Load:
        group = _group(load)
        if group in self._full:
            load = replace(load, full_every_seconds=self._full[group])
        return load.every(self._every[group]) if group in self._every else load

    def _step(self, scope: ScopeLoad) -> bool:
        """One more step for whoever spends most of the fullest tier, else for a run that lasts too long."""
        groups = {(load.integration, load.resource): _group(load) for load in self._scope.loads}
        full = max(scope.tiers, key=lambda tier: scope.shares[tier.name], default=None)
        if full is not None and scope.shares[full.name] > ENOUGH:
            spent: defaultdict[tuple[str, Group], float] = defaultdict(float)
            for load in scope.loads:
                if full.counted(load.names):
                    group, weight = groups[load.integration, load.resource], load.weight if full.weighted else 1.0
                    usual = load.full_per_second if load.always_full else load.run_per_second
                    spent["every", group] += weight * usual
                    if load.strategy is Strategy.INCREMENTAL:
                        spent["full_every", group] += weight * load.full_per_second
            greatest = sorted(spent, key=lambda part: -spent[part])
            return any(self._stretch(*part) for part in greatest)
        late = next(scope.overruns(), None)
        return late is not None and self._stretch(late[1], groups[late[0].integration, late[0].resource], late[2])

    def _stretch(self, key: str, group: Group, least: float = 0.0) -> bool:
        chosen, now = (self._every, group[2]) if key == "every" else (self._full, group[3])
        now = chosen.get(group, now)
        above = [step for step in STEPS if step > now and step * ENOUGH >= least]
        if not above:
            return False
        chosen[group] = float(above[0])
        return True

    def _ease(self) -> None:
        """Take back every step that turned out not to be needed, the last ones first."""
        for chosen, place in ((self._full, 3), (self._every, 2)):
            for group in reversed(list(chosen)):
                while group in chosen:
                    kept = chosen[group]
                    below = [step for step in STEPS if group[place] < step < kept]  # type: ignore[operator]
                    if below:
                        chosen[group] = float(below[-1])
                    else:
                        del chosen[group]
                    if not _good(self._stretched()):
                        chosen[group] = kept
                        break


def _good(scope: ScopeLoad) -> bool:
    return all(share <= ENOUGH for share in scope.shares.values()) and next(scope.overruns(), None) is None


def _group(load: Load) -> Group:
    return load.partner, load.resource, load.shortest_seconds, load.full_every_seconds


def _raises(found: ScopeForecast) -> tuple[Raise, ...]:
    """The tiers that are too small for what is asked, each as large as it would have to be."""
    scope = found.load
    latency = scope.latency_seconds
    tiers = tuple(one.tier if one.fits else _widened(one.tier, one.spent_per_second, latency) for one in found.tiers)
    wider = replace(scope, tiers=tiers)
    if any(share > 1 for share in wider.shares.values()) or next(wider.overruns(), None) is not None:
        return ()  # something else is in the way too
    return tuple(
        Raise(old.name, new.stated, new.window_seconds, _line(new), new.most)
        for old, new in zip(scope.tiers, tiers, strict=True)
        if new is not old
    )


def _widened(tier: Capacity, spent_per_second: float, latency_seconds: float) -> Capacity:
    """The tier as it would be if a file named a rate that is just enough; of such a rate all is used."""
    turn = tier.window_seconds if tier.bucket else tier.hold_seconds + latency_seconds
    needed = float(math.ceil(spent_per_second * turn / ENOUGH))
    if tier.bucket:
        burst = max(tier.ceiling, needed / tier.window_seconds * latency_seconds)
        return replace(tier, refill=needed, budget=burst, ceiling=burst, stated=needed)
    return replace(tier, budget=needed, ceiling=needed, lent=0.0, stated=needed)


def _line(tier: Capacity) -> str:
    rate = rate_text(int(tier.stated), tier.window_seconds)
    more = [f"budget: {quoted(tier.counts)}"] if tier.counts else []
    more += ["weighted: true"] if tier.weighted else []
    more += [f"kind: bucket, burst: {math.ceil(tier.ceiling)}"] if tier.bucket else []
    written = f"{{{', '.join([f'rate: {rate}', *more])}}}" if more else rate
    risk = ", accept_risk: true" if tier.own is not None and tier.stated > tier.own else ""
    return f"limits: {{tiers: [{written}]{risk}}}"
