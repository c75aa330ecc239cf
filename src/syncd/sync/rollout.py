"""Which adapter reads which record, where an integration moves from one to another by percentage. Pure.

The choice is by the record's id alone, so that it is the same for every run, process and machine; and the newest adapter
takes the lowest places, so that a record once moved stays moved while its share grows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

PLACES = 10_000
"""Shares are exact to a hundredth of a percent."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """Several adapters at once."""

    ends: tuple[tuple[int, str], ...]
    """Up to which place (exclusive) each adapter reads, in rising order."""

    @classmethod
    def of(cls, shares: Mapping[str, float]) -> Rollout:
        """From percentages by name; those of 0 read nothing."""
        ends, place = [], 0.0
        for name in sorted(shares, key=_age, reverse=True):
            if shares[name] > 0:
                place += shares[name]
                ends.append((round(place * PLACES / 100), name))
        return cls((*ends[:-1], (PLACES, ends[-1][1])))

    @property
    def shares(self) -> dict[str, float]:
        """The percentage each adapter reads."""
        found, begin = {}, 0
        for end, name in self.ends:
            found[name], begin = (end - begin) * 100 / PLACES, end
        return found

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.ends)

    def adapter_of(self, external_id: str) -> str:
        """Which adapter reads the record of this id."""
        place = crc32(external_id.encode("utf-8", "surrogatepass")) % PLACES
        for end, name in self.ends:
            if place < end:
                return name
        return self.ends[-1][1]


def principal(shares: Mapping[str, float]) -> str:
    """The adapter most records are read by; of equals the newer one."""
    return max(shares, key=lambda name: (shares[name], _age(name)))


def _age(name: str) -> tuple[int, str]:
    """v10 comes after v9."""
    return len(name), name
