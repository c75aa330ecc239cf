"""`syncd evidence`: what a partner's support desk asks for, as text for a ticket."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from syncd.cli.app import App, arun, common, known_integration
from syncd.cli.exits import Exit
from syncd.cli.moments import Moment
from syncd.cli.output import result, result_json


@click.command(short_help="What a partner's support desk asks for, as text for a ticket.")
@click.argument("integration")
@click.option("--since", type=Moment(), metavar="TIME", help="Since then: a time, or how long ago (1h).")
@click.option("--record", metavar="RESOURCE/ID", help="Only what names this record.")
@click.option("--failed", is_flag=True, help="Only calls that failed.")
@common(json=True, database=True)
def evidence(app: App, integration: str, since: datetime | None, record: str | None, failed: bool) -> Exit:
    """The latest calls of one integration, fit to be sent to its partner: times in UTC, full URLs, statuses, their request
    ids, what they answered, tries, calls a minute, limits, and what was given up. Credentials and persons are masked.

    The daemon remembers its latest calls; where none answers, only what was given up is known.
    """
    from syncd.cli.link import Unreachable
    from syncd.support.ticket import lines

    resource, slash, external_id = (record or "").partition("/")
    if record is not None and not (slash and resource and external_id):
        raise click.UsageError("--record is RESOURCE/ID")
    asked: dict[str, Any] = {"integration": integration}
    asked |= {"resource": resource, "id": external_id} if record is not None else {}
    asked |= {"since": since.isoformat()} if since is not None else {}
    asked |= {"failed": "1"} if failed else {}
    try:
        told = app.link().get("evidence", asked)
    except Unreachable:
        told = arun(_given_up(app, integration, since, (resource, external_id) if record is not None else None))
    if app.as_json:
        result_json(told)
    else:
        for line in lines(told):
            result(line)
    return Exit.OK


async def _given_up(app: App, name: str, since: datetime | None, record: tuple[str, str] | None) -> dict[str, Any]:
    from syncd.support.evidence import Evidence

    config = app.config()
    known_integration(config, name)
    async with app.store(config) as store:
        return await Evidence(list, lambda: store, lambda: config, app.clock).view(name, since=since, record=record)
