"""What the daemon says of each partner, in one line: the story's screen. Nothing here knows the script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from syncd.cli.limits import fullest
from syncd.cli.output import COLOURS, MARKS

NEWS = timedelta(seconds=2)
"""A moment that is named anew is news from this difference on; less is the rounding of a countdown."""


@dataclass(frozen=True, slots=True)
class Line:
    """One partner at one moment. `key` and `moment` tell what is news from what is the same said again."""

    partner: str
    state: str
    text: str
    key: tuple[str, ...]
    moment: datetime | None

    def is_news_after(self, before: Line | None) -> bool:
        if before is None or before.key != self.key:
            return True
        return self.moment is not None and before.moment is not None and abs(self.moment - before.moment) >= NEWS


def lines(overview: Mapping[str, Any]) -> list[Line]:
    """A line for each partner, in the order of their names."""
    scopes = {name: scope for scope in overview["scopes"] for name in scope["integrations"]}
    integrations = sorted(overview["integrations"], key=lambda one: str(one["partner"]))
    return [_line(one, scopes.get(one["name"], {})) for one in integrations]


def _line(integration: Mapping[str, Any], scope: Mapping[str, Any]) -> Line:
    """The integration's own Explanation; where there is nothing to explain, what it has and spends."""
    partner, state = str(integration["partner"]), str(integration["state"])
    told = integration["explanation"]
    if told is None:
        records = sum(resource["records"] for resource in integration["resources"])
        text = f"{records:,} records · {fullest(scope)}".removesuffix(" · ")
        return Line(partner, state, text, (state, ""), None)
    code, text = str(told["code"]), str(told["reason"])
    if code == "limit-learned":
        line = str(told["action"]).partition(" in ")[0]  # the file is the partner's, as the line's beginning says
        return Line(partner, state, f"{text} → {line}", (state, code, text), None)
    upcoming = scope.get("next_call") or {}
    moment = upcoming.get("at") if upcoming.get("in_seconds") and state != "healthy" else None
    words = "".join(letter for letter in text if not letter.isdigit())
    return Line(partner, state, text, (state, code, words), moment)


def screen(told: list[Line], caption: str) -> RenderableType:
    """The partners below each other, a line each whatever the width, and what the script did last."""
    rows = []
    for line in told:
        colour = COLOURS.get(line.state, "")
        row = Text(no_wrap=True, overflow="ellipsis")
        row.append(f" {MARKS.get(line.state, '?')} ", colour).append(f"{line.partner:<7} ", "bold")
        row.append(f"{shown(line.state):<8} ", colour).append(line.text)
        rows.append(row)
    return Group(*rows, Text(f"\n » {caption}", style="italic", no_wrap=True, overflow="ellipsis"))


def shown(state: str) -> str:
    """A state as `syncd status` writes it."""
    text = state.replace("_", " ")
    return text.upper() if state in ("down", "auth_required", "degraded") else text
