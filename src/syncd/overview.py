"""The engine as its surfaces see it: `server.ports.Status` answered from what runs, and wishes turned into rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from anyio import to_thread

from syncd import __version__, metrics, planning
from syncd.clock import Clock
from syncd.config import Config
from syncd.errors import AuthError, StoreError, SyncdError
from syncd.explain import Explanation, State
from syncd.holds import Breakers
from syncd.model import Lane, Outcome
from syncd.server.ports import (
    STATUS_SCHEMA,
    HealthReport,
    Progress,
    ReconcileReport,
    ReloadReport,
    RunState,
    ServiceHealth,
    TestReport,
)
from syncd.store import PAUSE, NewTask, Run, Store, Task
from syncd.supervisor import Supervisor
from syncd.sync import measured, outage, scope
from syncd.sync.account import Account
from syncd.sync.health import explain_error
from syncd.sync.tally import Tally
from syncd.sync.unit import Unit, Wish

READY_SECONDS = 2.0
TELLING_CALLS = 5
"""So many calls of this process tell a response time; before that the runs of earlier ones do."""


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
        reload: Callable[[str], Awaitable[ReloadReport]],
    ) -> None:
        self._config = config
        self._supervisor = supervisor
        self._store_now = store
        self._clock = clock
        self._stuck = stuck
        self._unready = unready
        self._reload = reload
        self._started_at = clock.now()
        self.breakers = Breakers(self._accounts, self._store, clock)
        self.reloaded_at: datetime | None = None
        self.reload_ok = True

    # -- health ----------------------------------------------------------------------------------------------------

    def health(self) -> HealthReport:
        now = self._clock.now()
        services: dict[str, ServiceHealth] = {}
        for account in self._accounts():
            state, told = self._judge(account, now)
            services[account.name] = ServiceHealth(state, account.health.latency_ms, told)
            for one in State:
                metrics.HEALTH.labels(account.name, str(one)).set(1.0 if one is state else 0.0)
        supervisor = self._supervisor()
        if supervisor is not None:
            for partner, reason in supervisor.broken.items():
                for name in self._config().partners[partner].integrations:
                    services[name] = ServiceHealth(State.DOWN, None, _not_started(reason))
        return HealthReport(services, now, self._stuck())

    async def ready(self) -> list[str]:
        reasons = self._unready()
        store = self._store_now()
        if store is None:
            return [*reasons, "the database has not been reached yet"]
        try:
            async with self._clock.timeout(READY_SECONDS):
                await store.ping()
        except TimeoutError:
            reasons.append(f"the database did not answer within {READY_SECONDS:.0f} s")
        except StoreError as error:
            reasons.append(str(error))
        return reasons

    def names(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, Sequence[str]] = dict.fromkeys(self._config().integrations, ())
        for account in self._accounts():
            found[account.name] = list(account.plans)
        return found

    async def overview(self) -> dict[str, Any]:
        now = self._clock.now()
        store = self._store()
        names = [account.name for account in self._accounts()]
        last = {(run.integration, run.resource): run for run in await store.runs.latest()}
        ended = {(run.integration, run.resource): run for run in await store.runs.recent(names, each=1)}
        counts = {
            (name, resource): live
            for name in names
            for resource, (live, _) in (await store.records.count(name)).items()
        }
        letters = await store.dead_letters.grouped()
        integrations = [self._integration(account, last, ended, counts, now) for account in self._accounts()]
        integrations += self._idle(names)
        integrations.sort(key=lambda one: (State(one["state"]).rank, one["name"]))
        return {
            "schema": STATUS_SCHEMA,
            "version": __version__,
            "started_at": self._started_at,
            "now": now,
            "summary": self.summary(),
            "ready": await self.ready(),
            "stuck": self._stuck(),
            "integrations": integrations,
            "scopes": self._scopes(now),
            "queues": self._queues(),
            "workers": self._workers(),
            "dead_letters": {"total": sum(trouble.count for trouble in letters), "causes": len(letters)},
            "rejects": {"total": sum((await store.rejects.counts()).values())},
            "reload": {"ok": self.reload_ok, "at": self.reloaded_at},
        }

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
        wanted = (
            [resource]
            if resource is not None
            else [plan.name for plan in account.plans.values() if plan.resource.parent is None]
        )
        tasks = [
            NewTask(
                kind="sync" if external_id is None else "fetch",
                resource=name,
                external_id=external_id,
                lane=Lane.HIGH,
                dedupe_key=f"sync:{name}:{external_id or ''}",
                cause=f"asked by {who}",
            )
            for name in wanted
        ]
        return await self._wish(account, tasks)

    async def plan(self, integration: str | None, resource: str | None) -> dict[str, Any]:
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
        sight = replace(
            seen,
            answered={**seen.answered, **{name: told for name, told in answered.items() if told[1] >= TELLING_CALLS}},
            gates={account.scope: account.gate.view() for account in accounts},
        )
        # Some thousand forecasts in the worst case: not on the loop.
        return await to_thread.run_sync(
            partial(
                planning.report,
                self._config(),
                sight,
                source="daemon",
                now=self._clock.now(),
                integration=integration,
                resource=resource,
            )
        )

    async def test(self, integration: str) -> TestReport:
        account = self._account(integration)
        try:
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
                    found[wish_id] = self._progress(wish_id, wish)
        for task in await self._store().tasks.find([wish for wish in wish_ids if wish not in found]):
            waiting, resumes_at = self._barred(task)
            found[task.id] = Progress(
                wish_id=task.id,
                integration=task.integration,
                resource=task.resource,
                external_id=task.external_id,
                state=RunState.WAITING if waiting else RunState.QUEUED,
                waiting_reason=waiting,
                resumes_at=resumes_at,
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
        store = self._store_now()
        if store is None:
            raise StoreError("the database has not been reached yet", hint="syncd check --env")
        return store

    def _accounts(self) -> list[Account]:
        supervisor = self._supervisor()
        if supervisor is None:
            return []
        return [account for one in supervisor.running.values() for account in one.runner.accounts.values()]

    def _account(self, name: str) -> Account:
        for account in self._accounts():
            if account.name == name:
                return account
        raise StoreError(
            f"{name} is not running on this instance", hint="enable it in its file, then: syncd reload --wait"
        )

    async def _wish(self, account: Account, tasks: list[NewTask]) -> list[int]:
        account.health.auth_retry_at = None  # whoever asks may have mended the credential: that is worth one call
        ids = await self._store().tasks.wish(account.name, *tasks)
        supervisor = self._supervisor()
        if supervisor is not None:
            supervisor.wake()
        return ids

    def _judge(
        self, account: Account, now: datetime, view: Mapping[str, Any] | None = None
    ) -> tuple[State, Explanation | None]:
        if not account.ownership.held:
            return State.WAITING, Explanation(
                "not-owner", "another instance works for this scope", action="nothing to do", cause=account.scope
            )
        return account.health.judge(view or account.gate.view(), now, account.all_needs)

    def _integration(
        self,
        account: Account,
        last: Mapping[tuple[str, str], Run],
        ended: Mapping[tuple[str, str], Run],
        counts: Mapping[tuple[str, str], int],
        now: datetime,
    ) -> dict[str, Any]:
        view = account.gate.view()
        state, told = self._judge(account, now, view)
        supervisor = self._supervisor()
        assert supervisor is not None
        runner = supervisor.running[account.partner].runner
        paused = runner.paused.get(account.name)
        return {
            "name": account.name,
            "partner": account.partner,
            "state": str(state),
            "enabled": True,
            "latency_ms": account.health.latency_ms,
            "explanation": told.as_dict() if told is not None else None,
            "paused": None
            if paused is None
            else {"reason": paused.why, "who": paused.who, "since": paused.set_at, "until": paused.until},
            "resources": [
                self._resource(account, view, runner.units.get((account.name, name)), name, last, ended, counts, now)
                for name in account.plans
            ],
            "limits": view,
        }

    def _resource(
        self,
        account: Account,
        view: Mapping[str, Any],
        unit: Unit | None,
        name: str,
        last: Mapping[tuple[str, str], Run],
        ended: Mapping[tuple[str, str], Run],
        counts: Mapping[tuple[str, str], int],
        now: datetime,
    ) -> dict[str, Any]:
        plan = account.plans[name]
        state, told = account.health.resource_state(name, view, now, account.needs(name))
        run = last.get((account.name, name))
        known = account.health.of(name)
        good_at = known.last_success_at or (run.ended_at if run and run.outcome == Outcome.DONE else None)
        return {
            "name": name,
            "state": str(state),
            "explanation": told.as_dict() if told is not None else None,
            "strategy": str(plan.strategy),
            "last_run": None if run is None else _run(run),
            "last_success_at": good_at,
            "stale_since": plan.stale_since(good_at, now) if state is not State.HEALTHY or view["ramp"] else None,
            "next_run_at": unit.due_at if unit is not None and not unit.running else None,
            "running": unit is not None and unit.running,
            "records": counts.get((account.name, name), 0),
            "held_deletions": known.held_count,
            "hint": self._outlasting(account, name, [run, ended.get((account.name, name))], now),
        }

    @staticmethod
    def _outlasting(account: Account, name: str, runs: Sequence[Run | None], now: datetime) -> str | None:
        """What to say of the first of these runs that lasts longer than its schedule allows."""
        told = (measured.lagging(account.plans[name], run, now) for run in runs if run is not None)
        return next((hint for hint in told if hint is not None), None)

    def _scopes(self, now: datetime) -> list[dict[str, Any]]:
        """The limits of every scope, once however many integrations share it."""
        sharing: dict[str, list[Account]] = {}
        for account in self._accounts():
            sharing.setdefault(account.scope, []).append(account)
        return [
            scope.as_json(
                accounts[0].gate.view(),
                now,
                integrations=[account.name for account in accounts],
                owned=accounts[0].ownership.held,
            )
            for _, accounts in sorted(sharing.items())
        ]

    def _idle(self, running: Sequence[str]) -> list[dict[str, Any]]:
        """Integrations that are configured and do not run: switched off, or not startable."""
        supervisor = self._supervisor()
        broken = supervisor.broken if supervisor is not None else {}
        found = []
        for name, (partner, _) in self._config().integrations.items():
            if name in running:
                continue
            enabled = partner.is_enabled(name)
            told = (
                _not_started(broken.get(partner.name, "it has not been started"))
                if enabled
                else Explanation(
                    "disabled",
                    "switched off in its file or by the environment",
                    action="enabled: true, then syncd reload",
                )
            )
            found.append(
                {
                    "name": name,
                    "partner": partner.name,
                    "state": str(State.DOWN if enabled else State.PAUSED),
                    "enabled": enabled,
                    "latency_ms": None,
                    "explanation": told.as_dict(),
                    "paused": None,
                    "resources": [],
                    "limits": None,
                }
            )
        return found

    def _queues(self) -> list[dict[str, Any]]:
        supervisor = self._supervisor()
        if supervisor is None:
            return []
        return [
            {
                "name": name,
                "waiting": one.runner.pool.waiting,
                "capacity": sum(one.runner.pool.capacity.values()),
                "oldest_seconds": one.runner.pool.oldest_seconds(),
            }
            for name, one in supervisor.running.items()
        ]

    def _workers(self) -> dict[str, int]:
        supervisor = self._supervisor()
        pools = [one.runner.pool for one in supervisor.running.values()] if supervisor is not None else []
        return {"alive": sum(pool.alive for pool in pools), "total": sum(pool.seats for pool in pools)}

    def _progress(self, wish_id: int, wish: Wish) -> Progress:
        """A wish as its watcher sees it: queued until a run takes it up, waiting while limits or a breaker hold it."""
        unit, tally = wish.unit, wish.tally or Tally(wish.unit.integration, wish.unit.plan.name)
        account = self._account(unit.integration)
        now = self._clock.now()
        state = RunState.QUEUED if wish.tally is None else RunState(str(tally.outcome))
        waiting, resumes_at = "", None
        if not state.ended or (state is RunState.FAILED and unit.wishes):
            waiting, resumes_at = self._held_by(account, unit, now)
            if waiting:
                state = RunState.WAITING
        told = account.health.of(unit.plan.name).trouble if state is RunState.FAILED else None
        return Progress(
            wish_id=wish_id,
            integration=unit.integration,
            resource=unit.plan.name,
            run_id=tally.run_id,
            state=state,
            page=tally.pages,
            added=tally.added,
            updated=tally.updated,
            unchanged=tally.unchanged,
            rejected=tally.rejected,
            deleted=tally.deleted,
            calls=tally.calls,
            waited_seconds=tally.waited_seconds,
            waiting_reason=waiting,
            resumes_at=resumes_at,
            total=tally.total,
            eta_seconds=tally.eta_seconds(now),
            explanation=told,
        )

    def _barred(self, task: Task) -> tuple[str, datetime | None]:
        """Why a row is not taken, where a breaker or a hold is why."""
        account = next((one for one in self._accounts() if one.name == task.integration), None)
        if account is None:
            return "", None
        return outage.waits(account.gate.view(), account.needs(task.resource), self._clock.now()) or ("", None)

    def _held_by(self, account: Account, unit: Unit, now: datetime) -> tuple[str, datetime | None]:
        """What keeps a unit from calling at this moment; nothing where it may."""
        view = account.gate.view()
        if account.health.paused is not None:
            return account.health.paused.reason, None
        if view["paused_until"] is not None:
            return "rate limited by the partner", view["paused_until"]
        blocked = outage.waits(view, account.needs(unit.plan.name), now)
        if blocked is not None:
            return blocked
        if unit.running and sum(view["waiting"].values()) and not view["in_flight"]:
            full = [tier for tier in view["tiers"] if tier["frees_in_seconds"] > 0]
            names = ", ".join(f"{tier['used']:.0f}/{tier['budget']:.0f} of {scope.label(tier)}" for tier in full)
            soonest = max((tier["frees_in_seconds"] for tier in full), default=0.0)
            return f"limit {names}" if names else "limit", now + timedelta(seconds=soonest)
        if not unit.running and unit.due_at > now:
            known = account.health.of(unit.plan.name)
            if known.limited_until is not None and known.limited_until > now:
                return known.limited_by, known.limited_until
            return "backing off", unit.due_at
        return "", None


def _run(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "mode": run.mode,
        "outcome": run.outcome,
        "trigger": run.trigger,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "pages": run.pages,
        "added": run.added,
        "updated": run.updated,
        "deleted": run.deleted,
        "unchanged": run.unchanged,
        "stale": run.stale,
        "rejected": run.rejected,
        "calls": run.calls,
        "waited_seconds": run.waited_seconds,
    }


def _not_started(reason: str) -> Explanation:
    return Explanation(
        "not-started", f"could not be started: {reason}", cause="its configuration", action="syncd check --env"
    )
