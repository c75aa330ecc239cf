"""`syncd migrate`: bring the database's schema to this release's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, arun, common
from syncd.cli.exits import Exit
from syncd.cli.output import plural, result, result_json, say

if TYPE_CHECKING:
    from syncd.store.migrate import Migration, SchemaStatus


@click.command(short_help="Bring the database's schema to this release.")
@click.option("--dry-run", is_flag=True, help="Say what would be applied, and change nothing.")
@click.option("--show-sql", is_flag=True, help="Print the SQL of what is pending (with --dry-run) or was applied.")
@click.option("--check", "only_check", is_flag=True, help="Exit 1 when something is pending; changes nothing.")
@common(json=True, database=True)
def migrate(app: App, dry_run: bool, show_sql: bool, only_check: bool) -> Exit:
    """Apply the pending migrations, each in a transaction of its own, under a lock. `syncd run` does the same at start.

    --check tells whether the release that runs now can go on meanwhile and afterwards: exit 0 when the schema is current
    (or newer, and works with this release), 1 when something is pending, 78 when this release must not touch it.
    """
    before, applied = arun(_work(app, apply=not (dry_run or only_check)))
    shown = applied if applied is not None else before.pending
    if app.as_json:
        result_json(_as_json(before, applied, show_sql))
    elif applied is not None:
        _print(shown, "applied", show_sql)
        after = f"→ {applied[-1].version:04}" if applied else "is current"
        result(f"schema {before.version:04} {after}")
    elif before.newer:
        result(f"schema {before.version:04} is newer than this release, and works with it")
    elif before.current:
        result(f"schema {before.version:04} is current")
    else:
        _print(shown, "pending", show_sql)
        result(f"schema {before.version:04}: {plural(len(shown), 'migration')} pending")
        say(_meanwhile(before))
        say("apply: syncd migrate")
    return Exit.FAILURES if only_check and not before.current else Exit.OK


def _meanwhile(before: SchemaStatus) -> str:
    """What the release that works with the database as it is can do while this is applied, and after it."""
    if not before.applied:
        return "the database is new: nothing runs on it yet"
    if not before.older_goes_on:
        first = next(each for each in before.pending if not each.goes_on)
        why = first.previous_release.removeprefix("stop").strip(" :,")
        return f"the release that runs now has to stop first, on every machine ({first.version:04}_{first.name}: {why})"
    if before.older_starts:
        return "the release that runs now goes on meanwhile and afterwards, restarts included"
    return "the release that runs now goes on meanwhile and afterwards, but would not start on it again"


async def _work(app: App, *, apply: bool) -> tuple[SchemaStatus, list[Migration] | None]:
    from syncd.cli.link import who
    from syncd.cli.load import database_url
    from syncd.store.database import Database
    from syncd.store.migrate import Migrations

    with database_url(app, app.config()) as url:
        database = await Database.open(url, clock=app.clock, pool_size=2)
        try:
            migrations = Migrations(database)
            before = await migrations.status()
            return before, await migrations.apply(who=who()) if apply else None
        finally:
            await database.aclose()


def _print(found: list[Migration] | tuple[Migration, ...], word: str, show_sql: bool) -> None:
    for each in found:
        result(f"{word}  {each.version:04}_{each.name}   previous release: {each.previous_release}")
        if show_sql:
            result(each.sql)


def _as_json(before: SchemaStatus, applied: list[Migration] | None, show_sql: bool) -> dict[str, Any]:
    def told(each: Migration) -> dict[str, Any]:
        found: dict[str, Any] = {"version": each.version, "name": each.name, "previous_release": each.previous_release}
        return {**found, "sql": each.sql} if show_sql else found

    return {
        "schema": "syncd.migrate/1",
        "version": applied[-1].version if applied else before.version,
        "previous_release": {"goes_on": before.older_goes_on, "starts": before.older_starts},
        "applied": [told(each) for each in applied or []],
        "pending": [] if applied is not None else [told(each) for each in before.pending],
        "newer": [{"version": each.version, "name": each.name} for each in before.newer],
    }
