"""The engine as its surfaces see it: `server.ports.Status` put together from the rooms that answer for its parts."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from syncd import planning
from syncd.adapting import Adapting
from syncd.backfills import Backfills
from syncd.client.witness import brief
from syncd.clock import Clock
from syncd.comparisons import Comparisons
from syncd.conditions import Conditions
from syncd.conditions.database import DatabaseWatch
from syncd.conditions.gauges import GAUGES
from syncd.conditions.own import Own
from syncd.conditions.process import DiskWatch, LoopWatch, WorkerWatch
from syncd.conditions.queues import QueueWatch
from syncd.config import Config
from syncd.contracts import Contracts
from syncd.credentials.desk import Credentials
from syncd.credentials.watch import CredentialWatch
from syncd.depths import Depths
from syncd.dryrun import DryRuns
from syncd.explain import Explanation
from syncd.figures import Figures, Instruments
from syncd.history import Changes
from syncd.holds import Breakers
from syncd.log_levels import LogLevels
from syncd.overview import Overview
from syncd.provenance import Provenance
from syncd.pushing import Pushing
from syncd.replaying import Replaying
from syncd.server.kept import Kept
from syncd.server.ports import HealthReport, Progress, ReconcileReport, ReloadReport, TestReport
from syncd.server.refusals import Refused
from syncd.store import Store, reached
from syncd.subscriptions import Subscribers
from syncd.supervisor import Supervisor
from syncd.support.evidence import Evidence
from syncd.sync.account import Account
from syncd.wishes import Wishes

CANNOT_STORE = "the database cannot store a delivery now: syncd status says why"
"""All that is said of it in public."""
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
        storable: Callable[[], Awaitable[str]],
        refusing: Callable[[], Mapping[str, Explanation]],
        reload: Callable[[str], Awaitable[ReloadReport]],
        directory: Path = Path(),
        loop_lag: Callable[[], float] = lambda: 0.0,
        cannot_store: Callable[[], str] = lambda: "",
        refused: Callable[[], Mapping[str, Refused]] = dict,
        state_directory: Path | None = None,
    ) -> None:
        """`directory`: where the configuration lies; `loop_lag`: how late the loop was at worst since it was last asked."""
        self._config = config
        self._supervisor = supervisor
        self._store_now = store
        self._clock = clock
        self._unready = unready
        self._storable = storable
        self._reload = reload
        self._state_directory = state_directory
        self.breakers = Breakers(self._accounts, self._store, clock)
        self.depths = Depths(store, supervisor, clock, worked=self._worked)
        self.changes = Changes(store, clock)
        self.log_levels = LogLevels(self.changes, clock)
        self.records = Provenance(config, store, clock, call=self._call_at)
        self.evidence = Evidence(self._accounts, store, config, clock)
        instruments = Instruments(self._accounts, self.depths.view, loop_lag, clock)
        self.figures = Figures(instruments, clock, self.changes.lately)
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
        self.credentials = Credentials(
            config=config,
            accounts=self._accounts,
            store=self._store,
            clock=clock,
            names=self.names,
            sync=self.sync,
        )
        self.dry_runs = DryRuns(accounts=self._accounts, clock=clock, names=self.names)
        self.shown = Overview(
            config=config,
            accounts=self._accounts,
            supervisor=supervisor,
            store=self._store,
            clock=clock,
            stuck=stuck,
            unready=self.unready,
            refusing=refusing,
            refused=refused,
            depths=self.depths,
            figures=self.figures,
            pushes=self.pushes,
            backfills=self.backfills,
        )
        self._aging = CredentialWatch(
            config=config,
            accounts=self._accounts,
            store=store,
            clock=clock,
            environ=os.environ,
            company=self.shown.company,
        )
        self.shown.reminders = self._aging.conditions
        self._health = Kept(self.shown.health, clock, lambda: self.conditions.turns)
        self.wishes = Wishes(
            accounts=self._accounts, supervisor=supervisor, store=self._store, clock=clock, woken=self._woken
        )
        GAUGES.use(self.conditions)
        self._loop = LoopWatch(clock, stuck)
        self._disks = DiskWatch(self._directories, clock)
        self._watch(DatabaseWatch(store, cannot_store, clock))

    def _watch(self, database: DatabaseWatch) -> None:
        """Have everything looked at that may be wrong with the daemon itself."""
        queues = QueueWatch(self.depths, self._supervisor, self._clock, cannot_store=database.cannot_store)
        workers = WorkerWatch(self._supervisor, self._clock)
        self.own.ask(database.full, self._disks.trouble)
        looked = (database.down, database.slow, workers.trouble, database.locked, queues.trouble)
        for source in looked:
            self.own.ask(source)
        self.own.ask(self._loop.trouble)

    def _directories(self) -> dict[str, Path]:
        """Where files of ours lie."""
        state = self._state_directory or self._config().state_directory
        found = {"state directory": state} if state is not None and state.is_dir() else {}
        for name, (_, settings) in self._config().integrations.items():
            if settings.media is not None:
                found[f"media of {name}"] = Path(settings.media.directory)
        return found

    async def keep_watch(self) -> None:
        """Look every few seconds at what may be wrong, so that it is said though nobody asks."""
        async with anyio.create_task_group() as looking:
            looking.start_soon(partial(self.conditions.run, late=self._loop.beat))
            looking.start_soon(self._disks.run)
            looking.start_soon(self._aging.run)

    # -- how it is -------------------------------------------------------------------------------------------------

    @property
    def conditions(self) -> Conditions:
        """What is not as it should be."""
        return self.shown.conditions

    @property
    def own(self) -> Own:
        """What is wrong with the daemon itself."""
        return self.shown.own

    def health(self) -> HealthReport:
        """For everybody, who may ask as often as they like."""
        return self._health()

    def summary(self) -> str:
        """One line: what `systemctl status` shows too."""
        return self.shown.summary()

    async def overview(self) -> dict[str, Any]:
        return await self.shown.view()

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

    def partners(self) -> Mapping[str, Sequence[str]]:
        return {name: list(partner.integrations) for name, partner in self._config().partners.items()}

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

    # -- what people ask for ---------------------------------------------------------------------------------------

    async def sync(self, integration: str, resource: str | None, external_id: str | None, *, who: str) -> list[int]:
        return await self.wishes.sync(integration, resource, external_id, who=who)

    async def test(self, integration: str) -> TestReport:
        return await self.wishes.test(integration)

    async def reconcile(self, integration: str, resource: str | None, *, confirm: bool, who: str) -> ReconcileReport:
        return await self.wishes.reconcile(integration, resource, confirm=confirm, who=who)

    async def progress(self, wish_ids: Sequence[int]) -> list[Progress]:
        return await self.wishes.progress(wish_ids)

    async def pause(
        self, integration: str, resource: str | None, *, who: str, reason: str, until: datetime | None
    ) -> bool:
        return await self.wishes.pause(integration, resource, who=who, reason=reason, until=until)

    async def resume(self, integration: str, resource: str | None, *, who: str) -> bool:
        return await self.wishes.resume(integration, resource, who=who)

    async def reload(self, *, who: str) -> ReloadReport:
        return await self._reload(who)

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

    def _call_at(self, integration: str, at: datetime) -> Mapping[str, Any] | None:
        """The call that brought what was fetched at this moment, while it is remembered."""
        found = [account.session.witness.begun(at) for account in self._accounts() if account.name == integration]
        return brief(found[0]) if found and found[0] is not None else None

    def _woken(self) -> None:
        supervisor = self._supervisor()
        if supervisor is not None:
            supervisor.wake()
