"""`syncd dlq discard` and `purge`: dead letters settled for good, or removed. They need the database alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from syncd.cli.app import App, Lasting, arun, common
from syncd.cli.dlq_chosen import agreed, choosing, clipped, said_of, selected
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, plural, result, result_json, say

if TYPE_CHECKING:
    from syncd.store import Selection


@click.command(short_help="Settle dead letters for good.")
@choosing
@click.option("--reason", default="", metavar="TEXT", help="Why; kept with each letter.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say how many, and nothing more.")
@common(json=True, database=True)
def discard(
    app: App,
    letters: Sequence[int],
    cause: str | None,
    integration: str | None,
    since: datetime | None,
    until: datetime | None,
    reason: str,
    yes: bool,
    dry_run: bool,
) -> Exit:
    """Settle dead letters for good: their work is not done. They are kept, settled, until retention or a purge."""
    said_of(letters, cause, integration, since, until)
    return arun(_discard(app, selected(letters, integration, since, until), cause, reason, yes=yes, dry_run=dry_run))


@click.command(short_help="Remove old dead letters.")
@click.option("--older-than", type=Lasting(), metavar="DURATION", help="Last touched longer ago than this: 30d.")
@click.option("--integration", metavar="NAME", help="Of this integration.")
@click.option("--settled", is_flag=True, help="Only those that were replayed or discarded; open ones stay.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask; without --older-than: all of them.")
@click.option("--dry-run", is_flag=True, help="Say how many, and nothing more.")
@common(json=True, database=True)
def purge(app: App, older_than: float | None, integration: str | None, settled: bool, yes: bool, dry_run: bool) -> Exit:
    """Remove dead letters, settled ones and open ones. Wants --older-than, or --yes for all of them."""
    if older_than is None and not yes and not dry_run:
        raise click.UsageError("say --older-than DURATION, or --yes for all of them")
    return arun(_purge(app, older_than, integration, settled, dry_run=dry_run))


async def _discard(app: App, selection: Selection, cause: str | None, reason: str, *, yes: bool, dry_run: bool) -> Exit:
    from dataclasses import replace

    from syncd import causes
    from syncd.cli.link import who
    from syncd.errors import ConfigError
    from syncd.replaying import discard as discard_letters

    async with app.store() as store:
        if cause is not None:
            every = [(causes.LETTER, one) for one in await store.dead_letters.grouped(selection.integration)]
            try:
                _, one = causes.chosen(cause, every)
            except ConfigError as error:
                raise Failure(str(error), do=error.hint, exit=Exit.USAGE) from None
            selection = replace(selection, cause=(one.integration, one.resource, one.fingerprint))
        groups = await store.replays.groups(selection)
        count = sum(group.count for group in groups)
        selection = replace(selection, upto=max((group.upto for group in groups), default=None))
        if count and not dry_run:
            if not yes:
                for group in groups[:5]:
                    where = f"{group.integration}/{group.resource}".rstrip("/")
                    say(f"  {where}  {group.count:,}  {clipped(group.message)}")
            if not agreed(yes, f"Discard {plural(count, 'dead letter')}? Their work is not done."):
                return Exit.USAGE
            count = await discard_letters(store, selection, who=who(), reason=reason)
    if app.as_json:
        told = {"letters": count, "discarded": 0 if dry_run else count, "dry_run": dry_run}
        result_json({"schema": "syncd.dlq-discard/1", **told})
    elif dry_run:
        result(f"{plural(count, 'dead letter')} would be discarded")
    else:
        result(f"{plural(count, 'dead letter')} discarded")
    return Exit.OK


async def _purge(app: App, older_than: float | None, integration: str | None, settled: bool, *, dry_run: bool) -> Exit:
    from syncd.cli.link import who
    from syncd.replaying import purge as purge_letters

    before = app.clock.now() - timedelta(seconds=older_than) if older_than is not None else None
    async with app.store() as store:
        counted = await store.dead_letters.purgeable(before, integration=integration, open_too=not settled)
        count = sum(counted.values())
        if not dry_run:
            count = await purge_letters(store, before, integration=integration, open_too=not settled, who=who())
    if app.as_json:
        told = {"removed": 0 if dry_run else count, "by_state": counted, "dry_run": dry_run}
        result_json({"schema": "syncd.dlq-purge/1", **told})
        return Exit.OK
    parts = ", ".join(f"{number:,} {state}" for state, number in sorted(counted.items()))
    verb = "would be removed" if dry_run else "removed"
    result(f"{plural(count, 'dead letter')} {verb}" + (f" ({parts})" if parts else ""))
    return Exit.OK
