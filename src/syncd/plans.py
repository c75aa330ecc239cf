"""Every resource an integration syncs, and how: what the driver says with the files' settings laid over it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from syncd.config import PartnerConfig, ResourceConfig
from syncd.errors import ConfigError
from syncd.kit import Driver, Resource
from syncd.store import Guard
from syncd.sync.plan import WEBHOOKS, ResourcePlan, Strategy
from syncd.sync.resource_watch import Policy
from syncd.sync.rollout import Rollout, principal
from syncd.sync.schedule import Schedule

DEFAULT_EVERY_SECONDS = 900.0
MOST_JITTER_SECONDS = 30.0
MOST_BACKUP_JITTER_SECONDS = 600.0


def resource_plans(driver: Driver, partner: PartnerConfig, name: str) -> dict[str, ResourcePlan]:
    """Every resource the integration syncs: the driver's defaults with the files' settings laid over them."""
    resources = driver.resources(partner.options_for(name))
    plans: dict[str, ResourcePlan] = {}
    for resource in resources.values():
        settings = partner.resource(name, resource.name)
        if not (resource.enabled if settings.enabled is None else settings.enabled):
            continue
        plans[resource.name] = resource_plan(
            resource,
            settings,
            partner.integrations[name].adapters,
            shadow=partner.integrations[name].shadow,
            unfed=no_webhooks(driver, partner, name),
        )
    while below := [one for one in plans.values() if one.resource.parent not in {None, *plans}]:
        for plan in below:  # what its driver alone has on goes off with what it is listed below
            if partner.resource(name, plan.name).enabled:
                raise ConfigError(
                    f"{name}: resource {plan.name} is listed below {plan.resource.parent}, which is switched off",
                    hint=f"enable {plan.resource.parent}, or switch {plan.name} off too",
                )
            del plans[plan.name]
    return plans


def no_webhooks(driver: Driver, partner: PartnerConfig, name: str) -> str:
    """Why no delivery can tell of this integration's records; empty: one can."""
    if driver.spec.webhooks is None:
        return "its driver knows no webhooks"
    options = partner.options_for(name)
    if partner.integrations[name].webhook is None and driver.subscriptions(options) is None:
        if driver.account(options) and partner.is_addressed_beside(name):
            return ""  # what comes to that address and names this account is handed over
        return "the integration has no webhook section"
    return ""  # or none that is known of: a subscription made by `webhook register` needs no line in the file


def resource_plan(
    resource: Resource,
    settings: ResourceConfig,
    adapters: str | Mapping[str, float],
    *,
    shadow: str | None = None,
    unfed: str = "",
) -> ResourcePlan:
    """One resource's settings in force. `adapters`: for how many percent of the records each; `unfed`: why webhooks cannot
    tell of it, if they cannot."""
    adapters = {adapters: 100.0} if isinstance(adapters, str) else adapters
    adapter = principal(adapters)
    own = {"v1", *resource.adapters}
    rollout = Rollout.of(adapters) if len(own & set(adapters)) > 1 else None
    told = settings.strategy or resource.strategy
    reads = resource.reads if settings.strategy in (None, WEBHOOKS) or resource.queue is not None else settings.strategy
    strategy = Strategy.CHILDREN if resource.parent is not None else Strategy(reads)
    by_webhooks = told == WEBHOOKS and strategy is not Strategy.CHILDREN
    by_default = by_webhooks and settings.strategy is None
    every = settings.every or (None if settings.cron else resource.every or resource.ttl or DEFAULT_EVERY_SECONDS)
    if strategy is Strategy.CHILDREN and settings.every is None and settings.cron is None:
        # All of it below every parent is dear: as often as the driver says, unless the file says how often.
        own_every = None if "full_every" in settings.model_fields_set else resource.every or resource.ttl
        every = own_every or settings.full_every
    jitter = settings.jitter
    if jitter is None:
        jitter = min((every or DEFAULT_EVERY_SECONDS) / 10, MOST_JITTER_SECONDS)
    if settings.page_size is not None:
        resource = resource.model_copy(update={"page_size": settings.page_size})
    if settings.strategy == "full" and resource.since is not None:
        resource = resource.model_copy(update={"since": None, "strategy": "full"})
    return ResourcePlan(
        resource=resource,
        strategy=strategy,
        schedule=Schedule(every_seconds=None if settings.cron else every, cron=settings.cron, jitter_seconds=jitter),
        full_every_seconds=settings.full_every,
        overlap_seconds=resource.overlap_seconds if settings.overlap is None else settings.overlap,
        history=settings.history,
        guard=Guard(settings.guard.share, settings.guard.records),
        adapter=adapter,
        rollout=rollout,
        shadow=shadow if shadow in own and shadow != adapter else None,
        schema=Policy(settings.schema_policy),
        rejects_share=settings.rejects.share,
        rejects_least=settings.rejects.records,
        expires_seconds=settings.expires,
        backup=None
        if unfed or not by_webhooks
        else Schedule(
            every_seconds=settings.backup_every,
            jitter_seconds=min(settings.backup_every / 10, MOST_BACKUP_JITTER_SECONDS),
        ),
        by_default=by_default and not unfed,
        unfed=unfed if by_webhooks and not by_default else "",
    )
