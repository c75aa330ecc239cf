"""Watches that nobody waits who might go: an account of its own, from the definition, compared at every rest.

A call that waits is wronged if a seat is free, nothing is paused, every tier that counts it has room for it even if
all that other lanes have reserved were kept for them, and no other waiting call stands before it at a tier that is full
for that one. (Weaker than what the gate does, which also lends; so a wrong found here is one.)
"""

from __future__ import annotations

import math
from collections import deque

from syncd.limits import Gate
from syncd.limits.book import Call as Waiting
from syncd.limits.tiers import TierSpec
from syncd.model import Lane
from syncd.testing.clock import FakeClock
from tests.limits.history.ledger import Call, Ledger, counts
from tests.limits.history.plan import Config, Plan

_SLACK = 0.003
"""Seconds: the guard of a window, the least sleep of who looks out, and rounding."""


class _Account:
    """One tier, counted afresh from the calls."""

    def __init__(self, spec: TierSpec, config: Config) -> None:
        self.spec = spec
        share = spec.share or config.share
        self.bucket = spec.kind == "bucket"
        self.ceiling = spec.burst or spec.limit if self.bucket else spec.limit
        self.budget = max(1.0, self.ceiling * share if self.bucket else math.floor(spec.limit * share + 1e-9))
        self.configured = self.budget
        lanes = {Lane.HIGH: 0.1, Lane.NORMAL: 0.1, Lane.LOW: 0.05} if config.lanes is None else {
            Lane[name.upper()]: part for name, part in config.lanes.items()
        }  # fmt: skip
        self.reserved = [0 if self.bucket else math.floor(self.budget * lanes.get(lane, 0.0) + 1e-9) for lane in Lane]
        self.rate = spec.per_second * (1 - 1.1e-4)
        self.span = spec.window_seconds * (1 + 1.1e-4) + _SLACK
        if spec.limit > 1000:
            self.span *= 1 + 1 / 900
        self.pace = self.rate * share
        self.settled_at = -math.inf
        """Before this it may count what we do not know of (a restart, another configuration)."""


