"""One tier as the witness counts it: afresh from the calls, in the plainest way."""

from __future__ import annotations

import math

from syncd.limits.tiers import TierSpec
from syncd.model import Lane
from tests.limits.history.ledger import Call
from tests.limits.history.plan import Config

_SLACK = 0.003
"""Seconds: the guard of a window, the least sleep of who looks out, and rounding."""
_DEFAULT = {Lane.HIGH: 0.1, Lane.NORMAL: 0.1, Lane.LOW: 0.05}


class Room:
    """What one tier counts now."""

    __slots__ = ("by_lane", "held", "sent")

    def __init__(self, sent: float = 0.0, held: float = 0.0) -> None:
        self.sent = sent
        self.held = held
        self.by_lane = [0.0, 0.0, 0.0]
        """Sent, at least; while `sent` and `held` are at most."""


class Account:
    """The numbers of one tier as they are configured, and the calls it may count."""

    def __init__(self, spec: TierSpec, config: Config, heaviest: float, lag_seconds: float) -> None:
        share = spec.share or config.share
        lanes = _DEFAULT if config.lanes is None else {Lane[name.upper()]: part for name, part in config.lanes.items()}
        self.spec = spec
        self.bucket = spec.kind == "bucket"
        self.ceiling = spec.burst or spec.limit if self.bucket else spec.limit
        self.configured = max(1.0, self.ceiling * share if self.bucket else math.floor(spec.limit * share + 1e-9))
        self.budget = self.configured
        """What may be sent now; less where a 429 taught so."""
        self.reserved = [0 if self.bucket else math.floor(self.budget * lanes.get(lane, 0.0) + 1e-9) for lane in Lane]
        self.standby = 0.0
        """Of the highest lane's reserve, in both sums: kept whatever happens, so that the first urgent call never waits."""
        if not self.bucket and spec.window_seconds > 2.0:
            if lanes.get(Lane.HIGH, 0.0) > 0 and self.budget >= 10:
                self.reserved[Lane.HIGH] = max(self.reserved[Lane.HIGH], 1)
            self.standby = min(self.reserved[Lane.HIGH], heaviest if spec.weighted else 1.0)
        self.lag_seconds = lag_seconds
        """A call may have been let go so much earlier than it was sent: it waited for its commit."""
        self.span = spec.window_seconds * (1 + 1.1e-4) + _SLACK
        if spec.limit > 1000:
            self.span *= 1 + 1 / 900
        self.settled_at = -math.inf
        """Before this it may count what we do not know of (a restart, another configuration)."""
        self.calls: list[Call] = []
        self._fresh: list[Call] = []
        self._rate = spec.per_second * (1 - 1.1e-4)
        self._pace = self._rate * share
        self._full = self.budget
        self._sent = self._held = 0.0
        self._at = -math.inf

    def continues(self, old: Account) -> None:
        """The same tier with other numbers."""
        self._full = max(self._full, old._full)
        self.settled_at = old.settled_at
        self.calls = old.calls
        self._fresh = old._fresh

    def enter(self, call: Call) -> None:
        """It was sent."""
        self.calls.append(call)
        if self.bucket:
            self._fresh.append(call)

    def blind_until(self, moment: float, more: float) -> None:
        """Until then it may come to count what we do not know of, and keep it for as long as it keeps anything."""
        self.settled_at = moment if self.bucket else moment + self.span
        if self.bucket:  # it may be full then, and more, or as full as it was: only what drains since is sure
            self._drain(moment)
            self._sent = max(self._sent, self._full + more)
            self._held = max(self._held, self.ceiling + more)

    def room(self, now: float, lost_seconds: float) -> Room:
        return self._level(now) if self.bucket else self._window(now, lost_seconds)

    def _window(self, now: float, lost_seconds: float) -> Room:
        room = Room()
        since = now - self.span
        self.calls = [c for c in self.calls if c.sent_at > since or c.ended_at > since - lost_seconds]
        late = [call.ended_at for call in self.calls if call.lost]
        for call in self.calls:
            weight = self._weight(call)
            if call.sent_at > since:
                room.sent += weight
                if call.sent_at > now - self.spec.window_seconds + self.lag_seconds:
                    room.by_lane[call.lane] += weight
            ended = call.ended_at
            for at in late:  # moments are kept in order: what was answered meanwhile is freed with the late one
                if at - lost_seconds <= call.ended_at <= at:
                    ended = max(ended, at)
            if ended > since:
                room.held += weight
        return room

    def _level(self, now: float) -> Room:
        events = [(call.sent_at, self._asked(call), 0.0) for call in self._fresh]
        events += [(call.ended_at, 0.0, self._weight(call)) for call in self.calls if call.ended_at <= now]
        for moment, sent, held in sorted(events):
            if moment > self.settled_at:
                self._drain(moment)
                self._sent += sent
                self._held += held
        self._fresh.clear()
        self.calls = [call for call in self.calls if call.ended_at > now]
        return self._peek(now, sum(self._weight(call) for call in self.calls))

    def _drain(self, now: float) -> None:
        if now > self._at > -math.inf:
            self._sent = max(0.0, self._sent - self._pace * (now - self._at))
            self._held = max(0.0, self._held - self._rate * (now - self._at))
        self._at = max(now, self._at)

    def _peek(self, now: float, flying: float) -> Room:
        gone = max(0.0, now - _SLACK - self._at) if self._at > -math.inf else 0.0
        return Room(max(0.0, self._sent - self._pace * gone), max(0.0, self._held - self._rate * gone) + flying)

    def _asked(self, call: Call) -> float:
        return call.asked_weight if self.spec.weighted else 1.0

    def _weight(self, call: Call) -> float:
        if not self.spec.weighted:
            return 1.0
        return call.weight if call.ended and not call.lost else call.asked_weight
