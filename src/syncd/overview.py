"""The engine as its surfaces see it: `server.ports.Status` answered from what runs, and wishes turned into rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread

from syncd import __version__, causes, drivers, following, metrics, planning, standing
from syncd.adapting import Adapting
from syncd.backfills import Backfills
from syncd.clock import Clock
from syncd.comparisons import Comparisons
from syncd.config import Config
from syncd.contracts import Contracts
from syncd.depths import Depths
from syncd.dryrun import DryRuns
from syncd.errors import AuthError, StoreError, SyncdError
from syncd.explain import Explanation, State
from syncd.figures import Figures, Instruments
from syncd.holds import Breakers
from syncd.model import Lane
from syncd.pushing import Pushing
from syncd.replaying import Replaying
from syncd.server.ports import (
    STATUS_SCHEMA,
    HealthReport,
    Progress,
    ReconcileReport,
    ReloadReport,
    ServiceHealth,
    TestReport,
)
from syncd.store import PAUSE, NewTask, Store, reached
from syncd.subscriptions import Subscribers
from syncd.supervisor import Supervisor
from syncd.sync.account import Account, running_here
from syncd.sync.rotating import refusal_over
from syncd.sync.troubles import explain_error

CANNOT_STORE = "the database cannot store a delivery now: syncd status says why"
"""All that is said of it in public."""
STORE_SECONDS = 5.0
"""Longest that a status waits for the database."""
TELLING_CALLS = 5
"""So many calls of this process tell a response time; before that the runs of earlier ones do."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a status takes from rows; nothing, where the database is away."""

    last: standing.By = field(default_factory=dict)
    ended: standing.By = field(default_factory=dict)
    counts: Mapping[tuple[str, str], int] | None = None
    more: Mapping[str, Any] = field(
        default_factory=lambda: {"dead_letters": None, "rejects": None, "pushes": [], "backfills": []}
    )


