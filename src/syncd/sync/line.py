"""A hand-over between two stages of a run: bounded, in order, and taken by as many as are ready.

Whoever takes never waits for a batch to fill, and never goes through what waits one by one: a slow stage catches up by
larger steps. An error travels behind what was handed over before it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    """At most `length` things wait; `put` then waits for room."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._things: deque[T] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._moved = asyncio.Event()
        """Set whenever something came, went or ended; whoever waits looks for itself."""

    async def put(self, thing: T) -> None:
        """Hand over. Raises the error the line was broken with."""
        while len(self._things) >= self._length and not self._ended:
            self._moved.clear()
            await self._moved.wait()
        if self._error is not None:
            raise self._error
        self._things.append(thing)
        self._moved.set()

    async def take(self, most: int) -> list[T]:
        """What is ready, at most so many; empty at the end. Raises the error behind what was handed over before it."""
        while not self._things and not self._ended:
            self._moved.clear()
            await self._moved.wait()
        if not self._things and self._error is not None:
            raise self._error
        taken = [self._things.popleft() for _ in range(min(most, len(self._things)))]
        self._moved.set()
        return taken

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more will come; with an error: because of that."""
        if not self._ended:
            self._ended, self._error = True, error
            self._moved.set()

    def break_off(self, error: BaseException) -> None:
        """End at once: what waits is dropped, both sides get the error."""
        self._things.clear()
        self._ended, self._error = True, error
        self._moved.set()
