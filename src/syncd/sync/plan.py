"""What one integration does with each of its resources: the driver's defaults with the files' settings laid over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from syncd.kit import Resource
from syncd.model import History, Mode
from syncd.store import Guard, Stand
from syncd.sync.rejections import REJECTS_LEAST, REJECTS_SHARE
from syncd.sync.resource_watch import Policy
from syncd.sync.rollout import Rollout
from syncd.sync.schedule import Schedule

DAY_SECONDS = 86400.0
DEFAULT_OVERLAP_SECONDS = 120.0
CLOCKS_DIFFER = timedelta(minutes=1)
"""What was done further ahead than that was done by a clock that was wrong."""


class Strategy(StrEnum):
    """How a resource is kept right between two complete passes."""

    FULL = "full"
    """Every run is a complete pass."""
    INCREMENTAL = "incremental"
    """What changed since the watermark, and a complete pass now and then."""
    FEED = "feed"
    """An event log of the partner: it never lists everything and deletes nothing by absence."""
    CHILDREN = "children"
    """Listed below each changed parent; a complete pass goes through all parents."""


WEBHOOKS = "webhooks"
"""What a resource with a backup is called; its strategy says how the backup and the polls before the first delivery read."""


@dataclass(frozen=True, slots=True)
class ResourcePlan:
    """One resource of one integration, ready to run."""

    resource: Resource
    strategy: Strategy
    schedule: Schedule
    """When it is polled."""
    full_every_seconds: float = DAY_SECONDS
    overlap_seconds: float = DEFAULT_OVERLAP_SECONDS
    history: History = History.CHANGES
    guard: Guard = field(default_factory=Guard)
    adapter: str = "v1"
    """Of several the one that reads most records."""
    rollout: Rollout | None = None
    """Which adapter reads which record, where there are several."""
    shadow: str | None = None
    """The adapter that runs beside, and touches no row."""
    schema: Policy = Policy.WARN
    """What a change of shape does."""
    rejects_share: float = REJECTS_SHARE
    rejects_least: int = REJECTS_LEAST
    """So many records that fail validation, and such a share of all, degrade the resource."""
    expires_seconds: float | None = None
    backup: Schedule | None = None
    """When it is read instead, for as long as webhooks bring its changes; None: webhooks do not change its schedule."""
    by_default: bool = False
    """The driver has chosen webhooks, not the file: they count only where syncd itself has subscribed to them, to all that
    tell of it. Who subscribed by hand may have left some out."""
    unfed: str = ""
    """Why webhooks were meant to bring its changes and cannot; it is polled."""

    @property
    def columns(self) -> dict[str, str]:
        """What its view shows: the fields of every adapter in use."""
        found: dict[str, str] = {}
        for name in self.rollout.names if self.rollout is not None else (self.adapter,):
            found = {**self.resource.columns(name), **found}
        return found

    def adapter_of(self, external_id: str) -> str:
        """Which adapter reads the record of this id."""
        return self.rollout.adapter_of(external_id) if self.rollout is not None else self.adapter

    @property
    def shown(self) -> str:
        """The strategy as a person names it."""
        return WEBHOOKS if self.backup is not None or self.unfed else str(self.strategy)

    def paced(self, *, fed: bool) -> Schedule:
        """When it is read: seldom while webhooks bring its changes."""
        return self.backup if fed and self.backup is not None else self.schedule

    def serves(self, passed_at: datetime | None, now: datetime) -> bool:
        """Does a copy that was complete at that moment still serve, of what seldom changes?"""
        ttl = self.resource.ttl
        return ttl is not None and passed_at is not None and timedelta(0) <= now - passed_at < timedelta(seconds=ttl)

    @property
    def name(self) -> str:
        return self.resource.name

    def mode(self, stand: Stand | None, now: datetime, *, wanted: bool, fed: bool = False) -> Mode:
        """Which way the next run reads. `wanted`: a person asked for a complete pass; `fed`: webhooks bring its changes.

        A run in progress goes on as it began: its cursor belongs to that way of reading.
        """
        if self.strategy is Strategy.FEED:
            return Mode.INCREMENTAL
        if self.strategy in (Strategy.FULL, Strategy.CHILDREN) or wanted or stand is None:
            return Mode.FULL
        checkpoint = stand.checkpoint
        if checkpoint.run_id is not None or checkpoint.cursor is not None or stand.listed:
            return checkpoint.mode
        if checkpoint.watermark is None or stand.passed_at is None:
            return Mode.FULL
        age = now - stand.passed_at
        if age >= timedelta(seconds=self.full_every_seconds - self._early_seconds(fed)) or age < -CLOCKS_DIFFER:
            return Mode.FULL
        return Mode.INCREMENTAL

    def _early_seconds(self, fed: bool) -> float:
        """Backups are so far apart that the one nearest to when a complete pass is due has to be it."""
        if not fed or self.backup is None or self.backup.every_seconds is None:
            return 0.0
        return min(self.backup.every_seconds, self.full_every_seconds) / 2

    def stale_since(self, good_at: datetime | None, now: datetime, *, fed: bool = False) -> datetime | None:
        """When the next run should have brought news after the last good one; None where that is still to come."""
        if good_at is None:
            return None
        due = self.paced(fed=fed).after(good_at, 1.0)
        return due if due <= now else None

    def since(self, watermark: datetime | None) -> datetime | None:
        """What an incremental request asks for: the watermark less the overlap (R8)."""
        return watermark - timedelta(seconds=self.overlap_seconds) if watermark is not None else None