class Engine:
    """What `/health`, `/ready`, the admin API and the demo ask."""

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        supervisor: Callable[[], Supervisor | None],
        store: Callable[[], Store | None],
        clock: Clock,
        stuck: Callable[[], list[str]],
        unready: Callable[[], list[str]],
        storable: Callable[[], Awaitable[str]],
        refusing: Callable[[], Mapping[str, Explanation]],
        reload: Callable[[str], Awaitable[ReloadReport]],
        directory: Path = Path(),
        loop_lag: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`directory`: where the configuration lies; `loop_lag`: how late the loop was at worst since it was last asked."""
        self._config = config
        self._supervisor = supervisor
        self._store_now = store
        self._clock = clock
        self._stuck = stuck
        self._unready = unready
        self._storable = storable
        self._refusing = refusing
        self._reload = reload
        self._started_at = clock.now()
        self.breakers = Breakers(self._accounts, self._store, clock)
        self.depths = Depths(store, supervisor, clock, worked=self._worked)
        self.figures = Figures(Instruments(self._accounts, self.depths.view, loop_lag, clock), clock)
        self.letters = Replaying(self._accounts, store, clock, known=lambda: self._config().integrations)
        self.pushes = Pushing(self._accounts, store, known=self.names, now=clock.now)
        self.subscribers = Subscribers(self._accounts, config, self._store)
        self.backfills = Backfills(
            config=config,
            accounts=self._accounts,
            store=self._store,
            clock=clock,
            names=self.names,
            sight=self.sight,
            woken=self._woken,
        )
        self.adapters = Adapting(accounts=self._accounts, store=self._store, names=self.names, woken=self._woken)
        self.comparisons = Comparisons(
            config=config, accounts=self._accounts, clock=clock, names=self.names, sight=self.sight
        )
        self.contracts = Contracts(
            config=config, directory=directory, accounts=self._accounts, clock=clock, names=self.names
        )
        self.dry_runs = DryRuns(accounts=self._accounts, clock=clock, names=self.names)
        self.reloaded_at: datetime | None = None
        self.reload_ok = True
        self.unpruned: Mapping[str, str] = {}
        """Tables whose latest prune did not come to its end, and why."""

    # -- health ----------------------------------------------------------------------------------------------------

    def health(self) -> HealthReport:
        now = self._clock.now()
        services: dict[str, ServiceHealth] = {}
        for account in self._accounts():
            state, told = standing.judged(account, now, refuses=self._refusing().get(account.name))
            services[account.name] = ServiceHealth(state, account.health.latency_ms, told)
            for one in State:
                metrics.HEALTH.labels(account.name, str(one)).set(1.0 if one is state else 0.0)
        supervisor = self._supervisor()
        if supervisor is not None:
            for partner, reason in supervisor.broken.items():
                for name in self._config().partners[partner].integrations:
                    services[name] = ServiceHealth(State.DOWN, None, standing.not_started(reason))
        return HealthReport(services, now, self._stuck())

    async def ready(self) -> list[str]:
        """For everybody: what the database says of itself, its users and hosts is for the log and the admin API."""
        return self._unready() + ([CANNOT_STORE] if await self._storable() else [])

    async def unready(self) -> list[str]:
        """Why a webhook sent now would not be stored, with the database's own words."""
        why = await self._storable()
        return self._unready() + ([why] if why else [])

    def _worked(self) -> list[str]:
        """Integrations that are configured and switched on, be their partner running or not."""
        return [name for name, (partner, _) in self._config().integrations.items() if partner.is_enabled(name)]

    def names(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, Sequence[str]] = dict.fromkeys(self._config().integrations, ())
        for account in self._accounts():
            found[account.name] = list(account.plans)
        return found

    async def overview(self) -> dict[str, Any]:
        """Everything; without the database what this process knows by itself, and `unread` says why there is no more."""
        now = self._clock.now()
        names = [account.name for account in self._accounts()]
        seen, unread = _Seen(), ""
        try:
            async with self._clock.timeout(STORE_SECONDS):
                seen = await self._seen(names)
        except TimeoutError:
            unread = f"the database did not answer within {STORE_SECONDS:.0f} s"
        except StoreError as error:
            unread = str(error)
        supervisor = self._supervisor()
        running = supervisor.running if supervisor is not None else {}
        integrations = [
            standing.integration(
                account,
                running[account.partner].runner,
                seen.last,
                seen.ended,
                seen.counts,
                now,
                self._refusing().get(account.name),
                self.figures.hour(account.name),
            )
            for account in self._accounts()
        ]
        integrations += standing.idle(self._config(), supervisor.broken if supervisor is not None else {}, names)
        integrations.sort(key=lambda one: (State(one["state"]).rank, one["name"]))
        return {
            "schema": STATUS_SCHEMA,
            "version": __version__,
            "started_at": self._started_at,
            "now": now,
            "summary": self.summary(),
            "ready": await self.unready(),
            "unread": unread or None,
            "stuck": self._stuck(),
            "integrations": integrations,
            "scopes": standing.scopes(self._accounts(), now),
            "queues": [] if unread else self.depths.view(),
            "workers": standing.workers(supervisor),
            **seen.more,
            "reload": {"ok": self.reload_ok, "at": self.reloaded_at},
            "retention": {"unfinished": dict(self.unpruned)},
        }

    async def _seen(self, names: Sequence[str]) -> _Seen:
        """What the rows say. Raises StoreError."""
        store = self._store()
        last = {(run.integration, run.resource): run for run in await store.runs.latest()}
        ended = {(run.integration, run.resource): run for run in await store.runs.recent(names, each=1)}
        counts = {
            (name, resource): live
            for name in names
            for resource, (live, _) in (await store.records.count(name)).items()
        }
        letters = await store.dead_letters.grouped()
        await self.depths.measure()
        more = {
            "dead_letters": {
                "total": sum(trouble.count for trouble in letters),
                "causes": len(letters),
                "top": causes.top(letters),
                "replays": len(await store.replays.running()),
            },
            "rejects": {"total": sum((await store.rejects.counts()).values())},
            "pushes": await self.pushes.standing(),
            "backfills": await self.backfills.under_way(names),
        }
        return _Seen(last, ended, counts, more)

    def summary(self) -> str:
        """One line: what `systemctl status` shows too."""
        report = self.health()
        states = [service.state for service in report.services.values()]
        if report.stuck:
            return f"STUCK: {', '.join(report.stuck)}"
        parts = [f"{states.count(state)} {state.value.replace('_', ' ')}" for state in State if states.count(state)]
        worst = next((s for s in sorted(report.services, key=lambda n: report.services[n].state.rank)), None)
        text = f"{len(states)} integration{'s' if len(states) != 1 else ''}: {', '.join(reversed(parts)) or 'none'}"
        if worst is not None:
            told = report.services[worst].explanation
            if told is not None and report.services[worst].state is not State.HEALTHY:
                text += f". {worst}: {told.reason}. Do: {told.action or 'see syncd status'}"
        return text

    # -- what people ask for ---------------------------------------------------------------------------------------

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
        return await self._wish(account, tasks)

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

    async def plan(
        self, integration: str | None, resource: str | None, assumed: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        config, sight = self._config(), await self.sight()
        if assumed:
            sight = planning.assuming(config, sight, assumed)
        # Some thousand forecasts in the worst case: not on the loop.
        return await to_thread.run_sync(
            partial(
                planning.report,
                config,
                sight,
                source="daemon",
                now=self._clock.now(),
                integration=integration,
                resource=resource,
            )
        )

    async def sight(self) -> planning.Sight:
        """What forecasts are made from: runs and rows, response times, and what the gates have learned."""
        accounts = self._accounts()
        supervisor = self._supervisor()
        stated = {
            (unit.integration, unit.plan.name): unit.last.total
            for running in (supervisor.running.values() if supervisor is not None else ())
            for unit in running.runner.units.values()
            if unit.last is not None and unit.last.total is not None
        }
        seen = await planning.look(self._store(), [account.name for account in accounts], stated)
        answered = {account.name: (account.session.spent.seconds, account.session.spent.calls) for account in accounts}
        return replace(
            seen,
            answered={**seen.answered, **{name: told for name, told in answered.items() if told[1] >= TELLING_CALLS}},
            gates={account.scope: account.gate.view() for account in accounts},
        )

    async def test(self, integration: str) -> TestReport:
        account = self._account(integration)
        try:
            with drivers.asking(account.driver.spec.name, "asked for a call that tries the credential"):
                response = await account.session.call(account.driver.test(account.options), lane=Lane.HIGH)
        except SyncdError as error:
            account.health.probed(error, self._clock.now())
            return TestReport(
                integration=integration,
                ok=False,
                status=getattr(error, "status", None),
                explanation=explain_error(integration, "", error, self._clock.now()),
                refused=isinstance(error, AuthError),
            )
        account.health.probed(None, self._clock.now())
        if account.health.rotation is not None:
            with suppress(StoreError):  # it is said until the next test, then
                await refusal_over(account)
        return TestReport(
            integration=integration, ok=True, status=response.status_code, latency_ms=response.elapsed_seconds * 1000
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
        if confirm:
            await store.audit.add(who, "reconcile_confirmed", integration=integration, after={"held": held})
        ids = await self._wish(account, tasks) if tasks else []
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

    async def reload(self, *, who: str) -> ReloadReport:
        return await self._reload(who)

    async def pause(
        self, integration: str, resource: str | None, *, who: str, reason: str, until: datetime | None
    ) -> bool:
        active = await self._store().controls.active(integration)
        fresh = not any(one.kind == PAUSE and one.resource == (resource or "") for one in active)
        await self._store().controls.set(integration, PAUSE, who=who, why=reason, until=until, resource=resource or "")
        await self._store().audit.add(who, "paused", integration=integration, after={"reason": reason, "until": until})
        return fresh

    async def resume(self, integration: str, resource: str | None, *, who: str) -> bool:
        gone = await self._store().controls.clear(integration, PAUSE, resource=resource or "")
        if gone:
            await self._store().audit.add(who, "resumed", integration=integration)
        return gone

    def breaker_groups(self, integration: str) -> Sequence[str]:
        return self.breakers.groups(integration)

    async def breaker_view(self, integration: str | None) -> list[dict[str, Any]]:
        return self.breakers.view(integration)

    async def hold(
        self, integration: str, group: str | None, *, who: str, reason: str, until: datetime | None
    ) -> dict[str, Any]:
        return await self.breakers.hold(integration, group, who=who, reason=reason, until=until)

    async def release(self, integration: str, group: str | None, *, who: str) -> dict[str, Any]:
        return await self.breakers.release(integration, group, who=who)

    async def reset(self, integration: str, group: str | None, *, who: str) -> dict[str, Any]:
        found = await self.breakers.reset(integration, group, who=who)
        supervisor = self._supervisor()
        if supervisor is not None:
            supervisor.wake()
        return found

    # -- inside ----------------------------------------------------------------------------------------------------

    def _store(self) -> Store:
        return reached(self._store_now())

    def _accounts(self) -> list[Account]:
        supervisor = self._supervisor()
        if supervisor is None:
            return []
        return [account for one in supervisor.running.values() for account in one.runner.accounts.values()]

    def _account(self, name: str) -> Account:
        return running_here(self._accounts(), name)

    async def _wish(self, account: Account, tasks: list[NewTask]) -> list[int]:
        account.health.auth_retry_at = None  # whoever asks may have mended the credential: that is worth one call
        ids = await self._store().tasks.wish(account.name, *tasks)
        self._woken()
        return ids

    def _woken(self) -> None:
        supervisor = self._supervisor()
        if supervisor is not None:
            supervisor.wake()
