"""What a complete pass has to mend that the fresh ways (webhooks, a feed, incremental runs, listings below parents) missed.

Not everything a pass changes is drift: the partner goes on changing while it is read. A record with a partner's stamp counts
only if the fresh way had had its time: for incremental runs if its stamp lies before what they asked for last, for webhooks
and feeds if it lies some minutes before the page was asked for. Where there is no stamp every change counts, so that a few
are no alarm.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd import metrics
from syncd.model import Mode
from syncd.store import Row, Stand
from syncd.sync.health import Drift, Health
from syncd.sync.plan import ResourcePlan, Strategy

IN_FLIGHT = timedelta(minutes=5)
"""A webhook, or the next look at a feed, may be so long under way."""
LITTLE_RECORDS = 10
LITTLE_SHARE = 0.01
"""So many, or such a share of the live records, are worth no remark."""


@dataclass(frozen=True, slots=True)
class Measure:
    """How one complete pass tells what was missed."""

    covered_at: datetime | None
    """Changes before this were brought by incremental runs; None: it is counted from each page's own time."""
    tells_deletions: bool
    """The fresh way tells of deletions, so that one found by the pass was missed."""
    stamped: bool = True
    """Records carry the partner's stamp of their last change."""
    begins_at: datetime | None = None
    """What changed before this the fresh way was not there to tell."""

    def missed(self, row: Row) -> bool:
        """Had the fresh way had its time to bring this version of the record?"""
        stamp = row.source_updated_at
        if stamp is None or not self.stamped:
            return True
        if self.begins_at is not None and stamp < self.begins_at:
            return False
        return stamp < (row.fetched_at - IN_FLIGHT if self.covered_at is None else self.covered_at)

    def of(self, resource: str, rows: Iterable[Row], added: Iterable[str], updated: Iterable[str]) -> Drift:
        """What of a stored page was drift. `added` and `updated` are ids as the store tells them."""
        late = {row.external_id for row in rows if row.resource == resource and self.missed(row)}
        return Drift(sum(1 for one in added if one in late), sum(1 for one in updated if one in late))


def measure(
    plan: ResourcePlan,
    mode: Mode,
    stand: Stand | None,
    *,
    fed: bool,
    by_feed: bool,
    feed_covered_at: datetime | None = None,
    told_since: datetime | None = None,
    scheduled: bool = True,
) -> Measure | None:
    """How this run tells drift; None where it cannot: no complete pass nor a backup, the first one, or no fresh way beside.

    A backup is a run by schedule: one that events, a silence or a person asked for is a fresh way itself.
    `fed`: webhooks bring its changes, since `told_since`; `by_feed`: a feed of the partner does, up to `feed_covered_at`.
    """
    if stand is None or stand.passed_at is None:
        return None
    stamped = plan.resource.stamped_by == "updated"
    if mode is not Mode.FULL:  # a backup finds what webhooks had missed, and mends it before the next pass
        backs_up = scheduled and fed and stamped and told_since is not None and plan.strategy is Strategy.INCREMENTAL
        return Measure(None, tells_deletions=False, begins_at=told_since) if backs_up else None
    if fed or by_feed:
        return Measure(None if fed else feed_covered_at, tells_deletions=True, stamped=stamped)
    if plan.strategy is Strategy.CHILDREN:
        return Measure(None, tells_deletions=False, stamped=stamped)
    if plan.strategy is Strategy.INCREMENTAL and stand.checkpoint.watermark is not None:
        return Measure(plan.since(stand.checkpoint.watermark), tells_deletions=False)
    return None


def tell(health: Health, resource: str, drift: Drift, *, complete: bool = True) -> None:
    """Keep what the last complete pass mended for the status, and for who watches the metrics.

    A backup (not `complete`) is told where it found more than that pass: it takes nothing back of what a pass has shown.
    """
    known = health.of(resource)
    if complete:
        known.drift_of_pass = drift
    elif known.drift_of_pass is not None:
        drift = max(known.drift_of_pass, drift, key=lambda found: found.added + found.updated + found.deleted)
    known.drift = drift
    for what in ("added", "updated", "deleted"):
        metrics.DRIFT.labels(health.integration, resource, what).set(getattr(drift, what))


def remark(resource: str, drift: Drift | None, live: int, *, tells_deletions: bool) -> str | None:
    """What the status says of a pass that had to mend more than a little."""
    if drift is None:
        return None
    counted = drift.added + drift.updated + (drift.deleted if tells_deletions else 0)
    if counted <= max(LITTLE_RECORDS, LITTLE_SHARE * live):
        return None
    parts = [f"{number} {what}" for number, what in ((drift.added, "missing"), (drift.updated, "outdated")) if number]
    if drift.deleted and tells_deletions:
        parts.append(f"{drift.deleted} gone")
    return f"drift: the last pass or backup of {resource} found {', '.join(parts)} that fresher ways had missed"
