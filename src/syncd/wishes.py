"""What people ask of a running daemon: each wish becomes a row, so that any instance can take it and the owner acts on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from syncd import drivers, following
from syncd.clock import Clock
from syncd.errors import AuthError, StoreError, SyncdError
from syncd.model import Lane
from syncd.server.ports import Progress, ReconcileReport, TestReport
from syncd.server.trial import rights_beside, told
from syncd.store import PAUSE, NewTask, Store
from syncd.supervisor import Supervisor
from syncd.sync.account import Account, not_in_maintenance, running_here
from syncd.sync.rotating import refusal_over
from syncd.sync.troubles import explain_test


class Wishes:
    """Sync, reconcile, pause, resume, and how far a wish has come."""

    def __init__(
        self,
        *,
        accounts: Callable[[], list[Account]],
        supervisor: Callable[[], Supervisor | None],
        store: Callable[[], Store],
        clock: Clock,
        woken: Callable[[], None],
    ) -> None:
        """`store` raises StoreError while the database is away; `woken` has all look for work."""
        self._accounts = accounts
        self._supervisor = supervisor
        self._store = store
        self._clock = clock
        self._woken = woken

    async def sync(self, integration: str, resource: str | None, external_id: str | None, *, who: str) -> list[int]:
        account = self._account(integration)
        wanted = [resource] if resource is not None else await self._worth_reading(account)
        tasks = [
            NewTask(
                kind="sync" if external_id is None else "fetch",
                resource=name,
                external_id=external_id,
                payload={"retry": True},
                lane=Lane.HIGH,
                dedupe_key=f"sync:{name}:{external_id or ''}",
                cause=f"asked by {who}",
            )
            for name in wanted
        ]
        noted = {"resource": resource or "", "id": external_id, "resources": [] if resource else wanted}
        return await self._wish(account, tasks, who, "sync_asked", noted)

    async def _worth_reading(self, account: Account) -> list[str]:
        """What a sync of a whole integration reads: not what seldom changes and was read within its time."""
        plans = [plan for plan in account.plans.values() if plan.resource.parent is None]
        if all(plan.resource.ttl is None for plan in plans):
            return [plan.name for plan in plans]
        stands = await self._store().checkpoints.list(account.name)
        passed = {stand.checkpoint.resource: stand.passed_at for stand in stands}
        now = self._clock.now()
        due = [plan.name for plan in plans if not plan.serves(passed.get(plan.name), now)]
        return due or [plan.name for plan in plans]

    async def test(self, integration: str) -> TestReport:
        account = self._account(integration)
        not_in_maintenance(account)
        try:
            with drivers.asking(account.driver.spec.name, "asked for a call that tries the credential"):
                response = await account.session.call(account.driver.test(account.options), lane=Lane.HIGH)
        except SyncdError as error:
            account.health.probed(error, self._clock.now())
            return TestReport(
                integration=integration,
                ok=False,
                status=getattr(error, "status", None),
                explanation=explain_test(integration, error, self._clock.now()),
                refused=isinstance(error, AuthError),
                **told(await rights_beside(account, error)),
            )
        account.health.probed(None, self._clock.now())
        if account.health.rotation is not None:
            with suppress(StoreError):  # it is said until the next test, then
                await refusal_over(account)
        return TestReport(
            integration=integration,
            ok=True,
            status=response.status_code,
            latency_ms=response.elapsed_seconds * 1000,
            **told(await rights_beside(account)),
        )

    async def reconcile(self, integration: str, resource: str | None, *, confirm: bool, who: str) -> ReconcileReport:
        account = self._account(integration)
        store = self._store()
        held = {
            stand.checkpoint.resource: int(stand.held["missed"])
            for stand in await store.checkpoints.list(integration)
            if stand.held is not None and resource in (None, stand.checkpoint.resource)
        }
        everything = [resource] if resource is not None else list(account.plans)
        wanted = list(held) if confirm else everything
        tasks = [
            NewTask(
                kind="reconcile",
                resource=name,
                lane=Lane.HIGH,
                payload={"confirm": confirm},
                dedupe_key=f"reconcile:{name}:{confirm}",
                cause=f"asked by {who}",
            )
            for name in wanted
            if name in account.plans
        ]
        action = "reconcile_confirmed" if confirm else "reconcile_asked"
        noted = {"resource": resource or "", "held": held}
        ids = await self._wish(account, tasks, who, action, noted) if tasks else []
        return ReconcileReport(wish_ids=ids, held=held, confirmed=sum(held.values()) if confirm else 0)

    async def progress(self, wish_ids: Sequence[int]) -> list[Progress]:
        found: dict[int, Progress] = {}
        supervisor = self._supervisor()
        for running in supervisor.running.values() if supervisor is not None else ():
            for wish_id in wish_ids:
                wish = running.runner.wishes.get(wish_id)
                if wish is not None:
                    name, resource = wish.unit.integration, wish.unit.plan.name
                    found[wish_id] = following.of_run(
                        self._account(name),
                        wish_id,
                        wish,
                        self._clock.now(),
                        paused=running.runner.why_paused(name, resource),
                    )
        runners = {
            name: running.runner
            for running in (supervisor.running.values() if supervisor is not None else ())
            for name in running.runner.accounts
        }
        for task in await self._store().tasks.find([wish for wish in wish_ids if wish not in found]):
            runner = runners.get(task.integration)
            found[task.id] = following.of_row(
                runner.accounts[task.integration] if runner is not None else None,
                task,
                self._clock.now(),
                paused=runner.why_paused(task.integration, task.resource) if runner is not None else None,
            )
        return [found[wish] for wish in wish_ids if wish in found]

    async def pause(
        self, integration: str, resource: str | None, *, who: str, reason: str, until: datetime | None
    ) -> bool:
        before = await self._store().controls.set(
            integration, PAUSE, who=who, why=reason, until=until, resource=resource or "", action="paused"
        )
        return before is None

    async def resume(self, integration: str, resource: str | None, *, who: str) -> bool:
        return await self._store().controls.clear(
            integration, PAUSE, resource=resource or "", who=who, action="resumed"
        )

    # -- inside ----------------------------------------------------------------------------------------------------

    def _account(self, name: str) -> Account:
        return running_here(self._accounts(), name)

    async def _wish(
        self, account: Account, tasks: list[NewTask], who: str, action: str, noted: Mapping[str, Any]
    ) -> list[int]:
        store = self._store()
        account.health.auth_retry_at = None  # whoever asks may have mended the credential: that is worth one call
        # Noted first: a wish that then fails was asked for all the same, and whoever asked is told that it failed.
        await store.audit.add(who, action, integration=account.name, after=noted)
        ids = await store.tasks.wish(account.name, *tasks)
        self._woken()
        return ids
