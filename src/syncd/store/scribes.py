"""Intake's connections: how patient to be with a new one, which have work, and what falls together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.store.scribe import STATEMENT_SECONDS, Scribe

PATIENCE_SECONDS, LONGEST_PATIENCE_SECONDS = 1.0, 8.0
"""How long a connection may take at first, and what it may grow to where the database is far away or busy."""
CUT_SECONDS = STATEMENT_SECONDS + 0.5
"""A statement that takes longer than the server allows it hangs: its connection is cut."""


class Scribes:
    """The connections of one intake."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._busy: dict[Scribe, float] = {}
        """With a statement under way, and since when."""
        self._spare: Scribe | None = None
        self._held: set[Scribe] = set()
        """Those of writers."""
        self.patience = PATIENCE_SECONDS

    def __bool__(self) -> bool:
        """Is a statement under way?"""
        return bool(self._busy)

    @property
    def any_up(self) -> bool:
        """Has a writer one that works, as far as known?"""
        return any(scribe.up for scribe in self._held)

    async def open(self, url: str) -> Scribe:
        """Connect. How long that took, or was waited for in vain, tells how patient to be the next time."""
        began, seconds = self._clock.monotonic(), self.patience
        try:
            scribe = await Scribe.open(url, clock=self._clock, seconds=seconds)
        except StoreError:
            if self._clock.monotonic() - began >= seconds:
                self.patience = min(self.patience * 2, LONGEST_PATIENCE_SECONDS)
            raise
        took = self._clock.monotonic() - began
        self.patience = min(max(3 * took, PATIENCE_SECONDS), LONGEST_PATIENCE_SECONDS)
        return scribe

    def hold(self, scribe: Scribe) -> Scribe:
        """A writer has this one."""
        self._held.add(scribe)
        return scribe

    def forget(self, gone: Scribe | None) -> None:
        """A writer has that one no longer."""
        self._held = {scribe for scribe in self._held if scribe is not gone and scribe.up}

    def spare(self, scribe: Scribe) -> None:
        """Keep one for the first writer that needs it."""
        if self._spare is not None:
            self._spare.cut()
        self._spare = scribe

    def take_spare(self) -> Scribe | None:
        """The one that was kept, if it still works."""
        scribe, self._spare = self._spare, None
        return self.hold(scribe) if scribe is not None and scribe.up else None

    @contextmanager
    def working(self, scribe: Scribe) -> Iterator[None]:
        """A statement is under way."""
        self._busy[scribe] = self._clock.monotonic()
        try:
            yield
        finally:
            del self._busy[scribe]

    def hanging(self, now: float) -> bool:
        """Is there a statement that will never end?"""
        return any(now - since >= CUT_SECONDS for since in self._busy.values())

    def cut(self) -> None:
        """What one connection does not survive (a night behind a router that forgot it) the others have not survived either:
        each would be found out by an outage of its own."""
        for scribe in {*self._held, *self._busy, *([self._spare] if self._spare else [])}:
            scribe.cut()
        self._spare = None
