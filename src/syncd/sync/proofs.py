"""Calls whose answer proves something to all who asked before they began: who comes while one is out shares the next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Final

import anyio

from syncd.errors import AuthError, GoneError, PartnerError, RejectedError
from syncd.model import Lane

_REFUSALS: Final = (AuthError, RejectedError, GoneError)
"""Answers that prove the contrary; other trouble proves nothing."""


class Proofs:
    """Of one integration. A proof from before a refusal says nothing of it: what was open then may just have been shut."""

    def __init__(self) -> None:
        self._refusals = 0
        self._proved: dict[str, int] = {}
        """By what was asked: how many refusals had come when the last call began that was answered."""
        self._refused: dict[str, tuple[int, PartnerError]] = {}
        """The same of the last call that was refused, and what with."""
        self._turns: defaultdict[tuple[str, Lane], anyio.Lock] = defaultdict(anyio.Lock)
        """By lane: who is in no hurry holds up nobody who is."""

    def refused(self) -> int:
        """The number of a refusal that has just come."""
        self._refusals += 1
        return self._refusals

    async def ask(self, what: str, refusal: int, lane: Lane, call: Callable[[], Awaitable[object]]) -> None:
        """Make this call, unless one like it was answered that began after this refusal. Raises what that is refused with,
        or the trouble that this one meets.
        """
        async with self._turns[what, lane]:
            if self._proved.get(what, 0) >= refusal:
                return
            known, refused = self._refused.get(what, (0, None))
            if refused is not None and known >= refusal:
                raise copy(refused)
            until = self._refusals
            try:
                await call()
            except _REFUSALS as error:
                if until > known:
                    self._refused[what] = until, copy(error)
                raise
            self._proved[what] = max(until, self._proved.get(what, 0))
