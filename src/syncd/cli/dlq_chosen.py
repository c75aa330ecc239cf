"""Which dead letters a command means, and asking before anything is done to them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.moments import Moment
from syncd.cli.output import say

if TYPE_CHECKING:
    from syncd.store import Selection


class Letter(click.IntRange):
    """The number of a letter; whoever names a cause instead is told how."""

    name = "letter"

    def __init__(self) -> None:
        super().__init__(1, 2**63 - 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value).isdecimal():
            self.fail(f"{value!r} is not the number of a letter. A cause? --cause {value}", param, ctx)
        return super().convert(value, param, ctx)


def choosing(function: Any) -> Any:
    """What says which letters are meant."""
    for option in reversed(
        (
            click.argument("letters", nargs=-1, type=Letter(), metavar="[LETTER]..."),
            click.option("--cause", metavar="CAUSE", help="Of this cause: as `dlq list` names it, or words of it."),
            click.option("--integration", metavar="NAME", help="Of this integration."),
            click.option(
                "--since", type=Moment(), metavar="WHEN", help="Buried then or later: 2026-01-31, or 2h (ago)."
            ),
            click.option("--until", type=Moment(), metavar="WHEN", help="Buried before then."),
        )
    ):
        function = option(function)
    return function


def said_of(
    letters: Sequence[int],
    cause: str | None,
    integration: str | None,
    since: datetime | None,
    until: datetime | None,
) -> dict[str, Any]:
    """What is meant, as the admin API wants it. Nothing is never taken to mean all."""
    if not letters and not any((cause, integration, since, until)):
        raise click.UsageError("say which: LETTER..., --cause, --integration, --since or --until; see syncd dlq list")
    if since is not None and until is not None and since >= until:
        raise click.UsageError("--since must be before --until")
    said: dict[str, Any] = {"cause": cause, "integration": integration, "ids": list(letters) or None}
    said |= {"since": since.isoformat() if since else None, "until": until.isoformat() if until else None}
    return {key: value for key, value in said.items() if value is not None}


def selected(
    letters: Sequence[int], integration: str | None, since: datetime | None, until: datetime | None
) -> Selection:
    from syncd.store import Selection

    return Selection(integration=integration, ids=tuple(letters), since=since, until=until)


def agreed(yes: bool, question: str) -> bool:
    if yes:
        return True
    if not is_asked():
        say("not done: nobody is there to ask; say --yes")
        return False
    return click.confirm(question, default=False, err=True)


def is_asked() -> bool:
    return sys.stdin.isatty()


def clipped(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 90 else line[:89] + "…"
