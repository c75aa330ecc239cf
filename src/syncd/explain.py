"""What a person at 2 AM reads: one Explanation feeds status, page, /health, logs and alerts.

The wording of every known trouble has its home here, beside its runbook name, so no two surfaces ever disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final


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
        return _RANKS[self]


_RANKS: Final[Mapping[State, int]] = {state: rank for rank, state in enumerate(State)}


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
        return {
            "code": self.code,
            "reason": self.reason,
            "since": self.since,
            "cause": self.cause,
            "action": self.action,
            "runbook": self.runbook,
        }


NOTHING_TO_DO = "nothing to do"
NOT_RUNNING = "syncd status says why: it is about to start, is switched off, or could not be started"


class Severity(StrEnum):
    """How loudly a trouble has to be told, the loudest first."""

    PAGE = "page"
    """Somebody has to get up."""
    TICKET = "ticket"
    """Somebody has to see to it in working hours."""
    NOTE = "note"
    """Worth knowing; nothing fails."""

    @property
    def rank(self) -> int:
        """0 is the loudest."""
        return list(Severity).index(self)


SEVERITIES: Final[Mapping[str, Severity]] = MappingProxyType(
    dict.fromkeys(
        (
            "auth-failed", "breaker-open", "database-down", "disk-full", "internal-error", "killed-the-process",
            "not-started", "partner-down", "queue-stuck", "request-rejected", "schema-changed", "workers-dead",
        ),
        Severity.PAGE,
    )
    | dict.fromkeys(
        (
            "alerts-undelivered", "contract-drift", "credential-expires", "credential-old", "database-slow",
            "deletions-held", "loop-late", "memory-high", "old-rows-stay", "partner-slow", "rate-limited", "reload-failed",
            "rotation-refused", "signatures-refused", "unacknowledged", "webhook-secret", "webhooks-silent",
        ),
        Severity.TICKET,
    )
    | dict.fromkeys(
        (
            "breaker-held", "chaos-on", "disabled", "ids-changed", "limit-learned", "limit-slowed", "maintenance",
            "not-owner", "paused", "ramping", "starting", "unattested",
        ),
        Severity.NOTE,
    )
)  # fmt: skip
"""How loud the trouble of a code may become; see `severity_of`. The one home of it."""

_HELD: Final = frozenset({State.WAITING, State.PAUSED, State.HEALTHY})


def severity_of(code: str, state: State) -> Severity:
    """How loudly to tell a trouble of this code of something that is in this state.

    What waits, is paused or works well is never more than worth knowing, and what still works in part wakes nobody.
    """
    most = SEVERITIES.get(code, Severity.TICKET)
    if state in _HELD:
        return Severity.NOTE
    return max(most, Severity.TICKET, key=lambda one: one.rank) if state is State.DEGRADED else most
