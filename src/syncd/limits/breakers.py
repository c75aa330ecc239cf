"""The breakers of one scope: one an endpoint group, and the holds of people, which lie over them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import BreakerOpenError
from syncd.limits.breaker import MANY, Breaker, BreakerPolicy, BreakerState, Pass

ERRORS_KEPT = 5
"""Last errors of each group, for a person who asks why."""
_WORDS = 300


@dataclass(frozen=True, slots=True)
class Hold:
    """A person's word that nothing be sent. It ends at `until` by itself; None: when released."""

    why: str
    who: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def over(self, now: datetime) -> bool:
        return self.until is not None and self.until <= now

    def view(self) -> dict[str, Any]:
        return {"who": self.who, "why": self.why, "since": self.since, "until": self.until}


class Breakers:
    """Made as groups are first named; groups come from drivers, so there are few. `notify` hears of every change.

    A hold (of the scope: group None) stops calls whatever the breakers say and changes nothing in them: when it ends,
    one that was open asks by a probe first. `returned` is called when calls go again after a time in which none did.
    """

    def __init__(self, scope: str, policy: BreakerPolicy, clock: Clock, notify: Callable[..., None]) -> None:
        self.scope = scope
        self.policy = policy
        self.returned: Callable[[], None] = lambda: None
        self.turned: Callable[[], None] = lambda: None
        """Called when there is something new to remember."""
        self._clock = clock
        self._notify = notify
        self._groups: dict[str, Breaker] = {}
        self._errors: dict[str, deque[tuple[datetime, str]]] = {}
        self._holds: dict[str | None, Hold] = {}
        self._good_at = -math.inf
        """When the scope last had a sound answer."""

    def configure(self, policy: BreakerPolicy) -> None:
        """Take new numbers; every state stays."""
        self.policy = policy
        for breaker in self._groups.values():
            breaker.configure(policy, self._clock.monotonic())

    def of(self, group: str) -> Breaker:
        found = self._groups.get(group)
        if found is None:
            found = self._groups[group] = Breaker(self.policy)
            metrics.BREAKER_STATE.labels(self.scope, group or "all").set_function(lambda: float(self.state(group)))
        return found

    # -- calls

    def state(self, group: str) -> BreakerState:
        if self.held(group) is not None:
            return BreakerState.OPEN
        return self.of(group).state(self._clock.monotonic())

    def takes(self, group: str) -> int:
        """How many calls of this group would be let go now: none, one (the probe), or MANY."""
        if self.held(group) is not None:
            return 0
        known = self._groups.get(group)
        return MANY if known is None else known.takes(self._clock.monotonic())

    def permit(self, group: str, now: float) -> Pass:
        """Leave for one call. Raises BreakerOpenError."""
        leave = self.of(group).permit(now) if not self._holds or self.held(group) is None else None
        if leave is None:
            raise self.refusal(group, now)
        return leave

    def valid(self, group: str, leave: Pass) -> bool:
        """May the call still be sent, now that it waited?"""
        return (not self._holds or self.held(group) is None) and self.of(group).valid(leave)

    def verdict(self, group: str, leave: Pass, now: float, *, good: bool, why: str = "") -> bool:
        """Count an answer; True if that opened the breaker. `why` is the error in words without secrets."""
        breaker = self.of(group)
        if good:
            broken_at, silent_since = breaker.broken_at, self._good_at
            self._good_at = now
            if breaker.success(leave, now):
                assert broken_at is not None
                self._notify("breaker_closed", scope=self.scope, group=group, after_seconds=round(now - broken_at, 1))
                self.turned()
                if silent_since <= broken_at:  # else other groups were served all the time: nothing has piled up
                    self.returned()
            return False
        if why:
            kept = self._errors.setdefault(group, deque(maxlen=ERRORS_KEPT))
            kept.append((self._clock.now(), why[:_WORDS]))
        opened = breaker.failure(leave, now)
        if opened:
            if not leave.probe:  # said once when it breaks; a failed probe is no news
                seconds = round(breaker.retry_in(now), 1)
                self._notify("breaker_opened", scope=self.scope, group=group, reason=why, probe_in_seconds=seconds)
            self.turned()
        return opened

    def reset(self, group: str | None = None) -> list[str]:
        """Close by hand what is open, of one group or (None) all; returns the groups that were."""
        names = list(self._groups) if group is None else [group] if group in self._groups else []
        closed = [name for name in names if self._groups[name].reset()]
        for name in closed:
            self._notify("breaker_closed", scope=self.scope, group=name, reason="reset by hand")
        if closed:
            self.turned()
            self.returned()
        return closed

    # -- holds

    def held(self, group: str | None) -> Hold | None:
        """The hold in force for a group (None: of the whole scope); one whose time is over goes."""
        if not self._holds:
            return None
        now = self._clock.now()
        for name in [name for name, hold in self._holds.items() if hold.over(now)]:
            self._freed(name, self._holds.pop(name), "its time is over")
        return self._holds.get(None) or (self._holds.get(group) if group is not None else None)

    def hold(self, hold: Hold, group: str | None) -> list[str]:
        """Keep it open until `release`; returns the groups concerned."""
        known = self._holds.get(group)
        self._holds[group] = hold
        if known != hold:
            facts = {"group": group or "", "who": hold.who, "reason": hold.why, "until": hold.until}
            self._notify("breaker_held", scope=self.scope, **facts)
        if group is not None:
            self.of(group)
            return [group]
        self.of("")
        return list(self._groups)

    def release(self, group: str | None) -> None:
        """End a hold: of the scope, or of one group."""
        gone = self._holds.pop(group, None)
        if gone is not None:
            self._freed(group, gone, "released")

    def set_holds(self, holds: Mapping[str | None, Hold]) -> list[str]:
        """Let exactly these be in force (group None: the scope); returns the groups of those that are new."""
        for group in [group for group in self._holds if group not in holds]:
            self.release(group)
        now = self._clock.now()
        fresh = [group for group, hold in holds.items() if self._holds.get(group) != hold and not hold.over(now)]
        return [name for group in fresh for name in self.hold(holds[group], group)]

    def _freed(self, group: str | None, hold: Hold, how: str) -> None:
        self._notify("breaker_released", scope=self.scope, group=group or "", who=hold.who, reason=how)
        self.returned()

    # -- telling and remembering

    def refusal(self, group: str, now: float) -> BreakerOpenError:
        """Why nothing is sent, and when to ask again."""
        breaker, wall = self.of(group), self._clock.now()
        name = f"{self.scope} ({group})" if group else self.scope
        hold = self.held(group)
        if hold is not None:
            left = self.policy.cooldown_seconds
            if hold.until is not None:
                left = min(left, (hold.until - wall).total_seconds())
            by = f" by {hold.who}" if hold.who else ""
            return BreakerOpenError(
                f"calls to {name} are held{by}: {hold.why}",
                retry_at=wall + timedelta(seconds=max(left, 0.05)),
                held=True,
                group="" if None in self._holds else group,
            )
        seconds = breaker.retry_in(now)
        if breaker.state(now) is BreakerState.HALF_OPEN:
            why = f"one probe finds out whether {name} is back"
        else:
            why = f"the breaker of {name} is open after failures"
        return BreakerOpenError(why, retry_at=wall + timedelta(seconds=max(seconds, 0.05)), group=group)

    def view(self, now: float) -> dict[str, Any]:
        """Plain data for a person, by group. `since`: when it opened; `errors`: the last ones, newest last."""
        wall = self._clock.now()
        return {
            group: {
                "state": self.state(group).name.lower(),
                "failures": breaker.failures,
                "failed_probes": breaker.failed_probes,
                "since": None if breaker.broken_at is None else wall - timedelta(seconds=now - breaker.broken_at),
                "retry_in_seconds": breaker.retry_in(now),
                "held": None if (hold := self.held(group)) is None else hold.view(),
                "errors": [{"at": at, "error": text} for at, text in self._errors.get(group, ())],
            }
            for group, breaker in self._groups.items()
        }

    @property
    def held_view(self) -> dict[str, Any] | None:
        """The hold of the whole scope, as plain data."""
        hold = self.held(None)
        return None if hold is None else hold.view()

    def export(self, now: float) -> dict[str, Any]:
        """What to remember over a restart, as JSON; empty when all is well. Holds are not here: they are rows."""
        return {
            group: {
                "failures": breaker.failures,
                "failed_probes": breaker.failed_probes,
                "open_for": None if breaker.broken_at is None else now - breaker.broken_at,
                "probe_in": max(breaker.probe_at - now, 0.0) if breaker.broken_at is not None else 0.0,
                "errors": [[at.timestamp(), text] for at, text in self._errors.get(group, ())],
            }
            for group, breaker in self._groups.items()
            if breaker.failures or breaker.broken_at is not None
        }

    def absorb(self, state: Mapping[str, Any] | None, now: float, *, away_seconds: float) -> None:
        """Be as `export` said so long ago, in place of what is in memory.

        What was open comes back open or half-open, never closed.
        """
        state, away = state or {}, max(away_seconds, 0.0)
        for group in {*state, *self._groups}:
            known = state.get(group) or {}
            open_for = known.get("open_for")
            self.of(group).resume(
                int(known.get("failures", 0)),
                int(known.get("failed_probes", 0)),
                None if open_for is None else float(open_for) + away,
                float(known.get("probe_in", 0.0)) - away,
                now,
            )
            told = [(datetime.fromtimestamp(at, UTC), str(text)) for at, text in known.get("errors", ())]
            self._errors[group] = deque(told, maxlen=ERRORS_KEPT)

    def close(self) -> None:
        """Take them out of the metrics."""
        for group in self._groups:
            metrics.BREAKER_STATE.remove(self.scope, group or "all")
