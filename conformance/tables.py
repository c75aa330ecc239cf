"""What was measured, in words and as Markdown: one cell a row and tool, and a sum for each tool."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from conformance.rows import HERE, Row

RESULTS = HERE / "results.json"
OURS = "syncd"
EARLIER = 0.05
"""Seconds by which a call may be early and still as asked; one that goes by a date's whole seconds may be a second."""
LATER = 1.1
SOON = 5.0
"""Whoever is asked to wait for nothing may take so long all the same: that is polite, not late."""
DOCUMENTS = (HERE / "README.md", HERE.parent / "README.md")
_MARKS = re.compile(r"(<!-- waits: (\w+) -->\n).*?(<!-- /waits -->)", re.DOTALL)


def load(path: Path = RESULTS) -> dict[str, Any]:
    """The results file."""
    return dict(json.loads(path.read_text("utf-8")))


def verdict(row: Row, cell: dict[str, Any] | None) -> str:
    """`asked`, `early`, `late`, `stops` (the caller gets the error), or, where nothing was asked, `waits` or `at once`."""
    if cell is None:
        return "not run"
    if cell["calls"] < 2:
        return "stops"
    seconds = cell["seconds"]
    if row.wait is None:
        return "waits" if seconds >= EARLIER else "at once"
    if seconds < row.wait - (1.05 if row.dated else EARLIER):
        return "early"
    return "asked" if seconds <= max(row.wait + LATER, SOON) else "late"


def cell_text(row: Row, cell: dict[str, Any] | None) -> str:
    """One cell as it stands in the tables."""
    match verdict(row, cell):
        case "not run":
            return "not run"
        case "asked":
            return "✓"
        case "stops":
            return "gives up" + (f" ({cell['error']})" if cell and _broke(cell) else "")
        case "at once":
            return "at once"
        case "waits":
            return span(cell["seconds"]) if cell else ""
        case word:
            return f"{word}: {span(cell['seconds']) if cell and cell['seconds'] >= EARLIER else 'at once'}"


def _broke(cell: dict[str, Any]) -> bool:
    """Whether it ended by a mistake in reading the answer, not by the refusal itself."""
    return cell["error"] in ("InvalidHeader", "ValueError", "OverflowError", "TypeError", "StuckError")


def span(seconds: float) -> str:
    """A time as people say it."""
    if seconds < EARLIER:
        return "0 s"
    for unit, length in (("years", 31_557_600), ("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (unit == "h" and seconds > 0.99 * length):
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 20 or seconds % 1 < EARLIER else f"{seconds:.1f} s"


def rendered(results: dict[str, Any], table: list[Row], kind: str) -> str:
    """The table of that kind: `sums`, `short`, `full` or `how`."""
    tools = list(results["tools"])
    match kind:
        case "sums":
            return _sums(results, table, tools)
        case "short":
            chosen = [name for name in tools if results["tools"][name].get("shown")]
            return _grid(results, [row for row in table if row.shown], chosen)
        case "full":
            return _grid(results, table, tools)
        case "how":
            lines = [f"* **{name}** {told['version']}: {told['how']}" for name, told in results["tools"].items()]
            return "\n".join([*lines, "", f"Measured on {results['date']} with Python {results['python']}."])
    raise ValueError(f"no such table: {kind}")


def _grid(results: dict[str, Any], table: list[Row], tools: list[str]) -> str:
    lines = [f"| answer | asks for | {' | '.join(tools)} |", "|---" * (len(tools) + 2) + "|"]
    for row in table:
        asks = "–" if row.wait is None else span(row.wait)
        cells = [cell_text(row, results["rows"].get(row.name, {}).get(tool)) for tool in tools]
        lines.append(f"| {row.says.replace('|', chr(92) + '|')} | {asks} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _sums(results: dict[str, Any], table: list[Row], tools: list[str]) -> str:
    asking = [row for row in table if row.wait is not None]
    lines = [
        f"| tool | version | of {len(asking)} waits kept | too early | too late | gives up "
        f"| of {len(table) - len(asking)} without one: waits | at once | gives up |",
        "|---" * 9 + "|",
    ]
    for tool in tools:
        said = [verdict(row, results["rows"].get(row.name, {}).get(tool)) for row in asking]
        rest = [verdict(row, results["rows"].get(row.name, {}).get(tool)) for row in table if row.wait is None]
        told = results["tools"][tool]
        counts = [said.count(word) for word in ("asked", "early", "late", "stops")]
        counts += [rest.count(word) for word in ("waits", "at once", "stops")]
        lines.append(f"| {tool} | {told['version']} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def filled(text: str, results: dict[str, Any], table: list[Row]) -> str:
    """A document with each of its tables written anew."""
    return _MARKS.sub(lambda match: f"{match[1]}{rendered(results, table, match[2])}\n{match[3]}", text)
