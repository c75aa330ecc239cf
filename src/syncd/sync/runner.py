"""One partner at work: its pool of coroutines, the schedule of its resources, and the feeder that takes ready tasks.

Memory holds only what was taken (R3): a schedule's last start, a wish and a task are rows, so a crash loses nothing but
warmth. One partner's trouble stays here: whatever a run raises becomes an outcome, and the next unit goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

import anyio
import structlog

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import OwnershipError, StoreError
from syncd.explain import NOTHING_TO_DO, Explanation
from syncd.limits import MANY
from syncd.model import Lane
from syncd.store import MAINTENANCE, Control, Store, Task
from syncd.sync.account import Account
from syncd.sync.cancelling import SelfCancelledError, by_itself
from syncd.sync.careful import DEATHS
from syncd.sync.decide import RetryPolicy
from syncd.sync.feeder import GIVE_BACK_SECONDS, Feeder
from syncd.sync.part import Part
from syncd.sync.pool import Pool
from syncd.sync.probing import Group, Probing
from syncd.sync.pull import PROBE, SCHEDULE, Pull
from syncd.sync.returning import Returning
from syncd.sync.run_outcomes import RunOutcomes
from syncd.sync.setbacks import Setbacks
from syncd.sync.unit import Unit, Wish
from syncd.sync.webhook_fed import Feeding
from syncd.sync.work import Worker

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""How often the feeder looks for ready tasks when nothing woke it."""
LEAVE_SECONDS = 0.1
"""How often a drain looks who waits for a limit."""
WISHES_REMEMBERED = 1000


