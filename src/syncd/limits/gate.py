"""One gate a scope: breaker, pause, seats and every tier, decided once, in the order every call goes through.

Nobody polls and no task is left behind: of all who wait one is the lookout, who sleeps until the first moment anything
can change; the others sleep until told. When the lookout goes, or is cancelled, the next one takes over.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import BreakerOpenError, PartnerError, RateLimitError
from syncd.limits.book import Ask, Book, Spent
from syncd.limits.breaker import Breaker, BreakerPolicy, BreakerState, Pass
from syncd.limits.recorder import Recorder, moment
from syncd.limits.tiers import TierSpec
from syncd.model import Lane
from syncd.ports import SlotKeeper

_LEAST_SLEEP = 0.0005
"""Seconds. A timer may ring a hair early, and sums of floats may miss: look again after this instead of at once."""
_LONGEST_PAUSE = 7 * 86400.0
DEFAULT_LANES: Mapping[Lane, float] = {Lane.HIGH: 0.1, Lane.NORMAL: 0.1, Lane.LOW: 0.05}

Notify = Callable[..., None]


class OverBudgetError(RateLimitError):
    """Our own gate refused: the call could not have left before its deadline. Nothing was sent, no 429 was met."""


class Slot:
    """A call's place at the gate, good for one request. Methods may be called until the block ends."""

    __slots__ = ("_gate", "_heard", "_pass", "_spent", "_verdict", "group", "waited_by", "waited_seconds")

    def __init__(
        self, gate: Gate, spent: Spent, leave: Pass, group: str, waited_seconds: float, waited_by: str
    ) -> None:
        self._gate = gate
        self._spent = spent
        self._pass = leave
        self._verdict = False
        self._heard = False
        self.group = group
        self.waited_seconds = waited_seconds
        """How long the call waited to be let go."""
        self.waited_by = waited_by
        """The last thing it waited for: a tier's name, `concurrency`, `lane`, `paused`; empty if it went at once."""

    @property
    def probe(self) -> bool:
        """Is this the call by which a half-open breaker finds out?"""
        return self._pass.probe

    def answered(self) -> None:
        """The response began (its head is here): the partner has counted the call, the windows run from now.

        Optional: without it they run from the end of the block, so a long download holds its slots for longer.
        """
        self._heard = True
        self._gate._answered(self._spent)

    def cost(self, weight: float) -> None:
        """What the partner says the call cost; corrects the weighted tiers. Call it before `answered`."""
        self._gate.book.correct(self._spent, max(weight, 0.0))

    def success(self) -> None:
        """The partner is alive: any complete answer that is not a 5xx, a refusal included."""
        if not self._verdict:
            self._verdict = self._heard = True
            self._gate._verdict(self, good=True)

    def failure(self) -> None:
        """The partner is sick: 5xx, time-out, refused or broken connection. Never for a 4xx or a 429."""
        if not self._verdict:
            self._verdict = True
            self._gate._verdict(self, good=False)


