"""What one integration does with each of its resources: the driver's defaults with the files' settings laid over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from syncd.kit import Resource
from syncd.model import History, Mode
from syncd.store import Guard, Stand
from syncd.sync.schedule import Schedule

DAY_SECONDS = 86400.0
DEFAULT_OVERLAP_SECONDS = 120.0


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


@dataclass(frozen=True, slots=True)
class ResourcePlan:
    """One resource of one integration, ready to run."""

    resource: Resource
    strategy: Strategy
    schedule: Schedule
    full_every_seconds: float = DAY_SECONDS
    overlap_seconds: float = DEFAULT_OVERLAP_SECONDS
    history: History = History.CHANGES
    guard: Guard = field(default_factory=Guard)
    adapter: str = "v1"
    expires_seconds: float | None = None

    @property
    def name(self) -> str:
        return self.resource.name

    def mode(self, stand: Stand | None, now: datetime, *, wanted: bool) -> Mode:
        """Which way the next run reads. `wanted`: a person asked for a complete pass.

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
        if now - stand.passed_at >= timedelta(seconds=self.full_every_seconds):
            return Mode.FULL
        return Mode.INCREMENTAL

    def stale_since(self, good_at: datetime | None, now: datetime) -> datetime | None:
        """When the next run should have brought news after the last good one; None where that is still to come."""
        if good_at is None:
            return None
        due = self.schedule.after(good_at, 1.0)
        return due if due <= now else None

    def since(self, watermark: datetime | None) -> datetime | None:
        """What an incremental request asks for: the watermark less the overlap (R8)."""
        return watermark - timedelta(seconds=self.overlap_seconds) if watermark is not None else None
