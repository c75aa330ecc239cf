"""How many answers the process has in hand at once while memory is scarce: from sending a call until its rows are stored.

Usually that has no bound of its own (inflight.py bounds what is parsed). Where resident memory came above its ceiling, who
watches it narrows this step by step, down to one answer at a time. The lower lanes wait first, and no run reads ahead any
more. Intake has no part in it.

It cannot stand still: one ticket is always to be had, and one that is held for long (a partner that is slow, a limit that is
spent) keeps nobody else waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from syncd.clock import Clock
from syncd.model import Lane

LEVELS: tuple[int | None, ...] = (None, 8, 4, 2, 1)
"""By level: so many answers at once. At the first level any number."""
NARROWEST = len(LEVELS) - 1
GLANCE_SECONDS = 0.1
"""So often at most `glance` is called."""
PATIENCE_SECONDS = 10.0
"""A ticket held for longer counts no more: what it is held for may take minutes."""


@dataclass(slots=True, eq=False)
class Ticket:
    """Leave to have one answer in hand. `owner` is whoever has several one after another: a run."""

    lane: Lane
    owner: object | None
    since: float = 0.0


@dataclass(slots=True, eq=False)
class _Waiting:
    ticket: Ticket
    turn: asyncio.Future[None]


class Narrowing:
    """Of one process."""

    def __init__(self, clock: Clock) -> None:
        self.glance: Callable[[], None] = lambda: None
        """Called before another answer is let in, and when one came: a second is long where answers are large."""
        self._clock = clock
        self._glanced_at = 0.0
        self._level = 0
        self._held: dict[Ticket, None] = {}
        self._waiting: list[_Waiting] = []
        """In the order they came."""

    @property
    def level(self) -> int:
        """0: not narrowed; `NARROWEST`: one answer at a time."""
        return self._level

    @property
    def most(self) -> int | None:
        """Answers that may be in hand at once; None: any number."""
        return LEVELS[self._level]

    @property
    def held(self) -> int:
        """Tickets out."""
        return len(self._held)

    @property
    def waiting(self) -> int:
        """Who waits for one."""
        return len(self._waiting)

    def narrow(self, level: int) -> None:
        """From now on at most `LEVELS[level]`; what is in hand stays."""
        self._level = min(max(level, 0), NARROWEST)
        self.look()

    async def take(self, lane: Lane, owner: object | None = None) -> Ticket:
        """Wait until one more answer may be in hand."""
        self.came()
        ticket = Ticket(lane, owner)
        if self._level == 0 or (not self._waiting and self._fits(ticket)):
            self._enter(ticket)
            return ticket
        waiting = _Waiting(ticket, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self.look()
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if waiting.turn.done() and not waiting.turn.cancelled():
                self.give(ticket)  # it was let in while it went away
            else:
                self._waiting.remove(waiting)
                self.look()
            raise
        return ticket

    def came(self) -> None:
        """An answer is here, or is about to be asked for: look how much memory there is, if that is not known well enough."""
        now = self._clock.monotonic()
        if now - self._glanced_at >= GLANCE_SECONDS:
            self._glanced_at = now
            self.glance()

    def give(self, ticket: Ticket) -> None:
        """It is stored, or dropped."""
        self._held.pop(ticket, None)
        if self._waiting:
            self.look()

    @asynccontextmanager
    async def one(self, lane: Lane) -> AsyncIterator[None]:
        """Round a piece of work that has one answer in hand at a time."""
        ticket = await self.take(lane)
        try:
            yield
        finally:
            self.give(ticket)

    def look(self) -> None:
        """Let in who may go, the most urgent first. To be called now and then: tickets grow old."""
        for waiting in sorted(self._waiting, key=lambda one: one.ticket.lane):
            if waiting.turn.done():
                continue
            if self._fits(waiting.ticket):
                self._waiting.remove(waiting)
                self._enter(waiting.ticket)
                waiting.turn.set_result(None)

    def _enter(self, ticket: Ticket) -> None:
        ticket.since = self._clock.monotonic()
        self._held[ticket] = None

    def _fits(self, ticket: Ticket) -> bool:
        most = self.most
        if most is None:
            return True
        now = self._clock.monotonic()
        fresh = [held for held in self._held if now - held.since < PATIENCE_SECONDS]
        if len(fresh) >= most:
            return False
        # Nobody reads ahead: a run's next page is asked for once the one before is stored.
        return ticket.owner is None or all(held.owner is not ticket.owner for held in fresh)
