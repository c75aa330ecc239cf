"""`syncd push`: bring a change to a partner, look what would be sent, follow it, list what is under way."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, Lasting, Target, arun, common, known_integration
from syncd.cli.exits import Exit
from syncd.cli.following import may_return
from syncd.cli.output import Failure, ago, clock_time, plural, result, result_json, say, table

if TYPE_CHECKING:
    from syncd.cli.link import Link
    from syncd.config import PartnerConfig

STATES = ("waiting", "taken", "unknown", "done", "dropped", "buried")
OVER = frozenset({"done", "dropped", "buried"})
LOOK_SECONDS = 0.5
FIRST_LOOK_SECONDS = 0.05
WAIT_SECONDS = 120.0
REASON_COLUMNS = 60
MOST_SHOWN = 1000


class Pushes(click.Group):
    """A group whose first word may be INTEGRATION/RESOURCE, which means `send`."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        return found or (super().get_command(ctx, "send") if "/" in cmd_name else None)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["send", *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        usage = "INTEGRATION/RESOURCE --kind KIND --data JSON [OPTIONS], or list|show"
        formatter.write_usage(ctx.command_path, usage)


@click.group(cls=Pushes, short_help="Bring a change of yours to a partner, once in effect.")
def push() -> None:
    """Bring a change of yours to a partner, once in effect, and see what became of it.

    Applications write theirs in their own transaction, with SELECT syncd.push(...): see docs/pushes.md.
    """


@push.command()
@click.argument("target", type=Target(), metavar="INTEGRATION/RESOURCE")
@click.option("--kind", required=True, help="What is to be done, in the driver's words: upsert, status.")
@click.option("--data", metavar="JSON|@FILE", help="What to push: a JSON object, @file, or @- for stdin.")
@click.option("--id", "external_id", metavar="ID", help="The record, by the partner's id.")
@click.option("--key", metavar="KEY", help="The idempotency key; the same key never makes a second push.")
@click.option("--cause", metavar="TEXT", help="Why; stored with it.")
@click.option("--expires", type=Lasting(), metavar="TIME", help="Drop it if it could not leave within this time.")
@click.option("--wait", is_flag=True, help="Come back when it is done, or has failed.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent; write and send nothing.")
@common(json=True)
def send(
    app: App,
    target: tuple[str, str | None],
    kind: str,
    data: str | None,
    external_id: str | None,
    key: str | None,
    cause: str | None,
    expires: float | None,
    wait: bool,
    dry_run: bool,
) -> Exit:
    """Push one change. It is checked first: what the partner would refuse by its own rules is refused here.

    Exit 1 when it was buried or dropped (with --wait), 75 when it is still under way after two minutes.
    """
    integration, resource = target
    if resource is None:
        raise click.UsageError(f"name the resource too: syncd push {integration}/RESOURCE --kind {kind}")
    said: dict[str, Any] = {"integration": integration, "resource": resource, "kind": kind, "data": _data(data)}
    said |= {name: value for name, value in (("id", external_id), ("key", key), ("cause", cause)) if value is not None}
    if expires is not None:
        said["expires_at"] = (app.clock.now() + timedelta(seconds=expires)).isoformat()
    link = app.link()
    if dry_run:
        return _rehearsed(app, link.post("pushes", {**said, "dry_run": True}))
    found = link.post("pushes", said)
    row = found["push"]
    if found["already"]:
        say(f"the key {row['key']} stands for push {row['id']} already: nothing new was written")
    if wait:
        try:
            row = arun(_follow(app, link, row))
        except KeyboardInterrupt:
            say(f"detached: the daemon goes on with it. See: syncd push show {integration} {row['id']}")
            return Exit.INTERRUPTED
    if app.as_json:
        result_json({"schema": "syncd.push/1", "already": found["already"], "push": row})
    else:
        result(_line(row))
        if row["state"] == "buried":
            say("what happened: syncd dlq list")
        elif row["state"] not in OVER and not wait:
            say(f"follow it: syncd push show {integration} {row['id']}")
    if row["state"] in {"buried", "dropped"}:
        return Exit.FAILURES
    return Exit.TRY_LATER if wait and row["state"] not in OVER else Exit.OK


@push.command("list")
@click.argument("target", type=Target(), required=False, metavar="[INTEGRATION[/RESOURCE]]")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Only these; may be repeated.")
@click.option("--limit", type=click.IntRange(1, MOST_SHOWN), default=50, show_default=True, help="At most so many.")
@common(json=True, database=True)
def listed(app: App, target: tuple[str, str | None] | None, states: tuple[str, ...], limit: int) -> Exit:
    """The latest pushes with their states, and how many are not over."""
    integration, resource = target or (None, None)
    found = arun(_listed(app, integration, resource, states, limit))
    if app.as_json:
        result_json(found)
        return Exit.OK
    now = app.clock.now()
    rows = [
        (
            str(row["id"]),
            f"{row['integration']}/{row['resource']}",
            row["kind"],
            row["record"] or "-",
            row["state"],
            str(row["attempts"]),
            f"{ago(row['created_at'], now)} ago",
            _clipped(row["reason"] or ""),
        )
        for row in found["pushes"]
    ]
    if rows:
        result(
            table(
                rows, ("PUSH", "WHERE", "KIND", "RECORD", "STATE", "TRIES", "WRITTEN", "WHY"), right=frozenset({0, 5})
            )
        )
    else:
        result("no pushes")
    for name, counted in found["open"].items():
        parts = [f"{counted[state]:,} {state}" for state in ("waiting", "taken", "unknown") if counted[state]]
        result(f"{name}: {', '.join(parts)}, the oldest {ago(counted['oldest_at'], now)} old")
    return Exit.OK


