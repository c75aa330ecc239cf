"""Where calls wait for the book: one looks out, the others sleep; deadlines and pauses end a wait early.

Nobody polls and no task is left behind: the lookout is one of those who wait. It sleeps until the first moment anything
can change, lets go whom there is room for, and when it goes itself, or is cancelled, the next one takes over.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from datetime import timedelta
from functools import partial

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import RateLimitError
from syncd.limits.book import Ask, Book, Spent

_LEAST_SLEEP = 0.0005
"""Seconds. A timer may ring a hair early, and sums of floats may miss: look again after this instead of at once."""


class OverBudgetError(RateLimitError):
    """Our own gate refused: the call could not have left before its deadline. Nothing was sent, no 429 was met."""


class WaitingRoom:
    """The callers waiting at one gate."""

    def __init__(self, scope: str, book: Book, clock: Clock) -> None:
        self.scope = scope
        self.book = book
        self.clock = clock
        self.paused_until = -math.inf
        """Monotonic."""
        self.pause_reason = ""
        self.waited: dict[str, float] = {}
        """Seconds calls have waited, by reason."""
        self._busy_seconds = 0.0
        self._busy_since: float | None = None
        self._waiting: dict[Ask, None] = {}
        self._deadlines: list[tuple[float, int, Ask]] = []
        self._lookout: Ask | None = None
        self._wake_at = math.inf
        self._rings_at = math.inf

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        """Does anybody wait?"""
        return self._busy_since is not None

    async def stand(self, ask: Ask, now: float) -> Spent:
        """Wait in line until let go. Raises OverBudgetError, or what `refuse` was given; cancelled, it leaves no trace."""
        if ask.deadline_at is not None:
            surely = max(self.book.bound(ask, now), self.paused_until)
            if surely > ask.deadline_at:
                raise self._too_late(ask, surely, now)
        self.book.wait(ask)
        self._waiting[ask] = None
        if ask.deadline_at is not None:
            heapq.heappush(self._deadlines, (ask.deadline_at, ask.order, ask))
        if self._busy_since is None:
            self._busy_since = now
        self.dispatch()
        try:
            while ask.waiting:
                signal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                ask.on_change = partial(_ring, signal)
                if self._lookout is None:
                    self._lookout = ask
                if self._lookout is ask:
                    await self._look_out(signal)
                else:
                    await signal
        except BaseException:
            if ask.slot is not None:
                self.book.undo(ask.slot)
            else:
                self.book.leave(ask)
            raise
        finally:
            ask.on_change = None
            self._gone(ask, self.clock.monotonic() - now)
        if ask.error is not None:
            raise ask.error
        assert ask.slot is not None
        return ask.slot

    def dispatch(self) -> None:
        """Let go whom there is room for, refuse whom it is too late for, and set the next moment to look."""
        now = self.clock.monotonic()
        paused = now < self.paused_until
        while self._deadlines:
            deadline, _, ask = self._deadlines[0]
            if ask.waiting and deadline > (self.paused_until if paused else now):
                break
            heapq.heappop(self._deadlines)
            if ask.waiting:
                self.refuse(ask, self._too_late(ask, self.book.bound(ask, now), now))
        wake_at = self.paused_until
        if paused:
            self.book.blame("paused")
        else:
            gone, wake_at = self.book.dispatch(now)
            for ask in gone:
                _tell(ask)
        if self._deadlines:
            wake_at = min(wake_at, self._deadlines[0][0])
        self._wake_at = wake_at
        if self._lookout is not None and wake_at < self._rings_at - _LEAST_SLEEP:
            self._rings_at = wake_at
            _tell(self._lookout)
        if self._busy_since is not None and not any(self.book.waiting):
            self.busy_seconds()
            self._busy_since = None

    def refuse(self, ask: Ask, error: Exception) -> None:
        """End a wait with this error."""
        self.book.leave(ask)
        ask.error = error
        _tell(ask)

    def of_group(self, group: str) -> list[Ask]:
        """Who waits for this endpoint group."""
        return [ask for ask in self._waiting if ask.group == group and ask.waiting]

    def busy_seconds(self) -> float:
        """Seconds so far in which somebody waited."""
        now = self.clock.monotonic()
        if self._busy_since is not None and now > self._busy_since:
            self._busy_seconds += now - self._busy_since
            metrics.LIMIT_BUSY_SECONDS.labels(self.scope).inc(now - self._busy_since)
            self._busy_since = now
        return self._busy_seconds

    async def _look_out(self, signal: asyncio.Future[None]) -> None:
        """Sleep until the first moment anything can change, or until told; then look who may go."""
        self._rings_at = self._wake_at
        left = None if self._wake_at == math.inf else max(self._wake_at - self.clock.monotonic(), _LEAST_SLEEP)
        try:
            async with self.clock.timeout(left):
                await signal
        except TimeoutError:
            self.dispatch()

    def _gone(self, ask: Ask, waited: float) -> None:
        """It waits no longer: someone else looks out, and what it held or barred is looked at anew."""
        self._waiting.pop(ask, None)
        if self._lookout is ask:
            self._lookout = None
            self._rings_at = math.inf
        self.dispatch()
        if self._lookout is None and self._waiting:
            _tell(next(reversed(self._waiting)))
        if waited > 0:
            reason = ask.blocked_by or "limit"
            self.waited[reason] = self.waited.get(reason, 0.0) + waited
            metrics.LIMIT_WAIT_SECONDS.labels(self.scope, reason).inc(waited)

    def _too_late(self, ask: Ask, at: float, now: float) -> OverBudgetError:
        if now < self.paused_until:
            why = f"paused ({self.pause_reason})" if self.pause_reason else "paused"
            at = max(at, self.paused_until)
        else:
            why = f"using all its limits allow ({ask.blocked_by})" if ask.blocked_by else "using all its limits allow"
        return OverBudgetError(
            f"{self.scope} is {why}: the call cannot leave before its deadline",
            retry_at=self.clock.now() + timedelta(seconds=max(at - now, 0.0)),
        )


def _ring(signal: asyncio.Future[None]) -> None:
    if not signal.done():
        signal.set_result(None)


def _tell(ask: Ask) -> None:
    if ask.on_change is not None:
        ask.on_change()
