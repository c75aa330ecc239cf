"""How much of all listings together is in memory at a time: a process reads many, and only so much of what they say.

An answer, parsed, takes ten times its bytes. Each run bounds what it reads ahead (line.py); this bounds all of them, so that
thirty imports at once need no more memory than three. What is under way always goes on to its commit without asking again:
whoever waits here waits for the database, never for another who waits.

One integration's large answers are its own affair: they have a seat of their own, one at a time, and nobody else waits for
it. Among the others goes first whose integration holds least.

While memory is scarce, a call is not even made before there is room for its answer (narrowing.py).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from syncd.clock import SystemClock
from syncd.model import Lane
from syncd.sync.narrowing import Narrowing, Ticket
from syncd.sync.turns import Turn, Turns

MOST_BYTES = 6 * 1024 * 1024
"""Of answers as they came, from before they are parsed until their rows are stored."""
LARGE_PART = 4
"""An answer of more than this part of that is a large one: one at a time, beside the others, whatever its size."""


@dataclass(slots=True, eq=False)
class _Waiting:
    share: Share
    size: int
    turn: asyncio.Future[None]


class Inflight:
    """Of one process."""

    def __init__(self, most_bytes: int = MOST_BYTES, narrowing: Narrowing | None = None) -> None:
        self.most_bytes = most_bytes
        self.narrowing = narrowing or Narrowing(SystemClock())
        """How many answers may be in hand at all while memory is scarce."""
        self.used = 0
        """Bytes of answers that are not large."""
        self.large = False
        """One of the large ones is in memory."""
        self._waiting: list[_Waiting] = []
        """In the order they came."""
        self._large_waiting: list[_Waiting] = []

    def share(self, turn: Turn | None = None) -> Share:
        """One integration's part in it."""
        return Share(self, turn or Turns(SystemClock()).of(""))

    def hold(self) -> Hold:
        """What one run has in memory, of an integration that has no other."""
        return self.share().hold()

    def is_large(self, size: int) -> bool:
        return size > self.most_bytes // LARGE_PART

    async def take(self, share: Share, size: int) -> None:
        line = self._large_waiting if self.is_large(size) else self._waiting
        if not line and self._fits(size):
            self._enter(share, size)
            return
        waiting = _Waiting(share, size, asyncio.get_running_loop().create_future())
        line.append(waiting)
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if waiting.turn.done() and not waiting.turn.cancelled():
                self.give(share, size)  # it was let in while it went away
            else:
                line.remove(waiting)
                self._let_in()
            raise

    def give(self, share: Share, size: int) -> None:
        if self.is_large(size):
            self.large = False
        else:
            self.used -= size
        share.held -= size
        self._let_in()

    def _enter(self, share: Share, size: int) -> None:
        if self.is_large(size):
            self.large = True
        else:
            self.used += size
        share.held += size

    def _let_in(self) -> None:
        for line in (self._waiting, self._large_waiting):
            while line:
                first = min(line, key=lambda one: one.share.held)  # of equals the one that came first
                if not self._fits(first.size):
                    break
                line.remove(first)
                if not first.turn.done():
                    self._enter(first.share, first.size)
                    first.turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return not self.large if self.is_large(size) else self.used + size <= self.most_bytes


class Share:
    """One integration's part: what all its runs hold."""

    def __init__(self, inflight: Inflight, turn: Turn) -> None:
        self.inflight = inflight
        self.turn = turn
        self.held = 0

    @property
    def narrowing(self) -> Narrowing:
        return self.inflight.narrowing

    def hold(self, lane: Lane = Lane.NORMAL) -> Hold:
        """What one run has in memory."""
        return Hold(self, lane)


class Hold:
    """What one run has in memory. `close` gives back what never got to its end."""

    def __init__(self, share: Share, lane: Lane = Lane.NORMAL) -> None:
        self._share = share
        self._lane = lane
        self._held: list[tuple[int, float]] = []
        """Sizes of its answers, and when each was let in, in the order they are stored."""
        self._tickets: list[Ticket] = []
        """Of these answers, and behind them of those under way."""

    async def ask(self) -> None:
        """Before a call is made: wait until one more answer may be in hand."""
        self._tickets.append(await self._share.narrowing.take(self._lane, self))

    def drop(self) -> None:
        """Whatever is under way is not wanted any more."""
        while len(self._tickets) > len(self._held):
            self._share.narrowing.give(self._tickets.pop())

    async def take(self, size: int) -> None:
        """Wait until an answer of so many bytes may be parsed: rest from the last one, then until there is room."""
        inflight, turn = self._share.inflight, self._share.turn
        inflight.narrowing.came()
        await turn.rest()
        await inflight.take(self._share, size)
        while turn.tired:  # one before it took long meanwhile
            inflight.give(self._share, size)
            await turn.rest()
            await inflight.take(self._share, size)
        self._held.append((size, turn.now()))

    def give(self, size: int) -> None:
        """So many bytes of answers, the oldest of them, are stored."""
        share = self._share
        while self._held and size >= self._held[0][0]:
            first, since = self._held.pop(0)
            size -= first
            if share.inflight.is_large(first):
                share.turn.took(share.turn.now() - since)  # to its commit: the database's time is everybody's as well
            share.inflight.give(share, first)
            if self._tickets:
                share.narrowing.give(self._tickets.pop(0))

    def close(self) -> None:
        """Whatever is still held is dropped."""
        while self._held:
            self._share.inflight.give(self._share, self._held.pop()[0])
        self.drop()
