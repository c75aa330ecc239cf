"""One thing that is not as it should be: of the daemon itself, or of an integration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.explain import Explanation, Severity, State, severity_of

Key = tuple[str, str, str]
"""integration ("" of the daemon), resource, code: what stays the same while the same trouble lasts."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What is wrong, of whom, and how bad it is."""

    state: State
    told: Explanation
    integration: str = ""
    """Empty: the daemon itself."""
    partner: str = ""
    company: str = ""
    """Whose account it is, in people's words."""
    resource: str = ""
    """Empty: all of the integration, or several of its resources."""

    @property
    def key(self) -> Key:
        return self.integration, self.resource, self.told.code

    @property
    def subject(self) -> str:
        return "integration" if self.integration else "daemon"

    @property
    def severity(self) -> Severity:
        return severity_of(self.told.code, self.state)

    @property
    def order(self) -> tuple[Any, ...]:
        """The worst first: what is told loudest, then the daemon before what runs in it."""
        return (
            self.severity.rank,
            self.integration != "",
            self.state.rank,
            self.integration,
            self.resource,
            self.told.code,
        )

    @property
    def since(self) -> datetime | None:
        return self.told.since

    def as_dict(self) -> dict[str, Any]:
        """An entry of `conditions` in `syncd.status/1`."""
        return {
            "subject": self.subject,
            "integration": self.integration,
            "partner": self.partner,
            "company": self.company,
            "resource": self.resource,
            "state": str(self.state),
            "severity": str(self.severity),
            **self.told.as_dict(),
        }
