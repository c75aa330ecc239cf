"""What is counted until when: marks in the order they are given back, and their sums. O(1) amortised a call, no timer."""

from __future__ import annotations

from collections import deque

from syncd.model import Lane

NEAR = 1e-9
LANES = tuple(Lane)


class Mark:
    """Calls that are counted until `free_at`: one, or several of the same moment."""

    __slots__ = ("alive", "first_at", "free_at", "lane", "lent", "weight")

    def __init__(self, free_at: float, weight: float, lane: int, lent: bool) -> None:
        self.first_at = free_at
        self.free_at = free_at
        self.weight = weight
        self.lane = lane
        self.lent = lent
        self.alive = True


class Ring:
    """What is counted, in all. Marks within `grain_seconds` of each other are kept as one, freed with the last of them."""

    __slots__ = ("grain_seconds", "marks", "total")

    def __init__(self, grain_seconds: float = 0.0) -> None:
        self.marks: deque[Mark] = deque()
        self.total = 0.0
        self.grain_seconds = grain_seconds

    def sweep(self, now: float) -> None:
        """Give back everything due."""
        marks = self.marks
        while marks and marks[0].free_at <= now:
            mark = marks.popleft()
            mark.alive = False
            self._add(mark, -mark.weight)
        if not marks:  # sums of fractions drift; an empty ring is the moment to forget that
            self._zero()

    def push(self, free_at: float, weight: float) -> None:
        """Count so much until then. Moments do not go back: an earlier one is raised to the last."""
        marks = self.marks
        self.total += weight
        if marks:
            last = marks[-1]
            if free_at < last.free_at:
                free_at = last.free_at
            if free_at - last.first_at <= self.grain_seconds:
                last.free_at = free_at
                last.weight += weight
                return
        marks.append(Mark(free_at, weight, Lane.NORMAL, False))

    def clear(self) -> None:
        for mark in self.marks:
            mark.alive = False
        self.marks.clear()
        self._zero()

    def frees(self, weight: float) -> float | None:
        """When so much of the sum will have been given back; None if the sum is smaller than that."""
        for mark in self.marks:
            weight -= mark.weight
            if weight <= NEAR:
                return mark.free_at
        return None

    def _zero(self) -> None:
        self.total = 0.0

    def _add(self, mark: Mark, weight: float) -> None:
        self.total += weight


class LaneRing(Ring):
    """The same, knowing how much of it each lane has, and how much was lent."""

    __slots__ = ("by_lane", "lent")

    def __init__(self, grain_seconds: float = 0.0) -> None:
        super().__init__(grain_seconds)
        self._zero()

    def place(self, free_at: float, weight: float, lane: int, lent: bool = False) -> Mark:
        """`push` for a lane; the mark returned can be adjusted."""
        marks = self.marks
        self.total += weight
        self.by_lane[lane] += weight
        if lent:
            self.lent += weight
        if marks:
            last = marks[-1]
            if free_at < last.free_at:
                free_at = last.free_at
            if free_at - last.first_at <= self.grain_seconds and last.lane == lane and last.lent == lent:
                last.free_at = free_at
                last.weight += weight
                return last
        mark = Mark(free_at, weight, lane, lent)
        marks.append(mark)
        return mark

    def adjust(self, mark: Mark, difference: float) -> None:
        """Correct a mark still counted; one already given back stays so."""
        if mark.alive:
            difference = max(difference, -mark.weight)
            mark.weight += difference
            self._add(mark, difference)

    def _zero(self) -> None:
        self.total = self.lent = 0.0
        self.by_lane = [0.0] * len(LANES)

    def _add(self, mark: Mark, weight: float) -> None:
        self.total += weight
        self.by_lane[mark.lane] += weight
        if mark.lent:
            self.lent += weight
