"""Manners every command shares: help without weight, exit codes, three lines for an error, stdout for results alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from syncd.cli import exits, output, root
from syncd.cli.exits import Exit
from syncd.errors import AuthError, ConfigError, OwnershipError, RateLimitError, StoreError, SyncdError, TransientError

REPOSITORY = Path(__file__).parents[2]
HEAVY = {"aiohttp", "httpx", "pydantic", "structlog", "asyncpg", "rich", "yaml", "prometheus_client", "anyio", "orjson"}
SLOW = HEAVY | {"asyncio", "ssl", "http", "email", "logging", "inspect"}


def commands() -> dict[str, click.Command]:
    """Every command by its full name."""
    found: dict[str, click.Command] = {}

    def walk(group: click.Group, words: tuple[str, ...]) -> None:
        for name in group.list_commands(click.Context(group)):
            command = group.get_command(click.Context(group), name)
            assert command is not None
            found[" ".join((*words, name))] = command
            if isinstance(command, click.Group):
                walk(command, (*words, name))

    walk(root.cli, ())
    return found


def loaded_by(*words: str) -> set[str]:
    """The top-level modules a fresh interpreter has loaded after a command."""
    code = f"""
import sys
from syncd.cli.root import cli
try:
    cli({list(words)!r})
except SystemExit:
    pass
print(*sorted({{name.partition('.')[0] for name in sys.modules}}), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=REPOSITORY / "src"
    )
    return set(done.stderr.splitlines()[-1].split())


def needed_by_click() -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", "import click, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_help_loads_nothing_heavy():
    """Together these take longer than all of click: what makes `syncd --help` feel slow is what it imports."""
    assert loaded_by("--help") & SLOW - needed_by_click() == set()


def test_help_of_a_verb_loads_nothing_heavy():
    for verb in ("sync", "check", "records"):
        assert loaded_by(verb, "--help") & HEAVY == set()


def test_asking_the_daemon_loads_neither_http_library_nor_database_driver(directory: Path):
    loaded = loaded_by("status", "--config", str(directory))
    assert "yaml" in loaded
    assert loaded & {"aiohttp", "httpx", "asyncpg", "rich", "pydantic"} == set()


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_has_help_that_fits_a_terminal(name: str, run):
    done = run(*name.split(), "--help")
    assert done.exit_code == 0
    assert done.stdout.startswith("Usage: syncd ")
    assert max(len(line) for line in done.stdout.splitlines()) <= 110


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_and_option_is_documented(name: str):
    text = (REPOSITORY / "docs" / "cli.md").read_text()
    command = commands()[name]
    heading = f"### `syncd {name}`" if not isinstance(command, click.Group) else f"syncd {name} "
    assert heading in text
    if isinstance(command, click.Group):
        return
    section = re.split(r"^#{2,3} ", text.partition(heading)[2], maxsplit=1, flags=re.MULTILINE)[0]
    common = {"--config", "--debug", "--json", "--embedded", "--state-dir", "--help"}
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    assert sorted(option for option in options - common if f"`{option}" not in section) == []
    if "--json" in options:
        assert re.search(r"`syncd\.[a-z-]+/\d`", section), "the section names the schema of --json"


def test_every_json_schema_name_in_the_source_is_in_the_document():
    sources = "".join(path.read_text() for path in (REPOSITORY / "src" / "syncd").glob("cli/*.py"))
    sources += (REPOSITORY / "src/syncd/server/admin.py").read_text()
    text = (REPOSITORY / "docs" / "cli.md").read_text()
    names = set(re.findall(r'"(syncd\.[a-z-]+/\d)"', sources))
    assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_every_exit_code_is_documented():
    text = (REPOSITORY / "docs" / "cli.md").read_text()
    for code in Exit:
        assert f"| {code.value} |" in text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 78),
        (AuthError("x"), 77),
        (StoreError("x"), 75),
        (OwnershipError("x"), 1),
        (TransientError("x"), 75),
        (RateLimitError("x"), 75),
        (SyncdError("x"), 1),
        (TimeoutError(), 75),
        (KeyboardInterrupt(), 130),
        (ValueError("x"), 1),
    ],
)
def test_an_error_ends_in_its_exit_code(error: BaseException, code: int):
    assert exits.exit_of(error) == code