class Gate:
    """The only way to a partner's scope. See `admit`.

    `tiers` as `TierSpec`, `"7/s"` or mapping; `share` of each written limit is used unless the tier says otherwise;
    `lanes` reserves shares of it; `members` are fair weights of integrations (1 each); `keeper` remembers slots over a
    restart; `lost_seconds` is how long a request whose answer never came may still be on its way; `notify(event,
    **facts)` hears of breakers and pauses.
    """

    def __init__(
        self,
        scope: str,
        tiers: Iterable[TierSpec | str | Mapping[str, Any]],
        *,
        clock: Clock,
        concurrency: int | None = None,
        share: float = 0.7,
        lanes: Mapping[Lane, float] | Mapping[str, float] | None = None,
        breaker: BreakerPolicy | None = None,
        keeper: SlotKeeper | None = None,
        members: Mapping[str, float] | None = None,
        lost_seconds: float = 1.0,
        notify: Notify | None = None,
    ) -> None:
        self.scope = scope
        self.clock = clock
        self.book = Book(
            [TierSpec.parse(tier) for tier in tiers],
            wall=lambda: clock.now().timestamp(),
            concurrency=concurrency,
            share=share,
            lanes=DEFAULT_LANES if lanes is None else lanes,
            members=members,
        )
        self.recorder = Recorder(scope, self.book, clock, keeper)
        self.lost_seconds = lost_seconds
        self.waited: dict[str, float] = {}
        """Seconds calls have waited, by reason."""
        self.busy_seconds = 0.0
        """Seconds in which somebody waited."""
        self._busy_since: float | None = None
        self._busy_calls: dict[str, float] = {}
        self._policy = breaker or BreakerPolicy()
        self._breakers: dict[str, Breaker] = {}
        self._held_reason: str | None = None
        self._paused_until = -math.inf
        self._paused_wall: datetime | None = None
        self._pause_reason = ""
        self._pauses = 0
        self._notify: Notify = notify or (lambda event, **facts: None)
        self._waiting: dict[Ask, None] = {}
        self._deadlines: list[tuple[float, int, Ask]] = []
        self._lookout: Ask | None = None
        self._wake_at = math.inf
        self._rings_at = math.inf
        self._show()

    # -- calls

    def admit(
        self,
        *,
        lane: Lane = Lane.NORMAL,
        member: str = "",
        weight: float = 1.0,
        budget: str = "read",
        group: str = "",
        deadline_at: float | None = None,
    ) -> AbstractAsyncContextManager[Slot]:
        """Wait for leave, then hold it for the length of the block, in which one request is sent and answered.

        Breaker first, then a seat and every tier together or nothing; higher lanes first, members of a lane in turn.
        `deadline_at` is a moment of `clock.monotonic()`. Raises BreakerOpenError (nothing was sent), OverBudgetError
        (a RateLimitError with `retry_at`: as soon as it is sure that the wait would pass the deadline, `hopeless` where
        the weight never fits), or what the keeper raises when a call had to be recorded first and could not be.
        """
        return _Admission(self, Ask(lane, member, weight, budget, group, deadline_at))

    async def _enter(self, ask: Ask) -> Slot:
        now = self.clock.monotonic()
        ask.asked_at = now
        leave = self._permit(ask.group, now)
        spent: Spent | None = None
        try:
            most = self.book.limit_of(ask.budget)
            if ask.weight > most:
                raise OverBudgetError(
                    f"a call of weight {ask.weight:g} never fits into {self.scope}: {most:g} is the most",
                    hopeless=True,
                )
            spent = self.book.take(ask, now) if now >= self._paused_until else None
            if spent is None:
                spent = await self._stand(ask, now)
            self.recorder.note(spent)
            if self.recorder.due(spent):
                await self.recorder.before(spent)
            if not self._breaker(ask.group).valid(leave):
                raise self._refusal(ask.group, self.clock.monotonic())
        except BaseException:
            self._breaker(ask.group).abandon(leave)
            if spent is not None:
                self.book.undo(spent)
                self._dispatch()
            raise
        waited = self.clock.monotonic() - now
        if self._busy_since is not None or waited > 0:
            for tier, hold in spent.holds:
                self._busy_calls[tier.spec.key] = self._busy_calls.get(tier.spec.key, 0.0) + hold.weight
        return Slot(self, spent, leave, ask.group, waited, ask.blocked_by)

    def _leave(self, slot: Slot, *, heard: bool) -> None:
        """The block ended, however it ended."""
        spent = slot._spent
        now = self.clock.monotonic()
        self.book.answer(spent, now, grace_seconds=0.0 if heard or slot._heard else self.lost_seconds)
        self.book.vacate(spent)
        if not slot._verdict:
            self._breaker(slot.group).abandon(slot._pass)
        self._dispatch()

    def _answered(self, spent: Spent) -> None:
        self.book.answer(spent, self.clock.monotonic())
        self._dispatch()

    # -- waiting

    async def _stand(self, ask: Ask, now: float) -> Spent:
        """Wait in line until let go, refused or cancelled."""
        if ask.deadline_at is not None:
            surely = max(self.book.bound(ask, now), self._paused_until)
            if surely > ask.deadline_at:
                raise self._too_late(ask, surely, now)
        self.book.wait(ask)
        self._waiting[ask] = None
        if ask.deadline_at is not None:
            heapq.heappush(self._deadlines, (ask.deadline_at, ask.order, ask))
        if self._busy_since is None:
            self._busy_since = now
        self._dispatch()
        try:
            while ask.waiting:
                signal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                ask.on_change = partial(_ring, signal)
                if self._lookout is None:
                    self._lookout = ask
                if self._lookout is ask:
                    await self._look_out(signal)
                else:
                    await signal
        except BaseException:
            if ask.slot is not None:
                self.book.undo(ask.slot)
            else:
                self.book.leave(ask)
            raise
        finally:
            ask.on_change = None
            self._gone(ask)
            waited = self.clock.monotonic() - now
            if waited > 0:
                reason = ask.blocked_by or "limit"
                self.waited[reason] = self.waited.get(reason, 0.0) + waited
                metrics.LIMIT_WAIT_SECONDS.labels(self.scope, reason).inc(waited)
        if ask.error is not None:
            raise ask.error
        assert ask.slot is not None
        return ask.slot

    async def _look_out(self, signal: asyncio.Future[None]) -> None:
        """Sleep until the first moment anything can change, or until told; then look who may go."""
        self._rings_at = self._wake_at
        left = None if self._wake_at == math.inf else max(self._wake_at - self.clock.monotonic(), _LEAST_SLEEP)
        try:
            async with self.clock.timeout(left):
                await signal
        except TimeoutError:
            self._dispatch()

    def _gone(self, ask: Ask) -> None:
        """It waits no longer: someone else looks out, and what it held or barred is looked at anew."""
        self._waiting.pop(ask, None)
        if self._lookout is ask:
            self._lookout = None
            self._rings_at = math.inf
        self._dispatch()
        if self._lookout is None and self._waiting:
            _tell(next(reversed(self._waiting)))

    def _dispatch(self) -> None:
        """Let go whom there is room for, refuse whom it is too late for, and set the next moment to look."""
        now = self.clock.monotonic()
        paused = now < self._paused_until
        while self._deadlines:
            deadline, _, ask = self._deadlines[0]
            if ask.waiting and deadline > (self._paused_until if paused else now):
                break
            heapq.heappop(self._deadlines)
            if ask.waiting:
                self._refuse(ask, self._too_late(ask, max(self._paused_until, self.book.bound(ask, now)), now))
        wake_at = self._paused_until
        if paused:
            self.book.blame("paused")
        else:
            gone, wake_at = self.book.dispatch(now)
            for ask in gone:
                _tell(ask)
        if self._deadlines:
            wake_at = min(wake_at, self._deadlines[0][0])
        self._wake_at = wake_at
        if self._lookout is not None and wake_at < self._rings_at - _LEAST_SLEEP:
            self._rings_at = wake_at
            _tell(self._lookout)
        if self._busy_since is not None and not any(self.book.waiting):
            self._count_busy(now)
            self._busy_since = None

    def _refuse(self, ask: Ask, error: Exception) -> None:
        self.book.leave(ask)
        ask.error = error
        _tell(ask)

    def _too_late(self, ask: Ask, at: float, now: float) -> OverBudgetError:
        if now < self._paused_until:
            why = f"paused ({self._pause_reason})" if self._pause_reason else "paused"
            at = max(at, self._paused_until)
        else:
            why = f"within its limits ({ask.blocked_by})" if ask.blocked_by else "within its limits"
        return OverBudgetError(
            f"{self.scope} is {why}: the call cannot leave before its deadline",
            retry_at=self.clock.now() + timedelta(seconds=max(at - now, 0.0)),
        )

    # -- pause

    @property
    def paused_until(self) -> datetime | None:
        """When a pause ends, or None."""
        return self._paused_wall if self.clock.monotonic() < self._paused_until else None

    def pause(self, until: datetime | float | None, reason: str = "") -> None:
        """Let nothing go until then: a moment, or seconds from now; None doubles from 1 s with each pause in a row.

        A pause never shortens another. It is cut at seven days; `resume` ends it.
        """
        now, wall = self.clock.monotonic(), self.clock.now()
        self._pauses += 1
        if until is None:
            seconds = min(2.0 ** min(self._pauses - 1, 6), 60.0)
        else:
            seconds = (until - wall).total_seconds() if isinstance(until, datetime) else float(until)
        if math.isnan(seconds):
            seconds = 1.0
        seconds = min(seconds, _LONGEST_PAUSE)
        if seconds <= 0 or now + seconds <= self._paused_until:
            return
        fresh = now >= self._paused_until
        self._paused_until = now + seconds
        self._paused_wall = wall + timedelta(seconds=seconds)
        self._pause_reason = reason
        self._remember_pause()
        if fresh:
            self._notify("scope_paused", scope=self.scope, reason=reason, until=self._paused_wall)
        self._dispatch()

    def resume(self) -> None:
        """End a pause now."""
        self._paused_until = -math.inf
        self._paused_wall = None
        self._remember_pause()
        self._dispatch()

    def _remember_pause(self) -> None:
        until = self._paused_wall
        self.recorder.extra = (
            {} if until is None else {"paused_until": until.timestamp(), "pause_reason": self._pause_reason}
        )

    # -- the breaker, one a group of endpoints

    def hold(self, reason: str, group: str | None = None) -> None:
        """Keep the breaker open by hand: of one endpoint group, or (None) of the whole scope."""
        if group is None:
            self._held_reason = reason
            for known in self._breakers:
                self._evict(known)
        else:
            self._breaker(group).hold(reason)
            self._evict(group)

    def release(self, group: str | None = None) -> None:
        """End a hold."""
        if group is None:
            self._held_reason = None
        else:
            self._breaker(group).release()

    def breaker_state(self, group: str = "") -> BreakerState:
        """What the breaker of this group says now."""
        if self._held_reason is not None:
            return BreakerState.OPEN
        return self._breaker(group).state(self.clock.monotonic())

    def _breaker(self, group: str) -> Breaker:
        found = self._breakers.get(group)
        if found is None:
            found = self._breakers[group] = Breaker(self._policy)
            metrics.BREAKER_STATE.labels(self.scope, group or "all").set_function(
                lambda: float(self.breaker_state(group))
            )
        return found

    def _permit(self, group: str, now: float) -> Pass:
        leave = None if self._held_reason is not None else self._breaker(group).permit(now)
        if leave is None:
            raise self._refusal(group, now)
        return leave

    def _refusal(self, group: str, now: float) -> BreakerOpenError:
        breaker = self._breaker(group)
        name = f"{self.scope} ({group})" if group else self.scope
        held = self._held_reason if self._held_reason is not None else breaker.held_reason
        if held is not None:
            return BreakerOpenError(
                f"calls to {name} are held: {held}",
                retry_at=self.clock.now() + timedelta(seconds=self._policy.cooldown_seconds),
                hint="syncd breaker release",
            )
        return BreakerOpenError(
            f"the breaker of {name} is open after failures",
            retry_at=self.clock.now() + timedelta(seconds=max(breaker.retry_in(now), 0.05)),
        )

    def _verdict(self, slot: Slot, *, good: bool) -> None:
        now = self.clock.monotonic()
        breaker = self._breaker(slot.group)
        if good:
            self._pauses = 0
            if breaker.success(slot._pass, now):
                self._notify("breaker_closed", scope=self.scope, group=slot.group)
        else:
            probe = slot._pass.probe
            if breaker.failure(slot._pass, now):
                if not probe:  # said once when it breaks; a failed probe is no news
                    self._notify("breaker_opened", scope=self.scope, group=slot.group)
                self._evict(slot.group)

    def _evict(self, group: str) -> None:
        """The breaker opened: who waits for this group is told at once and holds nothing."""
        now = self.clock.monotonic()
        for ask in [ask for ask in self._waiting if ask.group == group and ask.waiting]:
            self._refuse(ask, self._refusal(group, now))
        self._dispatch()

    # -- configuration and memory

    def reconfigure(
        self,
        tiers: Iterable[TierSpec | str | Mapping[str, Any]],
        *,
        concurrency: int | None = None,
        share: float = 0.7,
        lanes: Mapping[Lane, float] | Mapping[str, float] | None = None,
        breaker: BreakerPolicy | None = None,
        members: Mapping[str, float] | None = None,
    ) -> None:
        """Take new numbers; slots in use, seats, breakers, pauses and who waits all stay.

        Raises ValueError, and then has changed nothing.
        """
        specs = [TierSpec.parse(tier) for tier in tiers]
        self._hide()
        try:
            self.book.configure(
                specs,
                now=self.clock.monotonic(),
                concurrency=concurrency,
                share=share,
                lanes=DEFAULT_LANES if lanes is None else lanes,
            )
        finally:
            self._show()
        self.book.members = members or {}
        self._policy = breaker or BreakerPolicy()
        for known in self._breakers.values():
            known.configure(self._policy)
        self._dispatch()

    def snapshot(self) -> dict[str, Any]:
        """Slots in use and the pause, as JSON."""
        return self.recorder.snapshot()

    async def open(self) -> None:
        """Read back through the keeper what a former process spent, and mark the book in use; before any call."""
        keeper = self.recorder.keeper
        if keeper is not None:
            await self.restore(await keeper.load(self.scope))

    async def restore(self, state: Mapping[str, Any] | None, clean: bool | None = None) -> None:
        """Count what `state` remembers; `clean` says how the former process ended (None: the state knows)."""
        self.recorder.recall(state, clean=clean)
        until = moment(state.get("paused_until")) if state is not None else None
        if state is not None and until is not None:
            self.pause(until, str(state.get("pause_reason", "")))
        await self.recorder.persist(clean=False)
        self._dispatch()

    async def persist(self, *, clean: bool = False) -> None:
        """Store the state now; `clean` at an orderly end, after the last call."""
        await self.recorder.persist(clean=clean)

    def close(self) -> None:
        """Take this scope out of the metrics (it was removed from the configuration)."""
        self._hide()
        for group in self._breakers:
            metrics.BREAKER_STATE.remove(self.scope, group or "all")

    # -- telling

    @property
    def utilisation(self) -> float | None:
        """The used part of the binding tier's budget while somebody waited, 0 to 1; None if nobody ever did."""
        self._count_busy(self.clock.monotonic())
        if self.busy_seconds <= 0:
            return None
        shares = [
            self._busy_calls.get(tier.spec.key, 0.0) / (tier.budget / tier.spec.window_seconds * self.busy_seconds)
            for tier in self.book.tiers
        ]
        return min(1.0, max(shares, default=0.0))

    def view(self) -> dict[str, Any]:
        """Everything a person wants to see of this scope; plain data."""
        now = self.clock.monotonic()
        return {
            "scope": self.scope,
            "paused_until": self.paused_until,
            "pause_reason": self._pause_reason if self.paused_until is not None else "",
            "seats": {"used": self.book.seats_used, "limit": self.book.concurrency},
            "in_flight": len(self.book.flying),
            "waiting": {lane.name.lower(): self.book.waiting[lane] for lane in Lane},
            "tiers": [
                {
                    "name": tier.name,
                    "kind": tier.spec.kind,
                    "used": tier.used(now),
                    "held": tier.held_now(now),
                    "budget": tier.budget,
                    "limit": tier.ceiling,
                    "stated": tier.spec.stated if tier.spec.stated is not None else tier.spec.limit,
                    "window_seconds": tier.spec.window_seconds,
                    "frees_in_seconds": max(0.0, tier.bound(now, 1.0) - now),
                }
                for tier in self.book.tiers
            ],
            "breakers": {
                group: {
                    "state": self.breaker_state(group).name.lower(),
                    "failures": breaker.failures,
                    "retry_in_seconds": breaker.retry_in(now),
                    "held": self._held_reason or breaker.held_reason,
                }
                for group, breaker in self._breakers.items()
            },
            "held": self._held_reason,
            "waited_seconds": dict(self.waited),
            "busy_seconds": self.busy_seconds,
            "utilisation": self.utilisation,
        }

    def _count_busy(self, now: float) -> None:
        if self._busy_since is not None and now > self._busy_since:
            self.busy_seconds += now - self._busy_since
            metrics.LIMIT_BUSY_SECONDS.labels(self.scope).inc(now - self._busy_since)
            self._busy_since = now

    def _show(self) -> None:
        """Tier gauges are read when scraped; a call pays nothing for them."""
        for tier in self.book.tiers:
            metrics.LIMIT_USED.labels(self.scope, tier.name).set_function(
                partial(lambda tier: float(tier.used(self.clock.monotonic())), tier)
            )
            metrics.LIMIT_BUDGET.labels(self.scope, tier.name).set(tier.budget)
            stated = tier.spec.stated if tier.spec.stated is not None else tier.spec.limit
            metrics.LIMIT_STATED.labels(self.scope, tier.name).set(stated)

    def _hide(self) -> None:
        for tier in self.book.tiers:
            for gauge in (metrics.LIMIT_USED, metrics.LIMIT_BUDGET, metrics.LIMIT_STATED):
                try:
                    gauge.remove(self.scope, tier.name)
                except KeyError:
                    continue


class _Admission:
    """The block of `Gate.admit`; leaving it never waits, so it cannot be cut short."""

    __slots__ = ("_ask", "_gate", "_slot")

    def __init__(self, gate: Gate, ask: Ask) -> None:
        self._gate = gate
        self._ask = ask
        self._slot: Slot | None = None

    async def __aenter__(self) -> Slot:
        self._slot = await self._gate._enter(self._ask)
        return self._slot

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._slot is not None
        heard = error is None or (isinstance(error, PartnerError) and error.status is not None)
        self._gate._leave(self._slot, heard=heard)


def _ring(signal: asyncio.Future[None]) -> None:
    if not signal.done():
        signal.set_result(None)


def _tell(ask: Ask) -> None:
    if ask.on_change is not None:
        ask.on_change()
