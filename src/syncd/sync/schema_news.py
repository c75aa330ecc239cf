"""One field that is not as it was known, as it is told and stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from syncd.kit.inferred import Departure


@dataclass(frozen=True, slots=True)
class News:
    """One field that is not as it was known."""

    path: str
    what: str
    expected: str
    got: str
    since: datetime
    count: int
    last_at: datetime | None = None
    """When a record was so last, as far as known; None: when it was told."""
    sound: int = 0
    """Records since then in which it was as it had been known."""

    @property
    def kinds(self) -> frozenset[str]:
        """What came."""
        return frozenset(self.got.split(" or ")) - {""}

    @property
    def is_harmless(self) -> bool:
        """A field nobody has asked for is no trouble."""
        return self.what == "unknown"

    def __str__(self) -> str:
        return str(Departure(self.path, self.what, self.expected, self.got)).removeprefix("field ")

    def as_json(self) -> dict[str, Any]:
        last_at = self.last_at.isoformat() if self.last_at is not None else None
        return {**asdict(self), "since": self.since.isoformat(), "last_at": last_at}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> News:
        times = {name: datetime.fromisoformat(str(at)) for name in ("since", "last_at") if (at := stored.get(name))}
        return cls(**{**stored, **times})
