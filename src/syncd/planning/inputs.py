"""From a configuration, and what is known beside it, to the loads that a forecast is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from cronsim import CronSim

from syncd import drivers
from syncd.client.trip import budgets_of, route_of
from syncd.config import Config, PartnerConfig, format_duration
from syncd.errors import SyncdError
from syncd.kit import Driver, Request, Resource, RestDriver
from syncd.limits import DEFAULT_LANES
from syncd.limits.bucket import build
from syncd.limits.capacity import Capacity
from syncd.limits.tiers import TierSpec
from syncd.model import Checkpoint
from syncd.plans import resource_plans
from syncd.scopes import gate_settings
from syncd.store import Store
from syncd.sync import measured as figures
from syncd.sync.loads import Figure, Known, Load, ScopeLoad
from syncd.sync.measured import Measured
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.schedule import Schedule
from syncd.sync.walk import PAGES_AHEAD
from syncd.sync.webhook_fed import FORGOTTEN, WEBHOOK

_LOOKED_AT = 400
"""Starts of a cron expression that its intervals are taken from."""
DAY_SECONDS = 86400.0
_FROM = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known beside the configuration; nothing of it has to be."""

    measured: Mapping[tuple[str, str], Measured] = field(default_factory=dict)
    """By integration and resource."""
    answered: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    """By integration: seconds between send and answer, in all, and calls."""
    told: Mapping[tuple[str, str], float] | None = None
    """By integration and resource that webhooks told of lately: events a second. None: nobody looked."""
    young: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Of these since when, seconds, where it is less than a day: their rate is assumed, not measured."""
    registered: frozenset[str] = frozenset()
    """Integrations to whose partner's webhooks syncd has subscribed."""
    gates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By scope: `Gate.view()`, for limits that turned out lower than written."""


BLIND = Sight()


async def look(store: Store, names: Sequence[str], stated: Mapping[tuple[str, str], int] | None = None) -> Sight:
    """What the database knows of these integrations. `stated`: records of listings under way, as the partner says."""
    runs: dict[tuple[str, str], list[Any]] = {}
    for run in await store.runs.telling(names, each=figures.LATEST):
        runs.setdefault((run.integration, run.resource), []).append(run)
    live = {
        (name, resource): count for name in names for resource, (count, _) in (await store.records.count(name)).items()
    }
    known = {
        key: figures.measure(runs.get(key, []), live=live.get(key, 0), stated=(stated or {}).get(key))
        for key in {*runs, *live, *(stated or {})}
    }
    told = await store.deliveries.lately(names, FORGOTTEN)
    registered = await store.credentials.having(WEBHOOK, names)
    return Sight(
        known,
        figures.paces(runs),
        told={key: rate for key, (rate, _) in told.items()},
        young={key: seconds for key, (_, seconds) in told.items() if seconds < DAY_SECONDS},
        registered=frozenset(registered),
    )


def assuming(config: Config, sight: Sight, records: Mapping[str, int]) -> Sight:
    """The same, reckoning with so many records of these resources, whatever was counted."""
    known = dict(sight.measured)
    for name in config.integrations:
        for resource, count in records.items():
            known[name, resource] = replace(known.get((name, resource), figures.NOTHING), assumed=count)
    return replace(sight, measured=known)


def scopes_of(partner: PartnerConfig, sight: Sight = BLIND) -> list[ScopeLoad]:
    """What spends from each of the partner's scopes. Raises ConfigError where the driver and the file do not fit."""
    driver = drivers.load(partner.driver, rest=partner.rest, partner=partner.name)
    members: dict[str, list[str]] = {}
    for name in partner.integrations:
        if partner.is_enabled(name):
            members.setdefault(partner.scope_for(name), []).append(name)
    found = []
    for scope, names in members.items():
        settings = gate_settings(driver, partner, names)
        lanes = DEFAULT_LANES if settings.lanes is None else settings.lanes
        known = _stated(driver, partner.options_for(names[0]))
        tiers = [
            _beside(Capacity.of(tier.spec, share=settings.share, lanes=lanes), known.get(_same(tier.spec)))
            for tier in build(settings.tiers, share=settings.share, reserved=lanes)
        ]
        loads = [load for name in names for load in _loads(driver, partner, name, sight)]
        found.append(
            ScopeLoad(
                scope,
                tuple(_as_learned(tier, sight.gates.get(scope)) for tier in tiers),
                tuple(loads),
                settings.concurrency,
                partner.workers,
                figures.mean(sight.answered[name] for name in names if name in sight.answered),
                sum(_tokens_per_second(driver, partner, name) for name in names),
            )
        )
    return found


