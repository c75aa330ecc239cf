"""One gate a scope: breaker, pause, seats and every tier, decided once, in the order every call goes through."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from syncd.clock import Clock
from syncd.limits.book import Book, Call
from syncd.limits.breaker import BreakerPolicy, BreakerState
from syncd.limits.breakers import Breakers, Hold
from syncd.limits.lessons import Lessons
from syncd.limits.readings import Reading
from syncd.limits.recorder import Recorder
from syncd.limits.scraped import SCOPES
from syncd.limits.slot import Slot
from syncd.limits.tiers import TierSpec
from syncd.limits.views import view_of
from syncd.limits.waiting import OverBudgetError, WaitingRoom
from syncd.model import Lane
from syncd.ports import SlotKeeper

_LONGEST_PAUSE = 7 * 86400.0
DEFAULT_LANES: Mapping[Lane, float] = {Lane.HIGH: 0.1, Lane.NORMAL: 0.1, Lane.LOW: 0.05}

TierLike = TierSpec | str | Mapping[str, Any]
Lanes = Mapping[Lane, float] | Mapping[str, float]


class Gate:
    """The only way to a partner's scope. See `admit`.

    `tiers` as `TierSpec`, `"7/s"` or mapping; `share` of each written limit is used unless the tier says otherwise;
    `lanes` reserves shares of it; `members` are fair weights of integrations (1 each); `keeper` remembers slots over a
    restart; `lost_seconds` is how long a request whose answer never came may still be on its way, `deadline_seconds` how
    long a call may take; `notify(event, **facts)` hears of breakers and pauses.
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
        deadline_seconds: float = 30.0,
        notify: Callable[..., None] | None = None,
    ) -> None:
        self.scope = scope
        self.clock = clock
        self.lost_seconds = lost_seconds
        self._notify: Callable[..., None] = notify or (lambda event, **facts: None)
        self.book = Book(
            [TierSpec.parse(tier) for tier in tiers],
            concurrency=concurrency,
            share=share,
            lanes=DEFAULT_LANES if lanes is None else lanes,
            members=members,
        )
        self.room = WaitingRoom(scope, self.book, clock)
        self.breakers = Breakers(scope, breaker or BreakerPolicy(), clock, self._notify)
        self.breakers.returned = self.ramp
        self.breakers.turned = self._turned
        self.recorder = Recorder(scope, self.book, clock, keeper, lost_seconds=lost_seconds)
        self.recorder.told = self._remember
        self._pauses = 0
        self.lessons = Lessons(scope, self.book, clock, self._notify)
        self.deadline_seconds = deadline_seconds
        self.away_seconds = 0.0
        """How old the state was that was read back: so long, at least, nobody called for this scope."""
        self.unsaved = False
        """A breaker turned since the state was stored; with an open one no call comes along to store it."""
        self._busy_calls: dict[str, float] = {}
        """By tier: what was spent while somebody waited."""
        SCOPES.add(self)

    # -- calls

    def admit(
        self,
        *,
        lane: Lane = Lane.NORMAL,
        member: str = "",
        weight: float = 1.0,
        budgets: Sequence[str] = ("read",),
        group: str = "",
        deadline_at: float | None = None,
    ) -> Slot:
        """Wait for leave, then hold it for the length of the block, in which one request is sent and answered.

        Breaker first, then a seat and every tier together or nothing; higher lanes first, members of a lane in turn. A
        tier counts the call if it counts all, or if its budget is one of `budgets` (a tuple).
        `deadline_at` is a moment of `clock.monotonic()`. Raises BreakerOpenError (nothing was sent), OverBudgetError
        (a RateLimitError with `retry_at`: as soon as it is sure that the wait would pass the deadline, `hopeless` where
        the weight never fits), or what the keeper raises when a call had to be recorded first and could not be.
        """
        return Slot(self, lane, member, weight, budgets, group, deadline_at)

    async def stand(self, call: Slot, now: float) -> None:
        """Wait in line, and then for the record where one is due."""
        try:
            if call.weight > self.book.limit_of(call.budgets):
                raise self._hopeless(call)
            await self.room.stand(call, now)
        except BaseException:
            self._abandon(call)
            raise
        arrived = self.clock.monotonic()
        call.waited_seconds = arrived - now
        for tier, _ in call.holds:
            spent = call.weight if tier.weighted else 1.0
            self._busy_calls[tier.key] = self._busy_calls.get(tier.key, 0.0) + spent
        await self.record(call, due=self.recorder.note(call, arrived))

    async def record(self, call: Slot, *, due: bool = True) -> None:
        """The last thing before it leaves: what must be stored is stored, and the breaker has not opened meanwhile."""
        try:
            if due:
                await self.recorder.before(call)
            if not self.breakers.valid(call.group, call.leave):
                raise self.breakers.refusal(call.group, self.clock.monotonic())
        except BaseException:
            self._abandon(call)
            raise

    def _hopeless(self, call: Call) -> OverBudgetError:
        most = self.book.limit_of(call.budgets)
        return OverBudgetError(
            f"a call of weight {call.weight:g} never fits into {self.scope}: {most:g} is the most", hopeless=True
        )

    def _refuse_hopeless(self) -> None:
        """A limit was lowered: who weighs more than all of it would wait for ever, and everybody behind it too."""
        for call in self.room.of_more_than(self.book.limit_of):
            self.room.refuse(call, self._hopeless(call))

    def _abandon(self, call: Slot) -> None:
        """It is not sent after all."""
        self.breakers.of(call.group).abandon(call.leave)
        if call.number:
            self.book.undo(call)
            self.room.dispatch()

    def leave(self, call: Slot, *, heard: bool) -> None:
        """The block ended, however it ended."""
        now = self.clock.monotonic()
        if call.open:
            self.book.answer(call, now, grace_seconds=0.0 if heard else self.lost_seconds)
        self.book.vacate(call)
        if not call.judged:
            self.breakers.of(call.group).abandon(call.leave)
        if self.book.crowd:
            self.room.dispatch()

    def answered(self, call: Slot) -> None:
        self.book.answer(call, self.clock.monotonic())
        if self.book.crowd:
            self.room.dispatch()

    def verdict(self, call: Slot, *, good: bool, why: str = "") -> None:
        if good:
            if self._pauses:
                self._pauses = 0
            if self.book.slowed is not None:
                self.lessons.accepted(call)
                self.room.dispatch()
        if self.breakers.verdict(call.group, call.leave, self.clock.monotonic(), good=good, why=why):
            self._evict([call.group])

    # -- what the partner says and teaches

    def told(self, call: Slot, readings: Iterable[Reading]) -> None:
        """What the answer to a call said of the partner's limits."""
        if not self.book.crowd:
            self.lessons.told(call, readings)
            return
        before = [tier.ceiling for tier in self.book.tiers]
        self.lessons.told(call, readings)
        if any(tier.ceiling < ceiling for tier, ceiling in zip(self.book.tiers, before, strict=True)):
            self._refuse_hopeless()
        self.room.dispatch()

    def limited(
        self, until: datetime | float | None, reason: str, *, call: Slot | None = None, about: str = "calls"
    ) -> None:
        """The partner answered 429 to this call: pause as `pause` does, and learn from it.

        429s of calls that were sent before the last one taught are the same event. `about` says what there was too much
        of: `calls`, `seats` (calls at once), or `object`, which is the partner's lock on one thing and teaches nothing; so
        does a 429 that was made on purpose.
        """
        told = until - self.clock.now() if isinstance(until, datetime) else timedelta(seconds=until or 0.0)
        news = (call is not None or self.paused_until is None) and self.lessons.refused(
            call, about, told.total_seconds()
        )
        # Told no time, only the first of the calls that were under way begins a pause: they are one event.
        if until is not None or news:
            self.pause(until, reason)
        self.room.dispatch()

    def ramp(self, seconds: float = 60.0, start: float = 0.1) -> None:
        """After a partner was down, or we were: let the budgets grow from a share of them to all over so long."""
        now = self.clock.monotonic()
        for tier in self.book.tiers:
            tier.ramp(now, seconds, start)
        self.room.dispatch()

    # -- pauses

    @property
    def paused_until(self) -> datetime | None:
        """When a pause ends, or None."""
        left = self.room.paused_until - self.clock.monotonic()  # whatever the wall clock did meanwhile
        return self.clock.now() + timedelta(seconds=left) if left > 0 else None

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
        self.room.paused_until = now + seconds
        self.room.pause_reason = reason
        if fresh:
            self._notify("scope_paused", scope=self.scope, reason=reason, until=self.paused_until)
        self.room.dispatch()

    def resume(self) -> None:
        """End a pause now."""
        self.room.paused_until = -math.inf
        self.room.dispatch()

    # -- the breaker, one a group of endpoints

    def hold(self, reason: str, group: str | None = None, *, who: str = "", until: datetime | None = None) -> None:
        """Keep the breaker open by hand: of one endpoint group, or (None) of the whole scope."""
        self._evict(self.breakers.hold(Hold(reason, who, self.clock.now(), until), group))

    def release(self, group: str | None = None) -> None:
        """End a hold."""
        self.breakers.release(group)

    def set_holds(self, holds: Mapping[str | None, Hold]) -> None:
        """Let exactly these holds be in force, by group (None: the whole scope)."""
        self._evict(self.breakers.set_holds(holds))

    def reset(self, group: str | None = None) -> list[str]:
        """Close open breakers now: of one endpoint group, or (None) all; returns the groups that were open."""
        return self.breakers.reset(group)

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
        deadline_seconds: float | None = None,
    ) -> None:
        """Take new numbers; slots in use, seats, breakers, pauses and who waits all stay.

        Raises ValueError, and then has changed nothing.
        """
        specs = [TierSpec.parse(tier) for tier in tiers]
        now = self.clock.monotonic()
        reserved = DEFAULT_LANES if lanes is None else lanes
        self.book.configure(specs, now=now, concurrency=concurrency, share=share, lanes=reserved)
        self.book.share_among(members or {})
        self.breakers.configure(breaker or BreakerPolicy())
        if deadline_seconds is not None:
            self.deadline_seconds = deadline_seconds
        self._refuse_hopeless()
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
        if state is not None:
            now = self.clock.monotonic()
            ahead = self.recorder.ahead(state)
            until = state.get("paused_until")
            if until is not None:
                self.pause(float(until) - ahead - now, str(state.get("pause_reason", "")))
            self.away_seconds = max(now - (float(state.get("saved_at", 0.0)) - ahead), 0.0)
            self.breakers.absorb(state.get("breakers"), now, away_seconds=self.away_seconds)
            if self.book.concurrency is not None and not (state.get("clean") if clean is None else clean):
                # The partner may still work at what a killed process had asked, and count it among the calls at once:
                # until the deadline of those calls, which nothing else makes sure.
                known, unknown = self.recorder.left_behind(state)
                for until_at, seats in state.get("ghosts", ()):
                    self.book.haunt(seats, min(until_at - ahead, now + self.deadline_seconds))
                self.book.haunt(known, float(state.get("saved_at", 0.0)) - ahead + self.deadline_seconds)
                self.book.haunt(unknown, now + self.deadline_seconds)
            self.lessons.absorb(state)
        await self.recorder.persist(clean=False)
        self.room.dispatch()

    def _remember(self) -> dict[str, Any]:
        """For the stored state: the pause and what was learned of seats."""
        told: dict[str, Any] = {}
        if self.book.concurrency is not None:
            ghosts = self.book.ghosts(self.clock.monotonic())
            ahead = self.clock.now().timestamp() - self.clock.monotonic()
            told["under_way"] = self.book.seats_used - sum(seats for _, seats in ghosts)
            told["ghosts"] = [[until + ahead, seats] for until, seats in ghosts]
        until = self.paused_until
        if until is not None:
            told |= {"paused_until": until.timestamp(), "pause_reason": self.room.pause_reason}
        if breakers := self.breakers.export(self.clock.monotonic()):
            told["breakers"] = breakers
        return told | self.lessons.export()

    def _turned(self) -> None:
        self.unsaved = True

    async def persist(self, *, clean: bool = False) -> None:
        """Store the state now; `clean` at an orderly end, after the last call."""
        turned, self.unsaved = self.unsaved, False
        try:
            await self.recorder.persist(clean=clean)
        except BaseException:
            self.unsaved = turned or self.unsaved
            raise

    def close(self) -> None:
        """Take this scope out of the metrics (it was removed from the configuration)."""
        SCOPES.discard(self)
        self.breakers.close()

    # -- telling

    @property
    def utilisation(self) -> float | None:
        """The used part of the binding tier's budget while somebody waited, 0 to 1; None if nobody ever did."""
        busy = self.room.busy_seconds()
        if busy <= 0:
            return None
        shares = [
            self._busy_calls.get(tier.key, 0.0) / (tier.budget / tier.spec.window_seconds * busy)
            for tier in self.book.tiers
        ]
        return min(1.0, max(shares, default=0.0))

    def view(self) -> dict[str, Any]:
        """Everything a person wants to see of this scope; plain data."""
        return view_of(self)
