"""Documents that cannot drift: what they name exists, what they show loads, and what exists is named."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import click
import pytest

from tests.documented import COMMAND, DOCUMENTS, FENCE, ROOT, SOURCE, SPAN, blocks
from tests.test_floors import FLOORS

NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
EVERY = "\n".join(path.read_text("utf-8") for path in DOCUMENTS)

MAKE = re.compile(r"\bmake(?: [A-Z]+=\S+)* ([a-z]+)")


def said_commands(text: str) -> Iterator[list[str]]:
    """The words of every `syncd ...` in code, up to a comment or a pipe."""
    lines = [line.strip() for body in blocks(text, "console", "sh", "") for line in body.splitlines()]
    for piece in lines + SPAN.findall(FENCE.sub("", text)):
        if match := COMMAND.match(piece):
            yield re.split(r"  #| [|>&;]", match[1])[0].split()


def target(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command those words name, and the words left over. Raises LookupError."""
    from syncd.cli.root import cli

    command: click.Command = cli
    words = words[1:]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        alternatives = words[0].split("|")  # `dlq list|show` names two
        found = [command.get_command(click.Context(command), each) for each in alternatives]
        if None in found:
            raise LookupError(words[0])
        assert found[0] is not None
        command = found[0]
        words = words[1:] if command.name in alternatives else words  # `push acme/guests` is `push send acme/guests`
        if command.name not in alternatives:
            break
    return command, words


@pytest.mark.parametrize("document", NAMES)
def test_every_syncd_command_a_document_shows_exists(document: str) -> None:
    wrong = []
    for words in said_commands((ROOT / document).read_text("utf-8")):
        try:
            command, rest = target(words)
        except LookupError:
            wrong.append(" ".join(words))
            continue
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        known |= {"--help", "-h", "--version"}
        options = [re.match(r"-{1,2}[a-z-]+", word) for word in rest if word.startswith("-")]
        wrong += [f"{' '.join(words)}: {option[0]}" for option in options if option and option[0] not in known]
    assert wrong == []


MENTION = re.compile(r"[A-Z][A-Z_-]*(?:/[A-Z][A-Z_-]*)?|\.\.\.|<.*>|…")
"""A word that stands for one: INTEGRATION/RESOURCE."""


def unparsed(said: str) -> str:
    """What the command line says against a command, by its own parser; empty where it would be run."""
    words = shlex.split(re.split(r" {2}#| [|<>&;]", said)[0])
    try:
        command, rest = target(words)
    except LookupError:
        return "no such command"
    if all(word.startswith("-") for word in rest) or any(word in {"--help", "-h", "--version"} for word in rest):
        return ""  # the verb is named, or an option of it
    if any(set(word) & set("[]|") for word in rest):
        return ""  # a synopsis, whose options are looked at above
    context = click.Context(command, info_name=words[1])
    parameters = {parameter.name: parameter for parameter in command.params}
    try:
        values, extra, _ = command.make_parser(context).parse_args(rest)
        for name, value in values.items():
            if isinstance(value, str) and not MENTION.search(value):
                parameters[name].type_cast_value(context, value)
    except click.UsageError as error:
        return error.format_message()
    wanted = (one.name for one in command.params if isinstance(one, click.Argument) and one.required)
    missing = [name for name in wanted if not (isinstance(values[name], str | tuple) and values[name])]
    surplus = [word for word in extra if not (isinstance(command, click.Group) or word == "...")]
    if missing:
        return f"wants {missing[0]}"
    return f"does not want {surplus[0]}" if surplus else ""


@pytest.mark.parametrize("document", NAMES)
def test_every_syncd_command_a_document_shows_would_be_run(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    lines = [line.strip() for body in blocks(text, "console", "sh", "") for line in body.splitlines()]
    said = [match[1] for piece in lines + SPAN.findall(FENCE.sub("", text)) if (match := COMMAND.match(piece))]
    assert [f"{one}: {why}" for one in said if (why := unparsed(one))] == []


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("syncd pause acme --for", "requires an argument"),
        ("syncd pause acme --for soon", "soon"),
        ("syncd pause acme guests", "does not want guests"),
        ("syncd credential set acme", "wants name"),
        ("syncd breaker acme explode", "explode"),
        ("syncd explode", "no such command"),
        ("syncd pause --reasn x acme", "No such option"),
        ("syncd pause acme --for 1h --reason 'two words'", ""),
        ("syncd dlq list INTEGRATION | less", ""),
    ],
)
def test_a_command_that_would_not_be_run_is_seen(command: str, why: str) -> None:
    found = unparsed(command)
    assert why in found
    assert bool(found) == bool(why)


def test_every_command_an_alert_advises_would_be_run() -> None:
    from syncd.alerts import ALERTS

    said = [
        alert.action.replace("{{ $labels.integration }}", "acme").replace("{{ $labels.resource }}", "guests")
        for alert in ALERTS
    ]
    assert [f"{one}: {why}" for one in said if one.startswith("syncd ") and (why := unparsed(one))] == []


def test_every_command_is_in_a_document() -> None:
    from syncd.cli.root import VERBS

    said = {words[1] for words in said_commands(EVERY)}
    assert sorted(set(VERBS) - said) == []


def test_every_make_target_a_document_names_exists_and_has_a_line_of_help() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    helped = set(re.findall(r"^([a-z]+):.*## \S", makefile, re.MULTILINE))
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]
    in_code = [*SPAN.findall(FENCE.sub("", EVERY)), *blocks(EVERY, "console", "sh")]
    assert targets == helped
    assert {name for piece in in_code for name in MAKE.findall(piece)} <= targets


