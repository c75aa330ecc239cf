"""Who may have a connection next. They are few, and all integrations share them.

No integration has more than half of them at a time, so that one with a hundred statements to make (a backlog of reads that
are answered at once) leaves the rest to the others; and of those who wait, goes first whose integration has fewest.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_asker: ContextVar[str] = ContextVar("asker", default="")


@contextmanager
def asking(integration: str) -> Iterator[None]:
    """What is asked of the database within, also by tasks begun within, is asked for this integration."""
    before = _asker.set(integration)
    try:
        yield
    finally:
        _asker.reset(before)


def asker() -> str:
    """For whom it is asked; empty: for all, or for nobody in particular. That has no bound."""
    return _asker.get()


class Permits:
    """So many at a time."""

    def __init__(self, size: int) -> None:
        self.free = size
        self.most_each = max(2, size // 2)
        """A run needs two: see early.py."""
        self._held: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        """In the order they came."""

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def take(self, who: str) -> None:
        """Wait for one."""
        if self._may(who):
            self._enter(who)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = who, turn
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(who)  # it came in the moment we went away
            elif entry in self._waiting:  # else it was passed over already, by whoever gave one back in this moment
                self._waiting.remove(entry)
            raise

    def give(self, who: str) -> None:
        """One is free again."""
        self.free += 1
        if who:
            self._held[who] -= 1
            if not self._held[who]:
                del self._held[who]
        while self.free and self._waiting:
            admissible = [entry for entry in self._waiting if self._may(entry[0])]
            if not admissible:
                return
            entry = min(admissible, key=lambda one: self._held[one[0]] if one[0] else 0)  # of equals the first
            self._waiting.remove(entry)
            if not entry[1].done():
                self._enter(entry[0])
                entry[1].set_result(None)

    def _may(self, who: str) -> bool:
        return self.free > 0 and (not who or self._held[who] < self.most_each)

    def _enter(self, who: str) -> None:
        self.free -= 1
        if who:
            self._held[who] += 1
