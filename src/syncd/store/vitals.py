"""How the database is, told by the store's own statements: how long they take, and whether it has room left.

Nothing is asked of it for that. The library tells of each statement as it ends; a lone addition is made then.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any, Final

from syncd.clock import Clock

SLOW_SECONDS: Final = 0.25
"""A statement that takes longer is slow. Most take a few milliseconds, pages of records some tens."""
WINDOW_SECONDS: Final = 15.0
"""Looked at: short, so that what is slow is said, and what is fast again no longer, within a minute on every surface."""
_SPAN_SECONDS: Final = 5.0
_SPANS: Final = 12
LEAST: Final = 3
"""Of fewer statements nothing is said."""
SLOW_SHARE, WELL_SHARE = 0.5, 0.25
"""It is slow from the one share of slow statements on, and well again below the other."""
_USUAL_WEIGHT: Final = 0.1
FORGET_SECONDS: Final = 1800.0
"""A statement for which there was no room: after so long it says nothing any more, though nobody has tried it again and
whether there is room cannot be tried (see `TRY_ROOM`)."""
ROOM: Final = "CREATE TEMP TABLE syncd_room (filler bytea) ON COMMIT DROP"
TRY_ROOM: Final = """
INSERT INTO syncd_room SELECT string_agg(sha512(int8send(n)), '') FROM generate_series(1, 65536) n
"""
"""Writes 4 MiB where the database's tables lie, and into no table of ours; nothing of it stays."""
_MOST: Final = 100

DISK_FULL: Final = "53100"
NO_SPACE: Final = "No space left on device"
LOCKED: Final = "55P03"
LOCKED_SECONDS: Final = 30.0
"""While a lock is held, statements give up every 20 s: where none has for so long, it is gone."""
_TABLE: Final = re.compile(r'\bsyncd\.(\w+)\b(?!\s*\()|relation "(\w+)"')
"""In a statement, or in what PostgreSQL says of where it waited."""


class Vitals:
    """Of one pool's connections."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spans: deque[list[float]] = deque(maxlen=_SPANS)
        """Number of the span, statements, slow ones, their seconds."""
        self._full: dict[str, float] = {}
        """Statements that found no room and have not gone through since, and when."""
        self.full = ""
        """What the database said when it had no room the last time; empty: there is some, as far as known."""
        self._locked: dict[str, tuple[float, str]] = {}
        """Statements that waited for a lock in vain and have not gone through since: when that was, and for which table."""
        self.heard_of = 0
        """Statements that have ended since the start."""
        self.slow = False
        self.usual: float | None = None
        """Seconds of a statement while all is well."""
        self.latest = (0, 0, 0.0)
        """Statements, slow ones and their mean seconds at the last `look`."""

    def heard(self, record: Any) -> None:
        """A statement has ended: `asyncpg.connection.LoggedQuery`."""
        self.heard_of += 1
        number = self._clock.monotonic() // _SPAN_SECONDS
        if not self._spans or self._spans[-1][0] != number:
            self._spans.append([number, 0, 0, 0.0])
        span = self._spans[-1]
        span[1] += 1
        span[2] += record.elapsed > SLOW_SECONDS
        span[3] += record.elapsed
        if record.exception is not None:
            self._failed(record.query, record.exception)
        elif self._full or self._locked:
            self._went(record.query)

    def look(self) -> None:
        """Judge anew; to be called every few seconds."""
        now = self._clock.monotonic()
        last = [span for span in self._spans if span[0] >= (now - WINDOW_SECONDS) // _SPAN_SECONDS]
        total, slow = int(sum(span[1] for span in last)), int(sum(span[2] for span in last))
        if total >= LEAST:
            mean = sum(span[3] for span in last) / total
            self.latest = total, slow, mean
            self.slow = slow >= total * (WELL_SHARE if self.slow else SLOW_SHARE)
            if slow < total * WELL_SHARE:
                self.usual = mean if self.usual is None else self.usual + (mean - self.usual) * _USUAL_WEIGHT
        self._full = {query: at for query, at in self._full.items() if now - at < FORGET_SECONDS}
        self._locked = {query: met for query, met in self._locked.items() if now - met[0] < LOCKED_SECONDS}
        self.full = self.full if self._full else ""

    def has_room(self) -> None:
        """It was tried, and there is."""
        self._full.clear()
        self.full = ""

    @property
    def locked(self) -> frozenset[str]:
        """Tables on which somebody else holds a lock that keeps us from writing, as far as statements have met it."""
        return frozenset(table for _, table in self._locked.values())

    def _failed(self, query: str, error: BaseException) -> None:
        if getattr(error, "sqlstate", None) == LOCKED and len(self._locked) < _MOST:
            found = _TABLE.search(f"{getattr(error, 'context', None) or ''} {query}")
            self._locked[query] = self._clock.monotonic(), found[1] or found[2] if found is not None else "a table"
        if getattr(error, "sqlstate", None) != DISK_FULL and NO_SPACE not in str(error):
            return
        if query in self._full or len(self._full) < _MOST:
            self._full[query] = self._clock.monotonic()
        self.full = str(error)

    def _went(self, query: str) -> None:
        """There was room for this one now, and no lock in its way."""
        self._full.pop(query, None)
        self._locked.pop(query, None)
        if self._locked and not query.lstrip().startswith("SELECT"):
            written = {found[1] for found in _TABLE.finditer(query)}
            self._locked = {lost: met for lost, met in self._locked.items() if met[1] not in written}
        if not self._full:
            self.full = ""
