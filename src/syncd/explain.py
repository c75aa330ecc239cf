"""What a person at 2 AM reads: one Explanation feeds status, page, /health, logs and alerts.

The wording of every known trouble has its home here, beside its runbook name, so no two surfaces ever disagree.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """The health of one integration or resource, in the order a person wants to see them."""

    DOWN = "down"
    AUTH_REQUIRED = "auth_required"
    DEGRADED = "degraded"
    WAITING = "waiting"
    """Held by a limit or a breaker; nothing is wrong with us and nothing is to be done."""
    PAUSED = "paused"
    HEALTHY = "healthy"

    @property
    def rank(self) -> int:
        """0 is worst; lists are sorted by it."""
        return list(State).index(self)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why something is not as it should be, since when, and what to do."""

    code: str
    """Stable and short: `auth-failed`, `breaker-open`; also the name of the runbook page."""
    reason: str
    """One sentence: what is wrong."""
    since: datetime | None = None
    cause: str = ""
    """The likely cause, where one is known."""
    action: str = ""
    """The command to run or the step to take; "nothing to do" where that is the truth."""

    @property
    def runbook(self) -> str:
        return f"syncd runbook {self.code}"

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "runbook": self.runbook}


NOTHING_TO_DO = "nothing to do"
