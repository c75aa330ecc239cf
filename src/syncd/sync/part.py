"""What works for a partner beside its feeder: events that came in, pushes that go out; and the frame these have alike."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Protocol

import structlog

from syncd.clock import Clock
from syncd.errors import OwnershipError, StoreError

log = structlog.get_logger()


class Part(Protocol):
    """One such worker. Memory holds only what it took (R3), and it survives whatever its own work raises.

    One with `of_deliveries` true works on the inbox and is woken by each delivery; the others need not look that often.
    """

    async def run(self) -> None:
        """Work until cancelled."""
        ...

    def wake(self) -> None:
        """Rows may have come: look now."""
        ...

    async def stop(self) -> None:
        """Take nothing more; come back when what is held has ended or was given back."""
        ...


class Looking(ABC):
    """A part that looks for rows whenever it is woken, and after a while: `_turn` is one look.

    What a look raises ends that look alone. `what` names it in the log: `events_wait`, `events_crashed`.
    """

    def __init__(self, what: str, partner: str, clock: Clock, *, look_seconds: float) -> None:
        self._what = what
        self._partner = partner
        self._clock = clock
        self._look_seconds = look_seconds
        """From one look to the next, where nothing wakes it and the look said nothing else."""
        self._wake = asyncio.Event()
        self._stopping = False
        self._idle = asyncio.Event()
        """Nothing is held."""
        self._idle.set()

    async def run(self) -> None:
        """Work until cancelled or stopped."""
        while not self._stopping:
            woken = self._wake.is_set()
            self._wake.clear()
            seconds = self._look_seconds
            try:
                seconds = await self._turn(woken)
            except OwnershipError:
                pass  # the scope was lost in this moment
            except StoreError as error:
                seconds = self._waits(error)
            except Exception:
                log.exception(f"{self._what}_crashed", partner=self._partner)
            if seconds > 0:
                await self._rest(seconds)

    def wake(self) -> None:
        """Rows may have come: look now."""
        self._wake.set()

    async def stop(self) -> None:
        """Take nothing more; come back when what is held has ended."""
        self._stopping = True
        self._wake.set()
        await self._idle.wait()

    @abstractmethod
    async def _turn(self, woken: bool) -> float:
        """One look; returns the seconds until the next, 0: at once. Raises StoreError while the database is away."""

    def _waits(self, error: StoreError) -> float:
        """The database is away; returns the seconds until the next look."""
        log.debug(f"{self._what}_wait", partner=self._partner, reason=str(error))
        return self._look_seconds

    async def _rest(self, seconds: float) -> None:
        try:
            async with self._clock.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
