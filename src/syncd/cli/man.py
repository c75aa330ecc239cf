"""`syncd man`: the manual page, written from the commands themselves, so that it tells what this release can."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import click

from syncd import __version__
from syncd.cli.app import App, common
from syncd.cli.output import result

EVERYWHERE = {
    "--config DIR": "Where syncd.yaml and partners/ are; default: SYNCD_CONFIG, ./config, /etc/syncd.",
    "--debug": "Show the traceback of an error.",
    "-h, --help": "What the verb does, and its options.",
}
FILES = {
    "/etc/syncd/syncd.yaml": "The main configuration.",
    "/etc/syncd/partners/*.yaml": "One file a partner: its integrations, schedules and limits.",
    "/etc/syncd/secrets/": "Where {file: NAME} begins; mode 0600, owned by the service's user; read again on a reload.",
    "/etc/syncd/environment": "Variables of the service, such as SYNCD_DATABASE_URL.",
    "/var/lib/syncd/": "The state: the key that seals tokens, and the database of run --embedded.",
}
VARIABLES = {
    "SYNCD_CONFIG": "The configuration's directory, where --config names none.",
    "SYNCD_DATABASE_URL": "PostgreSQL, where syncd.yaml refers to it by {env: SYNCD_DATABASE_URL}.",
    "SYNCD_ADMIN, SYNCD_ADMIN_TOKEN": "Where the daemon's admin site is, and the token it asks for.",
    "SYNCD_STATE_DIR": "Where an embedded PostgreSQL keeps its data.",
    "NO_COLOR, FORCE_COLOR": "Never, or always, in colour.",
}
SIGNALS = {
    "TERM, INT": "Drain and stop: held work ends or is given back, exit code 0. A second one stops at once, exit code 130.",
    "HUP": "Read the configuration anew. syncd reload --wait does the same and says how it went. From a terminal that was "
    "closed: drain and stop, unless hangups were ignored at the start (nohup).",
}


@click.command(short_help="The manual page.")
@common()
def man(app: App) -> None:
    """Show this manual page; away from a terminal print its source, which man(1) reads from a file.

    For man syncd without the Debian package: syncd man > ~/.local/share/man/man1/syncd.1
    """
    source = "\n".join(page())
    viewer = shutil.which("man")
    if viewer is not None and sys.stdout.isatty():
        subprocess.run([viewer, "-l", "-"], input=source, text=True, check=False)  # noqa: S603
    else:
        result(source)


def page() -> Iterator[str]:
    """The page's lines, in the macros of man(7)."""
    from syncd.cli.root import cli

    about, _, new = (cli.help or "").partition("\n\n")
    name, _, rest = about.partition(": ")
    yield f'.TH SYNCD 1 "" "syncd {__version__}" "User commands"'
    yield from (".SH NAME", f"syncd \\- {_text(name[:1].lower() + name[1:])}")
    yield from (
        ".SH SYNOPSIS",
        ".B syncd",
        ".I VERB",
        "[OPTIONS] [ARGUMENTS]",
        ".br",
        ".B syncd",
        ".I VERB",
        "\\-\\-help",
    )
    yield from (".SH DESCRIPTION", _text(f"{name}: {rest}"), *_paragraphs(new))
    yield from (".SH OPTIONS", "Every verb takes", *_terms(EVERYWHERE))
    yield ".SH COMMANDS"
    ctx = click.Context(cli, info_name="syncd")
    for verb in cli.list_commands(ctx):
        command = cli.get_command(ctx, verb)
        if command is not None and not command.hidden:
            yield from _command(command, click.Context(command, ctx, info_name=verb))
    yield ".SH EXIT STATUS"
    codes = re.sub(r"\s+", " ", cli.epilog or "").removeprefix("Exit codes: ").rstrip(".").split(", ")
    yield from _terms({code.partition(" ")[0]: code.partition(" ")[2] for code in codes})
    yield from (".SH SIGNALS", *_terms(SIGNALS))
    yield from (".SH ENVIRONMENT", *_terms(VARIABLES))
    yield from (".SH FILES", *_terms(FILES))
    yield from (".SH SEE ALSO", ".BR systemctl (1),", ".BR journalctl (1),", ".BR psql (1)", ".PP")
    yield _text(
        "syncd runbook: what to do about each trouble that syncd status names. /usr/share/doc/syncd has the rest."
    )


def _command(command: click.Command, ctx: click.Context) -> Iterator[str]:
    if isinstance(command, click.Group):
        for verb in command.list_commands(ctx):
            below = command.get_command(ctx, verb)
            if below is not None and not below.hidden:
                yield from _command(below, click.Context(below, ctx, info_name=verb))
        if not command.invoke_without_command:
            return
    usage = " ".join(command.collect_usage_pieces(ctx)).replace("[OPTIONS]", "").strip()
    yield f'.SS "{_text(ctx.command_path)}{" " if usage else ""}{_text(usage)}"'
    yield from _paragraphs(command.help or command.short_help or "", first="")
    common = {term.split()[-1] if "," in term else term.split()[0] for term in EVERYWHERE}
    for param in command.params:
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if record is not None and param.opts[-1] not in common:
            yield from (".TP", f".B {_text(record[0])}", _text(record[1]))


def _paragraphs(text: str, first: str = ".PP") -> Iterator[str]:
    for number, paragraph in enumerate(filter(None, (one.strip() for one in text.split("\n\n")))):
        if number or first:
            yield ".PP"
        if paragraph.startswith("\b"):  # click's mark for lines that are not to be filled
            yield from (".nf", *(_text(line) for line in paragraph.splitlines()[1:]), ".fi")
        else:
            yield _text(paragraph)


def _terms(found: dict[str, str]) -> Iterator[str]:
    for term, meaning in found.items():
        yield from (".TP", f".B {_text(term)}", _text(meaning))


def _text(text: str) -> str:
    """One line that says just that: no macro, no escape, no request."""
    text = re.sub(r"\s+", " ", text).strip().replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return f"\\&{text}" if text.startswith((".", "'")) else text
