"""The coroutines of one partner, shared fairly by its integrations.

Work waits in bounded queues, one a lane, so that a full low lane never bars an urgent piece. Whoever is free takes the most
urgent piece that may be taken: while others wait no integration holds more than its fair share of the seats, and every
integration always has one seat nobody else can sit on, so one that hangs holds only its own.

Runs hold their seats for as long as a backfill lasts. What is urgent does not wait for that: where no seat may be had, a
few pieces of the high lane go beside the seats, so many an integration.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

import anyio
import structlog
from anyio.abc import TaskGroup

from syncd.clock import Clock
from syncd.model import Lane
from syncd.store import asking
from syncd.sync.cancelling import by_itself

log = structlog.get_logger()

Work = Callable[[], Awaitable[None]]

CAPACITY: Mapping[Lane, int] = {Lane.HIGH: 1000, Lane.NORMAL: 1000, Lane.LOW: 2000}
"""Pieces of work that may wait in each lane (R12)."""
PATIENCE = 16
"""So many takes in a row may pass over a lower lane that waits; then one is taken from it."""
BESIDE = 4
"""Urgent pieces an integration may have under way beside the seats while it can have none of those (R12)."""
BESIDE_LONG = 2
"""Of these so many may be whole runs: a record somebody waits for needs no more than a call."""


@dataclass(slots=True)
class _Waiting:
    key: str
    work: Work
    since: float
    long: bool = False


class _Queue:
    """What waits in one lane of one integration. Kinds of work take turns: a push waits for one re-read, not for hundreds.

    The kind is what stands before the colon of a key; within a kind the oldest goes first.
    """

    __slots__ = ("_kinds",)

    def __init__(self) -> None:
        self._kinds: dict[str, deque[_Waiting]] = {}
        """By kind; the first one's turn is next."""

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def __iter__(self) -> Iterator[_Waiting]:
        return chain.from_iterable(self._kinds.values())

    def append(self, waiting: _Waiting) -> None:
        self._kinds.setdefault(waiting.key.partition(":")[0], deque()).append(waiting)

    def popleft(self) -> _Waiting:
        kind, pieces = next(iter(self._kinds.items()))
        waiting = pieces.popleft()
        del self._kinds[kind]
        if pieces:
            self._kinds[kind] = pieces
        return waiting

    def remove(self, key: str) -> None:
        kind = key.partition(":")[0]
        left = deque(waiting for waiting in self._kinds[kind] if waiting.key != key)
        if left:
            self._kinds[kind] = left
        else:
            del self._kinds[kind]

    def clear(self) -> None:
        self._kinds.clear()

    @property
    def since(self) -> float:
        """When the oldest came."""
        return min(pieces[0].since for pieces in self._kinds.values())


@dataclass(slots=True)
class _Member:
    name: str
    lanes: dict[Lane, _Queue] = field(default_factory=lambda: {lane: _Queue() for lane in Lane})
    held: int = 0
    served: int = 0
    beside: int = 0
    """Pieces under way beside the seats."""
    beside_long: int = 0

    def first(self) -> Lane | None:
        return next((lane for lane in Lane if self.lanes[lane]), None)

    def urgent(self) -> _Waiting | None:
        """The first urgent piece that may go beside the seats."""
        if self.beside >= BESIDE:
            return None
        may_be_long = self.beside_long < BESIDE_LONG
        return next((piece for piece in self.lanes[Lane.HIGH] if may_be_long or not piece.long), None)


