"""The circuit breaker: closed, open, half-open. Pure: methods take the monotonic `now`; nothing waits.

It counts what says that the partner is sick: timeouts, refused connections, 5xx. The caller reports only those as
failures, never a 4xx or a 429. While open nothing is sent; after the cooldown one probe goes, and its verdict decides.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum


class BreakerState(IntEnum):
    """The values are those of the metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """Open after `failures` in a row, or if `ratio` of the last `calls` failed (None: never); probe after cooldown."""

    failures: int = 5
    cooldown_seconds: float = 30.0
    ratio: float | None = None
    calls: int = 20

    def __post_init__(self) -> None:
        if self.failures < 1 or self.calls < 1 or self.cooldown_seconds < 0:
            raise ValueError("a breaker needs failures and calls of at least 1 and a cooldown that is not negative")
        if self.ratio is not None and not 0 < self.ratio <= 1:
            raise ValueError("a breaker's ratio lies above 0 and at most at 1")


class Pass:
    """Leave to send one call. It belongs to the stretch between two changes of state in which it was given."""

    __slots__ = ("era", "probe", "spent")

    def __init__(self, era: int, probe: bool) -> None:
        self.era = era
        self.probe = probe
        self.spent = False


class Breaker:
    """One per endpoint group. Verdicts on passes of an earlier stretch count for nothing."""

    def __init__(self, policy: BreakerPolicy | None = None) -> None:
        self.policy = policy or BreakerPolicy()
        self.failures = 0
        """Failures in a row since it was closed."""
        self.held_reason: str | None = None
        self.opened_at: float | None = None
        self._recent: deque[bool] = deque(maxlen=self.policy.calls)
        self._era = 0
        self._probe: Pass | None = None

    def configure(self, policy: BreakerPolicy) -> None:
        """Take new numbers; the state stays."""
        self.policy = policy
        self._recent = deque(self._recent, maxlen=policy.calls)

    def state(self, now: float) -> BreakerState:
        if self.held_reason is not None:
            return BreakerState.OPEN
        if self.opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.opened_at + self.policy.cooldown_seconds else BreakerState.HALF_OPEN

    def retry_in(self, now: float) -> float:
        """Seconds until asking again makes sense; 0 when a call may go now."""
        if self.held_reason is not None:
            return self.policy.cooldown_seconds
        if self.opened_at is None:
            return 0.0
        left = self.opened_at + self.policy.cooldown_seconds - now
        if left > 0:
            return left
        return min(1.0, self.policy.cooldown_seconds) if self._probe is not None else 0.0

    def permit(self, now: float) -> Pass | None:
        """Leave for one call, or None. In half-open one pass at a time is out: the probe."""
        state = self.state(now)
        if state is BreakerState.OPEN:
            return None
        if state is BreakerState.CLOSED:
            return Pass(self._era, probe=False)
        if self._probe is not None:
            return None
        self._probe = Pass(self._era, probe=True)
        return self._probe

    def valid(self, leave: Pass) -> bool:
        """Is it still right to send with this pass? Ask at the moment of sending, when it was given earlier."""
        return leave.era == self._era and not leave.spent

    def success(self, leave: Pass, now: float) -> bool:
        """The partner answered soundly. True if that closed the breaker."""
        if not self._settle(leave):
            return False
        if leave.probe:
            self._close()
            return True
        self.failures = 0
        self._recent.append(True)
        return False

    def failure(self, leave: Pass, now: float) -> bool:
        """The partner is sick. True if that opened the breaker (again)."""
        if not self._settle(leave):
            return False
        if leave.probe:
            self._open(now)
            return True
        self.failures += 1
        self._recent.append(False)
        policy = self.policy
        bad = self._recent.count(False)
        if self.failures >= policy.failures or (
            policy.ratio is not None and len(self._recent) >= policy.calls and bad >= policy.ratio * len(self._recent)
        ):
            self._open(now)
            return True
        return False

    def abandon(self, leave: Pass) -> None:
        """No verdict: cancelled, never sent, or an answer that says nothing. A probe leaves the breaker half-open."""
        self._settle(leave)

    def hold(self, reason: str) -> None:
        """A person keeps it open until `release`."""
        self.held_reason = reason
        self._turn()

    def release(self) -> None:
        """End a hold; calls go at once."""
        if self.held_reason is not None:
            self.held_reason = None
            self._close()

    def _settle(self, leave: Pass) -> bool:
        """Take the pass back; True if its verdict counts."""
        counts = self.valid(leave)
        leave.spent = True
        if self._probe is leave:
            self._probe = None
        return counts

    def _open(self, now: float) -> None:
        self.opened_at = now
        self._turn()

    def _close(self) -> None:
        self.opened_at = None
        self._turn()

    def _turn(self) -> None:
        self._era += 1
        self.failures = 0
        self._recent.clear()
        self._probe = None
