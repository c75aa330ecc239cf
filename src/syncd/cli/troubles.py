"""How conditions are shown in the status: the daemon's own in the shape of an integration; others below theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from syncd.cli.output import COLOURS, MARKS, ago, paint

DAEMON = "syncd"
"""The name the daemon's own conditions go by."""
DATABASE = frozenset({"database-down", "disk-full"})
"""Those that explain why rows are not read."""


def own(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The daemon's own conditions."""
    return [one for one in found.get("conditions") or [] if one.get("subject") == "daemon"]


def headed(name: str, state: str, details: Iterable[str], width: int, *, loud: bool) -> str:
    """`✗ acme  DOWN           4m  the partner is down`."""
    shown, colour = state.replace("_", " "), COLOURS.get(state)
    shown = shown.upper() if loud else shown
    first = f"{paint(MARKS.get(state, '?'), colour)} {name:<{width}}  {paint(f'{shown:<13}', colour)}"
    return f"{first}  {'  '.join(details)}".rstrip()


def advice(why: Mapping[str, Any], indent: str) -> str:
    """What to run, and where more stands."""
    return f"{indent}do: {why['action']}" + (f"    runbook: {why['runbook']}" if why.get("runbook") else "")


def render(conditions: Sequence[Mapping[str, Any]], now: datetime, width: int) -> list[str]:
    """The daemon's own, each with reason, since when, likely cause and what to run."""
    lines: list[str] = []
    indent = " " * (width + 4)
    for one in conditions:
        since = ago(one.get("since"), now)
        details = [since] if since else []
        lines.append(headed(DAEMON, one["state"], [*details, one["reason"]], width, loud=one.get("severity") != "note"))
        if one.get("cause"):
            lines.append(f"{indent}likely: {one['cause']}")
        if one.get("action"):
            lines.append(advice(one, indent))
    return lines


def besides(found: Mapping[str, Any], integration: Mapping[str, Any], now: datetime, indent: str) -> list[str]:
    """What else is wrong with all of an integration, beside what its state is given for."""
    said = (integration.get("explanation") or {}).get("code")
    name = integration.get("name")
    lines = []
    for one in found.get("conditions") or []:
        whole = one.get("integration") == name and not one.get("resource")
        if whole and one["code"] != said and one.get("severity") != "note":
            since = ago(one.get("since"), now)
            lines.append(f"{indent}also: {one['reason']}" + (f", {since}" if since else "") + f"; do: {one['action']}")
    return lines
