"""When records that fail validation are so many that their resource is degraded, and what is said then. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from syncd.explain import Explanation

REJECTS_SHARE = 0.05
REJECTS_LEAST = 10
"""Unless the file says otherwise."""
CODE = "schema-changed"
FROZEN = "schema frozen: "
"""How the reason of a reject begins that is kept out by `schema: freeze`."""
MOST_REASONS = 200
"""Told apart of one run; of two hundred different ones none is the reason."""


@dataclass(slots=True)
class Rejections:
    """What a run set aside, and what stands set aside after it."""

    seen: int = 0
    rejected: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By the resource of the record, which a feed's is another one, and the reason."""
    standing: int = 0
    """Rows of the resource in `rejects`, those of earlier runs too."""
    live: int = 0
    """Records stored."""
    share: float = REJECTS_SHARE
    least: int = REJECTS_LEAST

    @property
    def is_much(self) -> bool:
        """Both bounds are reached, of what this run has seen or of all there is."""
        of_run = self.rejected >= max(self.least, self.share * self.seen)
        return of_run or self.standing >= max(self.least, self.share * (self.live + self.standing))

    def explanation(
        self, integration: str, resource: str, before: Explanation | None, now: datetime
    ) -> Explanation | None:
        """What degrades the resource; None: nothing, or no longer. A run that saw nothing has nothing to say of it."""
        known = before if before is not None and before.code == CODE else None
        if not self.is_much:
            return known if known is not None and not self.seen and self.standing >= self.least else None
        since = known.since if known is not None else now
        if not self.reasons:
            return known or self._told(integration, resource, resource, "", since)
        ((whose, why), _), *_ = self.reasons.most_common(1)
        return self._told(integration, resource, whose, why, since)

    def _told(self, integration: str, resource: str, whose: str, why: str, since: datetime | None) -> Explanation:
        count = f"{self.rejected:,} of {self.seen:,} records of the last run failed validation and were set aside"
        if not self.rejected:
            count = f"{self.standing:,} records are set aside"
        elif self.standing > self.rejected:
            count += f", {self.standing:,} in all"
        return Explanation(
            CODE,
            f"{resource}: schema changed{': ' if why else ''}{'' if whose == resource else f'{whose}: '}{why} ({count})",
            since=since,
            cause="the partner's records no longer have the shape the driver expects",
            action=f"syncd schema accept {integration}/{whose}"
            if why.startswith(FROZEN)
            else f"syncd dlq list {integration}",
        )
