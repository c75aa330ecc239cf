"""The calls of one integration within the last sixty minutes, minute by minute: how long they took and what failed."""

from __future__ import annotations

from array import array
from typing import Any

from syncd.client import CLASSES, SPANS, Recent, percentiles

MINUTES = 60
_CONNECT = CLASSES.index("connect")


class Hour:
    """Counts of sixty minutes and their sum, which is what is asked for: it is kept, and not added up for each question."""

    __slots__ = ("_errors", "_minute", "_seconds", "errors", "seconds")

    def __init__(self, minute: int) -> None:
        """`minute`: minutes since some moment, the same for all calls."""
        self._minute = minute
        self._seconds = array("I", bytes(4 * SPANS * MINUTES))
        self._errors = array("I", bytes(4 * len(CLASSES) * MINUTES))
        self.seconds = array("I", bytes(4 * SPANS))
        """Of the whole hour, by how long they took."""
        self.errors = array("I", bytes(4 * len(CLASSES)))

    def add(self, minute: int, recent: Recent) -> None:
        """Count calls into this minute."""
        self.turn(minute)
        for row, total, found in (
            (self._seconds, self.seconds, recent.seconds),
            (self._errors, self.errors, recent.errors),
        ):
            first = (minute % MINUTES) * len(total)
            for place, count in enumerate(found):
                if count:
                    row[first + place] += count
                    total[place] += count

    def turn(self, minute: int) -> None:
        """It is this minute: what is an hour old counts no more."""
        for passed in range(max(self._minute + 1, minute - MINUTES + 1), minute + 1):
            for row, total in ((self._seconds, self.seconds), (self._errors, self.errors)):
                first = (passed % MINUTES) * len(total)
                for place in range(len(total)):
                    count = row[first + place]
                    if count:
                        total[place] -= count
                        row[first + place] = 0
        self._minute = max(self._minute, minute)

    def view(self) -> dict[str, Any]:
        """Calls, the share that went well, percentiles in milliseconds, and errors by class."""
        calls = sum(self.seconds) + self.errors[_CONNECT]
        return {
            "calls": calls,
            "success": round(1 - sum(self.errors) / calls, 4) if calls else None,
            **dict(zip(("p50_ms", "p95_ms", "p99_ms"), milliseconds(self.seconds, 50, 95, 99), strict=True)),
            "errors": dict(zip(CLASSES, self.errors, strict=True)),
        }


def milliseconds(seconds: array[int], *shares: int) -> list[float | None]:
    """Percentiles, the lowest first; None where nothing was counted."""
    found = percentiles(seconds, [share / 100 for share in shares])
    return [None if one is None else round(one * 1000, 1) for one in found]
