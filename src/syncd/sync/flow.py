"""What the queues of one integration got done since it was built, and what was skipped for not being worth doing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from syncd import metrics
from syncd.model import Lane
from syncd.store.queues import queue_of

Reason = Literal["expired", "stale", "unconfigured", "unreadable", "poison"]
"""Why work was skipped: its time was over; newer data is stored; its resource is not synced any more; the partner cannot
be asked for one record; an equal task lies in the dead letters for having killed the process."""


@dataclass(slots=True)
class Flow:
    """Counts since the start, or since the reload that built the integration anew."""

    ended: Counter[str] = field(default_factory=Counter)
    """What left each queue: `tasks high`, `inbox`, `outbox`. The queues' drain is estimated from it."""
    done: int = 0
    """Tasks that were worked on and done."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Tasks dropped undone, by reason."""

    def ran(self, integration: str, lane: Lane) -> None:
        """A task was done."""
        self.done += 1
        self.ended[queue_of(lane)] += 1
        metrics.TASKS.labels(integration, "done").inc()

    def skip(self, integration: str, lane: Lane | None, reason: Reason, count: int = 1) -> None:
        """Tasks were dropped undone, of this lane or of several (None)."""
        self.skipped[reason] += count
        if lane is not None:
            self.ended[queue_of(lane)] += count
        metrics.TASKS.labels(integration, reason).inc(count)

    def buried(self, integration: str, lane: Lane) -> None:
        """A task became a dead letter."""
        self.ended[queue_of(lane)] += 1
        metrics.TASKS.labels(integration, "buried").inc()
