"""A clock that stands still until told to move, so that hours of waiting pass in milliseconds (R11)."""

from __future__ import annotations

import asyncio
import heapq
import random
import types
from collections.abc import Awaitable, Callable, Generator
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")

_ROUNDS = 50
"""Turns of the event loop given to tasks where the loop does not tell whether any is ready (uvloop)."""
_TURNS = 100_000
"""So many turns without a pause mean that some task spins."""


class FakeClock:
    """Stands in for `SystemClock`. Time moves only in `advance`, `run` and `settle`'s callers' hands.

    Sleepers wake in the order they are due, and every task that can run does so before the next one wakes. Chance is
    seeded, so a test that failed fails again.
    """

    def __init__(
        self,
        start: datetime = datetime(2026, 1, 1, 12, 0, tzinfo=UTC),
        *,
        monotonic: float = 1000.0,
        seed: int = 1,
        boot: str = "",
    ) -> None:
        if start.tzinfo is None:
            raise ValueError("start must be an aware datetime")
        self.boot = boot
        self._monotonic = monotonic
        self._origin = monotonic
        self._wall = start.astimezone(UTC)
        self._dice = random.Random(seed)
        self._due: list[tuple[float, int, _Alarm]] = []
        self._count = 0

    def monotonic(self) -> float:
        return self._monotonic

    def now(self) -> datetime:
        return self._wall + timedelta(seconds=self._monotonic - self._origin)

    def set_now(self, moment: datetime) -> None:
        """Jump the wall clock, as a time server or a person would; `monotonic` and all sleepers stay as they are."""
        self._wall = moment.astimezone(UTC) - timedelta(seconds=self._monotonic - self._origin)

    def random(self) -> float:
        return self._dice.random()

    @property
    def sleepers(self) -> int:
        """How many sleeps and timeouts are waiting for time to move."""
        return sum(1 for _, _, alarm in self._due if alarm.ring is not None)

    @property
    def next_due(self) -> float | None:
        """The `monotonic` moment of the next wake-up, or None when nobody waits for time."""
        while self._due and self._due[0][2].ring is None:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await _others()
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        alarm = self._set(self._monotonic + seconds, wake)
        try:
            await woken
        finally:
            alarm.ring = None

    def timeout(self, seconds: float | None) -> _FakeTimeout:
        return _FakeTimeout(self, seconds)

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass. Returns when every task has come to rest at the new time."""
        end = self._monotonic + seconds
        await self.settle()
        while (due := self.next_due) is not None and due <= end:
            self._ring()
            await self.settle()
        self._monotonic = max(self._monotonic, end)
        await self.settle()

    async def run(self, work: Awaitable[T], *, limit_seconds: float = 7 * 86400.0) -> T:
        """Await `work` while time jumps from one wake-up to the next.

        Raises TimeoutError when `limit_seconds` of fake time pass first, RuntimeError when everything waits and no
        wake-up is due: a deadlock, unless real input or output is awaited.
        """
        task = asyncio.ensure_future(work)
        end = self._monotonic + limit_seconds
        try:
            await self.settle()
            while not task.done():
                due = self.next_due
                if due is None:
                    raise RuntimeError("everything waits and nothing is due: deadlock")
                if due > end:
                    raise TimeoutError(f"not done after {limit_seconds} s of fake time")
                self._ring()
                await self.settle()
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def settle(self) -> None:
        """Let every task run until all of them wait for something; time stands still."""
        loop = asyncio.get_running_loop()
        ready = getattr(loop, "_ready", None)  # a look inside asyncio's own loop: nothing public tells that it is idle
        if ready is None:
            for _ in range(_ROUNDS):
                await _others()
            return
        for _ in range(_TURNS):
            await _others()
            if not ready:
                return
        raise RuntimeError("some task never waits: it spins")

    def _set(self, due: float, ring: Callable[[], object]) -> _Alarm:
        alarm = _Alarm(ring)
        self._count += 1
        heapq.heappush(self._due, (due, self._count, alarm))
        return alarm

    def _ring(self) -> None:
        due, _, alarm = heapq.heappop(self._due)
        self._monotonic = max(self._monotonic, due)
        ring, alarm.ring = alarm.ring, None
        if ring is not None:
            ring()


class _Alarm:
    """One wake-up; taking `ring` away cancels it."""

    __slots__ = ("ring",)

    def __init__(self, ring: Callable[[], object]) -> None:
        self.ring: Callable[[], object] | None = ring


class _FakeTimeout:
    """`asyncio.timeout` in fake time."""

    def __init__(self, clock: FakeClock, seconds: float | None) -> None:
        self._clock = clock
        self._seconds = seconds
        self._inner = asyncio.timeout(None)
        self._alarm: _Alarm | None = None

    async def __aenter__(self) -> _FakeTimeout:
        await self._inner.__aenter__()
        if self._seconds is not None:
            if self._seconds <= 0:
                self._expire()
            else:
                self._alarm = self._clock._set(self._clock.monotonic() + self._seconds, self._expire)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._alarm is not None:
            self._alarm.ring = None
        await self._inner.__aexit__(kind, error, trace)  # raises TimeoutError in place of the cancellation

    def expired(self) -> bool:
        return self._inner.expired()

    def _expire(self) -> None:
        self._inner.reschedule(asyncio.get_running_loop().time() - 1.0)


@types.coroutine
def _others() -> Generator[None, None, None]:
    """Let what is ready run first: one turn of the loop, exactly what a sleep of zero is on the real clock."""
    yield
