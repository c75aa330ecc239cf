"""Error and attempt in, outcome out: the one place that decides what happens to work that failed.

Work ends in one of four ways. `Done` and `Drop` finish its row, `Later` puts it back (and may not count the attempt),
`Bury` makes it a dead letter that a person can replay. A wait is always a `Later` on the row, never a sleep in a worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd.errors import (
    AuthError,
    BreakerOpenError,
    GoneError,
    OwnershipError,
    RateLimitError,
    StaleWorkError,
    StoreError,
    TransientError,
)


@dataclass(frozen=True, slots=True)
class Done:
    """Finished. `gone`: the partner said that the record no longer exists."""

    gone: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """Not now: try again at `at`. `counts` is False where the wait is nobody's failure."""

    at: datetime
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Drop:
    """Not worth doing any more: counted and forgotten."""

    why: str


@dataclass(frozen=True, slots=True)
class Bury:
    """Needs a person: goes to the dead letters."""

    why: str


Outcome = Done | Later | Drop | Bury

MOST_SPREAD_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient rows are. The client has already ridden out short trouble when these apply; seconds throughout."""

    attempts: int = 8
    first_seconds: float = 15.0
    longest_seconds: float = 1800.0
    auth_pause_seconds: float = 300.0
    store_pause_seconds: float = 5.0

    def backoff(self, attempt: int, chance: float) -> timedelta:
        """Exponential with equal jitter: half fixed, half by `chance` in [0, 1). `attempt` counts from 1."""
        span = min(self.first_seconds * 2.0 ** min(attempt - 1, 20), self.longest_seconds)
        return timedelta(seconds=span * (0.5 + chance / 2))


def spread(now: datetime, at: datetime, chance: float) -> timedelta:
    """How long after the breaker's next probe, at `at`, work comes back: never all at once, and who was the probe late.

    As long again as the wait, 30 s at most; at least a moment, so that the next probe is another piece of work: a record
    the partner always stumbles over must not be the one by which it is judged for ever.
    """
    return timedelta(seconds=0.05 + min(max((at - now).total_seconds(), 0.0), MOST_SPREAD_SECONDS) * chance)


def decide(error: BaseException, attempt: int, now: datetime, policy: RetryPolicy, chance: float) -> Outcome:
    """What becomes of work that raised `error` at its `attempt`-th try (from 1)."""
    match error:
        case RateLimitError(hopeless=True):
            return Bury(str(error))
        case RateLimitError(retry_at=at):
            return Later(at or now + policy.backoff(attempt, chance), counts=False)
        case BreakerOpenError(retry_at=at) | TransientError(blameless=True, retry_at=datetime() as at):
            return Later(at + spread(now, at, chance), counts=False)
        case TransientError(blameless=True):
            return Later(now + policy.backoff(attempt, chance), counts=False)
        case TransientError(retry_at=at) if attempt < policy.attempts:
            wait = now + policy.backoff(attempt, chance)
            return Later(max(at, wait) if at is not None else wait)
        case AuthError():
            return Later(now + timedelta(seconds=policy.auth_pause_seconds), counts=False)
        case GoneError():
            return Done(gone=True)
        case StaleWorkError():
            return Drop(str(error))
        case OwnershipError():
            return Drop(str(error))
        case StoreError():
            return Later(now + timedelta(seconds=policy.store_pause_seconds), counts=False)
        case _:
            return Bury(f"{type(error).__name__}: {error}")
