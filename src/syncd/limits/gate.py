"""One gate a scope: breaker, pause, seats and every tier, decided once, in the order every call goes through."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import PartnerError
from syncd.limits.adaptive import Learned
from syncd.limits.book import Book, Call
from syncd.limits.breaker import BreakerPolicy, BreakerState, Pass
from syncd.limits.breakers import Breakers, Hold
from syncd.limits.readings import Reading
from syncd.limits.recorder import Recorder
from syncd.limits.tiers import TierSpec
from syncd.limits.waiting import OverBudgetError, WaitingRoom
from syncd.model import Lane
from syncd.ports import SlotKeeper

_LONGEST_PAUSE = 7 * 86400.0
_SEATS_STEP_SECONDS = 60.0
"""How often a learned number of seats is raised."""
_MOST_GHOST_SECONDS = 30.0
_FADES = 0.999
"""What a slow call said of the partner fades by so much with each save, of which there is one a second at most."""
_SEATS_UNKNOWN = 64
"""Where no number of seats is configured, a learned one that has grown to this is forgotten."""
DEFAULT_LANES: Mapping[Lane, float] = {Lane.HIGH: 0.1, Lane.NORMAL: 0.1, Lane.LOW: 0.05}

TierLike = TierSpec | str | Mapping[str, Any]
Lanes = Mapping[Lane, float] | Mapping[str, float]


class Slot(Call):
    """A call at the gate: first it waits, then it has a place that is good for one request. An async context manager.

    The methods may be called until the block ends. Leaving the block never waits, so it cannot be cut short.
    """

    _pass: Pass
    waited_seconds = 0.0
    """How long the call waited to be let go."""
    _verdict = False
    _heard = False

    def __init__(
        self, gate: Gate, lane: Lane, member: str, weight: float, budgets: Sequence[str], group: str,
        deadline_at: float | None,
    ) -> None:  # fmt: skip
        self._gate = gate
        self.lane = lane
        self.member = member
        self.weight = weight
        self.budgets = budgets
        self.group = group
        self.deadline_at = deadline_at

    async def __aenter__(self) -> Slot:
        gate = self._gate
        now = self.asked_at = gate.clock.monotonic()
        self._pass = gate.breakers.permit(self.group, now)
        if now < gate.room.paused_until or not gate.book.take(self, now):
            await gate._stand(self, now)
        elif gate.recorder.note(self, now):
            await gate._record(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        heard = error is None or self._heard or (isinstance(error, PartnerError) and error.status is not None)
        self._gate._leave(self, heard=heard)

    @property
    def waited_by(self) -> str:
        """The last thing it waited for: a tier's name, `concurrency`, `lane`, `paused`; empty if it went at once."""
        return self.blocked_by

    @property
    def probe(self) -> bool:
        """Is this the call by which a half-open breaker finds out?"""
        return self._pass.probe

    def answered(self) -> None:
        """The response began (its head is here): the partner has counted the call, the windows run from now.

        Optional: without it they run from the end of the block, so a long download holds its slots for longer.
        """
        self._heard = True
        self._gate._answered(self)

    def cost(self, weight: float) -> None:
        """What the partner says the call cost; corrects the weighted tiers. Call it before `answered`."""
        self._gate.book.correct(self, max(weight, 0.0))

    def told(self, readings: Iterable[Reading]) -> None:
        """What the answer said of the partner's limits."""
        self._gate._told(self, readings)

    def success(self) -> None:
        """The partner is alive: any complete answer that is not a 5xx, a refusal included."""
        if not self._verdict:
            self._verdict = self._heard = True
            self._gate._verdict(self, good=True)

    def failure(self, why: str = "") -> None:
        """The partner is sick: 5xx, time-out, refused or broken connection. Never for a 4xx or a 429.

        `why` is the error in words without secrets; the last ones are kept for who asks what is wrong.
        """
        if not self._verdict:
            self._verdict = True
            self._gate._verdict(self, good=False, why=why)


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
        self._event_number = 0
        """429s of calls up to this number have taught what they can."""
        self.seats_learned = Learned()
        self.refusals = 0
        """429s met."""
        self.slowest_seconds = 0.0
        """About the longest that one call has held its seat lately."""
        self.away_seconds = 0.0
        """How old the state was that was read back: so long, at least, nobody called for this scope."""
        self.unsaved = False
        """A breaker turned since the state was stored; with an open one no call comes along to store it."""
        self._busy_calls: dict[str, float] = {}
        """By tier: what was spent while somebody waited."""
        metrics.SCOPES.add(self)

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

    async def _stand(self, call: Slot, now: float) -> None:
        """Wait in line, and then for the record where one is due."""
        try:
            most = self.book.limit_of(call.budgets)
            if call.weight > most:
                raise OverBudgetError(
                    f"a call of weight {call.weight:g} never fits into {self.scope}: {most:g} is the most",
                    hopeless=True,
                )
            await self.room.stand(call, now)
        except BaseException:
            self._abandon(call)
            raise
        arrived = self.clock.monotonic()
        call.waited_seconds = arrived - now
        for tier, _ in call.holds:
            spent = call.weight if tier.weighted else 1.0
            self._busy_calls[tier.key] = self._busy_calls.get(tier.key, 0.0) + spent
        await self._record(call, due=self.recorder.note(call, arrived))

    async def _record(self, call: Slot, *, due: bool = True) -> None:
        """The last thing before it leaves: what must be stored is stored, and the breaker has not opened meanwhile."""
        try:
            if due:
                await self.recorder.before(call)
            if not self.breakers.valid(call.group, call._pass):
                raise self.breakers.refusal(call.group, self.clock.monotonic())
        except BaseException:
            self._abandon(call)
            raise

    def _abandon(self, call: Slot) -> None:
        """It is not sent after all."""
        self.breakers.of(call.group).abandon(call._pass)
        if call.number:
            self.book.undo(call)
            self.room.dispatch()

    def _leave(self, call: Slot, *, heard: bool) -> None:
        """The block ended, however it ended."""
        now = self.clock.monotonic()
        if call.open:
            self.book.answer(call, now, grace_seconds=0.0 if heard else self.lost_seconds)
        if now - call.sent_at > self.slowest_seconds:
            self.slowest_seconds = now - call.sent_at
        self.book.vacate(call)
        if not call._verdict:
            self.breakers.of(call.group).abandon(call._pass)
        if self.book.crowd:
            self.room.dispatch()

    def _answered(self, call: Slot) -> None:
        self.book.answer(call, self.clock.monotonic())
        if self.book.crowd:
            self.room.dispatch()

    def _verdict(self, call: Slot, *, good: bool, why: str = "") -> None:
        if good:
            if self._pauses:
                self._pauses = 0
            if self.book.slowed is not None:
                self._recover(call)
        if self.breakers.verdict(call.group, call._pass, self.clock.monotonic(), good=good, why=why):
            self._evict([call.group])

    # -- what the partner says and teaches

    def _told(self, call: Slot, readings: Iterable[Reading]) -> None:
        now = self.clock.monotonic()
        for tier, reading, news in self.book.told(call, readings, now):
            if news == "lowered":
                self._notify(
                    "limit_learned", scope=self.scope, tier=tier.name, stated=tier.spec.stated_or_limit,
                    observed=tier.told_limit, yaml=tier.yaml,
                )  # fmt: skip
                continue
            event = "limit_near" if news == "near" else "limit_relaxed"
            self._notify(
                event, scope=self.scope, tier=tier.name, remaining=reading.remaining, limit=tier.most,
                others=tier.foreign,
            )  # fmt: skip
        if self.book.crowd:
            self.room.dispatch()

    def limited(
        self, until: datetime | float | None, reason: str, *, call: Slot | None = None, about: str = "calls"
    ) -> None:
        """The partner answered 429 to this call: pause as `pause` does, and learn from it.

        429s of calls that were sent before the last one taught are the same event. `about` says what there was too much
        of: `calls`, `seats` (calls at once), or `object`, which is the partner's lock on one thing and teaches nothing.
        """
        now = self.clock.monotonic()
        self.refusals += 1
        same = call is not None and call.number <= self._event_number
        if not same and about != "object" and not (call is None and now < self.room.paused_until):
            self._event_number = self.book.granted
            if about == "seats":
                self._fewer_seats(now)
            else:
                self._learn(now, call)
        # Told no time, only the first of the calls that were under way begins a pause: they are one event.
        if until is not None or self.paused_until is None:
            self.pause(until, reason)
        self.room.dispatch()

    def _learn(self, now: float, call: Slot | None) -> None:
        budgets = call.budgets if call is not None else ("read",)
        tier = self.book.binding(budgets, now)
        self._slow(1)
        if tier is None or (call is not None and now < tier.left_until and tier.left <= 0 and tier.foreign > 0):
            return  # the partner's own figures say that others had spent the rest: they bar us until it is back
        own = (
            weight if call is not None and not call.open and (weight := call.weight if tier.weighted else 1.0) else 0.0
        )
        accepted = tier.held_now(now) - tier.flying - own
        observed = tier.break_down(now, accepted)
        self._notify(
            "limit_learned", scope=self.scope, tier=tier.name, stated=tier.spec.stated_or_limit, observed=observed,
            yaml=tier.yaml,
        )  # fmt: skip

    def _fewer_seats(self, now: float) -> None:
        most = self.book.concurrency or max(1, self.book.seats_used)
        self.seats_learned.broke(now, float(most), float(self.book.seats_used), _SEATS_STEP_SECONDS)
        self._slow(self._seats())

    def _slow(self, seats: int | None) -> None:
        """Few at once until the partner is known to accept them again."""
        learned = self._seats()
        self.book.slowed = seats if learned is None else min(learned, seats or learned)

    def _recover(self, call: Slot) -> None:
        """A call sent after the last 429 was answered well: as many at once as before, or as were learned."""
        if call.number > self._event_number:
            most = float(self.book.concurrency or _SEATS_UNKNOWN)
            self.seats_learned.grow(self.clock.monotonic(), most, _SEATS_STEP_SECONDS)
            self.book.slowed = self._seats()
            self.room.dispatch()

    def _seats(self) -> int | None:
        learned = self.seats_learned.limit
        return None if learned is None else max(1, math.floor(learned))

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
                # The partner may still work at what a killed process had asked, and count it among the calls at once.
                busy = min(float(state.get("slowest_seconds", 0.0)), _MOST_GHOST_SECONDS)
                if now + busy > self.room.paused_until:
                    self.room.paused_until = now + busy
                    self.room.pause_reason = "the partner may still be busy with what was asked before the restart"
            seats = state.get("seats")
            if isinstance(seats, Mapping):
                self.seats_learned.absorb(
                    {"limit": seats["limit"], "events": seats["events"]}, now, _SEATS_STEP_SECONDS
                )
                self.book.slowed = self._seats()
        await self.recorder.persist(clean=False)
        self.room.dispatch()

    def _remember(self) -> dict[str, Any]:
        """For the stored state: the pause and what was learned of seats."""
        self.slowest_seconds *= _FADES
        told: dict[str, Any] = {"slowest_seconds": self.slowest_seconds}
        until = self.paused_until
        if until is not None:
            told |= {"paused_until": until.timestamp(), "pause_reason": self.room.pause_reason}
        if breakers := self.breakers.export(self.clock.monotonic()):
            told["breakers"] = breakers
        if self.seats_learned.limit is not None:
            told["seats"] = {"limit": self.seats_learned.limit, "events": self.seats_learned.events}
        return told

    def _turned(self) -> None:
        self.unsaved = True

    async def persist(self, *, clean: bool = False) -> None:
        """Store the state now; `clean` at an orderly end, after the last call."""
        self.unsaved = False
        await self.recorder.persist(clean=clean)

    def close(self) -> None:
        """Take this scope out of the metrics (it was removed from the configuration)."""
        metrics.SCOPES.discard(self)
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
        now, wall = self.clock.monotonic(), self.clock.now()
        tiers = [tier.view(now) for tier in self.book.tiers]
        for tier in tiers:
            lesson = tier["learned"]
            if lesson is not None:
                ago = lesson.pop("since_seconds")
                lesson["since"] = None if ago is None else wall - timedelta(seconds=ago)
        ends = max((tier.ramp_ends for tier in self.book.tiers), default=-math.inf)
        return {
            "scope": self.scope,
            "paused_until": self.paused_until,
            "pause_reason": self.room.pause_reason if self.paused_until is not None else "",
            "next_call": self._next_call(now),
            "ramp": {"share": min(tier.ramped(now) for tier in self.book.tiers), "ends_in_seconds": ends - now}
            if ends > now
            else None,
            "seats": {
                "used": self.book.seats_used,
                "limit": self.book.seats,
                "configured": self.book.concurrency,
                "learned": self._seats(),
            },
            "in_flight": len(self.book.flying),
            "waiting": {lane.name.lower(): self.book.waiting[lane] for lane in Lane},
            "tiers": tiers,
            "breakers": self.breakers.view(now),
            "held": self.breakers.held_view,
            "waited_seconds": dict(self.room.waited),
            "busy_seconds": self.room.busy_seconds(),
            "utilisation": self.utilisation,
            "refusals": self.refusals,
        }

    def _next_call(self, now: float) -> dict[str, Any]:
        """When a read of the normal lane may leave, and what holds it till then; None seconds: after the next answer."""
        if now < self.room.paused_until:
            return {
                "in_seconds": self.room.paused_until - now,
                "why": f"paused: {self.room.pause_reason or 'told to wait'}",
            }
        at, why = self.book.next_at(now, Lane.NORMAL, ("read", "GET"))
        return {"in_seconds": at - now if math.isfinite(at) else None, "why": why}
