"""Series of one step: ring buffers of 4-byte numbers that share their times. What was not measured is None."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping

NAN = float("nan")


class Rings:
    """As many points as fit; the oldest makes room for the newest. A series is its group and its name."""

    def __init__(self, step_seconds: float, points: int) -> None:
        self.step_seconds = step_seconds
        self.points = points
        self._times = array("d", [0.0]) * points
        self._next = 0
        self._filled = 0
        self._series: dict[str, dict[str, array[float]]] = {}

    def add(self, at: float, found: Mapping[str, Mapping[str, float | None]]) -> None:
        """One point of every series, by group and name. Of a series that is not among them nothing is known at `at`."""
        place = self._next
        self._times[place] = at
        for group, values in found.items():
            kept = self._series.setdefault(group, {})
            for name in values:
                if name not in kept:
                    kept[name] = array("f", [NAN]) * self.points
        for group, series in self._series.items():
            values = found.get(group, {})
            for name, points in series.items():
                value = values.get(name)
                points[place] = NAN if value is None else value
        self._next = (place + 1) % self.points
        self._filled = min(self._filled + 1, self.points)

    def keep(self, groups: Collection[str]) -> None:
        """Forget every other group."""
        for group in [group for group in self._series if group not in groups]:
            del self._series[group]

    def times(self) -> list[int]:
        """Unix seconds, the oldest first."""
        return [round(at) for at in self._ordered(self._times)]

    def of(self, group: str, digits: int = 3) -> dict[str, list[float | None]]:
        """The series of one group, as many points as there are times, rounded."""
        return {
            name: [None if value != value else round(value, digits) for value in self._ordered(points)]
            for name, points in self._series.get(group, {}).items()
        }

    def _ordered(self, points: array[float]) -> list[float]:
        if self._filled < self.points:
            return points[: self._filled].tolist()
        return points[self._next :].tolist() + points[: self._next].tolist()
