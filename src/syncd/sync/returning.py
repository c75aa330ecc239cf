"""When each resource is due after a time in which we did not call: at a start, and when a scope becomes ours hours later.

Both read it from the rows anew, since another instance may have called for the scope meanwhile. What is overdue goes once
and spread, and where anything waited the scope's budget ramps up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import structlog

from syncd.clock import Clock
from syncd.store import PULL, Peril, Stand, Store
from syncd.sync.account import Account
from syncd.sync.careful import parked, parked_error
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.unit import Unit
from syncd.sync.webhook_fed import is_fed

log = structlog.get_logger()

AWAY_SECONDS = 60.0
"""Nobody called for a scope for so long, and its work waits: then its budget grows from a tenth."""
MISSED_SECONDS = 300.0
"""Nobody called for so long: deliveries may have come in vain, and partners do not try for ever."""


class Returning:
    """One partner's units, as the rows say. `units` is filled here, by integration and resource."""

    def __init__(
        self, accounts: Mapping[str, Account], units: dict[tuple[str, str], Unit], store: Store, clock: Clock
    ) -> None:
        self._accounts = accounts
        self._units = units
        self._store = store
        self._clock = clock

    def accepted(self, name: str) -> None:
        """A credential that was refused is taken again: what waited for that is due."""
        now, health = self._clock.now(), self._accounts[name].health
        for (integration, resource), unit in self._units.items():
            trouble = health.of(resource).trouble if integration == name else None
            if trouble is not None and trouble.code == "auth-failed":
                unit.due_at = min(unit.due_at, now)

    async def look(self, names: Collection[str]) -> bool:
        """When all units of these integrations are due. True: one of them is overdue. Raises StoreError.

        One that runs, or that somebody waits for, stays as it is.
        """
        stands = {
            (name, stand.checkpoint.resource): stand
            for name in names
            for stand in await self._store.checkpoints.list(name)
        }
        perils = {(one.integration, one.resource): one for one in await self._perils(names)}
        await self._store.postponed.bound(list(names))
        now, overdue = self._clock.now(), False
        for name in names:
            account = self._accounts[name]
            for plan in account.plans.values():
                stand = stands.get((name, plan.name))
                # Nothing was done later than now: a clock that was ahead said so.
                last = min(stand.updated_at, now) if stand is not None and stand.updated_at is not None else None
                fed = is_fed(account.health, plan, now)
                overdue = overdue or (last is not None and plan.paced(fed=fed).after(last, 0.0) <= now)
                if stand is not None:
                    account.health.recall(plan.name, stand)
                due_at = self._due_at(plan, stand, last, now, fed)
                if (peril := perils.get((name, plan.name))) is not None:
                    due_at = self._after_deaths(account, plan, peril, due_at)
                unit = self._units.get((name, plan.name))
                if unit is None:
                    unit = self._units[name, plan.name] = Unit(name, plan, due_at)
                elif unit.running or unit.wishes:
                    continue
                unit.due_at, unit.last_started_at = due_at, last
        return overdue

    async def _perils(self, names: Collection[str]) -> list[Peril]:
        return [one for one in await self._store.perils.list(list(names)) if one.work == PULL]

    def _after_deaths(self, account: Account, plan: ResourcePlan, peril: Peril, due_at: datetime) -> datetime:
        """The process ended while it was read: at once once more, unless it is parked, which is said from the start."""
        step = parked(peril.suspects)
        if step is None:
            return self._clock.now()
        error = parked_error(account.name, plan.name, step)
        if account.health.parks(plan.name, error, peril.since):
            log.error(
                "resource_parked",
                partner=account.partner,
                integration=account.name,
                resource=plan.name,
                reason=str(error),
                action=error.hint,
            )
        return due_at

    async def come_back(self) -> None:
        """Once after a scope became ours: what waited while we did not call for it does not go all at once."""
        for account in self._accounts.values():
            gate = account.gate
            if not gate.away_seconds or not account.ownership.held:
                continue
            names = [name for name, other in self._accounts.items() if other.gate is gate]
            overdue = await self.look(names)
            if gate.away_seconds > AWAY_SECONDS and (overdue or await self._store.tasks.ready(names)):
                gate.ramp()
                log.info("scope_ramped", scope=account.scope, away_seconds=round(gate.away_seconds))
            if gate.away_seconds > MISSED_SECONDS:
                self._catch_up(names)
            gate.away_seconds = 0.0

    def _catch_up(self, names: Collection[str]) -> None:
        """What webhooks feed is read once, long before its backup: who was away may have been told and not have heard."""
        now = self._clock.now()
        for (name, _), unit in self._units.items():
            if name in names and not unit.running and is_fed(self._accounts[name].health, unit.plan, now):
                unit.due_at = min(unit.due_at, unit.plan.schedule.catch_up(now, self._clock.random()))

    def _due_at(
        self, plan: ResourcePlan, stand: Stand | None, last: datetime | None, now: datetime, fed: bool
    ) -> datetime:
        if stand is None and plan.strategy is Strategy.CHILDREN:
            # The first import brings the children as tasks of their parents; a pass on top would ask twice.
            return plan.schedule.after(now, self._clock.random())
        if stand is not None and (stand.checkpoint.run_id is not None or stand.checkpoint.cursor is not None):
            return now  # a run that died or was cut goes on at once
        if (
            stand is not None
            and stand.passed_at is None
            and stand.checkpoint.watermark is None
            and plan.strategy is not Strategy.CHILDREN
        ):
            return now  # nothing was ever read whole: whoever mended what stood against it waits for that
        return plan.paced(fed=fed).first(last, now, self._clock.random())
