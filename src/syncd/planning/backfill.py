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
    within: int
    """Stored records whose last change lies where the partner would list them."""
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
    if load.full.known is not Known.MEASURED and not one.within:
        return full if full.is_known else Figure()  # nothing was read yet: at most everything
    return Figure(figures.pages_of(one.within, page), Known.ASSUMED)


def cost(partner: PartnerConfig, sight: Sight, integration: str, ranges: Sequence[Range]) -> dict[str, Any]:
    """The cost of all ranges together, `syncd.backfill-plan/1` without its heading. Raises ConfigError."""
    scope = next(one for one in scopes_of(partner, sight) if integration in one.integrations)
    loads = {load.resource: load for load in scope.loads if load.integration == integration}
    resources, streams, total, unknown = [], [], 0.0, False
    spent: dict[str, float] = dict.fromkeys([tier.name for tier in scope.tiers], 0.0)
    for one in ranges:
        load = loads[one.plan.name]
        found = calls_of(one, load)
        parts: list[tuple[Load, float]] = [(load, found.least(1.0))]
        below = {}
        for child in one.children:
            below[child] = float(one.below)
            parts.append((loads[child], float(one.below)))
        unknown = unknown or not found.is_known
        for each, calls in parts:
            total += calls
            streams.append(each.stream(calls))
            for tier in scope.tiers:
                if tier.counted(each.names):
                    spent[tier.name] += calls * (each.weight if tier.weighted else 1.0)
        resources.append(
            {
                "name": one.plan.name,
                "bounds": bounds_of(one.plan),
                "calls": {"value": found.value, "known": str(found.known)},
                "children": below,
            }
        )
    lasts = scope.lasts(streams, scope.beside([]))
    return {
        "resources": resources,
        "calls": math.ceil(total),
        "at_least": unknown,
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
            found[tier.name] = float(f"{spent[tier.name] / yields:.3g}")
    return found
