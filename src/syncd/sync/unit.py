"""One resource of one integration as the runner sees it: when it is due, whether it runs, who asked for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from syncd.model import Lane
from syncd.store import Task
from syncd.sync.plan import ResourcePlan
from syncd.sync.tally import Tally


@dataclass(slots=True)
class Unit:
    """The state between two runs. A unit never overlaps itself."""

    integration: str
    plan: ResourcePlan
    due_at: datetime
    running: bool = False
    attempt: int = 0
    """Failures in a row; decides the backoff of the next try."""
    wishes: list[Task] = field(default_factory=list)
    """"Sync now" and "reconcile" rows the next run fulfils."""
    last: Tally | None = None
    """The run in progress, or the last one."""
    last_started_at: datetime | None = None
    barred: bool = False
    """It was due, or its run was refused, while the breaker let nothing go: when it may go again it is spread with the
    others."""

    @property
    def key(self) -> str:
        return f"run:{self.integration}/{self.plan.name}"

    @property
    def lane(self) -> Lane:
        return Lane.HIGH if self.wishes else Lane.NORMAL

    def due(self, now: datetime) -> bool:
        return not self.running and self.due_at <= now


@dataclass(slots=True)
class Wish:
    """A "sync now" or "reconcile" somebody may be watching."""

    unit: Unit
    tally: Tally | None = None
    """The run that fulfils it; None until it was taken up."""
