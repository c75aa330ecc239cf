"""What the daemon does beside syncing: take over pauses, measure queues, probe quiet partners, prune at night."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import anyio
import structlog

from syncd import maintaining, metrics
from syncd.client.pace import SLOW_SECONDS
from syncd.clock import Clock
from syncd.config import Config, RetentionConfig
from syncd.engine import Engine
from syncd.errors import StoreError, SyncdError, TransientError
from syncd.explain import State
from syncd.figures import SAMPLE_SECONDS
from syncd.gauges import CHECK_SECONDS, Gauges
from syncd.history.changes import REFRESH_SECONDS
from syncd.kit import Response
from syncd.model import Lane
from syncd.sdnotify import Notifier
from syncd.store import OUTBOX, PAUSE, WISHES, Control, Retention, Store
from syncd.store.prune import RULES
from syncd.store.scribe import INBOX
from syncd.supervisor import Supervisor
from syncd.sync.account import Account
from syncd.sync.media import clear

log = structlog.get_logger()

CONTROLS_SECONDS = 10.0
SOON_SECONDS = 0.05
"""Least time between two looks at orders that end."""
MEASURE_SECONDS = 5.0
REMEMBER_SECONDS = 2.0
PROBE_LOOK_SECONDS = 5.0
SOON_AGAIN_SECONDS = 2.0
"""Least time between a probe that leaves it open whether a partner is well, and the next one."""
PROBE_SECONDS = 15.0
"""So soon that a trouble is told within a minute by whoever is told last: a scrape takes up to 15 s more."""
PROBE_SHARE = 0.05
"""Of each of a partner's limits; no more is spent on asking whether it is there."""
READS = frozenset({"", "read", "GET"})
"""Budgets of which a probe is one call, mostly."""
CHEAP_SECONDS = 60.0
"""A partner that may be probed so often may be probed more often for a while, to be sure."""
ROOM_SECONDS = 10.0
"""Between two looks whether a disk of the database that was full has room again."""
VIEWS_SECONDS = 60.0
SUBSCRIPTIONS_SECONDS = 6 * 3600.0
"""Between two looks at subscriptions that a partner may drop without a word."""
PRUNE_HOUR = 3
"""UTC; the nightly prune begins in this hour."""
PRUNE_LOOK_SECONDS = 600.0
"""Between two looks whether it is time, and between two tries of what was not finished."""


