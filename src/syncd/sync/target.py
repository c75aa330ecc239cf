"""One resource as an integration takes it in, and how its records are read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd.kit import Driver, Reading, Resource
from syncd.model import Lane
from syncd.sync.rollout import Rollout


@dataclass(frozen=True, slots=True)
class Target:
    """One resource as this integration takes it in."""

    resource: Resource
    adapter: str = "v1"
    children: tuple[str, ...] = ()
    """Child resources to list below each changed record."""
    lane: Lane = Lane.NORMAL
    """Of listings of this resource below a changed parent."""
    media: bool = False
    """The files of its records are fetched."""
    expires_seconds: float | None = None
    """How long derived work of this resource may wait before it is dropped; None: it is never too late."""
    rollout: Rollout | None = None
    """Which adapter reads which record, where there are several; `adapter` says who a record is then."""

    def until(self, moment: datetime) -> datetime | None:
        """When work that arises at this moment is dropped."""
        return moment + timedelta(seconds=self.expires_seconds) if self.expires_seconds is not None else None


class Readings:
    """How the records of each resource are read by each adapter, made ready once."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._known: dict[tuple[str, str], Reading] = {}

    def of(self, target: Target, adapter: str = "") -> Reading:
        """By this adapter, or by the target's own."""
        key = (target.resource.name, adapter or target.adapter)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._driver.reading(target.resource, key[1])
        return known
