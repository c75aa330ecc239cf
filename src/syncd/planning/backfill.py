"""What reading a time range again costs: calls, how long they take beside the schedule, and the share of each limit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from syncd.config import PartnerConfig
from syncd.planning.inputs import Sight, scopes_of
from syncd.sync import measured as figures
from syncd.sync.loads import Figure, Known, Load, ScopeLoad
from syncd.sync.plan import ResourcePlan, Strategy

Bounds = Literal["both", "since", "none"]
"""What the partner can leave out: all but the range, what is older than it, or nothing."""


@dataclass(frozen=True, slots=True)
class Range:
    """One resource of the range, and what the copy knows of it."""

    plan: ResourcePlan
    within: int | None
    """Stored records whose last change lies where the partner would list them; None: their stamps do not tell."""
    below: int
    """Of these, inside the range: each is listed below anew."""
    children: Sequence[str] = ()


def bounds_of(plan: ResourcePlan) -> Bounds:
    """How far the listing can be narrowed to a range."""
    since = plan.resource.since
    if since is None or plan.strategy is Strategy.CHILDREN:
        return "none"
    return "both" if since.until is not None or since.ascending else "since"


def calls_of(one: Range, load: Load) -> Figure:
    """Calls of one listing of the range. Records that changed and were never seen are not among those counted."""
    full = load.full if load.strategy is not Strategy.FEED else Figure()
    if bounds_of(one.plan) == "none":
        return full
    page = load.page.value or float(one.plan.resource.page_size or 1)
    if one.within is None:
        return Figure(full.value, Known.ASSUMED) if full.is_known else full  # at most everything
    if load.full.known is not Known.MEASURED and not one.within:
        return full if full.is_known else Figure()  # nothing was read yet: at most everything
    return Figure(figures.pages_of(one.within, page), Known.ASSUMED)


def cost(partner: PartnerConfig, sight: Sight, integration: str, ranges: Sequence[Range]) -> dict[str, Any]:
    """The cost of all ranges together, `syncd.backfill-plan/1` without its heading. Raises ConfigError."""
    scope, loads = loads_of(partner, sight, integration)
    resources: list[dict[str, Any]] = []
    parts: list[tuple[Load, Figure]] = []
    for one in ranges:
        load = loads[one.plan.name]
        found = calls_of(one, load)
        parts.append((load, found))
        below = {child: float(one.below) for child in one.children}
        parts += [(loads[child], Figure(calls, Known.ASSUMED)) for child, calls in below.items()]
        resources.append(
            {"name": one.plan.name, "bounds": bounds_of(one.plan), "calls": figure(found), "children": below}
        )
    return {"resources": resources, **priced(scope, parts)}


def loads_of(partner: PartnerConfig, sight: Sight, integration: str) -> tuple[ScopeLoad, dict[str, Load]]:
    """The scope an integration spends from, and its own loads by resource. Raises ConfigError."""
    scope = next(one for one in scopes_of(partner, sight) if integration in one.integrations)
    return scope, {load.resource: load for load in scope.loads if load.integration == integration}


def figure(found: Figure) -> dict[str, Any]:
    return {"value": found.value, "known": str(found.known)}


def priced(scope: ScopeLoad, parts: Sequence[tuple[Load, Figure]]) -> dict[str, Any]:
    """What so many calls beside the schedule cost: calls, seconds and what binds them, the share of each limit."""
    spent: dict[str, float] = dict.fromkeys([tier.name for tier in scope.tiers], 0.0)
    for load, calls in parts:
        for tier in scope.tiers:
            if tier.counted(load.names):
                spent[tier.name] += calls.least(1.0) * (load.weight if tier.weighted else 1.0)
    lasts = scope.lasts([load.stream(calls.least(1.0)) for load, calls in parts], scope.beside([]))
    return {
        "calls": math.ceil(sum(calls.least(1.0) for _, calls in parts)),
        "at_least": any(not calls.is_known for _, calls in parts),
        "seconds": round(lasts.seconds, 1),
        "binding": lasts.binding,
        "shares": _shares(scope, spent, lasts.seconds),
    }


def _shares(scope: ScopeLoad, spent: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Of what each limit yields while it lasts, at least within one of its windows, how much it takes."""
    found = {}
    for tier in scope.tiers:
        yields = tier.per_second(scope.latency_seconds) * max(seconds, tier.window_seconds)
        if spent[tier.name]:
            found[tier.written] = float(f"{min(spent[tier.name] / yields, 1.0):.3g}")
    return found
