"""What a run did so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from syncd.model import Mode, Outcome
from syncd.store import PageResult, Sweep
from syncd.sync.health import Drift
from syncd.sync.page import PageRead
from syncd.sync.rejections import MOST_REASONS


@dataclass(slots=True)
class Tally:
    """What a run did so far; shown live, stored with each page."""

    integration: str
    resource: str
    mode: Mode = Mode.FULL
    run_id: int | None = None
    outcome: Outcome = Outcome.RUNNING
    pages: int = 0
    seen: int = 0
    added: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    stale: int = 0
    rejected: int = 0
    calls: int = 0
    waited_seconds: float = 0.0
    total: int | None = None
    started_at: datetime | None = None
    listing_began_at: datetime | None = None
    """When the listing was begun that this run goes on with; None: it begins one itself."""
    doubted: int = 0
    """Records a complete pass showed otherwise than they were stored long before, under an older stamp."""
    asked_again: int = 0
    """Those of them that are read by themselves."""
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Records of which resource were rejected and why, and how many for each reason."""
    refused: dict[str, str] = field(default_factory=dict)
    """Properties, accounts or the like that the partner would not list, or records that it would not list below, and what
    it said; the others were read."""
    heard: bool = False
    """The partner has answered a call of this run with what was asked for."""
    sweep: Sweep | None = None
    as_before: bool = False
    """The partner said that nothing has changed, and showed nothing."""
    drift: Drift | None = None
    """What it had to mend that fresher ways had missed; None: it cannot tell."""

    @property
    def whole_since(self) -> datetime | None:
        """When the run began, where it has shown all there is by itself; None where it has not, or is not believed."""
        believed = self.sweep is not None and not self.sweep.held
        alone = believed and self.listing_began_at is None and not self.as_before and not self.refused
        return self.started_at if alone else None

    def eta_seconds(self, now: datetime) -> float | None:
        """How long the rest will take at the pace so far; None where the partner states no total."""
        if self.total is None or not self.seen or self.started_at is None or self.outcome is not Outcome.RUNNING:
            return None
        return max(self.total - self.seen, 0) * (now - self.started_at).total_seconds() / self.seen

    def absorb(self, pages: int, page: PageRead, result: PageResult) -> None:
        self.pages += pages
        self.seen += page.count
        self.added += len(result.added)
        self.updated += len(result.updated)
        self.deleted += len(result.deleted)
        self.stale += result.stale
        self.unchanged += page.unchanged
        self.rejected += len(page.rejects)
        for reject in page.rejects:
            why = (reject.resource or self.resource, reject.reason)
            if why in self.reasons or len(self.reasons) < MOST_REASONS:
                self.reasons[why] += 1
