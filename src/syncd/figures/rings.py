"""Series of one step: ring buffers of 4-byte numbers that share their times. What was not measured is None."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping

UNKNOWN = -1
"""Nothing that is measured is negative."""
_MOST = 2**31 - 1
SCALES: Mapping[str, float] = {
    "calls": 1000, "errors": 1000, "limit_share": 1000, "deliveries": 1000, "p95_ms": 10, "p99_ms": 10, "loop_lag_ms": 10,
    "rss_bytes": 1 / 4096,
}  # fmt: skip
"""Numbers are kept whole, as so many parts of one: that is exact enough, and read back for the least of work."""


class Rings:
    """As many points as fit; the oldest makes room for the newest. A series is its group and its name."""

    def __init__(self, step_seconds: float, points: int) -> None:
        self.step_seconds = step_seconds
        self.points = points
        self._times = array("d", [0.0]) * points
        self._next = 0
        self._filled = 0
        self._series: dict[str, dict[str, array[int]]] = {}

    def add(self, at: float, found: Mapping[str, Mapping[str, float | None]]) -> None:
        """One point of every series, by group and name. Of a series that is not among them nothing is known at `at`."""
        place = self._next
        self._times[place] = at
        for group, values in found.items():
            kept = self._series.setdefault(group, {})
            for name in values:
                if name not in kept:
                    kept[name] = array("i", [UNKNOWN]) * self.points
        for group, series in self._series.items():
            values = found.get(group, {})
            for name, points in series.items():
                value = values.get(name)
                points[place] = UNKNOWN if value is None else min(round(value * SCALES.get(name, 1)), _MOST)
        self._next = (place + 1) % self.points
        self._filled = min(self._filled + 1, self.points)

    def keep(self, groups: Collection[str]) -> None:
        """Forget every other group."""
        for group in [group for group in self._series if group not in groups]:
            del self._series[group]

    def times(self) -> list[int]:
        """Unix seconds, the oldest first."""
        return [round(at) for at in self._ordered(self._times)]

    def of(self, group: str, only: Collection[str] | None = None) -> dict[str, list[float | None]]:
        """The series of one group, or `only` these of it, as many points as there are times."""
        found = {}
        for name, points in self._series.get(group, {}).items():
            if only is not None and name not in only:
                continue
            scale = SCALES.get(name, 1)
            found[name] = [None if value < 0 else value / scale for value in self._ordered(points)]
        return found

    def _ordered(self, points: array[int] | array[float]) -> list[int] | list[float]:
        if self._filled < self.points:
            return points[: self._filled].tolist()
        return points[self._next :].tolist() + points[: self._next].tolist()