class Runner:
    """Runs one partner until cancelled. `drain` lets what is held end first."""

    def __init__(
        self,
        partner: str,
        accounts: Mapping[str, Account],
        store: Store,
        clock: Clock,
        *,
        workers: int = 8,
        policy: RetryPolicy | None = None,
    ) -> None:
        self.partner = partner
        self.accounts = dict(accounts)
        self._store = store
        self._clock = clock
        self._policy = policy or RetryPolicy()
        self.pool = Pool(partner, workers, accounts, clock)
        self.units: dict[tuple[str, str], Unit] = {}
        workers_of = {name: Worker(account, self._policy) for name, account in accounts.items()}
        self._returning = Returning(self.accounts, self.units, store, clock)
        self._probing = Probing(self.accounts)
        self._setbacks = Setbacks(self.accounts, self.units, store, clock)
        self._feeding = Feeding(self.accounts, self.units, store, clock)
        self._feeder = Feeder(partner, self.accounts, self.pool, workers_of, self._wish, store, clock, self._probing)
        self._wake = asyncio.Event()
        self._stopping = False
        self.wishes: dict[int, Wish] = {}
        """The last wishes and what became of them, for who watches."""
        self._outcomes = RunOutcomes(
            partner, self.accounts, self.wishes, store, clock, self._policy, self._probing, self._feeder
        )
        self.paused: dict[str, Control] = {}
        """Pauses in force, by `integration` or `integration/resource`."""
        self.parts: list[Part] = []
        """What works beside the feeder."""
        for account in self.accounts.values():
            account.tasks_added = self._wake.set
            account.health.accepted = partial(self._accepted, account.name)

    # -- what others call ------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something may be due: look now."""
        self._wake.set()
        self.arrived()

    def arrived(self, *, deliveries: bool = False) -> None:
        """Rows came for what works beside the feeder; `deliveries`: into the inbox alone."""
        for part in self.parts:
            if not deliveries or getattr(part, "of_deliveries", False):
                part.wake()

    async def try_again(self) -> None:
        """What is parked because the process ended over it has one more try. Raises StoreError."""
        owned = [name for name, account in self.accounts.items() if account.ownership.held]
        for key in await self._store.perils.relieve(owned, most=DEATHS - 1):
            if (unit := self.units.get(key)) is not None:  # else it is due as soon as there is one
                unit.due_at = self._clock.now()
            self.wake()

    def set_pauses(self, controls: Mapping[str, Control]) -> None:
        """Take over the pauses now in force; a unit let go is looked at again at once."""
        before = self.paused
        self.paused = {key: held for key, held in controls.items() if key.split("/")[0] in self.accounts}
        for name, account in self.accounts.items():
            held, was = self.paused.get(name), before.get(name)
            if was is not None and was.kind == MAINTENANCE and held is None:
                self._come_back(account)
            account.health.paused = _paused_explanation(name, held) if held is not None else None
        self.wake()

    def _accepted(self, integration: str) -> None:
        self._returning.accepted(integration)
        self.wake()

    def _come_back(self, account: Account) -> None:
        """A maintenance is over: what became due meanwhile runs once, not all in one moment, with a budget that grows."""
        now = self._clock.now()
        for unit in self.units.values():
            if unit.integration == account.name and unit.due(now):
                unit.barred = True
        if account.ownership.held:
            account.gate.ramp()
        log.info("maintenance_ended", partner=self.partner, integration=account.name)

    def is_paused(self, integration: str, resource: str) -> bool:
        return self.why_paused(integration, resource) is not None

    def why_paused(self, integration: str, resource: str) -> Explanation | None:
        """Who paused this resource, or all of its integration, and until when; None where nobody did."""
        for name in (integration, f"{integration}/{resource}"):
            if name in self.paused:
                return _paused_explanation(name, self.paused[name])
        return None

    async def run(self) -> None:
        """Schedule and feed for ever."""
        try:
            await self._run()
        finally:
            self._store.waits.ended(self.partner)  # who has ended waits for nobody

    async def _run(self) -> None:
        for account in self.accounts.values():
            for gone in account.health.only(account.plans):
                metrics.HELD_DELETIONS.labels(account.name, gone).set(0)
                for what in ("unknown", "missing", "retyped"):
                    metrics.SCHEMA_CHANGES.labels(account.name, gone, what).set(0)
        async with anyio.create_task_group() as parts:
            parts.start_soon(self.pool.run)
            for part in self.parts:
                parts.start_soon(part.run)
            await self._prepare()
            while not self._stopping:
                self._wake.clear()
                wait = LOOK_SECONDS
                try:
                    await self._setbacks.look()
                    await self._feeding.look()
                    await self._returning.come_back()
                    if await self._feeder.feed(self.paused):
                        self._wake.set()
                    wait = self._offer_due()
                    if self._store.waits.ended(self.partner):
                        log.info("feeders_resumed")
                except OwnershipError:
                    pass
                except StoreError as error:
                    self._waits(error)
                metrics.HEARTBEAT.labels(f"runner {self.partner}").set(self._clock.now().timestamp())
                with anyio.move_on_after(wait):
                    await self._wake.wait()

    def _waits(self, error: StoreError) -> None:
        if self._store.waits.began(self.partner):
            log.warning("feeders_wait", partner=self.partner, reason=str(error), action=error.hint)

    async def drain(self) -> None:
        """Take nothing new; come back when what is held has ended or stopped between two pages.

        Calls under way are waited for; those that wait for a limit, perhaps for minutes, have cost nothing yet.
        """
        self._stopping = True
        unbegun = self.pool.close()
        self.wake()
        try:
            async with anyio.create_task_group() as parts:
                parts.start_soon(self._send_away)
                for part in self.parts:
                    await part.stop()
                await self.pool.drained()
                parts.cancel_scope.cancel()
        finally:  # also where something held lasts longer than we are given
            with anyio.CancelScope(shield=True), anyio.move_on_after(GIVE_BACK_SECONDS):
                await self._feeder.give_back_batches(unbegun)
                await self._feeder.give_back(wish for unit in self.units.values() for wish in unit.wishes)

    async def _send_away(self) -> None:
        """Whoever comes to wait for a limit from now on goes back to where it is stored; until cancelled."""
        while True:
            for account in self.accounts.values():
                account.gate.room.send_away(account.name)
            await self._clock.sleep(LEAVE_SECONDS)

    @property
    def stopping(self) -> bool:
        return self._stopping

    # -- schedule --------------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        """Find out when each unit is due; keep trying while the database is away."""
        while not self._stopping:
            try:
                await self._feeding.recall()
                await self._returning.look(self.accounts)
                return
            except StoreError as error:
                self._waits(error)
                await self._clock.sleep(self._policy.store_pause_seconds)

    def _offer_due(self) -> float:
        """Queue every unit that is due; returns seconds until the next one will be."""
        now = self._clock.now()
        wait = LOOK_SECONDS
        probes: dict[Group, list[Unit]] = {}
        for unit in self.units.values():
            account = self.accounts[unit.integration]
            if not account.may_call() or self.is_paused(unit.integration, unit.plan.name):
                continue
            if account.gate.away_seconds:
                continue  # ours since a moment ago: when its units are due is read first
            takes = self._probing.takes(unit.integration, unit.plan.name)
            if unit.due(now) and takes < MANY:
                unit.barred = True
                group = self._probing.probes(unit.integration, unit.plan.name)
                if group is not None:
                    probes.setdefault(group, []).append(unit)
                continue
            if unit.barred and takes == MANY:
                unit.barred = False
                # What somebody waits for goes at once, the rest not all in one moment.
                unit.due_at = now if unit.wishes else self._outcomes.pace(unit).catch_up(now, self._clock.random())
            if unit.due(now):
                self.pool.offer(unit.integration, unit.lane, unit.key, partial(self._pull, unit), long=True)
            elif not unit.running:
                wait = min(wait, max((unit.due_at - now).total_seconds(), 0.01))
        for group, due in probes.items():
            # Wanted by somebody, else tried longest ago: a resource that is sick by itself is not the probe for ever.
            unit = min(due, key=lambda one: (not one.wishes, one.last_started_at or one.due_at))
            self._probing.hand_out(group, unit.key)
            if not self.pool.offer(unit.integration, unit.lane, unit.key, partial(self._pull, unit), long=True):
                self._probing.ended(unit.key)
        return wait

    async def _pull(self, unit: Unit) -> None:
        """One run of one unit, whatever it raises."""
        account = self.accounts[unit.integration]
        if unit.running:
            return
        # A breaker may have opened while this waited for a seat.
        barred = any(not account.gate.breakers.takes(group) for group in account.needs(unit.plan.name))
        if barred or self._stopping or self.is_paused(unit.integration, unit.plan.name):
            self._probing.ended(unit.key)
            return
        unit.running, unit.barred = True, False
        account.health.began(unit.plan.name)
        began_at = unit.last_started_at = self._clock.now()
        wishes, unit.wishes = unit.wishes, []
        pull = Pull(
            account,
            unit.plan,
            lane=Lane.HIGH if wishes else Lane.LOW if unit.plan.resource.lane == "low" else Lane.NORMAL,
            trigger="wish" if wishes else PROBE if self._probing.is_out(unit.key) else SCHEDULE,
            wanted_full=any(wish.kind == "reconcile" for wish in wishes),
            confirmed=any(wish.payload.get("confirm") for wish in wishes),
            # Not where the process ended during the run that was to fulfil it: then it has been tried.
            retry=any((wish.payload.get("retry") or wish.letter_id) and not wish.lost for wish in wishes),
            stopping=lambda: self._stopping or self.is_paused(unit.integration, unit.plan.name),
        )
        unit.last = pull.tally
        for wish in wishes:
            self.wishes[wish.id] = Wish(unit, pull.tally)
        try:
            try:
                await pull.run()
            except Exception as error:
                await self._outcomes.failed(unit, pull, wishes, error)
            except asyncio.CancelledError:
                if not by_itself():
                    raise
                await self._outcomes.failed(unit, pull, wishes, SelfCancelledError())
            else:
                await self._outcomes.ended(unit, pull, wishes, began_at)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True), anyio.move_on_after(GIVE_BACK_SECONDS):
                await self._feeder.give_back(wishes)
            raise
        finally:
            unit.running = False
            self._probing.ended(unit.key)
            account.moved()
            self._wake.set()

    def _wish(self, task: Task) -> bool:
        """Somebody wants a run now: the unit is due, and whoever asked can watch. False: nothing of that name is synced."""
        unit = self.units.get((task.integration, task.resource))
        if unit is None:
            return False
        known = [wish.id for wish in unit.wishes]
        if task.id in known:
            unit.wishes[known.index(task.id)] = task  # taken anew, under the fence its end is written with
        else:
            unit.wishes.append(task)
            unit.due_at = self._clock.now()
            self.wishes[task.id] = Wish(unit)
            while len(self.wishes) > WISHES_REMEMBERED:
                del self.wishes[next(iter(self.wishes))]
        return True


def _paused_explanation(name: str, held: Control) -> Explanation:
    until = f" until {held.until:%Y-%m-%d %H:%M} UTC" if held.until is not None else ""
    if held.kind == MAINTENANCE:
        return Explanation(
            "maintenance",
            f"in maintenance{until}" + (f": {held.why}" if held.why else ""),
            since=held.set_at,
            cause="a window in its file; webhooks are stored meanwhile",
            action=NOTHING_TO_DO,
        )
    return Explanation(
        "paused",
        f"paused by {held.who}{until}: {held.why}",
        since=held.set_at,
        cause="a person paused it",
        action=f"syncd resume {name}",
    )
