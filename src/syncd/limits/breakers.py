"""The breakers of one scope: one an endpoint group, and a hold of the whole scope by a person."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import BreakerOpenError
from syncd.limits.breaker import Breaker, BreakerPolicy, BreakerState, Pass


class Breakers:
    """Made as groups are first named; groups come from drivers, so there are few. `notify` hears of every change."""

    def __init__(self, scope: str, policy: BreakerPolicy, clock: Clock, notify: Callable[..., None]) -> None:
        self.scope = scope
        self.policy = policy
        self.held_reason: str | None = None
        self._clock = clock
        self._notify = notify
        self._groups: dict[str, Breaker] = {}

    def configure(self, policy: BreakerPolicy) -> None:
        """Take new numbers; every state stays."""
        self.policy = policy
        for breaker in self._groups.values():
            breaker.configure(policy)

    def of(self, group: str) -> Breaker:
        found = self._groups.get(group)
        if found is None:
            found = self._groups[group] = Breaker(self.policy)
            metrics.BREAKER_STATE.labels(self.scope, group or "all").set_function(lambda: float(self.state(group)))
        return found

    def state(self, group: str) -> BreakerState:
        if self.held_reason is not None:
            return BreakerState.OPEN
        return self.of(group).state(self._clock.monotonic())

    def permit(self, group: str, now: float) -> Pass:
        """Leave for one call. Raises BreakerOpenError."""
        leave = None if self.held_reason is not None else self.of(group).permit(now)
        if leave is None:
            raise self.refusal(group, now)
        return leave

    def valid(self, group: str, leave: Pass) -> bool:
        """May the call still be sent, now that it waited?"""
        return self.held_reason is None and self.of(group).valid(leave)

    def verdict(self, group: str, leave: Pass, now: float, *, good: bool) -> bool:
        """Count an answer; True if that opened the breaker."""
        breaker = self.of(group)
        if good:
            if breaker.success(leave, now):
                self._notify("breaker_closed", scope=self.scope, group=group)
            return False
        opened = breaker.failure(leave, now)
        if opened and not leave.probe:  # said once when it breaks; a failed probe is no news
            self._notify("breaker_opened", scope=self.scope, group=group)
        return opened

    def hold(self, reason: str, group: str | None) -> list[str]:
        """Keep it open until `release`; returns the groups concerned."""
        if group is None:
            self.held_reason = reason
            return list(self._groups)
        self.of(group).hold(reason)
        return [group]

    def release(self, group: str | None) -> None:
        """End a hold: of the scope, or of one group."""
        if group is None:
            self.held_reason = None
        else:
            self.of(group).release()

    def refusal(self, group: str, now: float) -> BreakerOpenError:
        """Why nothing is sent, and when to ask again."""
        breaker = self.of(group)
        name = f"{self.scope} ({group})" if group else self.scope
        held = self.held_reason if self.held_reason is not None else breaker.held_reason
        if held is not None:
            seconds, why, hint = self.policy.cooldown_seconds, f"calls to {name} are held: {held}", "syncd breaker"
        elif breaker.state(now) is BreakerState.HALF_OPEN:
            seconds, why, hint = breaker.retry_in(now), f"one probe finds out whether {name} is back", ""
        else:
            seconds, why, hint = breaker.retry_in(now), f"the breaker of {name} is open after failures", ""
        return BreakerOpenError(why, retry_at=self._clock.now() + timedelta(seconds=max(seconds, 0.05)), hint=hint)

    def view(self, now: float) -> dict[str, Any]:
        """Plain data for a person, by group."""
        return {
            group: {
                "state": self.state(group).name.lower(),
                "failures": breaker.failures,
                "retry_in_seconds": breaker.retry_in(now),
                "held": self.held_reason if self.held_reason is not None else breaker.held_reason,
            }
            for group, breaker in self._groups.items()
        }

    def close(self) -> None:
        """Take them out of the metrics."""
        for group in self._groups:
            metrics.BREAKER_STATE.remove(self.scope, group or "all")