class Pool:
    """A bounded queue and the coroutines that empty it. `run()` never returns by itself."""

    def __init__(
        self,
        partner: str,
        seats: int,
        members: Iterable[str],
        clock: Clock,
        *,
        capacity: Mapping[Lane, int] = CAPACITY,
    ) -> None:
        self.partner = partner
        self.capacity = capacity
        self._clock = clock
        self._members = {name: _Member(name) for name in members}
        self.seats = max(seats, len(self._members), 1)
        self._keys: dict[str, Lane | None] = {}
        """The lane in which each piece waits; None: it is under way."""
        self._waiting = dict.fromkeys(Lane, 0)
        self._passed = dict.fromkeys(Lane, 0)
        self._turn = 0
        self._closed = False
        self._alive = 0
        self._group: TaskGroup | None = None
        self._wake = asyncio.Event()
        self.moved_at = clock.monotonic()
        """When a piece of work was last taken or finished."""

    @property
    def waiting(self) -> int:
        return sum(self._waiting.values())

    @property
    def held(self) -> int:
        """Pieces under way."""
        return sum(member.held + member.beside for member in self._members.values())

    @property
    def alive(self) -> int:
        """Coroutines that are there to work."""
        return self._alive

    def room(self, lane: Lane) -> int:
        """How many more pieces of work may wait in a lane."""
        return max(self.capacity[lane] - self._waiting[lane], 0)

    def lengths(self) -> dict[Lane, int]:
        """Waiting pieces by lane."""
        return dict(self._waiting)

    def oldest_seconds(self) -> float:
        """Age of the piece that has waited longest; 0 when none waits."""
        heads = [lane.since for member in self._members.values() for lane in member.lanes.values() if lane]
        return self._clock.monotonic() - min(heads) if heads else 0.0

    def stuck(self, after_seconds: float) -> bool:
        """Is there work that may be taken, a seat for it, and yet nothing has moved for so long?"""
        return self._choose() is not None and self._clock.monotonic() - self.moved_at > after_seconds

    def offer(self, member: str, lane: Lane, key: str, work: Work, *, long: bool = False) -> bool:
        """Queue a piece of work; one that waits in a lower lane already moves up. `long`: it may last for hours.

        False: the queue is full, closed, or the same key waits as urgently or runs already.
        """
        if self._closed or not self.room(lane):
            return False
        if key in self._keys:
            waits = self._keys[key]
            if waits is None or waits <= lane:
                return False
            self._forget(self._members[member], waits, key)
        self._keys[key] = lane
        if self.waiting == 0 and self.held == 0:
            self.moved_at = self._clock.monotonic()
        self._members[member].lanes[lane].append(_Waiting(key, work, self._clock.monotonic(), long))
        self._waiting[lane] += 1
        self._wake.set()
        self._send_beside()
        return True

    def close(self) -> list[str]:
        """Take nothing more: what waits is forgotten here, and its keys are returned; what runs may finish."""
        self._closed = True
        forgotten: list[str] = []
        for member in self._members.values():
            for lane in member.lanes.values():
                for waiting in lane:
                    self._keys.pop(waiting.key, None)
                    forgotten.append(waiting.key)
                lane.clear()
        self._waiting = dict.fromkeys(Lane, 0)
        self._wake.set()
        return forgotten

    async def run(self) -> None:
        async with anyio.create_task_group() as self._group:
            for number in range(self.seats):
                self._group.start_soon(self._seat, name=f"{self.partner} seat {number}")
            self._send_beside()

    async def drained(self) -> None:
        """Wait until nothing is held any more."""
        while self.held:
            self._wake.clear()
            await self._wake.wait()

    async def _seat(self) -> None:
        self._alive += 1
        try:
            await self._work()
        finally:
            self._alive -= 1

    async def _work(self) -> None:
        while True:
            chosen = self._choose()
            if chosen is None:
                if self._closed:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            member, lane = chosen
            waiting = member.lanes[lane].popleft()
            self._turn += 1
            member.served = self._turn
            member.held += 1
            self._taken(waiting, lane)
            try:
                self._send_beside()
                await self._do(member, waiting)
            finally:
                member.held -= 1
                self._ended(waiting)

    def _send_beside(self) -> None:
        """Begin the urgent pieces no seat may take now."""
        if self._group is None or self._closed or not self._waiting[Lane.HIGH] or self._choose() is not None:
            return
        for member in self._members.values():
            while (waiting := member.urgent()) is not None:
                member.lanes[Lane.HIGH].remove(waiting.key)
                member.beside += 1
                member.beside_long += waiting.long
                self._taken(waiting, Lane.HIGH)
                self._group.start_soon(self._beside, member, waiting, name=f"{self.partner} beside the seats")

    async def _beside(self, member: _Member, waiting: _Waiting) -> None:
        try:
            await self._do(member, waiting)
        finally:
            member.beside -= 1
            member.beside_long -= waiting.long
            self._ended(waiting)

    async def _do(self, member: _Member, waiting: _Waiting) -> None:
        try:
            with asking(member.name):
                await waiting.work()
        except Exception:
            # Work decides about its own errors; what still comes through is a fault of ours and must not cost a seat.
            log.exception("work_crashed", partner=self.partner, integration=member.name, work=waiting.key)
        except asyncio.CancelledError:
            if not by_itself():
                raise
            log.exception("work_crashed", partner=self.partner, integration=member.name, work=waiting.key)

    def _taken(self, waiting: _Waiting, lane: Lane) -> None:
        self._keys[waiting.key] = None
        self._waiting[lane] -= 1
        self._note(lane)
        self.moved_at = self._clock.monotonic()

    def _ended(self, waiting: _Waiting) -> None:
        self._keys.pop(waiting.key, None)
        self.moved_at = self._clock.monotonic()
        self._wake.set()
        self._send_beside()

    def _forget(self, member: _Member, lane: Lane, key: str) -> None:
        """Take a piece that waits out of its lane."""
        member.lanes[lane].remove(key)
        self._waiting[lane] -= 1

    def _hungry(self) -> list[Lane]:
        """Lanes passed over so often that it is their turn, however unimportant they are."""
        return [lane for lane in Lane if self._passed[lane] >= PATIENCE and self._waiting[lane]]

    def _note(self, taken: Lane) -> None:
        self._passed[taken] = 0
        for lane in Lane:
            if lane > taken and self._waiting[lane]:
                self._passed[lane] += 1

    def _choose(self) -> tuple[_Member, Lane] | None:
        """The most urgent admissible piece: by lane, then who holds least, then who was served longest ago."""
        free = self.seats - sum(member.held for member in self._members.values())
        if free <= 0 or self.waiting == 0:
            return None
        waiting = [member for member in self._members.values() if member.first() is not None]
        active = sum(1 for member in self._members.values() if member.held or member.first() is not None)
        share = -(-self.seats // max(active, 1))
        best: tuple[int, int, int] | None = None
        chosen: tuple[_Member, Lane] | None = None
        for member in waiting:
            if member.held:
                unseated = sum(1 for other in self._members.values() if other is not member and other.held == 0)
                if free - 1 < unseated:
                    continue
                if len(waiting) > 1 and member.held >= share:
                    continue
            lane = next((hungry for hungry in self._hungry() if member.lanes[hungry]), None) or member.first()
            assert lane is not None
            rank = (-1 if self._passed[lane] >= PATIENCE else int(lane), member.held, member.served)
            if best is None or rank < best:
                best, chosen = rank, (member, lane)
        return chosen