def test_a_mistyped_verb_gets_a_suggestion(run):
    done = run("statsu")
    assert done.exit_code == 2
    assert "status" in done.stderr
    assert done.stdout == ""


def with_body(body) -> click.Group:
    """A command that does one thing, under the real root's rules."""
    found = root.Root(name="syncd")
    found.get_command = lambda ctx, name: click.Command(name, callback=body)  # type: ignore[method-assign]
    return found


def invoke(body, *words: str):
    from click.testing import CliRunner

    return CliRunner().invoke(with_body(body), ["verb", *words])


def test_our_errors_are_three_lines_and_no_traceback():
    def body() -> None:
        raise StoreError("the database is away", hint="systemctl status postgresql")

    done = invoke(body)
    assert done.exit_code == 75
    assert done.stderr.splitlines() == [
        "error: syncd verb failed",
        "  why: the database is away",
        "  do:  systemctl status postgresql",
    ]
    assert done.stdout == ""


def test_an_error_of_many_lines_keeps_them_all():
    def body() -> None:
        raise ConfigError("a.yaml:1:1: error: one\nb.yaml:2:2: error: two", hint="syncd check")

    lines = invoke(body).stderr.splitlines()
    assert lines[1:3] == ["  why: a.yaml:1:1: error: one", "       b.yaml:2:2: error: two"]


def test_a_fault_of_ours_names_the_way_to_its_traceback():
    def body() -> None:
        raise ZeroDivisionError("division by zero")

    done = invoke(body)
    assert done.exit_code == 1
    assert "Traceback" not in done.stderr
    assert "--debug" in done.stderr


def test_a_group_of_errors_is_told_by_the_most_telling_one():
    def body() -> None:
        raise ExceptionGroup(
            "many", [ValueError("noise"), ExceptionGroup("inner", [ConfigError("admin has no token")])]
        )

    done = invoke(body)
    assert done.exit_code == 78
    assert "why: admin has no token" in done.stderr


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, click.Abort])
def test_an_interruption_exits_130(interruption: type[BaseException]):
    def body() -> None:
        raise interruption

    assert invoke(body).exit_code == 130


def test_a_reader_that_has_enough_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m syncd schema partner | head -c 10",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=REPOSITORY / "src",
        check=False,
    )
    assert done.stderr == ""


def test_debug_shows_the_traceback(run, directory: Path):
    done = run("status", "--config", directory, "--debug")
    assert "Traceback" in done.stderr
    assert done.exit_code == 69


@pytest.mark.parametrize(
    ("variables", "tty", "wanted"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_colour_follows_the_environment(monkeypatch, variables: dict[str, str], tty: bool, wanted: bool):
    class Stream:
        def isatty(self) -> bool:
            return tty

    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert output.colour_wanted(Stream()) is wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (154, "2m 34s"),
        (3600, "1h"),
        (7860, "2h 11m"),
        (90000, "1d 1h"),
        (-5, "0s"),
    ],
)
def test_durations_are_two_units_at_most(seconds: float, text: str):
    assert output.lasting(seconds) == text


GROUPS = ["", *(name for name, command in commands().items() if isinstance(command, click.Group))]


@pytest.mark.parametrize("group", GROUPS)
def test_a_line_of_help_is_a_whole_sentence_and_one_line_at_80_columns(group: str, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    known = root.cli if not group else commands()[group]
    assert isinstance(known, click.Group)
    _, _, listed = run(*group.split(), "--help").stdout.partition("Commands:\n")
    lines = listed.partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines] == known.list_commands(click.Context(known))
    assert [line for line in lines if line[-1] not in ".?" or line.endswith("..") or len(line) > 80] == []
