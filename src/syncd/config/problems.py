"""What is wrong with a configuration, said so that a person can go straight to the place.

One Problem is one mistake at one place; `ConfigProblems` carries all of them at once. Rendering never shows a secret:
the loader has masked the source line before it gets here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from syncd.errors import ConfigError

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. Line and column count from 1; both are 0 where the trouble has no place in a file."""

    severity: Severity
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    source: str = ""
    """The line in question, secrets masked."""
    help: str = ""
    partner: str | None = None
    """Whose file it is; None for syncd.yaml, the environment and what concerns them all."""

    @property
    def place(self) -> str:
        return ":".join(str(part) for part in (self.file or "configuration", self.line, self.column) if part)

    def text(self) -> str:
        """`file:line:column: error: ...`, the line, a caret, the help."""
        lines = [f"{self.place}: {self.severity}: {self.message}"]
        if self.source:
            number = str(self.line)
            # Tabs stay tabs in the caret's line, so that it lands under its character whatever the tab width.
            lead = "".join("\t" if char == "\t" else " " for char in self.source[: self.column - 1])
            lines += [f"  {number} | {self.source}", f"  {' ' * len(number)} | {lead}^"]
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)

    def github(self) -> str:
        """A workflow command, which GitHub shows beside the line of the pull request."""
        where = ",".join(
            f"{name}={_escape_property(str(value))}"
            for name, value in (("file", self.file), ("line", self.line), ("col", self.column))
            if value
        )
        said = f"{self.message}; {self.help}" if self.help else self.message
        return f"::{self.severity}{' ' + where if where else ''}::{_escape(said)}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")


def render(problems: Iterable[Problem], format: Literal["text", "github"] = "text") -> str:
    """All of them, in order of file and line, and in text form a closing count."""
    found = sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column, problem.severity))
    if format == "github":
        return "\n".join(problem.github() for problem in found)
    return "\n".join([*(problem.text() for problem in found), *([count(found)] if found else [])])


def count(problems: Sequence[Problem]) -> str:
    """`1 error, 2 warnings in 2 files`."""
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    parts = [f"{n} {word}{'s' if n > 1 else ''}" for n, word in ((errors, "error"), (warnings, "warning")) if n]
    files = len({problem.file for problem in problems})
    return f"{', '.join(parts) or 'no problems'} in {files} file{'' if files == 1 else 's'}"


class ConfigProblems(ConfigError):  # noqa: N818 - it is many
    """The configuration was refused. `str()` is the whole report."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(render(self.problems), hint="syncd check")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'client_id'?` where one known word is close, else what is known, else nothing."""
    words = sorted(set(known))
    by_lower = {candidate.lower(): candidate for candidate in words}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    if close:
        return f"did you mean {by_lower[close[0]]!r}?"
    if not words:
        return ""
    shown = ", ".join(words[:12]) + (", ..." if len(words) > 12 else "")
    return f"known here: {shown}"
