"""The silence watch: where deliveries used to come and none has for much longer than usual, what they would have told is
pulled, once, and it is said so. The next delivery heals it.

A silence may be nobody's fault: a quiet Sunday. So it is a remark as long as the pull finds nothing that deliveries should
have told; what it finds proves that they are lost somewhere, and the integration is degraded until one comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from syncd import metrics
from syncd.clock import Clock
from syncd.config.units import format_duration
from syncd.errors import StoreError
from syncd.explain import Explanation
from syncd.model import Lane, Outcome
from syncd.store import NewTask, Store
from syncd.store.arrivals import Hour, Silent
from syncd.sync import rhythm
from syncd.sync.account import Account
from syncd.sync.plan import Strategy
from syncd.sync.unit import Unit

log = structlog.get_logger()

LOOK_SECONDS = 15.0
LEAST_LOOK_SECONDS = 1.0
LEARN_SECONDS = 600.0
"""How often what is usual is read anew."""
LOOKED_AT = 5000
"""Deliveries of the inbox that are looked at where nothing has been learned yet (R12)."""


@dataclass(slots=True)
class _Watched:
    """One integration whose webhooks are expected."""

    account: Account
    fixed_seconds: float | None
    last_at: datetime | None = None
    """The newest delivery; before any: when the partner was subscribed to."""
    hours: list[Hour] = field(default_factory=list)
    learn_at: float = float("-inf")
    heard: dict[datetime, tuple[int, float]] = field(default_factory=dict)
    """Not stored yet, by hour."""
    begun: bool = False
    silent: Silent | None = None
    rows_heal: bool = False
    """A silence stands in the rows that is over."""


class Silence:
    """One partner's. `silences` says of each integration with webhooks how long may pass: None: what is usual; inf: any."""

    def __init__(
        self,
        partner: str,
        accounts: Mapping[str, Account],
        units: Mapping[tuple[str, str], Unit],
        silences: Mapping[str, float | None],
        store: Store,
        clock: Clock,
        *,
        paused: Callable[[str, str], bool] = lambda integration, resource: False,
    ) -> None:
        self._partner = partner
        self._units = units
        self._store = store
        self._clock = clock
        self._paused = paused
        self._watched = {
            name: _Watched(accounts[name], fixed) for name, fixed in silences.items() if fixed != float("inf")
        }
        given = [watched.fixed_seconds for watched in self._watched.values() if watched.fixed_seconds is not None]
        self._look_seconds = max(min([LOOK_SECONDS, *(seconds / 4 for seconds in given)]), LEAST_LOOK_SECONDS)
        self._wake = asyncio.Event()
        self._stopping = False
        for name, account in accounts.items():
            if name in self._watched:
                account.heard = self._hearing(self._watched[name])
            else:
                account.health.hears()  # a reload may have ended the watch in the midst of a silence

    # -- a part of the runner

    async def run(self) -> None:
        while not self._stopping:
            for watched in self._watched.values():
                try:
                    await self._look(watched)
                except StoreError as error:
                    log.debug("silence_watch_waits", partner=self._partner, reason=str(error))
                except Exception:
                    log.exception("silence_watch_crashed", partner=self._partner, integration=watched.account.name)
            self._wake.clear()
            try:
                async with self._clock.timeout(self._look_seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def wake(self) -> None:
        """Deliveries came: nothing to do before they are worked on."""

    async def stop(self) -> None:
        """Look no more; what was heard is stored."""
        self._stopping = True
        self._wake.set()
        for watched in self._watched.values():
            try:
                await self._store_heard(watched)
            except StoreError as error:
                log.debug("silence_watch_waits", partner=self._partner, reason=str(error))

    # -- what is heard

    def _hearing(self, watched: _Watched) -> Callable[[Sequence[datetime]], None]:
        def heard(times: Sequence[datetime]) -> None:
            if not times:
                return
            newest = max(times)
            fresh = [at for at in times if watched.last_at is None or at > watched.last_at]
            # Time in which nobody listened is no rhythm: what came first after a start tells of no gap.
            before = watched.last_at if watched.begun else None
            for hour, (count, longest) in rhythm.tally(fresh, before).items():
                known = watched.heard.get(hour, (0, 0.0))
                watched.heard[hour] = (known[0] + count, max(known[1], longest))
            watched.begun = True
            if watched.last_at is None or newest > watched.last_at:
                watched.last_at = newest
            if watched.silent is not None and newest > watched.silent.since:
                self._heal(watched, newest)

        return heard

    def _heal(self, watched: _Watched, at: datetime) -> None:
        account, silent = watched.account, watched.silent
        watched.silent, watched.rows_heal = None, True
        account.health.hears()
        metrics.WEBHOOKS_SILENT.labels(account.name).set(0)
        if silent is not None:
            seconds = round((at - silent.since).total_seconds())
            log.info("webhooks_heard_again", partner=self._partner, integration=account.name, silent_seconds=seconds)
        self._wake.set()

    # -- looking

    async def _look(self, watched: _Watched) -> None:
        account = watched.account
        if not account.ownership.held:
            watched.learn_at, watched.begun = (
                float("-inf"),
                False,
            )  # whoever owns it listens; afterwards it is read anew
            return
        if watched.rows_heal:
            await self._store.arrivals.heal(account.name)
            watched.rows_heal = False
        if watched.learn_at == float("-inf"):
            await self._recall(watched)
        await self._store_heard(watched)
        now = self._clock.now()
        if self._clock.monotonic() >= watched.learn_at:
            watched.hours = await self._store.arrivals.hours(account.name)
            watched.learn_at = self._clock.monotonic() + LEARN_SECONDS
        if watched.silent is not None:
            await self._missed(watched, watched.silent)
            return
        if watched.last_at is None or not account.may_call() or self._paused(account.name, ""):
            return
        if rhythm.unusual(watched.hours, watched.last_at, now, fixed_seconds=watched.fixed_seconds) is None:
            return
        # What nobody has worked on yet has come all the same.
        newest = await self._store.arrivals.last_at(account.name)
        watched.last_at = max(watched.last_at, newest) if newest is not None else watched.last_at
        why = rhythm.unusual(watched.hours, watched.last_at, now, fixed_seconds=watched.fixed_seconds)
        if why is not None:
            await self._tell(watched, Silent(watched.last_at, now, why, missed=False))

    async def _recall(self, watched: _Watched) -> None:
        """After a start: when the last one came, what is usual, which silence was told of."""
        store, name = self._store.arrivals, watched.account.name
        if not await store.hours(name):
            times = await store.recent(name, limit=LOOKED_AT)
            await store.add(name, rhythm.tally(times, None))
        newest = await store.last_at(name)
        if newest is None:
            notes = await self._store.credentials.list(name)
            newest = max((note.stored_at for note in notes if note.kind == "webhook"), default=None)
        watched.last_at = newest if watched.last_at is None or newest is None else max(newest, watched.last_at)
        silent = await store.silent(name)
        if silent is not None and watched.last_at is not None and watched.last_at > silent.since:
            await store.heal(name)
            silent = None
        if silent is not None:
            self._show(watched, silent)
        watched.silent = silent

    async def _store_heard(self, watched: _Watched) -> None:
        heard, watched.heard = watched.heard, {}
        try:
            await self._store.arrivals.add(watched.account.name, heard)
        except BaseException:
            watched.heard = heard | watched.heard
            raise

    async def _tell(self, watched: _Watched, silent: Silent) -> None:
        """A silence begins: pull what would have been told, say so. Once, whoever is restarted meanwhile.

        Told after the pull is asked for: whoever ends in between has it asked for twice, not never.
        """
        account = watched.account
        known = await self._store.arrivals.silent(account.name)
        if known is None or (known.since, known.missed) != (silent.since, silent.missed):
            resources = await self._affected(account)
            cause = f"no webhook since {silent.since:%Y-%m-%d %H:%M} UTC"
            tasks = [
                NewTask(kind="sync", resource=name, lane=Lane.HIGH, dedupe_key=f"sync:{name}:", cause=cause)
                for name in resources
            ]
            await self._store.tasks.put(account.name, *tasks)
            account.tasks_added()
            await self._store.arrivals.tell(account.name, silent)
            log.warning(
                "webhooks_silent",
                partner=self._partner,
                integration=account.name,
                since=silent.since.isoformat(),
                reason=f"no webhook for {format_duration(round((silent.told_at - silent.since).total_seconds()))}",
                usual=silent.usual,
                pulled=resources,
                action=_mend(account),
            )
        watched.silent = silent
        self._show(watched, silent)

    async def _affected(self, account: Account) -> list[str]:
        """What webhooks have told of, or are to tell of; of children the parents. All there is where neither is known."""
        told = {known.resource for known in await self._store.deliveries.list([account.name]) if known.resource}
        told |= {plan.name for plan in account.plans.values() if plan.backup is not None}
        found = {self._top(account, name) for name in told if name in account.plans}
        every = [plan.name for plan in account.plans.values() if plan.strategy is not Strategy.CHILDREN]
        return [name for name in every if not found or name in found]

    @staticmethod
    def _top(account: Account, name: str) -> str:
        while (
            account.plans[name].strategy is Strategy.CHILDREN and account.plans[name].resource.parent in account.plans
        ):
            name = account.plans[name].resource.parent or name
        return name

    async def _missed(self, watched: _Watched, silent: Silent) -> None:
        """Has a run that began since found what deliveries should have told? Then they are lost somewhere."""
        account = watched.account
        if silent.missed:
            return
        for name in await self._affected(account):
            unit = self._units.get((account.name, name))
            tally = unit.last if unit is not None else None
            if unit is None or tally is None or unit.running or tally.outcome is not Outcome.DONE:
                continue
            began = unit.last_started_at
            if began is not None and began >= silent.told_at and tally.added + tally.updated + tally.deleted:
                found = Silent(silent.since, silent.told_at, silent.usual, missed=True)
                await self._store.arrivals.tell(account.name, found)
                watched.silent = found
                self._show(watched, found)
                log.warning(
                    "webhooks_missed", partner=self._partner, integration=account.name, resource=name,
                    reason="the pull found changes that no webhook told of", action=_mend(account),
                )  # fmt: skip
                return

    def _show(self, watched: _Watched, silent: Silent) -> None:
        account = watched.account
        metrics.WEBHOOKS_SILENT.labels(account.name).set(2 if silent.missed else 1)
        found = (
            "what they should have told was pulled, and there was some" if silent.missed else "its records were pulled"
        )
        account.health.falls_silent(
            Explanation(
                "webhooks-silent",
                f"no webhook since {silent.since:%Y-%m-%d %H:%M} UTC ({silent.usual}); {found}",
                since=silent.since,
                cause="the subscription is gone, or deliveries do not reach us",
                action=_mend(account),
            ),
            [plan.name for plan in account.plans.values()],
            missed=silent.missed,
        )


def _mend(account: Account) -> str:
    """What helps against a silence: a driver that cannot ask the partner leaves it to a person."""
    if account.driver.subscriptions(account.options) is None:
        return (
            f"look at {account.partner} whether its webhooks still lead here, then: syncd webhook list {account.name}"
        )
    return f"syncd webhook repair {account.name}"
