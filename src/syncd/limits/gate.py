"""One gate a scope: breaker, pause, seats and every tier, decided once, in the order every call goes through."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import PartnerError
from syncd.limits.book import Ask, Book, Spent
from syncd.limits.breaker import BreakerPolicy, BreakerState, Pass
from syncd.limits.breakers import Breakers
from syncd.limits.recorder import Recorder, moment
from syncd.limits.tiers import TierSpec
from syncd.limits.waiting import OverBudgetError, WaitingRoom
from syncd.model import Lane
from syncd.ports import SlotKeeper

_LONGEST_PAUSE = 7 * 86400.0
DEFAULT_LANES: Mapping[Lane, float] = {Lane.HIGH: 0.1, Lane.NORMAL: 0.1, Lane.LOW: 0.05}

TierLike = TierSpec | str | Mapping[str, Any]
Lanes = Mapping[Lane, float] | Mapping[str, float]


class Slot:
    """A call's place at the gate, good for one request. Methods may be called until the block ends."""

    __slots__ = ("_gate", "_heard", "_pass", "_spent", "_verdict", "group", "waited_by", "waited_seconds")

    def __init__(self, gate: Gate, spent: Spent, leave: Pass, ask: Ask, waited_seconds: float) -> None:
        self._gate = gate
        self._spent = spent
        self._pass = leave
        self._verdict = False
        self._heard = False
        self.group = ask.group
        self.waited_seconds = waited_seconds
        """How long the call waited to be let go."""
        self.waited_by = ask.blocked_by
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
        tiers: Iterable[TierLike],
        *,
        clock: Clock,
        concurrency: int | None = None,
        share: float = 0.7,
        lanes: Lanes | None = None,
        breaker: BreakerPolicy | None = None,
        keeper: SlotKeeper | None = None,
        members: Mapping[str, float] | None = None,
        lost_seconds: float = 1.0,
        notify: Callable[..., None] | None = None,
    ) -> None:
        self.scope = scope
        self.clock = clock
        self.lost_seconds = lost_seconds
        self._notify: Callable[..., None] = notify or (lambda event, **facts: None)
        self.book = Book(
            [TierSpec.parse(tier) for tier in tiers],
            wall=lambda: clock.now().timestamp(),
            concurrency=concurrency,
            share=share,
            lanes=DEFAULT_LANES if lanes is None else lanes,
            members=members,
        )
        self.room = WaitingRoom(scope, self.book, clock)
        self.breakers = Breakers(scope, breaker or BreakerPolicy(), clock, self._notify)
        self.recorder = Recorder(scope, self.book, clock, keeper)
        self._paused_wall: datetime | None = None
        self._pauses = 0
        self._busy_calls: dict[str, float] = {}
        """By tier: what was spent while somebody waited."""
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
        leave = self.breakers.permit(ask.group, now)
        spent: Spent | None = None
        try:
            most = self.book.limit_of(ask.budget)
            if ask.weight > most:
                raise OverBudgetError(
                    f"a call of weight {ask.weight:g} never fits into {self.scope}: {most:g} is the most", hopeless=True
                )
            spent = self.book.take(ask, now) if now >= self.room.paused_until else None
            if spent is None:
                spent = await self.room.stand(ask, now)
            self.recorder.note(spent)
            if self.recorder.due(spent):
                await self.recorder.before(spent)
            if not self.breakers.valid(ask.group, leave):  # it opened while the call waited
                raise self.breakers.refusal(ask.group, self.clock.monotonic())
        except BaseException:
            self.breakers.of(ask.group).abandon(leave)
            if spent is not None:
                self.book.undo(spent)
                self.room.dispatch()
            raise
        waited = self.clock.monotonic() - now
        if waited > 0 or self.room.busy:
            for tier, hold in spent.holds:
                self._busy_calls[tier.spec.key] = self._busy_calls.get(tier.spec.key, 0.0) + hold.weight
        return Slot(self, spent, leave, ask, waited)

    def _leave(self, slot: Slot, *, heard: bool) -> None:
        """The block ended, however it ended."""
        grace = 0.0 if heard or slot._heard else self.lost_seconds
        self.book.answer(slot._spent, self.clock.monotonic(), grace_seconds=grace)
        self.book.vacate(slot._spent)
        if not slot._verdict:
            self.breakers.of(slot.group).abandon(slot._pass)
        self.room.dispatch()

    def _answered(self, spent: Spent) -> None:
        self.book.answer(spent, self.clock.monotonic())
        self.room.dispatch()

    def _verdict(self, slot: Slot, *, good: bool) -> None:
        if good:
            self._pauses = 0
        if self.breakers.verdict(slot.group, slot._pass, self.clock.monotonic(), good=good):
            self._evict([slot.group])

    # -- pauses

    @property
    def paused_until(self) -> datetime | None:
        """When a pause ends, or None."""
        return self._paused_wall if self.clock.monotonic() < self.room.paused_until else None

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
        seconds = 1.0 if math.isnan(seconds) else min(seconds, _LONGEST_PAUSE)
        if seconds <= 0 or now + seconds <= self.room.paused_until:
            return
        fresh = now >= self.room.paused_until
        self._paused_wall = wall + timedelta(seconds=seconds)
        self.room.paused_until = now + seconds
        self.room.pause_reason = reason
        self.recorder.extra = {"paused_until": self._paused_wall.timestamp(), "pause_reason": reason}
        if fresh:
            self._notify("scope_paused", scope=self.scope, reason=reason, until=self._paused_wall)
        self.room.dispatch()

    def resume(self) -> None:
        """End a pause now."""
        self.room.paused_until = -math.inf
        self._paused_wall = None
        self.recorder.extra = {}
        self.room.dispatch()

    # -- the breaker, one a group of endpoints

    def hold(self, reason: str, group: str | None = None) -> None:
        """Keep the breaker open by hand: of one endpoint group, or (None) of the whole scope."""
        self._evict(self.breakers.hold(reason, group))

    def release(self, group: str | None = None) -> None:
        """End a hold."""
        self.breakers.release(group)

    def breaker_state(self, group: str = "") -> BreakerState:
        """What the breaker of this group says now."""
        return self.breakers.state(group)

    def _evict(self, groups: Iterable[str]) -> None:
        """The breaker opened: who waits for these groups is told at once and holds nothing."""
        now = self.clock.monotonic()
        for group in groups:
            for ask in self.room.of_group(group):
                self.room.refuse(ask, self.breakers.refusal(group, now))
        self.room.dispatch()

    # -- configuration and memory

    def reconfigure(
        self,
        tiers: Iterable[TierLike],
        *,
        concurrency: int | None = None,
        share: float = 0.7,
        lanes: Lanes | None = None,
        breaker: BreakerPolicy | None = None,
        members: Mapping[str, float] | None = None,
    ) -> None:
        """Take new numbers; slots in use, seats, breakers, pauses and who waits all stay.

        Raises ValueError, and then has changed nothing.
        """
        specs = [TierSpec.parse(tier) for tier in tiers]
        now = self.clock.monotonic()
        self._hide()
        try:
            reserved = DEFAULT_LANES if lanes is None else lanes
            self.book.configure(specs, now=now, concurrency=concurrency, share=share, lanes=reserved)
        finally:
            self._show()
        self.book.members = members or {}
        self.breakers.configure(breaker or BreakerPolicy())
        self.room.dispatch()

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
        self.room.dispatch()

    async def persist(self, *, clean: bool = False) -> None:
        """Store the state now; `clean` at an orderly end, after the last call."""
        await self.recorder.persist(clean=clean)

    def close(self) -> None:
        """Take this scope out of the metrics (it was removed from the configuration)."""
        self._hide()
        self.breakers.close()

    # -- telling

    @property
    def utilisation(self) -> float | None:
        """The used part of the binding tier's budget while somebody waited, 0 to 1; None if nobody ever did."""
        busy = self.room.busy_seconds()
        if busy <= 0:
            return None
        shares = [
            self._busy_calls.get(tier.spec.key, 0.0) / (tier.budget / tier.spec.window_seconds * busy)
            for tier in self.book.tiers
        ]
        return min(1.0, max(shares, default=0.0))

    def view(self) -> dict[str, Any]:
        """Everything a person wants to see of this scope; plain data."""
        now = self.clock.monotonic()
        return {
            "scope": self.scope,
            "paused_until": self.paused_until,
            "pause_reason": self.room.pause_reason if self.paused_until is not None else "",
            "seats": {"used": self.book.seats_used, "limit": self.book.concurrency},
            "in_flight": len(self.book.flying),
            "waiting": {lane.name.lower(): self.book.waiting[lane] for lane in Lane},
            "tiers": [tier.view(now) for tier in self.book.tiers],
            "breakers": self.breakers.view(now),
            "held": self.breakers.held_reason,
            "waited_seconds": dict(self.room.waited),
            "busy_seconds": self.room.busy_seconds(),
            "utilisation": self.utilisation,
        }

    def _show(self) -> None:
        """Tier gauges are read when scraped; a call pays nothing for them."""
        for tier in self.book.tiers:
            metrics.LIMIT_USED.labels(self.scope, tier.name).set_function(
                partial(lambda tier: float(tier.used(self.clock.monotonic())), tier)
            )
            metrics.LIMIT_BUDGET.labels(self.scope, tier.name).set(tier.budget)
            metrics.LIMIT_STATED.labels(self.scope, tier.name).set(tier.spec.stated_or_limit)

    def _hide(self) -> None:
        for tier in self.book.tiers:
            for gauge in (metrics.LIMIT_USED, metrics.LIMIT_BUDGET, metrics.LIMIT_STATED):
                gauge.remove(self.scope, tier.name)


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
