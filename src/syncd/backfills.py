"""Backfills as people see them: what one costs, which rows it becomes, how they stand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from anyio import to_thread

from syncd.clock import Clock
from syncd.config import Config
from syncd.errors import ConfigError
from syncd.planning import Sight
from syncd.planning.backfill import Range, bounds_of, cost
from syncd.store import Backfill, Store
from syncd.sync.account import Account, running_here
from syncd.sync.plan import ResourcePlan, Strategy


class Backfills:
    """Answers `server.desk_backfill`. `sight` is what plans are made from; `woken` lets the runners look."""

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        accounts: Callable[[], Sequence[Account]],
        store: Callable[[], Store],
        clock: Clock,
        names: Callable[[], Mapping[str, Sequence[str]]],
        sight: Callable[[], Awaitable[Sight]],
        woken: Callable[[], None],
    ) -> None:
        self._config = config
        self._accounts = accounts
        self._store = store
        self._clock = clock
        self._names = names
        self._sight = sight
        self._woken = woken

    def names(self) -> Mapping[str, Sequence[str]]:
        return self._names()

    async def backfill_plan(
        self, integration: str, resource: str | None, since: datetime, until: datetime
    ) -> dict[str, Any]:
        account = self._account(integration)
        ranges = [await self._range(account, plan, since, until) for plan in self._plans(account, resource)]
        partner, _ = self._config().integrations[integration]
        found = await to_thread.run_sync(partial(cost, partner, await self._sight(), integration, ranges))
        return {"integration": integration, "resource": resource, "since": since, "until": until, **found}

    async def backfill(
        self, integration: str, resource: str | None, since: datetime, until: datetime, *, who: str
    ) -> list[dict[str, Any]]:
        account, store = self._account(integration), self._store()
        told = await self.backfill_plan(integration, resource, since, until)
        calls = {each["name"]: each["calls"]["value"] for each in told["resources"]}
        made = []
        for plan in self._plans(account, resource):
            expected = calls.get(plan.name)
            row, new = await store.backfills.ask(
                integration,
                plan.name,
                since,
                until,
                who=who,
                expected_calls=None if expected is None else int(expected),
            )
            made.append({**as_json(row), "new": new})
        await store.audit.add(
            who,
            "backfill_asked",
            integration=integration,
            after={"resource": resource, "since": since, "until": until},
        )
        self._woken()
        return made

    async def backfills(self, integration: str | None, ids: Sequence[int] | None) -> list[dict[str, Any]]:
        store = self._store()
        if ids is not None:
            found = await store.backfills.find(ids)
        else:
            found = await store.backfills.latest([integration] if integration is not None else list(self._names()))
        return [as_json(row) for row in found if integration in (None, row.integration)]

    async def under_way(self, integrations: Sequence[str]) -> list[dict[str, Any]]:
        """Those that wait or run, and those that failed and that nobody has taken up: for the status."""
        found = await self._store().backfills.latest(integrations)
        return [as_json(row) for row in found if row.is_active or row.state == "failed"]

    async def stop_backfill(self, integration: str, resource: str | None, *, who: str) -> list[dict[str, Any]]:
        store = self._store()
        gone = await store.backfills.cancel(integration, resource, who=who)
        for row in gone:
            await store.audit.add(who, "backfill_stopped", integration=integration, before={"resource": row.resource})
        return [as_json(row) for row in gone]

    # -- inside

    def _account(self, name: str) -> Account:
        return running_here(self._accounts(), name)

    @staticmethod
    def _plans(account: Account, resource: str | None) -> list[ResourcePlan]:
        """The named one, or all that are listed by themselves: children come below them, a feed brings what they bring."""
        if resource is not None:
            return [account.plans[resource]]
        apart = (Strategy.CHILDREN, Strategy.FEED)
        found = [plan for plan in account.plans.values() if plan.strategy not in apart]
        if not found:
            raise ConfigError(f"{account.name} has nothing that is listed by itself", hint="name a resource")
        return found

    async def _range(self, account: Account, plan: ResourcePlan, since: datetime, until: datetime) -> Range:
        store = self._store()
        bounds, children = bounds_of(plan), account.children(plan.name)
        inside = 0
        listed: int | None = None
        resource = plan.resource
        if resource.stamped_by == "updated" and resource.order in (None, resource.updated) and bounds != "none":
            inside = await store.backfills.within(account.name, plan.name, since, until)
            listed = inside
            if bounds == "since":
                listed = await store.backfills.within(account.name, plan.name, since, self._clock.now())
        elif children:
            live, _ = (await store.records.count(account.name, plan.name)).get(plan.name, (0, 0))
            inside = live
        return Range(plan, listed, inside, children)


def as_json(row: Backfill) -> dict[str, Any]:
    """One backfill, for the API; where it stands within the partner's listing stays with us."""
    shown = {name: getattr(row, name) for name in Backfill.__slots__ if name not in ("cursor", "fence")}
    return {**shown, "resumable": row.cursor is not None}
