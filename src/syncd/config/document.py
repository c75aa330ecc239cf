"""Reading one YAML file into plain data without losing where each thing stood.

Mistakes are collected, not raised. Source lines are handed out with literal secrets masked, so that no report of a
mistake shows one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from syncd.config.compose import Mark, Node, RefusedError, compose
from syncd.config.problems import Problem, Severity
from syncd.redaction import KNOWN

MOST_BYTES = 1024 * 1024

_SECRET_KEYS = frozenset({"credentials", "secrets", "admin_token", "url"})
"""Below these keys every text is treated as secret, unless it only names where one is kept."""
_PLACES = frozenset({"env", "file", "credential", "directory"})
_SECRET_LINE = re.compile(
    r"((?:secret|token|password|passwd|api_?key|client_id|url)[\w-]*[\"']?\s*:\s*)(?!\{|\[|\s*$)(\S.*)", re.IGNORECASE
)

Steps = Sequence[str | int]
"""The way from a document's root to one value: keys and list positions."""


@dataclass(slots=True)
class Document:
    """One file as read: its data, and the place of everything in it."""

    name: str
    """The path as shown to people."""
    partner: str | None = None
    root: Node | None = None
    problems: list[Problem] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """The source, literal secrets masked."""

    @property
    def data(self) -> Any:
        """Plain dicts, lists and scalars; None for an empty file."""
        return None if self.root is None else _plain(self.root)

    def problem(
        self, path: Steps, message: str, *, help: str = "", key: bool = False, severity: Severity = "error"
    ) -> Problem:
        """Note a mistake at the value (or the key) that the path leads to, or at the nearest thing above it."""
        return self.note(message, self.mark(path, key=key), help, severity)

    def once(
        self, path: Steps, message: str, *, help: str = "", key: bool = False, severity: Severity = "error"
    ) -> None:
        """The same of what several parts of a file may be found guilty of: told there one time."""
        mark = self.mark(path, key=key)
        told = [(found.message, found.line, found.column, found.severity) for found in self.problems]
        if (message, *mark, severity) not in told:
            self.note(message, mark, help, severity)

    def has(self, path: Steps) -> bool:
        """Is there something at exactly this path?"""
        node = self.root
        for step in path:
            node = _below(node, step)
        return node is not None

    def note(self, message: str, mark: Mark | None, help: str = "", severity: Severity = "error") -> Problem:
        """Note a mistake at a place; None is the file as a whole."""
        line, column = mark or (0, 0)
        source = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        source = "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in source[:200])
        # What literals were found is masked in the lines already; this is for a password inside a URL and its like.
        source, message = KNOWN.mask(source), KNOWN.mask(message)
        found = Problem(severity, message, self.name, line, column, source, help, self.partner)
        self.problems.append(found)
        return found

    def mark(self, path: Steps, *, key: bool = False) -> Mark:
        """Where the value (or the key) that the path leads to stands, or the nearest thing above it."""
        node = self.root
        found = node.mark if node else Mark(1, 1)
        for number, step in enumerate(path, 1):
            below = _below(node, step)
            if node is None or below is None:
                break
            is_mapping = isinstance(node.value, dict)
            found = node.value[step][0] if is_mapping and (key or number < len(path)) else below.mark
            node = below
        return found


def _below(node: Node | None, step: str | int) -> Node | None:
    if node is None:
        return None
    if isinstance(node.value, dict):
        found = node.value.get(step)
        return found[1] if found else None
    if isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
        return node.value[step]  # type: ignore[no-any-return]
    return None


def _plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: _plain(below) for key, (_, below) in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(below) for below in node.value]
    return node.value


def read(path: Path, name: str, partner: str | None = None) -> Document:
    """Read and compose one file. Never raises for what is in it: see `.problems`, and `.root`, None if unusable."""
    document = Document(name, partner)
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        document.note(f"cannot be read: {error.strerror}", None)
        return document
    if len(raw) > MOST_BYTES:
        document.note(f"larger than {MOST_BYTES // 1024} KiB", None, "is it the right file?")
        return document
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        document.note("not UTF-8 text", Mark(before.count(b"\n") + 1, column), "save the file as UTF-8")
        return document
    raw_lines = text.splitlines()
    document.lines = [_hide_line(line) for line in raw_lines]
    mistakes: list[tuple[str, Mark, str]] = []
    try:
        document.root = compose(text, lambda message, mark, help: mistakes.append((message, mark, help)))
    except yaml.MarkedYAMLError as error:
        found = error.problem_mark or error.context_mark
        words = error.problem or str(error.context)
        mistakes.append((f"not YAML: {words}", Mark(found.line + 1, found.column + 1), _syntax_help(words)))  # type: ignore[union-attr]
    except yaml.reader.ReaderError as error:
        before_text = text[: error.position]
        mark = Mark(before_text.count("\n") + 1, len(before_text) - before_text.rfind("\n"))
        mistakes.append(("a character that YAML does not allow", mark, "control characters are written as escapes"))
    except RefusedError as refused:
        mistakes.append((refused.message, refused.mark, refused.help))
    if document.root is not None:
        # Where the literal secrets stand is known now; guessing by the key's name has done its duty.
        document.lines = _masked(raw_lines, document.root)
    for message, mark, help in mistakes:
        document.note(message, mark, help)
    return document


def _syntax_help(words: str) -> str:
    if "\\t" in words:
        return "YAML is indented with spaces, never with tabs"
    if "mapping values are not allowed" in words:
        return "a text that holds ': ' wants quotes; or this line is indented further than its neighbours"
    if "expected <block end>" in words or "could not find expected ':'" in words:
        return "check the indentation and the colon, here and in the line before"
    return ""


def _hide_line(line: str) -> str:
    """For a file that cannot be understood: hide what stands behind a telling key."""
    return _SECRET_LINE.sub(lambda found: found[1] + "*" * len(found[2]), line)


def _masked(lines: list[str], root: Node) -> list[str]:
    for node in _literals(root, secret=False):
        first, last = node.mark.line - 1, node.end.line - 1
        for number in range(first, min(last, len(lines) - 1) + 1):
            start = node.mark.column - 1 if number == first else 0
            stop = node.end.column - 1 if number == last else len(lines[number])
            lines[number] = lines[number][:start] + "*" * (stop - start) + lines[number][stop:]
    return lines


def _literals(node: Node, secret: bool) -> Iterator[Node]:
    if isinstance(node.value, dict):
        for key, (_, below) in node.value.items():
            if not (secret and key in _PLACES and isinstance(below.value, str)):
                yield from _literals(below, secret or key in _SECRET_KEYS)
    elif isinstance(node.value, list):
        for below in node.value:
            yield from _literals(below, secret)
    elif secret and node.value is not None:
        yield node
