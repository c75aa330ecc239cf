"""Calls whose answer proves something to all who asked before they began: who comes while one is out shares the next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable

import anyio

from syncd.model import Lane


class Proofs:
    """Of one integration. A proof from before a refusal says nothing of it: what was open then may just have been shut."""

    def __init__(self) -> None:
        self._refusals = 0
        self._proved: dict[str, int] = {}
        """By what was asked: how many refusals had come when the last call began that was answered."""
        self._turns: defaultdict[tuple[str, Lane], anyio.Lock] = defaultdict(anyio.Lock)
        """By lane: who is in no hurry holds up nobody who is."""

    def refused(self) -> int:
        """The number of a refusal that has just come."""
        self._refusals += 1
        return self._refusals

    async def ask(self, what: str, refusal: int, lane: Lane, call: Callable[[], Awaitable[object]]) -> None:
        """Make this call, unless one like it was answered that began after this refusal. Raises what it is refused with."""
        async with self._turns[what, lane]:
            if self._proved.get(what, 0) >= refusal:
                return
            until = self._refusals
            await call()
            self._proved[what] = max(until, self._proved.get(what, 0))
