"""Which resources webhooks really feed: read from the rows that deliveries left, and turned into a pace.

A resource with `strategy: webhooks` is read seldom only while deliveries about it come. Before the first one, and once none
came for a week (or the silence watch says so), it is polled as if there were no webhooks: that a subscription is missing,
filtered or dead is thereby a delay, never a gap. Where no file asks for it but the driver chose it, that needs more: syncd
itself has subscribed, to everything that tells of the resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from syncd.clock import Clock
from syncd.store import Store
from syncd.sync.account import Account
from syncd.sync.drift import tell
from syncd.sync.health import Drift, Health
from syncd.sync.plan import ResourcePlan
from syncd.sync.unit import Unit

log = structlog.get_logger()

LOOK_SECONDS = 15.0
WEBHOOK = "webhook"
"""The kind of the credentials that registering webhooks leaves."""
FORGOTTEN = timedelta(days=7)
"""Without a delivery for so long a resource counts as one that was never told of."""


def is_fed(health: Health, plan: ResourcePlan, now: datetime) -> bool:
    """Do webhooks bring the changes of this resource (of a feed: of one of those it brings)?"""
    if plan.backup is None or (plan.by_default and not health.registered):
        return False
    known = [health.of(name) for name in (plan.name, *plan.resource.feeds)]
    return any(one.told_at is not None and not one.silent and now - one.told_at <= FORGOTTEN for one in known)


def remark(integration: str, health: Health, plan: ResourcePlan, now: datetime) -> str | None:
    """What the status says where webhooks were meant to feed a resource and do not; None where nothing is amiss."""
    if plan.unfed:
        return f"strategy webhooks, but {plan.unfed}: polled ({_written(plan)})"
    if plan.backup is None or (plan.by_default and not health.registered) or is_fed(health, plan, now):
        return None
    told = [one for one in (health.of(name) for name in (plan.name, *plan.resource.feeds)) if one.told_at is not None]
    if not told and health.registered:
        return f"registered, but no delivery about {plan.name} yet: polled as before ({_written(plan)}) until one comes"
    if not told:
        return (
            f"no webhook has told of {plan.name} yet: polled as before ({_written(plan)}); "
            f"do: syncd webhook list {integration}"
        )
    last = max(one.told_at for one in told if one.told_at is not None)
    return (
        f"no webhook has told of {plan.name} since {last:%Y-%m-%d %H:%M} UTC: polled as before ({_written(plan)}); "
        f"do: syncd webhook list {integration}"
    )


def _written(plan: ResourcePlan) -> str:
    from syncd.sync.measured import written

    return written(plan.schedule)


class Feeding:
    """One partner's look at what webhooks bring. `units` are the runner's, by integration and resource."""

    def __init__(
        self, accounts: Mapping[str, Account], units: Mapping[tuple[str, str], Unit], store: Store, clock: Clock
    ) -> None:
        self._accounts = accounts
        self._units = units
        self._store = store
        self._clock = clock
        self._look_at = 0.0
        self._fed: dict[tuple[str, str], bool] = {}
        plans = [plan for account in accounts.values() for plan in account.plans.values()]
        self._any = any(plan.backup is not None for plan in plans)

    async def recall(self) -> None:
        """At a start: what was told so far, and what the last complete passes had to mend. Raises StoreError."""
        for (name, resource), counted in (await self._store.runs.drifts(list(self._accounts))).items():
            tell(self._accounts[name].health, resource, Drift(*counted))
        await self.look()

    async def look(self) -> None:
        """Read what was told, at most every LOOK_SECONDS; what lost its feed is polled from now on. Raises StoreError."""
        moment = self._clock.monotonic()
        if not self._any or moment < self._look_at:
            return
        self._look_at = moment + LOOK_SECONDS
        registered = await self._store.credentials.having(WEBHOOK, list(self._accounts))
        for name, account in self._accounts.items():
            account.health.registered = name in registered
        for told in await self._store.deliveries.list(list(self._accounts)):
            if told.resource in self._accounts[told.integration].plans:
                known = self._accounts[told.integration].health.of(told.resource)
                known.told_at = max(told.last_at, known.told_at or told.last_at)
                known.told_since = told.first_at
        for account in self._accounts.values():
            for plan in account.plans.values():
                if plan.backup is not None:
                    self._turn(account, plan)

    def _turn(self, account: Account, plan: ResourcePlan) -> None:
        key, now = (account.name, plan.name), self._clock.now()
        fed, before = is_fed(account.health, plan, now), self._fed.get((account.name, plan.name))
        self._fed[key] = fed
        if fed == before:
            return
        if fed:
            log.info("webhooks_feed", partner=account.partner, integration=account.name, resource=plan.name)
        elif before:
            log.warning(
                "webhooks_ceased",
                partner=account.partner,
                integration=account.name,
                resource=plan.name,
                reason=remark(account.name, account.health, plan, now),
            )
        unit = self._units.get(key)
        if before and unit is not None and not unit.running:
            # It waits for tomorrow's backup: what polls would have brought meanwhile is fetched now.
            unit.due_at = min(unit.due_at, plan.schedule.catch_up(now, self._clock.random()))
