"""The circuit breaker: closed, open, half-open. Pure: methods take the monotonic `now`; nothing waits.

It counts what says that the partner is sick: timeouts, refused connections, 5xx. The caller reports only those as
failures, never a 4xx or a 429. While open nothing is sent; after the cooldown one probe goes, and its verdict decides.
A person's hold is not here but in `breakers.py`: it lies over this state and leaves it as it is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum

MANY = 1 << 30
"""`takes` of a closed breaker: no number it would stop at."""


class BreakerState(IntEnum):
    """The values are those of the metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """Open after `failures` in a row, or if `ratio` of the last `calls` failed (None: never); probe after the cooldown.

    With each probe that fails in a row the cooldown doubles, up to `longest_seconds`: a partner that is down for a day is
    not asked 2,880 times whether it is back, and one that comes back is noticed within that time.
    """

    failures: int = 5
    cooldown_seconds: float = 30.0
    ratio: float | None = None
    calls: int = 20
    longest_seconds: float = 300.0

    def __post_init__(self) -> None:
        if self.failures < 1 or self.calls < 1 or self.cooldown_seconds < 0:
            raise ValueError("a breaker needs failures and calls of at least 1 and a cooldown that is not negative")
        if self.ratio is not None and not 0 < self.ratio <= 1:
            raise ValueError("a breaker's ratio lies above 0 and at most at 1")

    def cooldown(self, failed_probes: int) -> float:
        """Seconds from opening (or from a failed probe) to the next probe."""
        longest = max(self.longest_seconds, self.cooldown_seconds)
        return float(min(self.cooldown_seconds * 2.0 ** min(failed_probes, 60), longest))


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
        """Failures in a row; while it is open, failed probes included."""
        self.failed_probes = 0
        """In a row since it opened."""
        self.broken_at: float | None = None
        """When it opened; a failed probe does not change it. None: closed."""
        self.probe_at = 0.0
        """While it is open: when the next probe may go."""
        self._recent: deque[bool] = deque(maxlen=self.policy.calls)
        self._era = 0
        self._probe: Pass | None = None

    def configure(self, policy: BreakerPolicy, now: float) -> None:
        """Take new numbers; the state stays. A shorter cooldown holds for the one that runs, too."""
        self.policy = policy
        self._recent = deque(self._recent, maxlen=policy.calls)
        if self.broken_at is not None:
            self.probe_at = min(self.probe_at, now + policy.cooldown(self.failed_probes))

    def state(self, now: float) -> BreakerState:
        if self.broken_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.probe_at else BreakerState.HALF_OPEN

    def takes(self, now: float) -> int:
        """How many calls would be let go now: none, one (the probe), or MANY."""
        if self.broken_at is None:
            return MANY
        return 0 if now < self.probe_at or self._probe is not None else 1

    def retry_in(self, now: float) -> float:
        """Seconds until asking again makes sense; 0 when a call may go now."""
        if self.broken_at is None:
            return 0.0
        left = self.probe_at - now
        if left > 0:
            return left
        return min(1.0, self.policy.cooldown_seconds) if self._probe is not None else 0.0

    def permit(self, now: float) -> Pass | None:
        """Leave for one call, or None. In half-open one pass at a time is out: the probe."""
        if self.broken_at is None:
            return Pass(self._era, probe=False)
        if not self.takes(now):
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
        self.failures += 1
        if leave.probe:
            self.failed_probes += 1
            self._open(now)
            return True
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

    def reset(self) -> bool:
        """Close it by hand: calls go at once. True if it was not closed."""
        was = self.broken_at is not None
        self._close()
        return was

    def resume(self, failures: int, failed_probes: int, open_for: float | None, probe_in: float, now: float) -> None:
        """Be as another process left it: open for so many seconds with so many to the next probe, or (None) closed."""
        self._close()
        self.failures = failures
        if open_for is not None:
            self.failed_probes = failed_probes
            self.broken_at = now - max(open_for, 0.0)
            self.probe_at = now + min(max(probe_in, 0.0), self.policy.cooldown(failed_probes))

    def _settle(self, leave: Pass) -> bool:
        """Take the pass back; True if its verdict counts."""
        counts = self.valid(leave)
        leave.spent = True
        if self._probe is leave:
            self._probe = None
        return counts

    def _open(self, now: float) -> None:
        if self.broken_at is None:
            self.broken_at = now
        self.probe_at = now + self.policy.cooldown(self.failed_probes)
        self._turn()

    def _close(self) -> None:
        self.broken_at = None
        self.failures = self.failed_probes = 0
        self._turn()

    def _turn(self) -> None:
        self._era += 1
        self._recent.clear()
        self._probe = None
