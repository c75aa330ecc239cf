"""Records no list of changes shows while they are in certain states: which those are, and how long to wait between looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field

from syncd.config.units import Duration
from syncd.kit.shapes import Model

LONGEST_WAIT: Final = 6 * 3600.0
"""Seconds between two looks at most, unless `every` is longer."""
_DOUBLINGS: Final = 16


class Unsettled(Model):
    """States in which a record is read again by its id, since nothing else would show that it left them."""

    field: str = Field(description="The normalized field that holds the state.")
    values: tuple[str, ...] = Field(min_length=1, description="The states.")
    every: Duration = Field(
        900.0, description="When it is read again first; each time that it is still so, after twice as long, up to 6h."
    )

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Is a record with these normalized fields in one of the states?"""
        return str(data.get(self.field)) in self.values

    def wait_seconds(self, looks: int) -> float:
        """How long to wait for the next look after so many that changed nothing."""
        return max(min(self.every * 2.0 ** min(looks, _DOUBLINGS), LONGEST_WAIT), self.every)


def has_some(where: str | None, parent: Mapping[str, Any] | None) -> bool:
    """May there be anything below a parent with these normalized fields? Not known is a yes; empty, zero and false a no."""
    if where is None or parent is None or where not in parent:
        return True
    return parent[where] not in (None, "", "0", 0, False, [], {})
