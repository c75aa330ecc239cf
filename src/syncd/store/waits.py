"""Who waits for the database, so that its outage is said once: not by every partner, and not every second."""

from __future__ import annotations

from syncd.clock import Clock

SAY_AGAIN_SECONDS = 600.0
"""An outage that lasts is said again after so long."""


class Waits:
    """Of one process: whose work the database keeps from going on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: set[str] = set()
        self._said_at: float | None = None

    def began(self, who: str) -> bool:
        """Somebody waits. Is it worth a line in the log: is it the first, or has nothing been said for long?"""
        self._waiting.add(who)
        now = self._clock.monotonic()
        if self._said_at is not None and now - self._said_at < SAY_AGAIN_SECONDS:
            return False
        self._said_at = now
        return True

    def ended(self, who: str) -> bool:
        """Somebody goes on, or has ended. Was it the last who waited?"""
        if who not in self._waiting:
            return False
        self._waiting.discard(who)
        if self._waiting:
            return False
        self._said_at = None
        return True
