"""What an alert is, and the words all of them share.

Severities: `critical` and `page` wake somebody, `ticket` is for the next working day, `note` is worth knowing. The texts are
Prometheus' templates: what differs from alert to alert is read from labels, and what syncd itself says from its metrics, so a
pager shows the words of `syncd status`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    CRITICAL = "critical"
    PAGE = "page"
    TICKET = "ticket"
    NOTE = "note"


class About(StrEnum):
    """What an alert is about, which is what its labels say and who can mute it."""

    INTEGRATION = "integration"
    """Labels partner and integration; a paused one, or one in maintenance, is left out."""
    PARTNER = "partner"
    """Label partner; left out while one of its integrations is in maintenance, or all are paused."""
    PROCESS = "process"
    """The daemon, its queues and its database; nothing mutes it."""


MUTED = "syncd:integration_muted"
"""1 for each integration that is paused or in maintenance: a recording rule."""
PARTNER_MUTED = "syncd:partner_muted"
"""1 for each partner of which nothing is to be said: a recording rule."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alerting rule."""

    name: str
    about: About
    severity: Severity
    code: str
    """Of the condition it belongs to, or its own: the label notifications are grouped by, and the runbook's name. Empty where
    the series bring it."""
    expr: str
    """PromQL, without what mutes it."""
    summary: str
    cause: str
    """The likely one."""
    action: str
    """One command, or one step."""
    hold: str = "0m"
    """For how long the expression has to be true (`for`)."""
    source: str = ""
    """Where the threshold comes from: a checklist that syncd was founded on; empty: syncd's own."""
    facts: str = ""
    """Further lines of the description: when the partner last took the credential, what the status says."""
    description: str = ""
    """The whole description, in place of one made of facts, cause, action and runbook."""

    @property
    def told(self) -> bool:
        """It passes on conditions, whose series bring the labels code and severity."""
        return not self.code

    def as_dict(self) -> dict[str, Any]:
        """An entry of `syncd.alerts/1`."""
        return {
            "name": self.name,
            "about": str(self.about),
            "severity": str(self.severity),
            "expression": self.rule,
            "for": self.hold,
            "code": self.code or None,
            "runbook": f"syncd runbook {self.code}" if self.code else None,
            "cause": self.cause,
            "action": self.action,
            "source": self.source or None,
        }

    @property
    def rule(self) -> str:
        """The expression as it is evaluated."""
        if self.about is About.INTEGRATION:
            return f"({self.expr}) unless on (integration) {MUTED}"
        if self.about is About.PARTNER:
            return f"({self.expr}) unless on (partner) {PARTNER_MUTED}"
        return self.expr


COMPANY = (
    '{{ with printf "syncd_integration_info{integration=%q}" $labels.integration | query }}'
    '{{ . | first | label "company" }}{{ else }}{{ $labels.integration }}{{ end }}'
)
WHOSE = f"integration {{{{ $labels.integration }}}} (company: {COMPANY})"
"""`integration acme (company: ACME Inc)`."""
LAST_AUTH = (
    "Last successful auth: "
    '{{ with printf "time() - max(syncd_last_authenticated_timestamp_seconds{integration=%q})" $labels.integration | query }}'
    "{{ . | first | value | humanizeDuration }} ago{{ else }}none since the daemon started{{ end }}\n"
)
SAYS = (
    '{{ with printf "syncd_condition_info{integration=%q} and on (integration, resource, code)'
    " syncd_condition{severity=~'page|ticket'}\" $labels.integration | query }}"
    'Status: {{ . | first | label "reason" }}\n{{ end }}'
)
"""What the status says of the integration, where it says something."""
