"""The pages of `syncd top` beside its first one: details, dead letters, a runbook, help. Each scrolls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.text import Text

from syncd.cli import status
from syncd.cli.output import _COLOUR as COLOUR
from syncd.cli.output import clock_time, harmless, number, plural, wrapped
from syncd.cli.top_seen import Seen, flat


def page(seen: Seen, now: datetime, width: int, room: int) -> list[Text]:
    lines = _lines(seen, now, width)
    seen.first = min(max(seen.first, 0), max(len(lines) - room, 0))
    shown = lines[seen.first : seen.first + room]
    if len(lines) > seen.first + room:
        shown[-1] = Text(f"… {len(lines) - seen.first - room + 1} more lines", style="dim")
    return shown


def _lines(seen: Seen, now: datetime, width: int) -> list[Text]:
    if seen.view == "details":
        return [Text.from_ansi(line) for line in _details(seen, now, width)]
    if seen.view == "letters":
        return [Text(line) for line in letters(seen.found or {}, width)]
    if seen.view == "runbook":
        return [Text(harmless(piece)) for line in seen.page for piece in wrapped(line, width)]
    return [Text(line) for line in HELP]


def _details(seen: Seen, now: datetime, width: int) -> Sequence[str]:
    chosen = seen.chosen()
    if chosen is None or seen.found is None:
        return ["no such integration any more"]
    scopes = [each for each in seen.found.get("scopes", []) if chosen.get("name") in each.get("integrations", [])]
    only = {"integrations": [chosen], "scopes": scopes}
    return [harmless(line, but=COLOUR) for line in status.render(only, now, verbose=True, columns=width)[2:]]


def letters(found: Mapping[str, Any], width: int) -> list[str]:
    """What lies in the dead letters, by cause."""
    dead = found.get("dead_letters") or {}
    if not dead.get("total"):
        return ["no dead letters"]
    lines = [f"{plural(dead['total'], 'dead letter')} in {plural(dead.get('causes') or 0, 'cause')}", ""]
    for one in dead.get("top") or []:
        lines.append(f"{number(one.get('count'))} x {one.get('where', '')}, since {clock_time(one.get('since'))}")
        lines += [f"  {piece}" for piece in wrapped(flat(str(one.get("message") or "")), width - 2)]
        lines += [f"  do: {one.get('action', '')}", ""]
    return [harmless(line) for line in [*lines, "all, and what to do about them: syncd dlq list"]]


HELP: Final = (
    "up, down, j, k   move; page up, page down, home, end too",
    "enter            details of the integration, with its limits and resources",
    "r                the runbook of what is wrong with it",
    "d                dead letters by cause",
    "/                show only what has these letters in it; escape takes it back",
    "p                pause it, with a reason; of a paused one: resume   (--control)",
    "s                read all of it now                                 (--control)",
    "escape           back",
    "q, Ctrl-C        quit",
    "",
    "Without --control nothing can be changed here.",
)
