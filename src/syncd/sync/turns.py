"""The one thread's time, and the database's, shared: who needs much at once works in slices, then lets the others go first.

Reading a page takes a millisecond or two, and asyncio takes everybody in turn. A page of 30 MB takes half a second or more:
whoever sends many of those would have the thread to himself. So records are read in slices of some milliseconds, between
which everybody else has a turn, and an integration whose page took long rests before it takes the next one in: as long as
others are at work, it has a tenth of the time. Alone, nobody ever rests.
"""

from __future__ import annotations

from collections.abc import Sequence

from syncd.clock import Clock
from syncd.store import Row

SLICE_SECONDS = 0.005
"""Longest piece of reading between two looks at what else there is."""
FREE_SECONDS = 0.02
"""A page that takes no more is a usual one: nobody rests for it."""
RESTS = 9.0
"""So many times what went beyond that it rests."""
LONGEST_REST_SECONDS = 30.0
RECENT_SECONDS = 1.0
"""Who read something so lately is at work."""
PARSED_PER_SECOND = 150e6
"""Bytes of an answer: what parsing takes, which nobody can interrupt, is reckoned from its size."""
STORED_ROWS_PER_SECOND, STORED_BYTES_PER_SECOND = 80e3, 50e6
"""What storing takes of the database, which is shared as well, is reckoned too. Measured 2026-11-22 (docs/performance.md)."""
_LOOK_SECONDS = 0.1


def storing_seconds(rows: Sequence[Row]) -> float:
    """What storing these will take of the database, about."""
    size = sum(len(row.data_json) + len(row.raw_json) for row in rows)
    return len(rows) / STORED_ROWS_PER_SECOND + size / STORED_BYTES_PER_SECOND


class Turns:
    """Of one process: which integrations are at work."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._worked: dict[str, float] = {}

    def of(self, integration: str) -> Turn:
        return Turn(self, integration)

    def worked(self, integration: str, now: float) -> None:
        self._worked[integration] = now

    def others(self, integration: str, now: float) -> bool:
        """Is anybody else at work?"""
        return any(now - at <= RECENT_SECONDS for name, at in self._worked.items() if name != integration)


class Turn:
    """Of one integration: all its runs and tasks together."""

    def __init__(self, turns: Turns, integration: str) -> None:
        self._turns = turns
        self._integration = integration
        self._clock = turns.clock
        self._rests_until = 0.0

    def slices(self) -> Slices:
        """Time a piece of work that can be interrupted."""
        return Slices(self, self._clock)

    def took(self, seconds: float) -> None:
        """One page, or several taken together, took so much of the thread's time."""
        now = self._clock.monotonic()
        self._turns.worked(self._integration, now)
        if seconds > FREE_SECONDS:
            until = max(self._rests_until, now) + (seconds - FREE_SECONDS) * RESTS
            self._rests_until = min(until, now + LONGEST_REST_SECONDS)

    @property
    def tired(self) -> bool:
        """Has it to rest, while others work?"""
        now = self._clock.monotonic()
        return self._rests_until > now and self._turns.others(self._integration, now)

    async def rest(self) -> None:
        """Before the next page is taken in, with nothing in hand: wait, while others work, for what the last ones took."""
        while (left := self._rests_until - self._clock.monotonic()) > 0:
            if not self._turns.others(self._integration, self._clock.monotonic()):
                self._rests_until = 0.0
                return
            await self._clock.sleep(min(left, _LOOK_SECONDS))


class Slices:
    """One page's reading, as it is cut into pieces."""

    def __init__(self, turn: Turn, clock: Clock) -> None:
        self._turn = turn
        self._clock = clock
        self._began = clock.monotonic()
        self._spent = 0.0

    async def pause(self) -> None:
        """Between two pieces: let others have a turn, if this one has lasted long enough."""
        now = self._clock.monotonic()
        if now - self._began < SLICE_SECONDS:
            return
        self._spent += now - self._began
        await self._clock.sleep(0)
        self._began = self._clock.monotonic()

    def stop(self) -> None:
        """What follows is waiting for others."""
        self._spent += self._clock.monotonic() - self._began

    def go_on(self) -> None:
        self._began = self._clock.monotonic()

    def end(self, also: float = 0.0) -> None:
        """The work is done. `also`: seconds it took before it could be cut into pieces."""
        self.stop()
        self._turn.took(self._spent + also)