def all_scopes(config: Config, sight: Sight = BLIND) -> tuple[list[ScopeLoad], dict[str, str]]:
    """Every scope of the enabled partners, and why a partner has none."""
    found: list[ScopeLoad] = []
    broken: dict[str, str] = {}
    for partner in config.partners.values():
        try:
            found += scopes_of(partner, sight)
        except SyncdError as error:
            broken[partner.name] = str(error)
    return found, broken


def _loads(driver: Driver, partner: PartnerConfig, name: str, sight: Sight) -> list[Load]:
    plans = resource_plans(driver, partner, name)
    known = {plan.name: sight.measured.get((name, plan.name), figures.NOTHING) for plan in plans.values()}
    return [_load(driver, partner, name, plan, known, sight) for plan in plans.values()]


def _load(
    driver: Driver,
    partner: PartnerConfig,
    name: str,
    plan: ResourcePlan,
    known: Mapping[str, Measured],
    sight: Sight,
) -> Load:
    resource, found, told = plan.resource, known[plan.name], sight.told
    request = _listing(driver, resource)
    about = [(name, each) for each in (plan.name, *resource.feeds)]
    fed = plan.backup is not None and (told is None or any(each in told for each in about))
    fed = fed and (not plan.by_default or name in sight.registered)
    schedule = plan.paced(fed=fed)
    mean_seconds, shortest = intervals(schedule)
    # A delivery costs at most the read of its record; a record that comes whole, or several at once, cost less.
    caused = told.get((name, plan.name), 0.0) if told is not None and plan.strategy is not Strategy.FEED else 0.0
    if plan.strategy is Strategy.CHILDREN:
        parents = figures.records_figure(known.get(resource.parent or "", figures.NOTHING))
        full = figures.children_figure(found, parents, resource.page_size)
        if resource.where is not None and found.pass_calls is not None and found.assumed is None:
            full = Figure(float(found.pass_calls), Known.MEASURED)  # not below every parent
        changed = known.get(resource.parent or "", figures.NOTHING).changed_per_second or 0.0
        each = full.value / parents.value if full.value and parents.value else 1.0
        caused += changed * each
        records = figures.below_figure(found, parents)
    else:
        records = figures.records_figure(found)
        full = figures.full_figure(found, resource.page_size)
        if not full.is_known and resource.pages.kind == "none" and isinstance(driver, RestDriver):
            full = Figure(1.0, Known.ASSUMED)
    if plan.strategy is Strategy.FEED:
        records, full = Figure(), Figure(0.0, Known.ASSUMED)
    return Load(
        partner.name,
        name,
        plan.name,
        plan.strategy,
        period_seconds=mean_seconds,
        shortest_seconds=shortest,
        full_every_seconds=plan.full_every_seconds,
        names=frozenset(budgets_of(request, request.route or route_of(request.path))),
        weight=request.weight,
        flight=PAGES_AHEAD if _spreads(driver, resource) else 1,
        records=records,
        page=figures.page_figure(found, resource.page_size),
        full=full,
        run=figures.run_figure(found),
        caused_per_second=caused,
        overlap_seconds=plan.overlap_seconds,
        parent=resource.parent or "",
        written=figures.written(schedule).replace("every", "backup_every") if fed else figures.written(schedule),
        seldom=fed,
        notes=_notes(plan, fed=fed, looked=told is not None) + _youth(sight.young.get((name, plan.name))),
    )