@pytest.mark.parametrize("document", NAMES)
def test_every_link_to_a_file_leads_somewhere(document: str) -> None:
    text = FENCE.sub("", (ROOT / document).read_text("utf-8"))
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (ROOT / document).parent.joinpath(link).exists()] == []


def shown_files() -> list[tuple[str, str]]:
    """Every YAML block that begins with the comment `# config/...`: the file's path and its text."""
    found = (re.match(r"# (config/\S+)\n", body) for body in blocks(EVERY, "yaml"))
    return [(match[1], match.string) for match in found if match]


@pytest.mark.parametrize(("path", "text"), shown_files(), ids=lambda value: value if value.startswith("config") else "")
def test_every_configuration_file_a_document_shows_loads(path: str, text: str, tmp_path: Path) -> None:
    from syncd.cli.load import load_config

    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / path).write_text(text, "utf-8")
    load_config(tmp_path / "config")  # raises with all problems


def test_the_first_integration_takes_ten_lines() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    [first, *_] = [body for body in blocks(readme, "yaml") if body.startswith("# config/partners/")]
    assert len(first.splitlines()) <= 10


def test_the_architecture_names_every_room_on_its_floor() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d) \| ([^|]+) \|", text, re.MULTILINE)
    assert {room: int(floor) for floor, rooms in rows for room in SPAN.findall(rooms)} == FLOORS


def test_the_architecture_names_every_table_and_no_other() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("## Tables")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    sql = "".join(path.read_text("utf-8") for path in sorted((SOURCE / "store" / "schema").glob("*.sql")))
    made = set(re.findall(r"^CREATE TABLE (?:IF NOT EXISTS )?syncd\.(\w+)", sql, re.MULTILINE))
    assert {name for row in rows for name in SPAN.findall(row)} == made - {"migrations"}


def test_every_metric_a_document_names_is_declared() -> None:
    declared = (SOURCE / "metrics.py").read_text("utf-8")
    tables = "".join(
        path.read_text("utf-8") for path in (SOURCE / "store").rglob("*") if path.suffix in {".sql", ".py"}
    )
    named = re.findall(r"\b(?:syncd|integration|webhooks?)_[a-z_]+[a-z](?=[`{])", EVERY)
    missing = {name for name in named if f'"{name.removesuffix("_total")}' not in declared and name not in tables}
    views = {name for name in missing if f"syncd.{name}" in EVERY}  # `syncd.stripe_customers` is no metric
    audited = [path.read_text("utf-8") for path in SOURCE.rglob("*.py")]  # nor is what `audit_log` calls an action
    actions = {name for name in missing if any(f'"{name}"' in text and "audit.add(" in text for text in audited)}
    assert sorted(missing - views - actions) == []


def test_every_environment_variable_a_document_names_is_read() -> None:
    sources = [*SOURCE.rglob("*.py"), *ROOT.glob("tests/**/*.py"), ROOT / "Makefile", *ROOT.glob("config/**/*.y*ml*")]
    read = "\n".join(path.read_text("utf-8") for path in sources)
    named = set(re.findall(r"\bSYNCD_[A-Z_]+[A-Z]\b", EVERY))
    switches = {name for name in named if re.fullmatch(r"SYNCD_(PARTNER|INTEGRATION)_[A-Z_]+_ENABLED", name)}
    assert sorted(name for name in named - switches if name not in read) == []


def test_every_call_of_the_admin_api_is_in_its_table() -> None:
    from syncd.server.admin import routes
    from tests.server.fakes import FakeStatus

    table = (ROOT / "docs" / "cli.md").read_text("utf-8").partition("## The admin API")[2]
    known = {f"{route.method} {route.path}" for route in routes(FakeStatus())}
    for path in (ROOT / "src" / "syncd" / "server").glob("desk_*.py"):
        desk: Any = object()  # routes are only named here, not served
        made = import_module(f"syncd.server.{path.stem}").routes
        known |= {f"{route.method} {route.path}" for route in made(*[desk] * len(signature(made).parameters))}
    known = {re.sub(r"\{.*", "", call) for call in known}  # what stands for an id is written as the reader likes it
    assert set(re.findall(r"^\| `((?:GET|POST) /api/v1/[a-z/-]+)", table, re.MULTILINE)) == known


def test_every_call_and_misbehaviour_of_a_simulator_is_in_the_section_on_sim() -> None:
    from syncd.testing import admin
    from syncd.testing.misbehaviour import KINDS

    section = (ROOT / "docs" / "cli.md").read_text("utf-8").partition("### `syncd sim`")[2].partition("\n## ")[0]
    calls = re.findall(r"^(GET|POST) +(/_sim/[^ ?]+)", admin.__doc__ or "", re.MULTILINE)
    assert len(calls) > 10
    assert set(re.findall(r"^\| `(GET|POST) (/_sim/[^ ?`]+)", section, re.MULTILINE)) == set(calls)
    kinds = section.partition("Kinds of misbehaviour:")[2]
    assert [kind for kind in KINDS if f"`{kind}`" not in kinds] == []


def test_every_decision_is_in_the_index_under_its_number() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text("utf-8")
    pages = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    assert all(re.match(r"\d{4}-[a-z0-9-]+\.md$", path.name) for path in pages)
    assert len({path.name[:4] for path in pages}) == len(pages), "two decisions of one number"
    assert [path.name for path in pages if f"]({path.name})" not in index] == []
    assert [path.name for path in pages if not path.read_text("utf-8").startswith(f"# {path.name[:4]} ")] == []
