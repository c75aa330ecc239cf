"""Trying again: exponential backoff with full jitter, and a budget so that retries never become the load.

tenacity lives here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from syncd.clock import Clock


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """At most `attempts` tries; before the n-th retry a random wait in [0, min(cap, base * 2 ** (n - 1))) seconds."""

    attempts: int = 4
    base_seconds: float = 0.5
    cap_seconds: float = 15.0

    def ceiling(self, attempt: int) -> float:
        """The longest wait after this attempt (the first is 1) failed."""
        return min(self.cap_seconds, self.base_seconds * 2.0 ** min(max(attempt, 1) - 1, 60))

    def wait(self, attempt: int, chance: float) -> float:
        """The wait, given a number in [0, 1): full jitter, so that those who failed together return apart."""
        return self.ceiling(attempt) * chance


class RetryBudget:
    """Retries one partner may cost: a share of its calls (20 %), and a few a minute so that a quiet one has some too.

    Each call earns `ratio`, each retry spends 1. What is earned and not spent is kept up to `most`; the floor refills to
    `floor` within a minute.
    """

    def __init__(self, clock: Clock, *, ratio: float = 0.2, floor: float = 5.0, most: float = 50.0) -> None:
        self._clock = clock
        self._ratio = ratio
        self._floor = floor
        self._most = most
        self._earned = 0.0
        self._spare = floor
        self._at = clock.monotonic()

    @property
    def left(self) -> float:
        """Retries that could be made now."""
        self._refill()
        return self._earned + self._spare

    def earn(self) -> None:
        """A call (its first try) was made."""
        self._earned = min(self._most, self._earned + self._ratio)

    def spend(self) -> bool:
        """Take one retry; False: there is none left, do not retry."""
        self._refill()
        if self._earned >= 1.0:
            self._earned -= 1.0
        elif self._spare >= 1.0:
            self._spare -= 1.0
        else:
            return False
        return True

    def _refill(self) -> None:
        now = self._clock.monotonic()
        self._spare = min(self._floor, self._spare + self._floor * (now - self._at) / 60.0)
        self._at = now


def retrying(
    policy: BackoffPolicy,
    *,
    clock: Clock,
    worth: Callable[[BaseException], bool],
    budget: RetryBudget | None = None,
    deadline_at: float | None = None,
    before: Callable[[int, BaseException, float], None] | None = None,
    exhausted: Callable[[], None] | None = None,
) -> AsyncRetrying:
    """tenacity's loop on our clock: `async for attempt in retrying(...): with attempt: ...`; raises the last error.

    `worth(error)` says whether another try can help. An error with a `retry_at` is waited for at least that long. No
    try is made that the `deadline_at` (monotonic) would cut before it begins, nor one the `budget` has nothing left for
    (then `exhausted` is called). `before(attempt, error, seconds)` hears of each retry.
    """

    def wait(state: RetryCallState) -> float:
        seconds = policy.wait(state.attempt_number, clock.random())
        at = getattr(_error(state), "retry_at", None)
        if isinstance(at, datetime):
            seconds = max(seconds, (at - clock.now()).total_seconds())
        return seconds

    def stop(state: RetryCallState) -> bool:
        if state.attempt_number >= policy.attempts:
            return True
        # upcoming_sleep was drawn by `wait` just before: tenacity asks for the wait first, then whether to stop.
        if deadline_at is not None and clock.monotonic() + state.upcoming_sleep >= deadline_at:
            return True
        if budget is not None and not budget.spend():
            if exhausted is not None:
                exhausted()
            return True
        return False

    def before_sleep(state: RetryCallState) -> None:
        error = _error(state)
        if before is not None and error is not None:
            before(state.attempt_number, error, state.upcoming_sleep)

    return AsyncRetrying(
        sleep=clock.sleep,
        wait=wait,
        stop=stop,
        retry=retry_if_exception(worth),
        before_sleep=before_sleep,
        reraise=True,
    )


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
