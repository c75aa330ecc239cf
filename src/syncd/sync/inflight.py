"""How much of all listings together is in memory at a time: a process reads many, and only so much of what they say.

An answer, parsed, takes ten times its bytes. Each run bounds what it reads ahead (line.py); this bounds all of them, so that
thirty imports at once need no more memory than three. What is under way always goes on to its commit without asking again:
whoever waits here waits for the database, never for another who waits.
"""

from __future__ import annotations

import asyncio
from collections import deque

MOST_BYTES = 6 * 1024 * 1024
"""Of answers as they came, from before they are parsed until their rows are stored; one answer in any case."""


class Inflight:
    """Of one process."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def hold(self) -> Hold:
        """What one run has in memory."""
        return Hold(self)

    async def _take(self, size: int) -> None:
        if not self._waiting and self._fits(size):
            self.used += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give(size)  # it was let in while it went away
            else:
                self._waiting.remove((size, turn))
                self._let_in()
            raise

    def _give(self, size: int) -> None:
        self.used -= size
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, turn = self._waiting.popleft()
            if not turn.done():
                self.used += size
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return self.used == 0 or self.used + size <= self.most_bytes


class Hold:
    """What one run has in memory. `close` gives back what never got to its end."""

    def __init__(self, inflight: Inflight) -> None:
        self._inflight = inflight
        self._held = 0

    async def take(self, size: int) -> None:
        """Wait until an answer of so many bytes may be parsed; first come, first served."""
        await self._inflight._take(size)
        self._held += size

    def give(self, size: int) -> None:
        """It is stored."""
        size = min(size, self._held)
        self._held -= size
        self._inflight._give(size)

    def close(self) -> None:
        """Whatever is still held is dropped."""
        self.give(self._held)
