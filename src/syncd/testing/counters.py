"""What a simulator saw: every arrival's time and route, every answer's status, in a few bytes each."""

from __future__ import annotations

from array import array
from typing import Any

KEPT = 2_000_000
"""Arrivals remembered one by one; later ones are only counted."""


class Counters:
    """Arrivals and answers. Times are seconds on the simulator's monotonic clock since it was made."""

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        self.times: array[float] = array("d")
        self.routes: array[int] = array("H")
        self.statuses: array[int] = array("H")
        self.names: list[str] = []
        self.numbers: dict[str, int] = {}
        self.answers: dict[str, dict[int, int]] = {}
        self.calls = 0
        self.max_in_flight = 0
        self.extra: dict[str, int] = {}

    def arrived(self, route: str, at: float) -> int:
        """Note one arrival; returns its number, or -1 when the log is full."""
        self.calls += 1
        self.in_flight += 1
        if self.in_flight > self.max_in_flight:
            self.max_in_flight = self.in_flight
        number = self.numbers.get(route)
        if number is None:
            number = self.numbers[route] = len(self.names)
            self.names.append(route)
        if len(self.times) >= KEPT:
            return -1
        self.times.append(at - self.started_at)
        self.routes.append(number)
        self.statuses.append(0)
        return len(self.times) - 1

    def answered(self, index: int, route: str, status: int) -> None:
        """Note the answer; status 0 is a connection dropped without one."""
        self.in_flight -= 1
        if 0 <= index < len(self.statuses):
            self.statuses[index] = status
        by_status = self.answers.setdefault(route, {})
        by_status[status] = by_status.get(status, 0) + 1

    def count(self, name: str, by: int = 1) -> None:
        """One of the partner's own counters, such as `tokens_issued`."""
        self.extra[name] = self.extra.get(name, 0) + by

    def arrivals(self, route: str = "", status: int | None = None) -> list[float]:
        """Times of arrivals, of those routes that contain `route` and were answered with `status`, or all."""
        wanted = {number for name, number in self.numbers.items() if route in name}
        return [
            at
            for at, number, answer in zip(self.times, self.routes, self.statuses, strict=True)
            if number in wanted and (status is None or answer == status)
        ]

    def view(self) -> dict[str, Any]:
        by_status: dict[str, int] = {}
        for answers in self.answers.values():
            for status, count in answers.items():
                by_status[str(status)] = by_status.get(str(status), 0) + count
        return {
            "calls": self.calls,
            "routes": {route: {str(s): n for s, n in answers.items()} for route, answers in self.answers.items()},
            "statuses": by_status,
            "refused_429": by_status.get("429", 0),
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            **self.extra,
        }
