"""Rows that are taken, and may be what ends the process: how often, and from when on they go alone, or no more."""

from __future__ import annotations

SUSPECT = 2
"""From this suspicion on a row may be what ends the process."""
POISON = 5
"""At this suspicion it is taken no more."""


class Suspicious:
    """What a taken row tells of its takes."""

    __slots__ = ()

    attempts: int
    lost: int
    suspicion: int

    @property
    def suspect(self) -> bool:
        """Were earlier takes lost with the process? Then it goes alone, and says so before it is handled."""
        return self.suspicion >= SUSPECT

    @property
    def tries(self) -> int:
        """Attempts that came to an end, this one included: what patience is measured by."""
        return max(self.attempts - self.lost, 1)
