"""`syncd records`: what is stored of one thing, and everything of a kind, as JSON lines or CSV."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, Target, arun, common, known_integration
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, harmless, plural, result, result_json, say, screen

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.store import Store
    from syncd.store.records import StoredRecord


@click.group()
def records() -> None:
    """Look at stored records and export them."""


def _both(target: tuple[str, str | None], example: str) -> tuple[str, str]:
    integration, resource = target
    if resource is None:
        raise click.UsageError(f"name the resource too: {example}")
    return integration, resource


@records.command(short_help="One record: why is it so? Or why is there none?")
@click.argument("target", type=Target(), metavar="INTEGRATION/RESOURCE")
@click.argument("external_id", metavar="ID")
@click.option("--raw", is_flag=True, help="Also what the partner sent.")
@common(json=True, database=True)
def show(app: App, target: tuple[str, str | None], external_id: str, raw: bool) -> Exit:
    """One record: why is it so? Who wrote it and when, what was refused, what changed; or why there is none.

    The daemon is asked, since it remembers its latest calls; where none runs, the database.
    """
    from syncd.cli.link import Unreachable
    from syncd.cli.record_shown import open_about, plain, render

    integration, resource = _both(target, f"syncd records show {target[0]}/RESOURCE {external_id}")
    try:
        told = app.link().get("record", {"integration": integration, "resource": resource, "id": external_id})
    except Unreachable:
        told = arun(_story(app, integration, resource, external_id))
    if app.as_json:
        result_json(told)
        return Exit.OK if told["found"] else Exit.FAILURES
    if told["found"]:
        for line in render(told, raw=raw, columns=screen()[0]):
            result(line)
        return Exit.OK
    told = plain(told)
    why = [each["text"] + (f"\n  {each['do']}" if each["do"] != told["read_it"] else "") for each in told["why"]]
    more = "\n".join(line for line in open_about(told) if line)
    raise Failure(
        f"no record {external_id!r} in {integration}/{resource}", "\n".join([*why, *([more] if more else [])]),
        f"read it now: {told['read_it']}",
    )  # fmt: skip


async def _story(app: App, integration: str, resource: str, external_id: str) -> dict[str, Any]:
    from syncd.provenance import Provenance

    config = app.config()
    async with app.store(config) as store:
        return await Provenance(lambda: config, lambda: store, app.clock).story(integration, resource, external_id)


async def _nothing_stored(config: Config, store: Store, integration: str, resource: str) -> None:
    """Raises Failure."""
    from syncd.config import did_you_mean

    counts = await store.records.count(integration)
    if not counts:
        known_integration(config, integration)
    raise Failure(f"nothing is stored of {integration}/{resource}", do=did_you_mean(resource, counts), exit=Exit.USAGE)


@records.command(short_help="Every record of a resource on stdout, as JSON lines or CSV.")
@click.argument("target", type=Target(), metavar="INTEGRATION/RESOURCE")
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option(
    "--deleted", type=click.Choice(["no", "only", "too"]), default="no", show_default=True, help="Tombstones."
)
@click.option("--raw", is_flag=True, help="What the partner sent instead of the normalized data.")
@click.option("--field", "fields", multiple=True, metavar="NAME", help="CSV: these columns only, in this order.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
@common(database=True)
def export(
    app: App,
    target: tuple[str, str | None],
    form: str,
    deleted: str,
    raw: bool,
    fields: tuple[str, ...],
    limit: int | None,
) -> Exit:
    """Every record of a resource on stdout, in the order of the ids: one JSON document a line, or CSV."""
    integration, resource = _both(target, f"syncd records export {target[0]}/RESOURCE")
    if raw and form == "csv":
        raise click.UsageError("raw records have no columns: --raw goes with --format jsonl")
    count = arun(_export(app, integration, resource, form, deleted, raw, fields, limit))
    say(f"{plural(count, 'record')} exported")
    return Exit.OK


async def _export(
    app: App,
    integration: str,
    resource: str,
    form: str,
    deleted: str,
    raw: bool,
    fields: tuple[str, ...],
    limit: int | None,
) -> int:
    import sys

    on_terminal = sys.stdout.isatty()  # there it is looked at; a file or a pipe gets it to the byte
    which = {"no": False, "only": True, "too": None}[deleted]
    config = app.config()
    count = 0
    async with app.store(config) as store:
        if resource not in await store.records.count(integration):
            await _nothing_stored(config, store, integration, resource)

        if form == "jsonl":
            import orjson

            options = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
            async for found in store.records.scan(integration, resource, deleted=which, limit=limit):
                told = _told(found, raw=raw, data=not raw)
                line = orjson.dumps(told, default=str, option=options)
                click.echo(harmless(line.decode()) if on_terminal else line, nl=False)
                count += 1
            return count

        import csv

        columns = list(fields)
        if not columns:
            # Columns have to be known before the first row, so the records are read twice: nothing is held in memory.
            seen: dict[str, None] = {}
            async for found in store.records.scan(integration, resource, deleted=which, limit=limit):
                seen.update(dict.fromkeys(found.data))
            columns = list(seen)
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["external_id", *columns])
        async for found in store.records.scan(integration, resource, deleted=which, limit=limit):
            cells = [found.external_id, *(_cell(found.data.get(column)) for column in columns)]
            writer.writerow([harmless(str(cell)) for cell in cells] if on_terminal else cells)
            count += 1
    return count


def _facts(found: StoredRecord) -> dict[str, Any]:
    return {
        "integration": found.integration,
        "resource": found.resource,
        "external_id": found.external_id,
        "parent_id": found.parent_id,
        "deleted_at": found.deleted_at,
        "source_version": found.source_version,
        "source_updated_at": found.source_updated_at,
        "fetched_at": found.fetched_at,
        "synced_at": found.synced_at,
        "row_version": found.row_version,
        "adapter": found.adapter,
        "cause": found.cause,
    }


def _told(found: StoredRecord, *, raw: bool, data: bool = True) -> dict[str, Any]:
    told = _facts(found)
    if data:
        told["data"] = found.data
    if raw:
        told["raw"] = found.raw
    return told


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else value