def _notes(plan: ResourcePlan, *, fed: bool, looked: bool) -> tuple[str, ...]:
    if plan.unfed:
        return (f"strategy webhooks, but {plan.unfed}: polled",)
    if plan.backup is None:
        return ()
    if fed and not looked:
        return ("as if webhooks told of its changes; the calls these cause are not counted",)
    return () if fed or plan.by_default else ("no webhook has told of it lately: polled",)


def _youth(seconds: float | None) -> tuple[str, ...]:
    if seconds is None:
        return ()
    since = format_duration(max(60.0, seconds // 60 * 60))
    return (f"webhooks have told of it for {since}: what came is taken for a day's, and is no measure yet",)


def _tokens_per_second(driver: Driver, partner: PartnerConfig, name: str) -> float:
    """How often an integration asks for a token, where the driver says how long one lasts."""
    auth = driver.auth(partner.options_for(name))
    if auth.lasts is None or not auth.kind.startswith("oauth2"):
        return 0.0
    return 1 / max(auth.lasts - auth.early, auth.lasts / 2)


def _listing(driver: Driver, resource: Resource) -> Request:
    """A call of its listing, as the gate will see it."""
    try:
        if resource.parent is None:
            return driver.request(resource, Checkpoint("", resource.name))
        return driver.child_request(resource, "0", None, dict.fromkeys(resource.placeholders, "0"))
    except Exception:  # a driver may want more than is known before the first call; the description has it all
        return Request(
            resource.path, resource.method, route=resource.path, weight=resource.weight, budget=resource.budget
        )


def _spreads(driver: Driver, resource: Resource) -> bool:
    """Are its pages asked for several at a time, once the first has told how many there are?"""
    if not isinstance(driver, RestDriver) or type(driver).spread is not RestDriver.spread:
        return False
    pages = resource.pages
    told = resource.total is not None or pages.total_pages is not None
    return pages.kind in {"offset", "page"} and pages.more is None and told and resource.parent is None


def intervals(schedule: Schedule) -> tuple[float, float]:
    """Mean and least time between two starts, seconds."""
    if schedule.every_seconds is not None:
        return schedule.every_seconds + schedule.jitter_seconds / 2, schedule.every_seconds
    steps = CronSim(schedule.cron or "* * * * *", _FROM)
    starts = [_FROM]
    for moment in steps:
        starts.append(moment)
        if len(starts) > _LOOKED_AT or moment - _FROM > timedelta(days=366):
            break
    gaps = [(later - sooner).total_seconds() for sooner, later in pairwise(starts[1:])]
    if not gaps:
        return 366 * 86400.0, 366 * 86400.0
    return sum(gaps) / len(gaps), max(1.0, min(gaps))


def _same(spec: TierSpec) -> tuple[float, str, bool]:
    return spec.window_seconds, spec.budget, spec.weighted


def _stated(driver: Driver, options: Mapping[str, Any]) -> dict[tuple[float, str, bool], Capacity]:
    """The partner's own limits, as the driver knows and uses them."""
    limits = driver.limits(options)
    return {_same(spec): Capacity.of(spec, share=limits.share) for spec in (tier.spec() for tier in limits.tiers)}


def _beside(tier: Capacity, known: Capacity | None) -> Capacity:
    """The tier with what the partner states and the driver uses of it; of a bucket what comes back, as a file names it."""
    if known is None:
        return tier
    return replace(tier, most=known.stated, own=known.refill if known.bucket else known.budget)


def _as_learned(tier: Capacity, view: Mapping[str, Any] | None) -> Capacity:
    """The tier with what the running gate has learned or was told of it."""
    for told in (view or {}).get("tiers", ()):
        lesson = told.get("learned")
        if told.get("name") == tier.name and lesson:
            limit = float(lesson["limit"])
            if lesson.get("source") == "headers":  # the partner's own limit, of which we use our share
                return tier.lowered(math.floor(tier.budget / tier.ceiling * limit), limit)
            return tier.lowered(limit, tier.ceiling)
    return tier
