"""`syncd log-level`: what the running daemon logs, and more of it for a while."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from syncd.cli.app import App, Lasting, common
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, clock_time, result, result_json

LEVELS = ("debug", "info", "warning", "error")


@click.command("log-level", short_help="Log more of one integration, or of all, for a while.")
@click.argument("words", nargs=-1, metavar="[INTEGRATION] [debug|info|warning|error]")
@click.option("--for", "lasts", type=Lasting(), default="10m", show_default=True, help="Ends by itself after this.")
@common(json=True)
def log_level(app: App, words: tuple[str, ...], lasts: float) -> Exit:
    """What the running daemon logs, and another level for a while: of one integration, or of everything.

    It ends by itself, and with the process. For good there is `log.level` in syncd.yaml.
    """
    link = app.link()
    if not words:
        found = link.get("log-level")
    else:
        if len(words) > 2 or words[-1] not in LEVELS:
            do = f"syncd log-level {next((word for word in words if word.lower() not in LEVELS), 'acme')} debug --for 10m"
            raise Failure(f"name a level last: {', '.join(LEVELS)}", do=do, exit=Exit.USAGE)
        said: dict[str, Any] = {"level": words[-1]}
        said["until"] = (app.clock.now() + timedelta(seconds=lasts)).isoformat()
        if len(words) == 2:
            said["integration"] = words[0]
        found = link.post("log-level", said)
    if app.as_json:
        result_json(found)
        return Exit.OK
    result(f"logged from {found['level']} on")
    for one in found["for_a_while"]:
        whose = one["integration"] or "everything"
        result(f"  {whose}: from {one['level']} on, until {clock_time(one['until'])} or a restart, set by {one['who']}")
    return Exit.OK
