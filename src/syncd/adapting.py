"""Adapters and shapes as people see them: what is in force and in use, trials, stored records read again, what is new."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from syncd.config import did_you_mean
from syncd.errors import AskedWrongError
from syncd.kit.inferred import Inferred
from syncd.store import Renormalization, Store, StoredSchema
from syncd.sync.account import Account, running_here
from syncd.sync.plan import ResourcePlan


class Adapting:
    """Answers `server.desk_adapters`. `woken` lets the runners look."""

    def __init__(
        self,
        *,
        accounts: Callable[[], Sequence[Account]],
        store: Callable[[], Store],
        names: Callable[[], Mapping[str, Sequence[str]]],
        woken: Callable[[], None],
    ) -> None:
        self._accounts = accounts
        self._store = store
        self._names = names
        self._woken = woken

    def names(self) -> Mapping[str, Sequence[str]]:
        return self._names()

    # -- adapters

    async def adapters(self, integration: str, resource: str | None) -> dict[str, Any]:
        account, store = self._account(integration), self._store()
        tried = {(one.resource, one.adapter): one for one in await store.trials.list(integration, resource)}
        in_use = await store.trials.in_use(integration)
        found = []
        for plan in self._plans(account, resource):
            trial = tried.get((plan.name, plan.shadow)) if plan.shadow is not None else None
            found.append(
                {
                    "name": plan.name,
                    "known": known_adapters(plan),
                    "in_force": _in_force(plan),
                    "in_use": in_use.get(plan.name, {}),
                    "shadow": plan.shadow,
                    "trial": None if trial is None else asdict(trial),
                }
            )
        return {"integration": integration, "resources": found}

    async def forget_trials(self, integration: str, resource: str | None, *, who: str) -> int:
        store = self._store()
        gone = await store.trials.forget(integration, resource)
        await store.audit.add(who, "trials_forgotten", integration=integration, after={"resource": resource})
        return gone

    async def renormalize(
        self, integration: str, resource: str | None, adapter: str | None, *, dry: bool, who: str
    ) -> list[dict[str, Any]]:
        account, store = self._account(integration), self._store()
        plans = self._plans(account, resource)
        if adapter is not None:
            plans = self._having(account, plans, adapter, resource)
            if not dry:
                _refuse_what_would_be_undone(account, plans, adapter)
        made = []
        for plan in plans:
            row, new = await store.renormalizations.ask(integration, plan.name, adapter=adapter, dry=dry, who=who)
            made.append({**as_json(row), "new": new})
        if not dry:
            await store.audit.add(
                who,
                "renormalize_asked",
                integration=integration,
                after={"resource": resource, "adapter": adapter, "in_force": {p.name: _in_force(p) for p in plans}},
            )
        self._woken()
        return made

    async def renormalizations(self, integration: str | None, ids: Sequence[int] | None) -> list[dict[str, Any]]:
        store = self._store()
        if ids is not None:
            found = await store.renormalizations.find(ids)
        else:
            names = [integration] if integration is not None else list(self._names())
            found = await store.renormalizations.latest(names)
        return [as_json(row) for row in found if integration in (None, row.integration)]

    async def stop_renormalizing(self, integration: str, resource: str | None, *, who: str) -> list[dict[str, Any]]:
        store = self._store()
        gone = await store.renormalizations.cancel(integration, resource, who=who)
        for row in gone:
            await store.audit.add(
                who, "renormalize_stopped", integration=integration, before={"resource": row.resource}
            )
        return [as_json(row) for row in gone]

    # -- shapes

    async def shapes(self, integration: str, resource: str | None, *, fields: bool) -> list[dict[str, Any]]:
        account = self._account(integration)
        rows = await self._store().schemas.of(integration)
        return [
            _shape(plan, rows.get(plan.name), fields=fields)
            for plan in account.plans.values()
            if resource in (None, plan.name)
        ]

    async def accept_shapes(self, integration: str, resource: str | None, *, who: str) -> list[dict[str, Any]]:
        store = self._store()
        found = await store.schemas.accept(integration, resource, who=who)
        for row in found:
            news = [{key: each[key] for key in ("path", "what", "expected", "got")} for each in row.news]
            await store.audit.add(
                who, "schema_accepted", integration=integration, after={"resource": row.resource, "news": news}
            )
        self._woken()
        return [{"resource": row.resource, "news": row.news} for row in found]

    # -- inside

    def _account(self, name: str) -> Account:
        return running_here(self._accounts(), name)

    @staticmethod
    def _plans(account: Account, resource: str | None) -> list[ResourcePlan]:
        """The named one, or all that store records of their own."""
        if resource is not None:
            return [account.plans[resource]]
        return [plan for plan in account.plans.values() if not plan.resource.feeds]

    @staticmethod
    def _having(
        account: Account, plans: Sequence[ResourcePlan], adapter: str, resource: str | None
    ) -> list[ResourcePlan]:
        found = [plan for plan in plans if adapter in known_adapters(plan)]
        if found:
            return found
        known = sorted({name for plan in plans for name in known_adapters(plan)})
        where = f"{account.name}/{resource}" if resource is not None else account.name
        raise AskedWrongError(
            f"{where} has no adapter {adapter!r}", hint=did_you_mean(adapter, known) or f"there are: {', '.join(known)}"
        )


def known_adapters(plan: ResourcePlan) -> list[str]:
    """The versions of its mapping a resource has."""
    return sorted({"v1", *plan.resource.adapters}, key=lambda name: (len(name), name))


def _in_force(plan: ResourcePlan) -> dict[str, float]:
    """By percent of the records."""
    if plan.rollout is None:
        return {plan.adapter: 100.0}
    return plan.rollout.shares


def _refuse_what_would_be_undone(account: Account, plans: Sequence[ResourcePlan], adapter: str) -> None:
    other = next((plan for plan in plans if _in_force(plan) != {adapter: 100.0}), None)
    if other is not None:
        shares = ", ".join(f"{name}: {share:g}" for name, share in _in_force(other).items())
        raise AskedWrongError(
            f"{account.name} works by its file ({shares}): what {adapter} would write, its next pass would undo",
            hint=f"adapter: {adapter} in its file, syncd reload --wait, syncd renormalize {account.name}; "
            "or --dry-run to see what would change",
        )


def _shape(plan: ResourcePlan, row: StoredSchema | None, *, fields: bool) -> dict[str, Any]:
    shape = Inferred.from_json(row.shape if row is not None else None)
    found: dict[str, Any] = {
        "name": plan.name,
        "policy": str(plan.schema),
        "records": shape.records,
        "fields": shape.fields,
        "learned_at": row.learned_at if row is not None else None,
        "accepted_at": row.accepted_at if row is not None else None,
        "accepted_by": row.accepted_by if row is not None else None,
        "news": row.news if row is not None else [],
    }
    if fields:
        found["known"] = [
            {"path": one.path, "kinds": one.kinds, "present": one.present, "of": one.of} for one in shape.paths()
        ]
    return found


def as_json(row: Renormalization) -> dict[str, Any]:
    """One renormalization, for the API."""
    kept = ("cursor", "fence", "phase", "deaths", "reading")
    return {name: getattr(row, name) for name in Renormalization.__slots__ if name not in kept}