class Witness:
    """See the module. `wrongs` is empty if all is well."""

    def __init__(self, ledger: Ledger, clock: FakeClock, plan: Plan) -> None:
        self.wrongs: list[str] = []
        self.looks = 0
        self.judged = 0
        """Waiting calls looked at closely, with every tier known."""
        self._ledger = ledger
        self._clock = clock
        self._plan = plan
        self._accounts: list[_Account] = []
        self._config: Config | None = None
        self._recent: deque[Call] = deque()
        self._taken = 0

    def started(self, config: Config, *, first: bool) -> None:
        self._config = config
        self._accounts = [_Account(spec, config) for spec in config.tiers]
        if not first:
            self.blinded()

    def reloaded(self, config: Config) -> None:
        """Other numbers. A tier that comes anew learned from another one, which may have counted more."""
        known = {account.spec.key: account for account in self._accounts}
        self._config = config
        self._accounts = [_Account(spec, config) for spec in config.tiers]
        for account in self._accounts:
            old = known.get(account.spec.key)
            if old is None or account.bucket:
                self._blind(account)
            else:
                account.settled_at = old.settled_at

    def blinded(self) -> None:
        """Every tier may count what we do not know of, for as long as that lasts."""
        for account in self._accounts:
            self._blind(account)

    def _blind(self, account: _Account) -> None:
        drained = account.ceiling / account.pace * 3 if account.bucket else account.span
        account.settled_at = self._clock.monotonic() + drained + self._plan.lost_seconds + self._plan.commit_seconds * 4

    # -- looking

    def look(self, gate: Gate) -> None:
        """Everybody is at rest: is anybody wronged?"""
        self.looks += 1
        asks = [ask for group in ("", "slow") for ask in gate.room.of_group(group)]
        if not asks or gate.paused_until is not None:
            return
        if len(gate.book.flying) > sum(call.ended_at == math.inf for call in self._ledger.calls):
            return  # one was let go and waits for the commit that it needs
        config = self._config
        assert config is not None
        seats = gate.view()["seats"]
        if seats["limit"] is not None and seats["used"] >= seats["limit"]:
            return
        self._learned(gate)
        now = self._clock.monotonic()
        rooms = [self._room(account, now) for account in self._accounts]
        for ask in asks:
            mine = [i for i, account in enumerate(self._accounts) if counts(account.spec, ask.budgets[0])]
            if any(self._accounts[i].settled_at > now for i in mine):
                continue
            self.judged += 1
            if all(self._fits(i, rooms[i], ask) for i in mine) and not self._behind(ask, asks, mine, rooms, now):
                self.wrongs.append(
                    f"{now:.4f}: a call of lane {ask.lane.name} ({ask.budgets[0]}, weight {ask.weight:g}) waits since "
                    f"{ask.asked_at:.4f} for {ask.blocked_by!r} though it might go"
                )

    def _learned(self, gate: Gate) -> None:
        """What a 429 taught lowers the budget for a while; of a bucket then, and of what ramps, nothing is said here."""
        for account, tier in zip(self._accounts, gate.book.tiers, strict=True):
            if tier.learned.limit is None and not tier.bounded:
                account.budget = account.configured
            elif account.bucket or tier.bounded:
                self._blind(account)
            else:
                account.budget = min(account.configured, tier.budget)

    def _behind(self, ask: Waiting, asks: list[Waiting], mine: list[int], rooms: list[_Room], now: float) -> bool:
        """May another one stand before it at a tier that is full for that one?"""
        for other in asks:
            if other is ask:
                continue
            for i, account in enumerate(self._accounts):
                if not counts(account.spec, other.budgets[0]):
                    continue
                if not self._fits(i, rooms[i], other) or account.settled_at > now:
                    shared = [j for j in mine if counts(self._accounts[j].spec, other.budgets[0])]
                    if i in mine or shared:
                        return True
        return False

    def _fits(self, i: int, room: _Room, ask: Waiting) -> bool:
        account = self._accounts[i]
        weight = ask.weight if account.spec.weighted else 1.0
        kept = sum(max(0.0, account.reserved[x] - room.by_lane[x]) for x in range(3) if x != ask.lane)
        paced = room.sent + weight + kept <= account.budget + 1e-9 or room.sent <= 1e-9
        return paced and room.held + weight <= account.ceiling + 1e-9

    def _room(self, account: _Account, now: float) -> _Room:
        room = _Room()
        spec = account.spec
        sent = held = 0.0
        at = -math.inf
        if account.bucket:
            events: list[tuple[float, float, float]] = []
            for call in self._ledger.calls:
                if not counts(spec, call.budget):
                    continue
                asked = call.asked_weight if spec.weighted else 1.0
                weight = call.weight if spec.weighted and call.ended_at < math.inf and not call.lost else asked
                events.append((call.sent_at, asked, 0.0))
                if call.ended_at <= now:
                    events.append((call.ended_at, 0.0, weight))
                else:
                    room.held += weight
            for moment, begun, ended in sorted(events):
                if at > -math.inf:
                    sent = max(0.0, sent - account.pace * (moment - at))
                    held = max(0.0, held - account.rate * (moment - at))
                sent, held, at = sent + begun, held + ended, moment
            if now - _SLACK > at > -math.inf:
                sent = max(0.0, sent - account.pace * (now - _SLACK - at))
                held = max(0.0, held - account.rate * (now - _SLACK - at))
            room.sent, room.held = sent, room.held + held
            return room
        late = -math.inf
        for call in self._ledger.calls:
            if not counts(spec, call.budget):
                continue
            asked = call.asked_weight if spec.weighted else 1.0
            weight = call.weight if spec.weighted and call.ended_at < math.inf and not call.lost else asked
            if call.sent_at > now - account.span:
                room.sent += weight
                room.by_lane[call.lane] += weight
            ended = call.ended_at
            if call.lost:
                late = max(late, ended)
            if ended > now - account.span or (late > now - account.span and ended <= late and not call.lost):
                room.held += weight
        return room


class _Room:
    """What one tier counts now."""

    __slots__ = ("by_lane", "held", "sent")

    def __init__(self) -> None:
        self.sent = self.held = 0.0
        self.by_lane = [0.0, 0.0, 0.0]
