"""Bounded queues of work taken from the database: by lane, fair among members, entries expire, `put` waits (R12)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from syncd.clock import Clock
from syncd.errors import SyncdError
from syncd.limits.fair import FairQueue
from syncd.model import Lane

T = TypeVar("T")

_RUN = 16
"""So many gets in a row may pass over a lower lane that waits; then one is taken from it."""


class QueueClosedError(SyncdError):
    """The queue is closed: nothing goes in; what is left may still be taken out by `drain`."""


class _Entry(Generic[T]):
    __slots__ = ("expires_at", "item")

    def __init__(self, item: T, expires_at: float | None) -> None:
        self.item = item
        self.expires_at = expires_at


class LaneQueue(Generic[T]):
    """One queue for one partner's work. Each lane holds at most `capacity`, so a full low lane never bars a high one.

    `expires_at` is monotonic; an expired entry is never handed out: it goes to `expired(item)`, if given, at the next
    touch of its lane's front. `shares` are the members' fair weights (1 each). For one event loop; not thread safe.
    """

    def __init__(
        self,
        capacity: int = 1000,
        *,
        clock: Clock,
        shares: Mapping[str, float] | None = None,
        expired: Callable[[T], None] | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError("a queue needs room for at least one")
        self.capacity = capacity
        self.expired_count = 0
        self._clock = clock
        self._expired = expired
        self._lanes: dict[Lane, FairQueue[_Entry[T]]] = {lane: FairQueue(shares) for lane in Lane}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._putters: dict[Lane, deque[asyncio.Future[None]]] = {lane: deque() for lane in Lane}
        self._passed = dict.fromkeys(Lane, 0)
        self._closed = False

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._lanes.values())

    @property
    def closed(self) -> bool:
        return self._closed

    def lengths(self) -> dict[Lane, int]:
        """Waiting entries by lane, for metrics."""
        return {lane: len(queue) for lane, queue in self._lanes.items()}

    def room(self, lane: Lane) -> int:
        """How many more fit into this lane now: what a feeder may take from the database."""
        return max(0, self.capacity - len(self._lanes[lane]))

    def put_nowait(
        self, item: T, *, lane: Lane = Lane.NORMAL, member: str = "", expires_at: float | None = None
    ) -> bool:
        """Append if the lane has room; False if it is full. Raises QueueClosedError."""
        if self._closed:
            raise QueueClosedError("the queue is closed")
        if not self.room(lane):
            return False
        self._lanes[lane].push(member, _Entry(item, expires_at))
        _wake_one(self._getters)
        return True

    async def put(
        self, item: T, *, lane: Lane = Lane.NORMAL, member: str = "", expires_at: float | None = None
    ) -> None:
        """Append, waiting while the lane is full. Raises QueueClosedError, also while waiting."""
        while not self.put_nowait(item, lane=lane, member=member, expires_at=expires_at):
            await self._sleep(self._putters[lane], lambda: self._closed or self.room(lane) > 0)

    def get_nowait(self) -> T | None:
        """The next entry, or None if nothing waits."""
        now = self._clock.monotonic()
        for lane in self._order():
            queue = self._lanes[lane]
            while queue:
                entry = queue.pop()
                _wake_one(self._putters[lane])
                if entry.expires_at is not None and entry.expires_at <= now:
                    self.expired_count += 1
                    if self._expired is not None:
                        self._expired(entry.item)
                    continue
                self._note(lane)
                return entry.item
        return None

    async def get(self) -> T:
        """The next entry: highest lane first, its members in turn. Raises QueueClosedError once closed."""
        while True:
            if self._closed:
                raise QueueClosedError("the queue is closed")
            item = self.get_nowait()
            if item is not None:
                return item
            await self._sleep(self._getters, lambda: self._closed or len(self) > 0)

    def close(self) -> None:
        """Nothing goes in or out any more; everybody who waits is told. What is left is for `drain`."""
        self._closed = True
        for waiters in (self._getters, *self._putters.values()):
            while waiters:
                _wake_one(waiters)

    def drain(self) -> list[T]:
        """Take everything that is left, to give it back untouched."""
        left = []
        for queue in self._lanes.values():
            while queue:
                left.append(queue.pop().item)
        for waiters in self._putters.values():
            while waiters:
                _wake_one(waiters)
        return left

    def _order(self) -> list[Lane]:
        waiting = [lane for lane in Lane if self._lanes[lane]]
        hungry = [lane for lane in waiting if self._passed[lane] >= _RUN]
        return hungry + [lane for lane in waiting if lane not in hungry]

    def _note(self, taken: Lane) -> None:
        self._passed[taken] = 0
        for lane in Lane:
            if lane > taken and self._lanes[lane]:
                self._passed[lane] += 1

    async def _sleep(self, waiters: deque[asyncio.Future[None]], useful: Callable[[], bool]) -> None:
        """Wait to be told. One who was told and is cancelled before acting on it tells the next."""
        signal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters.append(signal)
        try:
            await signal
        except BaseException:
            if signal.done() and not signal.cancelled():
                if useful():
                    _wake_one(waiters)
            elif signal in waiters:
                waiters.remove(signal)
            raise


def _wake_one(waiters: deque[asyncio.Future[None]]) -> None:
    while waiters:
        signal = waiters.popleft()
        if not signal.done():
            signal.set_result(None)
            return
