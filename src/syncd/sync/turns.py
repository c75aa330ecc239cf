"""The one thread's time, and the database's, shared: who needs much at once works in slices, then lets the others go first.

Reading a page takes a millisecond or two, and asyncio takes everybody in turn. A page of 30 MB takes half a second or more:
whoever sends many of those would have the thread to himself. So records are read in slices of some milliseconds, between
which everybody else has a turn, and an integration whose page took long rests before it takes the next one in: as long as
others are at work, it has less than a tenth of the time. Alone, nobody ever rests.
"""

from __future__ import annotations

from syncd.clock import Clock

SLICE_SECONDS = 0.005
"""Longest piece of reading between two looks at what else there is."""
FREE_SECONDS = 0.025
"""A page that takes no more is a usual one: nobody rests for it."""
RESTS = 14.0
"""So many times what went beyond that it rests: more than nine, since receiving it is not counted."""
LONGEST_REST_SECONDS = 120.0
RECENT_SECONDS = 1.0
"""Who read something so lately is at work."""
_LOOK_SECONDS = 0.1


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

    def now(self) -> float:
        return self._clock.monotonic()

    def took(self, seconds: float, pages: int = 1) -> None:
        """One page, or several together, took so long: what reading took of the thread; a large one: all of its way."""
        now = self._clock.monotonic()
        self._turns.worked(self._integration, now)
        if seconds > FREE_SECONDS * pages:
            until = max(self._rests_until, now) + (seconds - FREE_SECONDS * pages) * RESTS
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

    def end(self, pages: int = 1) -> None:
        """The work is done."""
        self.stop()
        self._turn.took(self._spent, pages)
