"""`syncd dlq replay`, `discard`, `purge`: dead letters back to work, settled for good, or removed.

A replay says first how many jobs and calls it is, and asks. The daemon does it, a canary first, and goes on after any
restart: the command only begins and shows it, and the same command finds one that is under way.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, Lasting, arun, common
from syncd.cli.exits import Exit
from syncd.cli.moments import Moment
from syncd.cli.output import Failure, lasting, paint, plural, result, result_json, say

if TYPE_CHECKING:
    from syncd.cli.link import Link
    from syncd.store import Selection

Row = Mapping[str, Any]

FIRST_LOOK_SECONDS = 0.1
LOOK_SECONDS = 0.5
LINE_SECONDS = 10.0
ASKED_AT_ONCE = 50
"""Replays named in one question: they stand in its URL."""
AWAY_SECONDS = 30.0
"""How long a daemon may be away (a restart) before the display gives up."""


def _chosen(function: Any) -> Any:
    """What says which letters are meant."""
    for option in reversed(
        (
            click.argument("letters", nargs=-1, type=click.IntRange(1, 2**63 - 1), metavar="[LETTER]..."),
            click.option("--cause", metavar="CAUSE", help="Of this cause: as `dlq list` names it, or words of it."),
            click.option("--integration", metavar="NAME", help="Of this integration."),
            click.option(
                "--since", type=Moment(), metavar="WHEN", help="Buried then or later: 2026-01-31, or 2h (ago)."
            ),
            click.option("--until", type=Moment(), metavar="WHEN", help="Buried before then."),
        )
    ):
        function = option(function)
    return function


@click.command(short_help="Have dead letters worked on again.")
@_chosen
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what it would do and cost, and nothing more.")
@click.option("--no-wait", is_flag=True, help="Return once it is begun; the daemon goes on with it.")
@click.option("--cancel", is_flag=True, help="End replays of these instead: what was not returned yet stays a letter.")
@common(json=True)
def replay(
    app: App,
    letters: Sequence[int],
    cause: str | None,
    integration: str | None,
    since: datetime | None,
    until: datetime | None,
    yes: bool,
    dry_run: bool,
    no_wait: bool,
    cancel: bool,
) -> Exit:
    """Have dead letters worked on again: by number, by cause, by time.

    Says first how many jobs and calls that is, and asks. Of each cause one job goes ahead; only when that is done do the
    others follow, through the limits, behind live work. If it fails, the others stay as they are. Nothing newer is
    overwritten: reads read anew, and a push that a newer one has overtaken is dropped.

    Ctrl-C leaves it going, and a restart of the daemon too; the same command shows how it stands. Exit 1 when any failed.
    """
    said = _said(letters, cause, integration, since, until)
    link = app.link()
    if cancel:
        return _cancel(app, link, said, yes=yes, dry_run=dry_run)
    price = link.post("dlq/price", said)
    if dry_run:
        if app.as_json:
            result_json(price)
        else:
            for line in priced(price):
                result(line)
        return Exit.OK
    under_way = [(row["integration"], row["replay"]) for row in price["replays"] if not row["ended_at"]]
    fresh = price["letters"] - price["under_way"]
    if fresh:
        for line in priced(price):
            say(line)
        if not _agreed(yes, "Replay?"):
            return Exit.USAGE
        # Not more than what was told: what is buried from now on is not meant.
        begun = link.post("dlq/replay", {**said, "upto": price["upto"]})["replays"]
        keys = sorted({*under_way, *((row["integration"], row["replay"]) for row in begun)})
    elif price["replays"]:
        say(f"being replayed: {price['under_way']:,} letters still to go" if under_way else "replayed already:")
        keys = under_way or [(row["integration"], row["replay"]) for row in price["replays"]]
    else:
        result("nothing to replay: no open dead letter is meant by this") if not app.as_json else _rows_json([])
        return Exit.OK
    if no_wait:
        if app.as_json:
            _rows_json(arun(_look(link, keys)))
        else:
            result(f"begun: {plural(len(keys), 'replay')}; the same command shows how it stands")
        return Exit.OK
    try:
        rows = arun(_follow(app, link, keys))
    except KeyboardInterrupt:
        say("detached: the daemon goes on with it; the same command shows how it stands, --cancel ends it")
        return Exit.INTERRUPTED
    if app.as_json:
        _rows_json(rows)
    else:
        for row in rows:
            for line in outcome(row):
                result(line)
    return _verdict(rows)


def _rows_json(rows: Sequence[Row]) -> None:
    result_json({"schema": "syncd.dlq-replays/1", "replays": list(rows)})


@click.command(short_help="Settle dead letters for good.")
@_chosen
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
    _said(letters, cause, integration, since, until)
    return arun(_discard(app, _selected(letters, integration, since, until), cause, reason, yes=yes, dry_run=dry_run))


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


# -- what it costs -----------------------------------------------------------------------------------------------------


def priced(price: Row) -> list[str]:
    """What a replay would do and cost, as lines."""
    lines = []
    for scope in price["scopes"]:
        names = ", ".join(scope["integrations"])
        jobs = plural(scope["letters"], "job")
        lines.append(f"{names}: {jobs}, about {plural(scope['calls'], 'call')}{_shared(scope)}")
    causes = price["causes"]
    if len(causes) > 1:
        lines.append(f"{len(causes)} causes; of each one job goes ahead:")
    for one in causes[:5]:
        where = f"{one['integration']}/{one['resource']}".rstrip("/")
        lines.append(f"  {one['cause']}  {where}  {one['count']:,}  {_clipped(one['message'])}")
    if len(causes) > 5:
        lines.append(f"  and {len(causes) - 5} more causes")
    again = sum(one["replayed_before"] for one in causes)
    if again:
        lines.append(f"{plural(again, 'of them was', 'of them were')} replayed before and failed again")
    if price["under_way"]:
        lines.append(f"{plural(price['under_way'], 'of them is', 'of them are')} being replayed already")
    unknown = price["unknown"]
    return lines + [f"{name} is no longer configured: nobody would do its work" for name in unknown]


def _shared(scope: Row) -> str:
    """`, 2 % of guesty's minute`; empty where no limit is known."""
    if scope.get("share") is None:
        return ""
    percent = 100 * scope["share"]
    if percent > 100:
        return f", {lasting(scope['seconds'])} at least of {scope['partner']}'s limit"
    text = "under 1 %" if percent < 1 else f"{percent:.0f} %"
    return f", {text} of {scope['partner']}'s {scope['window']}"


# -- how it goes -------------------------------------------------------------------------------------------------------


async def _follow(app: App, link: Link, keys: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """Show each replay until it ended; a daemon that restarts meanwhile is waited for."""
    from syncd.cli.link import Unreachable

    rows: list[dict[str, Any]] = []
    said: dict[tuple[str, int], str] = {}
    shown_at = seen_at = app.clock.monotonic()
    away, pause = False, FIRST_LOOK_SECONDS
    while True:
        now = app.clock.monotonic()
        try:
            rows = await _look(link, keys)
            seen_at, away = now, False
        except Unreachable:
            if now - seen_at > AWAY_SECONDS:
                raise
            if not away:
                say("the daemon is away; the replay is stored and goes on with it")
            away = True
        except Failure as failure:
            if failure.exit_code != Exit.TRY_LATER or now - seen_at > AWAY_SECONDS:
                raise
        if not away and all(row["ended_at"] for row in rows):
            return rows
        for row in rows:
            key, line = (row["integration"], row["replay"]), progress(row)
            stage = f"{row['state']} {row.get('why_waiting') or ''}"
            if said.get(key) != stage or now - shown_at >= LINE_SECONDS:
                said[key] = stage
                if not row["ended_at"]:
                    say(line)
        if now - shown_at >= LINE_SECONDS:
            shown_at = now
        await app.clock.sleep(pause)
        pause = min(pause * 1.5, LOOK_SECONDS)


async def _look(link: Link, keys: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for at in range(0, len(keys), ASKED_AT_ONCE):
        query = [("replay", f"{name}:{number}") for name, number in keys[at : at + ASKED_AT_ONCE]]
        found += link.get("dlq/replays", query)["replays"]
    return found


def progress(row: Row) -> str:
    """One line about a replay under way."""
    where = f"{row['integration']}/{row['resource']}".rstrip("/")
    why = f"; waits: {row['why_waiting']}" if row.get("why_waiting") else ""
    if row["state"] == "canary":
        what = f"canary {row['canary']} is ahead" if row.get("canary") else "the canary waits"
        return f"{where}: {what}, {row['waiting']:,} behind it{why}"
    failed = f", {row['failed']:,} failed" if row["failed"] else ""
    return f"{where}: {row['done']:,} of {row['total']:,} done, {row['in_flight']:,} under way{failed}{why}"


def outcome(row: Row) -> list[str]:
    """How a replay ended, as lines."""
    where = f"{row['integration']}/{row['resource']}".rstrip("/")
    left = row["total"] - row["sent"] - row["overtaken"] - row["unable"]
    kept = f"{left:,} left as they were" if left else "none was left"
    if row["state"] == "stopped":
        canary = f"canary {row['canary']} " if row.get("canary") and row["sent"] <= 1 else ""
        lines = [f"{where}: {canary}{paint('✗', 'red')} {row['reason']}: stopped, {kept}. Nothing was lost."]
    elif row["state"] == "cancelled":
        lines = [f"{where}: {row['reason']} after {row['sent']:,}, {kept}"]
    elif row["failed"]:
        lines = [
            f"{where}: {row['done']:,} done, {paint('✗', 'yellow')} {row['failed']:,} failed again: syncd dlq list"
        ]
    else:
        lines = [f"{where}: {paint('✓', 'green')} {row['done']:,} done"]
    if row["state"] == "done" and left:
        lines.append(f"  {plural(left, 'letter was', 'letters were')} settled meanwhile, in another way")
    if row["overtaken"]:
        lines.append(f"  {plural(row['overtaken'], 'push', 'pushes')} dropped: a newer one of the same record was done")
    if row["unable"]:
        lines.append(
            f"  {plural(row['unable'], 'letter')} stayed open: what it takes to do the work is no longer there"
        )
    return lines


def _verdict(rows: Sequence[Row]) -> Exit:
    bad = any(row["state"] in ("stopped", "cancelled") or row["failed"] or row["unable"] for row in rows)
    return Exit.FAILURES if bad else Exit.OK


# -- ending, discarding, purging ---------------------------------------------------------------------------------------


def _cancel(app: App, link: Link, said: Row, *, yes: bool, dry_run: bool) -> Exit:
    if dry_run:
        price = link.post("dlq/price", said)
        result(f"{plural(price['under_way'], 'letter')} of these belong to replays under way")
        return Exit.OK
    if not _agreed(yes, "End these replays?"):
        return Exit.USAGE
    found = link.post("dlq/cancel", said)
    if app.as_json:
        result_json(found)
        return Exit.OK
    for one in found["cancelled"]:
        result(f"{one['integration']}: replay {one['replay']} cancelled, {one['left']:,} letters left as they were")
    if not found["cancelled"]:
        result("no replay under way holds such letters")
    return Exit.OK


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
                    say(f"  {where}  {group.count:,}  {_clipped(group.message)}")
            if not _agreed(yes, f"Discard {plural(count, 'dead letter')}? Their work is not done."):
                return Exit.USAGE
            count = await discard_letters(store, selection, who=who(), reason=reason)
    if app.as_json:
        result_json({"schema": "syncd.dlq-discard/1", "discarded": 0 if dry_run else count, "dry_run": dry_run})
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


# -- what is meant -----------------------------------------------------------------------------------------------------


def _said(
    letters: Sequence[int],
    cause: str | None,
    integration: str | None,
    since: datetime | None,
    until: datetime | None,
) -> dict[str, Any]:
    """What is meant, as the admin API wants it. Nothing is never taken to mean all."""
    if not letters and not any((cause, integration, since, until)):
        raise click.UsageError("say which: LETTER..., --cause, --integration, --since or --until; see syncd dlq list")
    if since is not None and until is not None and since >= until:
        raise click.UsageError("--since must be before --until")
    said: dict[str, Any] = {"cause": cause, "integration": integration, "ids": list(letters) or None}
    said |= {"since": since.isoformat() if since else None, "until": until.isoformat() if until else None}
    return {key: value for key, value in said.items() if value is not None}


def _selected(
    letters: Sequence[int], integration: str | None, since: datetime | None, until: datetime | None
) -> Selection:
    from syncd.store import Selection

    return Selection(integration=integration, ids=tuple(letters), since=since, until=until)


def _agreed(yes: bool, question: str) -> bool:
    if yes:
        return True
    if not _is_asked():
        say("not done: nobody is there to ask; say --yes")
        return False
    return click.confirm(question, default=False, err=True)


def _is_asked() -> bool:
    return sys.stdin.isatty()


def _clipped(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 90 else line[:89] + "…"
