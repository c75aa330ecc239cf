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

    Each says whether the previous release still runs while and after it is applied.
    """
    before, applied = arun(_work(app, apply=not (dry_run or only_check)))
    shown = applied if applied is not None else before.pending
    if app.as_json:
        result_json(_as_json(before, applied, show_sql))
    elif applied is not None:
        _print(shown, "applied", show_sql)
        after = f"→ {applied[-1].version:04}" if applied else "is current"
        result(f"schema {before.version:04} {after}")
    elif before.current:
        result(f"schema {before.version:04} is current")
    else:
        _print(shown, "pending", show_sql)
        result(f"schema {before.version:04}: {plural(len(shown), 'migration')} pending")
        say("apply: syncd migrate")
    return Exit.FAILURES if only_check and not before.current else Exit.OK


async def _work(app: App, *, apply: bool) -> tuple[SchemaStatus, list[Migration] | None]:
    from syncd.cli.load import database_url
    from syncd.store.database import Database
    from syncd.store.migrate import Migrations

    with database_url(app, app.config()) as url:
        database = await Database.open(url, clock=app.clock, pool_size=2)
        try:
            migrations = Migrations(database)
            before = await migrations.status()
            return before, await migrations.apply() if apply else None
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
        "applied": [told(each) for each in applied or []],
        "pending": [] if applied is not None else [told(each) for each in before.pending],
    }
