"""Where calls wait for the book: one looks out, the others sleep; deadlines and pauses end a wait early.

Nobody polls and no task is left behind: the lookout is one of those who wait. It sleeps until the first moment anything
can change, lets go whom there is room for, and when it goes itself, or is cancelled, the next one takes over.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import RateLimitError
from syncd.limits.book import Book, Call

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
        self._waiting: dict[Call, None] = {}
        self._deadlines: list[tuple[float, int, Call]] = []
        self._lookout: Call | None = None
        self._wake_at = math.inf
        self._rings_at = math.inf

    def __len__(self) -> int:
        return len(self._waiting)

    async def stand(self, call: Call, now: float) -> None:
        """Wait in line until let go. Raises OverBudgetError, or what `refuse` was given; cancelled, it leaves no trace."""
        if call.deadline_at is not None:
            surely = max(self.book.bound(call, now), self.paused_until)
            if surely > call.deadline_at:
                raise self._too_late(call, surely, now)
        self.book.wait(call)
        self._waiting[call] = None
        if call.deadline_at is not None:
            heapq.heappush(self._deadlines, (call.deadline_at, call.order, call))
        if self._busy_since is None:
            self._busy_since = now
        self.dispatch()
        try:
            while call.waiting:
                signal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                call.on_change = partial(_ring, signal)
                if self._lookout is None:
                    self._lookout = call
                if self._lookout is call:
                    await self._look_out(signal)
                else:
                    await signal
        except BaseException:
            if call.number:
                self.book.undo(call)
            else:
                self.book.leave(call)
            raise
        finally:
            call.on_change = None
            self._gone(call, self.clock.monotonic() - now)
        if call.error is not None:
            raise call.error

    def dispatch(self) -> None:
        """Let go whom there is room for, refuse whom it is too late for, and set the next moment to look."""
        now = self.clock.monotonic()
        paused = now < self.paused_until
        while self._deadlines:
            deadline, _, call = self._deadlines[0]
            if call.waiting and deadline > (self.paused_until if paused else now):
                break
            heapq.heappop(self._deadlines)
            if call.waiting:
                self.refuse(call, self._too_late(call, self.book.bound(call, now), now))
        wake_at = self.paused_until
        if paused:
            self.book.blame("paused")
        else:
            gone, wake_at = self.book.dispatch(now)
            for call in gone:
                _tell(call)
        if self._deadlines:
            wake_at = min(wake_at, self._deadlines[0][0])
        self._wake_at = wake_at
        if self._lookout is not None and wake_at < self._rings_at - _LEAST_SLEEP:
            self._rings_at = wake_at
            _tell(self._lookout)
        if self._busy_since is not None and not self.book.crowd:
            self.busy_seconds()
            self._busy_since = None

    def refuse(self, call: Call, error: Exception) -> None:
        """End a wait with this error."""
        self.book.leave(call)
        call.error = error
        _tell(call)

    def send_away(self, member: str) -> None:
        """End the waits of one member, which will not use what it would get. What it has under way goes on."""
        now = self.clock.now()
        for call in [call for call in self._waiting if call.member == member and call.waiting]:
            self.refuse(call, OverBudgetError(f"{member} stops: a call that waited was not sent", retry_at=now))
        self.dispatch()

    def of_group(self, group: str) -> list[Call]:
        """Who waits for this endpoint group."""
        return [call for call in self._waiting if call.group == group and call.waiting]

    def of_more_than(self, most: Callable[[Sequence[str]], float]) -> list[Call]:
        """Who waits with more weight than `most` allows calls of its budgets."""
        return [call for call in self._waiting if call.waiting and call.weight > most(call.budgets)]

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

    def _gone(self, call: Call, waited: float) -> None:
        """It waits no longer: someone else looks out, and what it held or barred is looked at anew."""
        self._waiting.pop(call, None)
        if self._lookout is call:
            self._lookout = None
            self._rings_at = math.inf
        self.dispatch()
        if self._lookout is None and self._waiting:
            _tell(next(reversed(self._waiting)))
        if waited > 0:
            reason = call.blocked_by or "limit"
            self.waited[reason] = self.waited.get(reason, 0.0) + waited
            metrics.LIMIT_WAIT_SECONDS.labels(self.scope, reason).inc(waited)

    def _too_late(self, call: Call, at: float, now: float) -> OverBudgetError:
        if now < self.paused_until:
            why = f"paused ({self.pause_reason})" if self.pause_reason else "paused"
            at = max(at, self.paused_until)
        else:
            why = f"using all its limits allow ({call.blocked_by})" if call.blocked_by else "using all its limits allow"
        return OverBudgetError(
            f"{self.scope} is {why}: the call cannot leave before its deadline",
            retry_at=self.clock.now() + timedelta(seconds=max(at - now, 0.0)),
        )


def _ring(signal: asyncio.Future[None]) -> None:
    if not signal.done():
        signal.set_result(None)


def _tell(call: Call) -> None:
    if call.on_change is not None:
        call.on_change()