class Upkeep:
    """A handful of loops; each survives whatever its own work raises."""

    def __init__(
        self,
        store: Store,
        supervisor: Supervisor,
        engine: Engine,
        notifier: Notifier,
        clock: Clock,
        config: Callable[[], Config],
    ) -> None:
        self._store = store
        self._supervisor = supervisor
        self._engine = engine
        self._notifier = notifier
        self._clock = clock
        self._config = config
        self._wished = anyio.Event()
        self._active: Sequence[Control] = ()
        self._windows: Mapping[str, Control] = {}
        self._gauges = Gauges()
        self._probed: dict[str, tuple[int, float]] = {}
        self._unanswered: set[str] = set()
        """Whose latest probe got no answer, or a 5xx."""
        self._pruned_on: datetime | None = None
        self._unpruned: set[str] = set()
        """Rules of the prune that are due."""

    async def begin(self) -> None:
        """Before the first run: pauses must hold from the first moment."""
        await self._store.listen(WISHES, self._hear)
        await self._store.listen(OUTBOX, self._came)
        await self._store.listen(INBOX, self._came)
        await self._take_controls()

    def look(self) -> None:
        """The configuration is another one: see at once what is held now."""
        self._wished.set()

    async def run(self) -> None:
        async with anyio.create_task_group() as loops:
            loops.start_soon(self._controls)
            loops.start_soon(self._every, MEASURE_SECONDS, self._measure)
            loops.start_soon(self._every, SAMPLE_SECONDS, lambda: self._engine.figures.sample())
            loops.start_soon(self._every, REFRESH_SECONDS, lambda: self._engine.changes.refresh())
            loops.start_soon(self._every, PROBE_LOOK_SECONDS, self._probe)
            loops.start_soon(self._every, CHECK_SECONDS, self._check)
            loops.start_soon(self._every, ROOM_SECONDS, lambda: self._store.try_room())
            loops.start_soon(self._every, REMEMBER_SECONDS, self._remember)
            loops.start_soon(self._every, PRUNE_LOOK_SECONDS, self._prune)
            loops.start_soon(self._every, SUBSCRIPTIONS_SECONDS, lambda: self._engine.subscribers.keep_up())
            loops.start_soon(self._every, VIEWS_SECONDS, self._supervisor.open_views)

    def _came(self, integration: str) -> None:
        if integration:
            self._supervisor.arrived(integration)
        else:
            self._supervisor.wake()

    def _hear(self, _: str) -> None:
        self._wished.set()

    async def _every(self, seconds: float, work: Callable[[], object]) -> None:
        while True:
            await self._clock.sleep(seconds)
            try:
                done = work()
                if hasattr(done, "__await__"):
                    await done
            except SyncdError as error:
                log.debug("upkeep_waits", work=getattr(work, "__name__", ""), reason=str(error))
            except Exception:
                log.exception("upkeep_crashed", work=getattr(work, "__name__", ""))

    async def _controls(self) -> None:
        seconds = CONTROLS_SECONDS
        while True:
            with anyio.move_on_after(seconds):
                await self._wished.wait()
            self._wished, seconds = anyio.Event(), CONTROLS_SECONDS
            try:
                seconds = await self._take_controls()
            except StoreError as error:
                log.debug("upkeep_waits", work="controls", reason=str(error))
            except Exception:
                log.exception("upkeep_crashed", work="controls")
            self._supervisor.wake()

    async def _take_controls(self) -> float:
        """Have what people ordered obeyed; returns the seconds until the next look: an order ends when it was said to."""
        windows = self._maintain()
        await self._store.controls.end(PAUSE, action="pause_ended")
        active = await self._store.controls.active()
        self._obey(active, windows)
        await maintaining.note(self._store, self._accounts(), active, windows)
        self._supervisor.set_holds(active)
        await self._engine.breakers.carry_out(active)
        now = self._clock.now()
        turns = [one.until for one in (*active, *windows.values())] + [maintaining.next_turn(self._config(), now)]
        soon = [(turn - now).total_seconds() for turn in turns if turn is not None]
        return min([CONTROLS_SECONDS, *(max(seconds, SOON_SECONDS) for seconds in soon)])

    def _maintain(self) -> dict[str, Control]:
        """Have the maintenance windows obeyed that are open, also while the database is away: they are in the files."""
        now = self._clock.now()
        windows = maintaining.in_force(self._config(), now)
        if windows != self._windows:
            self._obey([one for one in self._active if one.lasts(now)], windows)
        return windows

    def _obey(self, active: Sequence[Control], windows: Mapping[str, Control]) -> None:
        self._active, self._windows = active, windows
        held = maintaining.pauses(active, windows)
        self._supervisor.set_pauses(held, windows)
        maintaining.measure(self._accounts(), held, windows)

    def _accounts(self) -> list[Account]:
        return [account for one in self._supervisor.running.values() for account in one.runner.accounts.values()]

    async def _measure(self) -> None:
        """Queue lengths and ages, lag of each resource, the one line systemd shows."""
        self._gauges.tell(self._config(), self._supervisor.running, self._clock.now())
        self._notifier.status(self._engine.summary())  # first: it needs no database, and tells that there is none
        letters = await self._store.dead_letters.counts()
        # Also of those that have none any more: a gauge that nobody sets stays where it was.
        for integration in {*letters, *(account.name for account in self._accounts())}:
            metrics.DEAD_LETTERS.labels(integration).set(letters.get(integration, 0))
        await self._engine.depths.measure()
        await self._engine.pushes.standing()

    def _check(self) -> None:
        """Note of each partner whether it is well."""
        now = self._clock.now()
        self._gauges.check(self._accounts(), lambda one: one.health.judge(one.gate.view(), now, one.all_needs)[0])

    async def _remember(self) -> None:
        """Store what turned at a gate while no call comes along to store it: above all a breaker that opened."""
        for state in {account.scope: account for account in self._accounts()}.values():
            if state.gate.unsaved and state.ownership.held:
                await state.gate.persist()

    async def _probe(self) -> None:
        """One cheap call to each partner nobody has called for a while; health is never answered by calling."""
        now = self._clock.monotonic()
        async with anyio.create_task_group() as probes:
            for account in self._accounts():
                calls, at = self._probed.get(account.name, (-1, now))
                spent = account.session.spent.calls
                if calls != spent:
                    self._probed[account.name] = (spent, now)
                elif self._may_probe(account, now - at):
                    self._probed[account.name] = (spent, now)
                    probes.start_soon(self._probe_one, account)

    def _may_probe(self, account: Account, quiet_seconds: float) -> bool:
        if account.session.shut is not None:
            return False
        state, _ = account.health.judge(account.gate.view(), self._clock.now(), account.all_needs)
        test = account.driver.spec.test
        every = self._probe_seconds(account)
        if every <= CHEAP_SECONDS:
            every = min(every, self._soon(account))
        if state is State.PAUSED and test is not None and test.keep_alive is not None:
            every = test.keep_alive  # its credential would die of disuse before anybody resumes it
        elif state in (State.PAUSED, State.WAITING):
            return False
        return account.ownership.held and quiet_seconds >= every

    def _probe_seconds(self, account: Account) -> float:
        """How long a partner may go without a call before it is probed: the driver's word, for reads may be dear there, and
        what its limits say, together for all who share them."""
        test = account.driver.spec.test
        stated = test.every if test is not None else PROBE_SECONDS
        specs = [tier.spec for tier in account.gate.book.tiers if tier.spec.budget in READS]
        apart = max((spec.window_seconds / spec.limit for spec in specs), default=0.0)
        sharing = sum(one.scope == account.scope for one in self._accounts()) if apart else 1
        return max(stated, apart * sharing / PROBE_SHARE)

    def _soon(self, account: Account) -> float:
        """One answer that is slow, or fails, proves nothing: others do, and so they do that it is over."""
        slow = account.health.slow is not None or (account.health.latency_ms or 0.0) > SLOW_SECONDS * 1000
        unsure = slow or account.name in self._unanswered
        return SOON_AGAIN_SECONDS if unsure else CHEAP_SECONDS

    async def _probe_one(self, account: Account) -> None:
        try:
            await self._ask(account)
        finally:  # its own calls are none that somebody else made meanwhile
            self._probed[account.name] = (account.session.spent.calls, self._clock.monotonic())

    async def _ask(self, account: Account) -> None:
        try:
            response = await self._test(account)
            if response.elapsed_seconds > SLOW_SECONDS and account.health.slow is None:  # a hiccup, or is it slow?
                response = await self._test(account)
        except SyncdError as error:
            account.health.probed(error, self._clock.now())
            if isinstance(error, TransientError):
                self._unanswered.add(account.name)
            return
        except Exception:
            # A defect of one driver costs the others neither their probes nor anything else that is done here.
            log.exception("upkeep_crashed", work="probe", integration=account.name)
            return
        self._unanswered.discard(account.name)
        account.health.latency_ms = response.elapsed_seconds * 1000
        account.health.probed(None, self._clock.now())

    async def _test(self, account: Account) -> Response:
        # Where nothing cheaper is known it is a page of a listing.
        async with account.inflight.narrowing.one(Lane.NORMAL):
            return await account.session.call(account.driver.test(account.options), lane=Lane.LOW)

    async def _prune(self) -> None:
        now = self._clock.now()
        if now.hour == PRUNE_HOUR and (self._pruned_on is None or self._pruned_on.date() != now.date()):
            self._pruned_on = now
            self._unpruned = {rule.name for rule in RULES}
            await self._clear_media()
        if not self._unpruned:
            return
        done = await self._store.prune.run(_retention(self._config().retention), only=self._unpruned)
        removed = {name: count for name, count in done.removed.items() if count}
        for name, count in removed.items():
            metrics.PRUNED.labels(name).inc(count)
        if removed:
            log.info("rows_pruned", **removed)
        told = self._engine.own.unpruned
        self._engine.own.pruned(done.unfinished)
        for name in self._unpruned:
            metrics.PRUNE_UNFINISHED.labels(name).set(name in done.unfinished)
            if name in done.unfinished and name not in told:
                log.warning(
                    "prune_unfinished",
                    table=name,
                    reason=done.unfinished[name],
                    action=f"nothing yet: it is tried again every {PRUNE_LOOK_SECONDS / 60:.0f} minutes; "
                    "where it stays, look what slows or blocks the database",
                )
            elif name in told and name not in done.unfinished:
                log.info("prune_finished", table=name)
        self._unpruned = set(done.unfinished)

    async def _clear_media(self) -> None:
        """Files that no record has any more; only what this instance owns, so that one does it."""
        for account in self._accounts():
            if account.ownership.held and (removed := await clear(account)):
                log.info("media_removed", integration=account.name, count=removed)


def _retention(keep: RetentionConfig) -> Retention:
    """The configured times in the store's words."""
    return Retention(
        changes=timedelta(seconds=keep.changes),
        runs=timedelta(seconds=keep.runs),
        inbox_bodies=timedelta(seconds=keep.inbox_payloads),
        inbox_keys=timedelta(seconds=keep.inbox),
        outbox=timedelta(seconds=keep.outbox),
        rejects=timedelta(seconds=keep.rejects),
        dead_letters=timedelta(seconds=keep.dead_letters),
        tombstones=timedelta(seconds=keep.tombstones),
        audit_log=timedelta(seconds=keep.audit_log),
    )
