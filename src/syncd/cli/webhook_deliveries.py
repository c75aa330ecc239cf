"""`syncd webhook deliveries|show|replay`: what came from partners, what became of it, and once more.

Reads and writes the database itself, so it works while no daemon runs; whoever owns the integration then does the work.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, arun, common, known_integration
from syncd.cli.delivery_shown import COLOURS, print_delivery
from syncd.cli.exits import Exit
from syncd.cli.moments import Moment
from syncd.cli.output import (
    Failure,
    ago,
    harmless,
    paint,
    plural,
    result,
    result_json,
    say,
    table,
)

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.tracing import Tracing

STATES = ("waiting", "done", "dropped", "buried")
MOST_SHOWN = 1000
REASON_COLUMNS = 50


@click.command()
@click.argument("integration", required=False)
@click.option("--since", type=Moment(), metavar="TIME", help="Received since then: a time, or how long ago (2h).")
@click.option("--until", type=Moment(), metavar="TIME", help="Received before then.")
@click.option("--state", type=click.Choice(STATES), help="Only those that stand so.")
@click.option("--type", "kind", metavar="TYPE", help="Only those of this event type.")
@click.option("--limit", type=click.IntRange(1, MOST_SHOWN), default=20, show_default=True, help="At most so many.")
@common(json=True, database=True)
def deliveries(
    app: App,
    integration: str | None,
    since: datetime | None,
    until: datetime | None,
    state: str | None,
    kind: str | None,
    limit: int,
) -> Exit:
    """The latest deliveries that were accepted, and how each stands.

    What was refused is not stored; /metrics counts it by reason (webhook_failures_total), and the log says so once.
    """

    async def ask() -> list[dict[str, Any]]:
        from syncd.store.received import Which

        config = app.config()
        if integration is not None:
            known_integration(config, integration)
        async with _tracing(app, config) as tracing:
            return await tracing.latest(integration, Which(since, until, state, kind), limit=limit)

    found = arun(ask())
    if app.as_json:
        result_json({"schema": "syncd.deliveries/1", "deliveries": found})
        return Exit.OK
    if not found:
        result("no deliveries" + (f" of {integration}" if integration else "") + " that fit")
        return Exit.OK
    now = app.clock.now()
    rows = [
        (
            str(each["id"]),
            f"{ago(each['received_at'], now)} ago",
            each["integration"],
            harmless(each["type"] or "-"),
            harmless(f"{each['resource'] or ''} {each['record_id'] or ''}".strip() or "-"),
            paint(each["state"], COLOURS.get(each["state"])),
            _clipped(each["reason"] or ""),
        )
        for each in found
    ]
    result(table(rows, ("ID", "CAME", "INTEGRATION", "TYPE", "RECORD", "STATE", "WHY"), right=frozenset({0})))
    say("details: syncd webhook show INTEGRATION ID")
    return Exit.OK


@click.command(short_help="One delivery: what it says, and all it caused.")
@click.argument("integration")
@click.argument("delivery", metavar="ID")
@click.option("--body", is_flag=True, help="The body as it came, without what is known to be a secret.")
@common(json=True, database=True)
def show(app: App, integration: str, delivery: str, body: bool) -> Exit:
    """One delivery, by its number or by the partner's own id of it: what it says, and all it caused.

    Of the body only the keys are shown, unless --body is given: what is in it may be personal.
    """

    async def ask() -> dict[str, Any] | None:
        config = app.config()
        known_integration(config, integration)
        async with _tracing(app, config) as tracing:
            return await tracing.delivery(integration, delivery, body=body)

    found = arun(ask())
    if found is None:
        raise Failure(
            f"{integration} has no delivery {delivery!r}",
            "what was refused is not stored, and what is done goes after retention.inbox",
            f"syncd webhook deliveries {integration}",
            exit=Exit.USAGE,
        )
    if app.as_json:
        result_json({"schema": "syncd.delivery/1", **found})
        return Exit.OK
    print_delivery(found, app.clock.now())
    if found["headers"]:
        result("\nheaders")
        result(table([(f"  {name}", harmless(value)) for name, value in sorted(found["headers"].items())]))
    if found["body"] is not None:
        result("\nbody" if body else "\nbody, values hidden (--body shows them)")
        result(harmless(found["body"]))
    return Exit.OK


@click.command(short_help="Work on deliveries once more, by ID or range of time.")
@click.argument("integration")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--since", type=Moment(), metavar="TIME", help="All received since then: a time, or how long ago (2h).")
@click.option("--until", type=Moment(), metavar="TIME", help="All received before then.")
@click.option("--state", type=click.Choice(STATES[1:]), help="Of these only those that ended so.")
@click.option("--type", "kind", metavar="TYPE", help="Of these only those of this event type.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say how many, and do nothing.")
@common(json=True, database=True)
def replay(
    app: App,
    integration: str,
    ids: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    state: str | None,
    kind: str | None,
    yes: bool,
    dry_run: bool,
) -> Exit:
    """Work on deliveries once more: those with these IDs, or all that came in a range of time.

    A record they tell of is read again at the partner, in the lowest lane, unless it was read since they came: newer data is
    never overwritten. What is waiting still, and what is kept without its body, stays as it is.
    """
    ranged = since is not None or until is not None
    if ids and (ranged or state or kind):
        raise click.UsageError("IDs or a range, not both: --since, --until, --state and --type choose without IDs")
    if not ids and not ranged:
        raise click.UsageError("say which: IDs, or a range with --since, --until (and --state, --type)")

    async def ask() -> tuple[int, int, int]:
        from syncd.store.received import Which

        which = Which(since, until, state, kind)
        config = app.config()
        known_integration(config, integration)
        async with _tracing(app, config) as tracing:
            numbers = list({await _number(tracing, integration, one): None for one in ids})
            count, records = (len(numbers),) * 2 if numbers else await tracing.count(integration, which)
            if dry_run or not count or not _agreed(integration, count, records, yes=yes or not ranged):
                return count, records, 0
            from syncd.cli.link import who

            if numbers:
                return count, records, await tracing.replay(integration, numbers, who=who())
            return count, records, await tracing.replay_range(integration, which, who=who())

    count, records, done = arun(ask())
    if app.as_json:
        told = {"schema": "syncd.webhook-replay/1", "integration": integration, "count": count, "records": records}
        result_json({**told, "replayed": done, "dry_run": dry_run})
    elif dry_run:
        result(f"{_cost(integration, count, records)} would be worked on once more")
    elif not count:
        result(f"no finished delivery of {integration} fits, or none has its body still")
    elif done:
        result(f"{plural(done, 'delivery waits', 'deliveries wait')} to be worked on once more")
        say(f"see them go: syncd webhook deliveries {integration} --state waiting")
    if not dry_run and ids and done < count:
        left = plural(count - done, "delivery", "deliveries")
        if not app.as_json:  # there `count` and `replayed` say it
            result(f"left as it is: {left} that waits already, or has no body any more")
        return Exit.FAILURES
    return Exit.OK


@click.command(short_help="The kinds of events that came, and what is done for them.")
@click.argument("integration", required=False)
@click.option("--unknown", is_flag=True, help="Only those nothing is done for.")
@common(json=True, database=True)
def types(app: App, integration: str | None, unknown: bool) -> Exit:
    """The kinds of events that came: how often, since when, and whether anything is done for them.

    What nothing is done for is kept all the same; once a driver knows it: syncd webhook replay INTEGRATION --type TYPE.
    """

    async def ask() -> list[dict[str, Any]]:
        config = app.config()
        if integration is not None:
            known_integration(config, integration)
        async with _tracing(app, config) as tracing:
            return [each for each in await tracing.types(integration) if not (unknown and each["known"])]

    found = arun(ask())
    if app.as_json:
        result_json({"schema": "syncd.event-types/1", "types": found})
        return Exit.OK
    if not found:
        result("no events" + (" that nothing is done for" if unknown else ""))
        return Exit.OK
    now = app.clock.now()
    rows = [
        (
            each["integration"],
            harmless(each["type"]),
            paint("known", "green") if each["known"] else paint("nothing is done", "yellow"),
            f"{each['count']:,}",
            f"{ago(each['first_at'], now)} ago",
            f"{ago(each['last_at'], now)} ago",
        )
        for each in found
    ]
    result(table(rows, ("INTEGRATION", "TYPE", "", "COUNT", "FIRST", "LAST"), right=frozenset({3})))
    return Exit.OK


async def _number(tracing: Tracing, integration: str, name: str) -> int:
    found = await tracing.delivery(integration, name)
    if found is None:
        do = f"syncd webhook deliveries {integration}"
        raise Failure(f"{integration} has no delivery {name!r}", do=do, exit=Exit.USAGE)
    number: int = found["id"]
    return number


def _cost(integration: str, count: int, records: int) -> str:
    many = f"{plural(count, 'delivery', 'deliveries')} of {integration}"
    return f"{many}, about {plural(records, 'record')} and at most as many calls,"


def _agreed(integration: str, count: int, records: int, *, yes: bool) -> bool:
    """Did whoever asks say yes to so many? Raises Failure where nobody can be asked."""
    if yes:
        return True
    say(f"{_cost(integration, count, records)} would be worked on once more, in the lowest lane")
    if not sys.stdin.isatty():
        raise Failure("nobody is here to say yes", do="the same with --yes, or --dry-run to see only", exit=Exit.USAGE)
    return click.confirm("go on?", err=True)


@asynccontextmanager
async def _tracing(app: App, config: Config) -> AsyncIterator[Tracing]:
    from syncd.tracing import Tracing

    async with app.store(config) as store:
        yield Tracing(lambda: config, lambda: store)


def _clipped(text: str) -> str:
    line = harmless(" ".join(text.split()))
    return line if len(line) <= REASON_COLUMNS else line[: REASON_COLUMNS - 1] + "…"
