"""`syncd check`: is this configuration right? Three depths: the files alone, this machine, the partners themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, arun, common
from syncd.cli.exits import Exit
from syncd.cli.output import paint, plural, result, result_json, say

if TYPE_CHECKING:
    from syncd.cli.probes import Finding
    from syncd.config import Config, Loaded, Problem


@click.command(short_help="Check the configuration, at three depths.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE...]")
@click.option("--env", "env", is_flag=True, help="Also this machine: secrets, database, addresses.")
@click.option("--live", is_flag=True, help="Also the partners: one cheap authenticated call an integration.")
@click.option("--strict", is_flag=True, help="Warnings are errors.")
@click.option("--format", "form", type=click.Choice(["text", "github"]), default="text", show_default=True)
@common(json=True, database=True)
def check(app: App, files: tuple[Path, ...], env: bool, live: bool, strict: bool, form: str) -> Exit:
    """Check the configuration and say everything that is wrong with it, at once.

    Without options nothing is opened but the files, so it is safe in CI and as a pre-commit hook. FILEs stand for the
    configuration they belong to. Exit 78 for a wrong configuration, 77 for a refused credential, 75 for what is away.
    """
    from syncd.cli.load import read_config

    worst = Exit.OK
    told: list[dict[str, Any]] = []
    findings: list[Finding] = []
    for directory in _directories(files) or [app.config_directory]:
        loaded = read_config(directory, strict=strict, forecast=True)
        bad = bool(loaded.errors) or (strict and bool(loaded.problems))
        told += [_told(problem) for problem in loaded.problems]
        if not app.as_json:
            _print(directory, loaded, form, bad)
        if bad:
            worst = Exit.CONFIG
        elif loaded.config is not None and (env or live):
            from syncd.cli import probes

            found = arun(probes.probe(app, loaded.config, live=live))
            findings += found
            worst = max((finding.exit for finding in found), default=worst, key=_badness)
            if not app.as_json:
                _print_findings(found)
    if app.as_json:
        result_json(
            {
                "schema": "syncd.check/1",
                "ok": worst is Exit.OK,
                "problems": told,
                "findings": [
                    {"what": each.what, "ok": each.ok, "detail": each.detail, "do": each.do} for each in findings
                ],
            }
        )
    return worst


def _directories(files: Sequence[Path]) -> list[Path]:
    """The configurations these files belong to, each once."""
    found: dict[Path, None] = {}
    for file in files:
        if file.is_dir():
            found[file] = None
        elif file.parent.name == "partners":
            found[file.parent.parent] = None
        else:
            found[file] = None
    return list(found)


def _badness(exit: Exit) -> int:
    return [Exit.OK, Exit.FAILURES, Exit.TRY_LATER, Exit.REFUSED, Exit.CONFIG].index(exit)


def _print(directory: Path, loaded: Loaded, form: str, bad: bool) -> None:
    from syncd.config import render

    if loaded.problems:
        result(render(loaded.problems, "github" if form == "github" else "text"))
    if loaded.errors or loaded.config is None:
        return
    if bad:
        say(f"{paint('✗', 'red', err=True)} {directory}: warnings are errors under --strict")
        return
    integrations = loaded.config.integrations
    say(
        f"{paint('✓', 'green', err=True)} {directory}: {plural(len(loaded.config.partners), 'partner')}, "
        f"{plural(len(integrations), 'integration')}"
    )
    for line in _maintenance(loaded.config):
        say(line)


def _maintenance(config: Config) -> list[str]:
    """Each maintenance window in words: whether it is the one that was meant is easier to see so."""
    from syncd.clock import SystemClock

    now = SystemClock().now()
    found = [(name, window) for name, partner in config.partners.items() for window in partner.maintenance]
    found += [(name, window) for name, (_, one) in config.integrations.items() for window in one.maintenance]
    lines = []
    for name, window in found:
        upcoming = window.next_after(now)
        when = f"; next {upcoming:%Y-%m-%d %H:%M} UTC" if upcoming is not None else ""
        said = f": {window.reason}" if window.reason else ""
        opened = window.open_at(now)
        if opened is not None:
            when = f"; open now, until {opened.until:%Y-%m-%d %H:%M} UTC"
        lines.append(f"  {name}: maintenance {window.sentence}{said}{when}")
    return lines


def _print_findings(findings: Sequence[Finding]) -> None:
    for each in findings:
        mark = paint("✓", "green") if each.ok else paint("✗", "red")
        result(f"{mark} {each.what}: {each.detail}")
        if not each.ok and each.do:
            result(f"  do: {each.do}")


def _told(problem: Problem) -> dict[str, Any]:
    return {
        "severity": problem.severity,
        "message": problem.message,
        "file": problem.file,
        "line": problem.line or None,
        "column": problem.column or None,
        "help": problem.help,
        "partner": problem.partner,
    }
