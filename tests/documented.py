"""Every command that a document, a runbook or the program itself tells somebody to run, and where it stands.

A document says one in a block (`console`, `sh`) or as code within a line; the program says one in a text of its own, whose
values stand as `{expression}`: `syncd resume {account.name}`. Units and examples of configuration say them in comments.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "syncd"
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(SOURCE / "drivers").glob("*/README.md"),
        SOURCE / "runbooks.md",
    ],
    key=lambda path: path.as_posix(),
)
FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"^(?:\$ )?(?:sudo (?:-u \w+ )?)?(?:[A-Z_]+=\S+ +)*(syncd (?:[a-z]|--version).*)$")
COMMENT = re.compile(r"\s{2,}#.*$|\s+# .*$")
WORD = re.compile(
    r"""(?P<option>--?[a-z][a-z-]*)|(?P<value>'[^']*'|"[^"]*"|[A-Z][A-Z_]+(?:/[A-Z][A-Z_]+)?\b(?!:)|\d+[smhd]?\b|\.\.\."""
    r"""|(?:[a-z]+/)?\{\{?[^}]*\}\}?(?:/(?:\{[^}]*\}\}?|[A-Z]+))?)"""
)
"""What may follow the words of a command within a sentence of the program; a plain word is the sentence going on."""
CHOICES = {
    "breaker": {"hold", "release", "reset"}, "log-level": {"debug"}, "runbook": {"auth-failed"}, "run": set(), "demo": set(),
}  # fmt: skip


def blocks(text: str, *kinds: str) -> Iterator[str]:
    return (match["body"] for match in FENCE.finditer(text) if match["kind"] in kinds)


def in_documents(kinds: tuple[str, ...] = ("console", "sh", "")) -> Mapping[str, list[str]]:
    """Commands of syncd, without comments, to the files that say them."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        lines = [line.strip() for body in blocks(text, *kinds) for line in body.splitlines()]
        for piece in lines + SPAN.findall(FENCE.sub("", text)):
            if match := COMMAND.match(piece):
                _note(found, COMMENT.sub("", match[1]), path)
    return found


def _note(found: dict[str, list[str]], command: str, path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    if place not in found[command]:
        found[command].append(place)


def in_the_program() -> Mapping[str, list[str]]:
    """As `in_documents`, of the texts of the program; `{expression}` stands where it puts a value."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(SOURCE.rglob("*.py")):
        if "scaffold" not in path.parts:
            for text in texts(ast.parse(path.read_text("utf-8"))):
                for command in _sentences(text):
                    _note(found, command, path)
    return found


def in_comments() -> Mapping[str, list[str]]:
    """As `in_documents`, of what units and configuration files say in their comments."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in [*(ROOT / "systemd").rglob("*.*"), *(ROOT / "config").rglob("*.*"), *(ROOT / "packaging").rglob("*.*")]:
        if path.is_file() and path.suffix not in {".deb", ".png"}:
            for line in path.read_text("utf-8", "replace").splitlines():
                for command in _sentences(line.partition("#")[2]):
                    _note(found, command, path)
    return found


def texts(tree: ast.AST) -> Iterator[str]:
    """Every text but docstrings and parts of other texts."""
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            inner.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in inner:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (
                str(part.value) if isinstance(part, ast.Constant) else f"{{{_name(part)}}}" for part in node.values
            )
            yield "".join(parts)


def _name(part: ast.expr) -> str:
    """Of `{account.name}` or `{found['integration']}` the last word, which says what it is."""
    assert isinstance(part, ast.FormattedValue)
    said = re.findall(r"[A-Za-z]\w*", ast.unparse(part.value))
    return said[-1] if said else "value"


def _sentences(text: str) -> Iterator[str]:
    """The commands within a text: `syncd`, a verb, and what may follow it."""
    from syncd.cli.root import VERBS, cli

    for match in re.finditer(r"(?<![\w/.-])syncd ([a-z][a-z-]*)(?![\w-])", text):
        if match[1] not in VERBS:
            continue
        words, place = [match[1]], match.end()
        choices = set(CHOICES.get(match[1], ()))
        command = cli.get_command(click.Context(cli), match[1])
        if isinstance(command, click.Group):
            choices |= set(command.list_commands(click.Context(command)))
        while place < len(text) and text[place] == " ":
            rest = text[place + 1 :]
            plain = re.match(r"[a-z][a-z-]*(?![\w-])", rest)
            found = plain if plain and plain[0] in choices else WORD.match(rest)
            if found is None:
                break
            words.append(found[0])
            place += 1 + found.end()
        yield " ".join(["syncd", *words])


_PLACES = (
    (r"\{\{ \$labels\.integration \}\}", "INTEGRATION"),
    (r"\{\{ \$labels\.resource \}\}", "RESOURCE"),
    (r"\{\{ \$labels\.code \}\}", "CODE"),
    (r"(?<= )(?:\{\w+\}|INTEGRATION|NAME)/(?:\{\w+\}|RESOURCE)", "INTEGRATION/RESOURCE"),
    (r"^(syncd (?:dlq (?:show|replay))) \{\w+\}", r"\1 LETTER"),
    (r"--cause \{\w+\}", "--cause CAUSE"),
    (r"--id (?:\{\w+\}|\.\.\.)", "--id ID"),
    (r"--kind \{\w+\}", "--kind KIND"),
    (r"--wait \{\w+\}", "--wait 900"),
    (r"^(syncd runbook) \{\w+\}", r"\1 CODE"),
    (r"^(syncd (?:push|webhook|records) show \S+) \{\w+\}", r"\1 ID"),
    (r"^(syncd credential (?:set|rotate) (?:\{\w+\}|\w+)) \{\w+\}", r"\1 NAME"),
    (r"^(syncd (?:sync|dryrun)) \{where\}", r"\1 INTEGRATION/RESOURCE"),
    (r"^(syncd records show) \{where\}", r"\1 INTEGRATION/RESOURCE ID"),
    (r"\{acme\}", "acme"),
    (r"^(syncd [a-z-]+(?: [a-z]+)?) \{(?:integrations?|name|target|first|what|value|INTEGRATION)\}", r"\1 INTEGRATION"),
)  # fmt: skip


@cache
def everywhere() -> Mapping[str, list[str]]:
    """All of them, values of the program written as documents write them: `syncd sync INTEGRATION/RESOURCE`."""
    found: dict[str, list[str]] = defaultdict(list)
    for said in (in_documents(), in_the_program(), in_comments()):
        for command, places in said.items():
            for pattern, word in _PLACES:
                command = re.sub(pattern, word, command)
            found[command] += [place for place in places if place not in found[command]]
    return found
