"""`syncd top`: the status as a screen that lives, with keys. It reads what `syncd status` reads."""

from __future__ import annotations

import sys

import click

from syncd.cli.app import App, arun, common
from syncd.cli.exits import Exit
from syncd.cli.output import Failure


@click.command(short_help="How everything is, live, with keys.")
@click.option("--control", is_flag=True, help="Allow p (pause, resume) and s (sync now).")
@common()
def top(app: App, control: bool) -> Exit:
    """How everything is, live: what is wrong on top, then every integration, the worst first. `?` shows the keys.

    Nothing can be changed with it unless --control is given. Needs a terminal; without one: syncd status --watch.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failure(
            "top needs a terminal", "its input or output is none", "syncd status --watch, or syncd status --json",
            exit=Exit.USAGE,
        )  # fmt: skip
    from syncd.cli.top_live import Top
    from syncd.cli.top_seen import Seen

    return arun(Top(app, Seen(control=control)).run())
