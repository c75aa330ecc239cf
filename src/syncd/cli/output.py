"""How commands speak: results on stdout, everything else on stderr, colour only where it is wanted, JSON on request."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import IO, Any

import click

from syncd.cli.exits import Exit
from syncd.wording import ago as ago
from syncd.wording import clock_time as clock_time
from syncd.wording import lasting as lasting
from syncd.wording import moment_of as moment_of
from syncd.wording import number as number
from syncd.wording import plural as plural

COLOURS = {
    "down": "red",
    "auth_required": "red",
    "degraded": "yellow",
    "waiting": "cyan",
    "paused": "blue",
    "healthy": "green",
}
MARKS = {"down": "✗", "auth_required": "✗", "degraded": "!", "waiting": "…", "paused": "‖", "healthy": "✓"}


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""What `paint` writes: it changes how text looks, and nothing else."""


_UNSEEN = re.compile("[\\x7f-\\x9f\\u200b-\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ufeff]")
"""What a terminal obeys though JSON lets it stand as it is: there it is spelt out, which means the same."""


class Failure(click.ClickException):
    """A command cannot go on. `what` failed, `why`, and what to `do` about it."""

    def __init__(self, what: str, why: str = "", do: str = "", *, exit: Exit = Exit.FAILURES) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.do = do
        self.exit_code = exit  # type: ignore[misc]

    def show(self, file: IO[Any] | None = None) -> None:
        print_failure(self.what, self.why, self.do)


def print_failure(what: str, why: str, do: str) -> None:
    say(f"{paint('error:', 'red', err=True, bold=True)} {what}")
    for name, text in (("  why: ", why), ("  do:  ", do)):
        first, *others = text.splitlines() or [""]
        if first:
            say(name + first)
        for line in others:
            say("       " + line)


def say(text: str = "") -> None:
    """A remark, on stderr."""
    click.echo(harmless(text, but=_COLOUR), err=True, color=colour_wanted(sys.stderr))


def result(text: str = "") -> None:
    """Part of the result, on stdout."""
    click.echo(harmless(text, but=_COLOUR), color=colour_wanted(sys.stdout))


def result_json(value: Any) -> None:
    """The whole result as one JSON document. Times are RFC 3339 in UTC."""
    import orjson

    options = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS | orjson.OPT_INDENT_2
    click.echo(_UNSEEN.sub(_spelt, orjson.dumps(value, default=str, option=options).decode()))


def _spelt(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def colour_wanted(stream: IO[Any]) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and stream.isatty()


def screen() -> tuple[int, int]:
    """Columns and rows of the terminal results go to; (0, 0) where they go elsewhere, and nothing is to be cut."""
    if not sys.stdout.isatty():
        return 0, 0
    size = shutil.get_terminal_size()
    return size.columns, size.lines


def wrapped(line: str, width: int) -> list[str]:
    """A line in pieces of at most `width` columns, the rest indented a little further: broken between groups that two spaces
    part, and where a group is longer than that between its words."""
    if width <= 0 or len(click.unstyle(line)) <= width:
        return [line]
    indent = " " * min(len(line) - len(line.lstrip()) + 2, width // 3)
    groups = re.split(r"(  +)", line)
    room = width // 3
    words = [
        part
        for group in groups
        for part in ([group] if len(click.unstyle(group)) <= room else re.split(r"( +)", group))
    ]
    pieces, piece, used = [], "", 0
    for word in words:
        size = len(click.unstyle(word))
        if used + size > width and piece.strip():
            pieces.append(piece.rstrip())
            word = word.lstrip()
            piece, used, size = indent, len(indent), len(click.unstyle(word))
        piece += word
        used += size
    return [*pieces, piece.rstrip()] if piece.strip() else pieces


def paint(text: str, colour: str | None, *, err: bool = False, bold: bool = False) -> str:
    if colour is None or not colour_wanted(sys.stderr if err else sys.stdout):
        return text
    return click.style(text, fg=colour, bold=bold)


def table(rows: Iterable[Sequence[str]], head: Sequence[str] = (), *, right: frozenset[int] = frozenset()) -> str:
    """Columns as wide as their widest cell, two spaces between; `right` names columns to align right."""
    lines = [list(row) for row in rows]
    if head:
        lines.insert(0, list(head))
    if not lines:
        return ""
    widths = [max(len(click.unstyle(line[column])) for line in lines) for column in range(len(lines[0]))]
    found = []
    for line in lines:
        cells = []
        for column, cell in enumerate(line):
            pad = " " * (widths[column] - len(click.unstyle(cell)))
            cells.append(pad + cell if column in right else cell + pad)
        found.append("  ".join(cells).rstrip())
    return "\n".join(found)


def harmless(text: str, *, but: re.Pattern[str] | None = None) -> str:
    """A text of somebody else's without what a terminal would obey: control characters are spelt out, `but` these."""
    if text.isprintable():
        return text
    if but is not None:
        kept = but.findall(text)
        pieces = [harmless(piece) for piece in but.split(text)]
        return "".join(piece + code for piece, code in zip(pieces, [*kept, ""], strict=True))
    return "".join(one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode() for one in text)
