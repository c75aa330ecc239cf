"""What `syncd top` knows: the latest status, what is chosen in it, what is typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from syncd.cli import status
from syncd.cli.output import harmless


@dataclass
class Seen:
    """All that the screen is made from."""

    found: Mapping[str, Any] | None = None
    """The latest status."""
    at: datetime | None = None
    """When it came."""
    away: str = ""
    """Why there is no newer one."""
    view: str = "all"
    """all, or a page: details, letters, runbook, help."""
    page: list[str] = field(default_factory=list)
    """The lines of the runbook."""
    name: str = ""
    """The integration that is chosen: it stays so wherever it moves."""
    row: int = 0
    first: int = 0
    """The first row, or line of a page, that is shown."""
    filter: str = ""
    typing: str = ""
    """What is asked for at the foot of the screen; empty: nothing."""
    typed: str = ""
    message: str = ""
    control: bool = False

    def rows(self) -> list[Mapping[str, Any]]:
        """The integrations that fit the filter, worst first."""
        every = (self.found or {}).get("integrations", [])
        wanted = self.filter.lower()
        chosen = [one for one in every if not wanted or any(wanted in text.lower() for text in _words(one))]
        return sorted(chosen, key=lambda one: (_rank(one), str(one.get("name"))))

    def chosen(self) -> Mapping[str, Any] | None:
        rows = self.rows()
        self._follow(rows)
        return rows[self.row] if rows else None

    def move(self, step: int) -> None:
        """So many rows down, or up."""
        rows = self.rows()
        self._follow(rows)
        self.row = min(max(self.row + step, 0), max(len(rows) - 1, 0))
        self.name = str(rows[self.row].get("name")) if rows else ""

    def _follow(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The row of the one that is chosen; where it is gone, the one that is in its place."""
        names = [str(one.get("name")) for one in rows]
        self.row = names.index(self.name) if self.name in names else min(self.row, max(len(names) - 1, 0))


def flat(text: str) -> str:
    """On one line, and nothing in it that a terminal would obey."""
    return harmless(" ".join(text.split()))


def _rank(one: Mapping[str, Any]) -> int:
    state = one.get("state", "")
    return status.ORDER.index(state) if state in status.ORDER else 0


def _words(one: Mapping[str, Any]) -> list[str]:
    why = one.get("explanation") or {}
    return [str(one.get(key) or "") for key in ("name", "partner", "company", "state")] + [str(why.get("reason") or "")]
