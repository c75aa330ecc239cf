"""`syncd changes`: what people, reloads, partners' rotations and the daemon itself did, the newest first.

Where no daemon runs the database is read, for that is when somebody asks what was done before it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from syncd.cli.app import App, arun, common, known_integration
from syncd.cli.exits import Exit
from syncd.cli.moments import Moment
from syncd.cli.output import harmless, paint, result, result_json, say, screen, wrapped
from syncd.wording import moment_of

MOST_SHOWN = 1000
COLOURS: Mapping[str, str] = {
    "deploy": "magenta", "reload": "cyan", "pause": "yellow", "hold": "yellow", "maintenance": "yellow",
    "resume": "green", "release": "green", "rotation": "blue",
}  # fmt: skip


@click.command(short_help="What was done: reloads, pauses, rotations, replays.")
@click.argument("integration", required=False)
@click.option("--since", type=Moment(), metavar="TIME", help="Since then: a time, or how long ago (2h).")
@click.option("--limit", type=click.IntRange(1, MOST_SHOWN), default=20, show_default=True, help="At most so many.")
@common(json=True, database=True)
def changes(app: App, integration: str | None, since: datetime | None, limit: int) -> Exit:
    """What people, reloads, rotations and the daemon itself did, the newest first. Times are UTC.

    Of one integration: what was done to it, and what was done to all (reloads, new versions).
    """

    from syncd.cli.link import Unreachable

    async def read() -> dict[str, Any]:
        from syncd.history import Changes

        config = app.config()
        async with app.store(config) as store:
            found = await Changes(lambda: store, app.clock).list(integration, since=since, limit=limit)
        if integration is not None and all(one["integration"] != integration for one in found["changes"]):
            known_integration(config, integration)  # what was removed has a past; what never was is a slip
        return found

    asked = {"integration": integration, "since": since and since.isoformat(), "limit": limit}
    try:
        # Asked first: it answers also while a file is broken that the configuration could not be read for.
        found = app.link().get("changes", {key: value for key, value in asked.items() if value is not None})
    except Unreachable:
        found = arun(read())
    if app.as_json:
        result_json(found)
        return Exit.OK
    for line in render(found["changes"], app.clock.now(), columns=screen()[0]):
        result(line)
    if not found["changes"]:
        result("nothing was done" + (f" to {integration}" if integration else "") + (" since then" if since else ""))
    if found["more"]:
        say(f"there is more: --limit {min(limit * 5, MOST_SHOWN)}, or --since")
    return Exit.OK


def render(found: Sequence[Mapping[str, Any]], now: datetime, *, columns: int = 0) -> list[str]:
    """A line each: when, whose, what and by whom."""
    width = max((len(one["integration"]) for one in found), default=0)
    dated = any((at := moment_of(one["at"])) is not None and at.date() != now.date() for one in found)
    lines = []
    for one in found:
        at = moment_of(one["at"])
        assert at is not None
        when = f"{at:%H:%M}" if not dated else f"{at:%Y-%m-%d %H:%M}"
        name = f"{harmless(one['integration']) or '-':<{max(width, 1)}}"
        text = paint(harmless(one["text"]), COLOURS.get(one["kind"]))
        lines += wrapped(f"{when}  {name}  {text}", columns)
    return lines
