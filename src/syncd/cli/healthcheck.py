"""`syncd healthcheck`: for containers without curl."""

from __future__ import annotations

import click

from syncd.cli.app import App, common
from syncd.cli.exits import Exit
from syncd.cli.output import result, say


@click.command(short_help="Ask the daemon's own probe.")
@click.option("--ready", is_flag=True, help="Ask /ready instead of /health: would a webhook sent now be stored?")
@common(json=True)
def healthcheck(app: App, ready: bool) -> Exit:
    """Ask the daemon's own probe: exit 0 for yes, 1 for no, 69 when nobody answers."""
    from syncd.cli.link import Link

    path = "/ready" if ready else "/health"
    status, body = Link.of(app.config_directory, public=True).probe(path)
    if app.as_json:
        result(body.rstrip())
    else:
        say(f"{path} answered {status}")
    return Exit.OK if status == 200 else Exit.FAILURES