@push.command(short_help="One push whole: its data, its tries, what the partner said.")
@click.argument("integration", metavar="INTEGRATION")
@click.argument("push_id", type=click.IntRange(1), metavar="PUSH")
@common(json=True, database=True)
def show(app: App, integration: str, push_id: int) -> Exit:
    """One push whole: what was to be sent, how often it was tried, what the partner said."""
    row = arun(_shown(app, integration, push_id))
    if app.as_json:
        result_json({"schema": "syncd.push/1", "push": row})
        return Exit.OK
    facts = {key: value for key, value in row.items() if key not in {"data", "answer"} and value not in (None, "")}
    result(table([(key.replace("_", " "), _text(value)) for key, value in facts.items()]))
    result("\ndata " + json.dumps(row["data"], indent=2, ensure_ascii=False))
    if row["answer"]:
        result("\nanswer " + json.dumps(row["answer"], indent=2, ensure_ascii=False))
    if row["state"] == "unknown":
        say("a try may have arrived: it is looked up, or repeated where that is harmless, before anything else")
    return Exit.OK


def _data(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    where = "--data"
    try:
        if text == "@-":
            where, text = "stdin", sys.stdin.read()
        elif text.startswith("@"):
            where = text[1:]
            text = Path(where).read_text()
        found = json.loads(text)
    except OSError as error:
        raise click.UsageError(f"{where} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise click.UsageError(f"{where} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.UsageError(f'{where} must be a JSON object, such as {{"status": "done"}}')
    return found


def _rehearsed(app: App, found: Mapping[str, Any]) -> Exit:
    if app.as_json:
        result_json(found)
        return Exit.OK
    request = found["request"]
    query = "&".join(f"{name}={value}" for name, value in request["params"].items())
    result(f"{request['method']} {request['path']}" + (f"?{query}" if query else ""))
    for name, value in request["headers"].items():
        result(f"{name}: {value}")
    if request["body"] is not None:
        result(json.dumps(request["body"], indent=2, ensure_ascii=False))
    result(f"\nif its answer is lost: {found['when_the_answer_is_lost']}")
    if found["record"] and not found["stored"]:
        first = ": the record would be read first, and its state judged then" if found.get("read_first") else ""
        result(f"the record is not stored here: what depends on its state was not checked{first}")
    say("nothing was written or sent")
    return Exit.OK


async def _follow(app: App, link: Link, row: dict[str, Any]) -> dict[str, Any]:
    """Look until it is over; a daemon that restarts meanwhile is waited for."""
    began = seen_at = app.clock.monotonic()
    pause, said = FIRST_LOOK_SECONDS, ("", "")
    while row["state"] not in OVER and app.clock.monotonic() - began < WAIT_SECONDS:
        await app.clock.sleep(pause)
        pause = min(pause * 1.5, LOOK_SECONDS)
        try:
            row = link.get("pushes/one", {"integration": row["integration"], "id": row["id"]})["push"]
            seen_at = app.clock.monotonic()
        except Failure as failure:
            if not may_return(failure, app.clock.monotonic() - seen_at):
                raise
        now = (row["state"], row["reason"] or "")
        if now != said and row["state"] not in OVER and row["reason"]:
            say(f"{row['state']}: {row['reason']}")
        said = now
    return row


async def _listed(
    app: App, integration: str | None, resource: str | None, states: tuple[str, ...], limit: int
) -> dict[str, Any]:
    from syncd.pushing import listed as found_in

    config = app.config()
    async with app.store(config) as store:
        found = await found_in(
            store,
            integration,
            config.integrations,
            app.clock.now(),
            resource=resource,
            states=list(states) or None,
            limit=limit,
        )
    if integration is not None and not found["pushes"]:
        partner, _ = known_integration(config, integration)
        if resource is not None:
            _known_resource(partner, integration, resource)
    return found


def _known_resource(partner: PartnerConfig, integration: str, resource: str) -> None:
    from syncd import drivers
    from syncd.config import did_you_mean

    driver = drivers.load(partner.driver, rest=partner.rest_for(integration), partner=partner.name)
    known = driver.resources(partner.options_for(integration))
    if resource not in known:
        raise Failure(f"{integration} has no resource {resource!r}", do=did_you_mean(resource, known), exit=Exit.USAGE)


async def _shown(app: App, integration: str, push_id: int) -> dict[str, Any]:
    from syncd.push_waits import reasons
    from syncd.pushing import told

    config = app.config()
    async with app.store(config) as store:
        row = await store.outbox.get(integration, push_id)
        why = await reasons(store, [row] if row is not None else [], config.integrations, app.clock.now())
    if row is None:
        known_integration(config, integration)
        raise Failure(f"{integration} has no push {push_id}", do=f"syncd push list {integration}", exit=Exit.USAGE)
    return told(row, why.get((integration, push_id)))


def _line(row: Mapping[str, Any]) -> str:
    place = f"{row['integration']}/{row['resource']}" + (f" {row['record']}" if row["record"] else "")
    text = f"push {row['id']}  {place}  {row['kind']}: {row['state']}"
    tries = plural(row["attempts"], "try", "tries")
    if row["state"] == "done":
        return f"{text} ({tries})"
    return f"{text}\n  {row['reason']}" if row["reason"] else text


def _text(value: Any) -> str:
    return clock_time(value) if hasattr(value, "tzinfo") else str(value)


def _clipped(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= REASON_COLUMNS else line[: REASON_COLUMNS - 1] + "…"
