"""A call that nobody hurries: in the lowest lane, waiting out limits and, with further `tries`, short outages."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from syncd.errors import BreakerOpenError, RateLimitError, RejectedError, TransientError
from syncd.kit import Request, Response
from syncd.model import Lane
from syncd.sync.account import Account


class Unhurried:
    """Calls for one purpose: what they cost, and how long they are waited for."""

    def __init__(
        self, account: Account, *, pause_seconds: float, longest_seconds: float = math.inf, tries: int = 1
    ) -> None:
        """`pause_seconds`: where nobody says how long to wait. `longest_seconds`: so long is one call waited for in all.

        `tries`: a call that fails so often, each time in spite of the client's own retries, is not made again.
        """
        self.calls = 0
        self.waited_seconds = 0.0
        self.waits_for = ""
        """What it waited for last."""
        self.waits_until: datetime | None = None
        """And until when: in the past once that is over."""
        self._account = account
        self._pause_seconds = pause_seconds
        self._longest_seconds = longest_seconds
        self._tries = tries

    async def call(self, request: Request) -> Response:
        """One call. Raises OwnershipError once another instance owns the scope, RejectedError once a person has paused it."""
        account = self._account
        waited, failures = 0.0, 0
        while True:
            _ = account.fence  # who owns the scope counts its calls
            if account.health.paused is not None:
                raise RejectedError(f"{account.name} is paused", hint=f"syncd resume {account.name}")
            stats = account.session.stats()
            try:
                async with account.inflight.narrowing.one(Lane.LOW):
                    return await account.session.call(request, lane=Lane.LOW, stats=stats)
            except (RateLimitError, BreakerOpenError, TransientError) as error:
                failures += isinstance(error, TransientError)
                pause = self._pause(error)
                if failures >= self._tries or pause is None or waited + pause > self._longest_seconds:
                    raise
                self.waits_for, self.waits_until = str(error), account.clock.now() + timedelta(seconds=pause)
            finally:
                self.calls += stats.calls
                self.waited_seconds += stats.waited_seconds
            waited += pause
            self.waited_seconds += pause
            await account.clock.sleep(pause)

    def _pause(self, error: RateLimitError | BreakerOpenError | TransientError) -> float | None:
        """Seconds to wait; None where waiting does not help."""
        if (isinstance(error, RateLimitError) and error.hopeless) or (
            isinstance(error, BreakerOpenError) and error.held
        ):
            return None
        if error.retry_at is None:
            return self._pause_seconds
        return max(1.0, (error.retry_at - self._account.clock.now()) / timedelta(seconds=1))
