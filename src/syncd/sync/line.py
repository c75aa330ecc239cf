"""A hand-over between two stages of a run: in order, bounded by number and bytes, and taken as a whole.

Who takes gets all that is ready and never waits for more, so a stage that fell behind catches up by larger steps. An error
travels behind what was handed over before it.
"""

from __future__ import annotations

import asyncio
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What can be handed over says how many bytes it keeps in memory."""

    @property
    def size(self) -> int: ...


T = TypeVar("T", bound=Sized)


class Line(Generic[T]):
    """At most `length` things and `most_bytes` bytes wait, one thing in any case; `put` then waits for room."""

    def __init__(self, length: int, most_bytes: int) -> None:
        self._length = length
        self._most_bytes = most_bytes
        self._things: list[T] = []
        self._bytes = 0
        self._ended = False
        self._error: BaseException | None = None
        self._pressed = asyncio.Event()
        self._moved = asyncio.Event()
        """Set whenever something came, went or ended; whoever waits looks for itself."""

    async def put(self, thing: T) -> None:
        """Hand over. Raises the error the line was broken off with."""
        size = thing.size
        while self._things and not self._ended:
            if len(self._things) < self._length and self._bytes + size <= self._most_bytes:
                break
            self._pressed.set()
            self._moved.clear()
            await self._moved.wait()
        if self._error is not None:
            raise self._error
        self._things.append(thing)
        self._bytes += size
        self._moved.set()

    async def take(self) -> list[T]:
        """All that waits, at least one; empty at the end. Raises the error the line ended with after all else was taken."""
        while not self._things and not self._ended:
            self._moved.clear()
            await self._moved.wait()
        if not self._things and self._error is not None:
            raise self._error
        taken, self._things, self._bytes = self._things, [], 0
        self._pressed.clear()
        self._moved.set()
        return taken

    async def pressed(self) -> None:
        """Wait until somebody has no room to put more, or nothing more will come."""
        if not self._ended:
            await self._pressed.wait()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more will come; with an error: because of that."""
        if not self._ended:
            self._ended, self._error = True, error
            self._pressed.set()
            self._moved.set()

    def break_off(self, error: BaseException) -> None:
        """End at once: what waits is dropped, and both sides get the error."""
        self._things.clear()
        self._ended, self._error = True, error
        self._pressed.set()
        self._moved.set()
