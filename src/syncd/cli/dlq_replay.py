"""`syncd dlq replay`: dead letters back to work.

A replay says first how many jobs and calls it is, and asks. The daemon does it, a canary first, and goes on after any
restart: the command only begins and shows it, and the same command finds one that is under way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, arun, common
from syncd.cli.dlq_chosen import agreed, choosing, clipped, said_of
from syncd.cli.exits import Exit
from syncd.cli.following import LINE_SECONDS, may_return
from syncd.cli.output import Failure, lasting, paint, plural, result, result_json, say

if TYPE_CHECKING:
    from syncd.cli.link import Link

Row = Mapping[str, Any]

BEGIN_SECONDS = 600.0
"""Hundreds of thousands of letters are marked in one transaction, which takes its time."""
FIRST_LOOK_SECONDS = 0.1
LOOK_SECONDS = 0.5
ASKED_AT_ONCE = 50
"""Replays named in one question: they stand in its URL."""


@click.command(short_help="Have dead letters worked on again.")
@choosing
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
    said = said_of(letters, cause, integration, since, until)
    link = app.link()
    if cancel:
        return _cancel(app, link, said, yes=yes, dry_run=dry_run)
    price = link.post("dlq/price", said, seconds=BEGIN_SECONDS)
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
        if not agreed(yes, "Replay?"):
            return Exit.USAGE
        # Not more than what was told: what is buried from now on is not meant.
        begun = link.post("dlq/replay", {**said, "upto": price["upto"]}, seconds=BEGIN_SECONDS)["replays"]
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
        lines.append(f"  {one['cause']}  {where}  {one['count']:,}  {clipped(one['message'])}")
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
    rows: list[dict[str, Any]] = []
    said: dict[tuple[str, int], str] = {}
    shown_at = seen_at = app.clock.monotonic()
    away, pause = False, FIRST_LOOK_SECONDS
    while True:
        now = app.clock.monotonic()
        try:
            rows = await _look(link, keys)
            seen_at, away = now, False
        except Failure as failure:
            if not may_return(failure, now - seen_at):
                raise
            if not away:
                say("the daemon is away; the replay is stored and goes on with it")
            away = True
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
    if row.get("put_off") and row.get("put_off_for") != row.get("why_waiting"):
        why = f", {row['put_off']:,} stepped over for now: {row['put_off_for']}{why}"
    if row["state"] == "canary":
        ahead = row.get("canary")
        what = f"canary {ahead} is ahead" if ahead else "the canary waits"
        behind = row["waiting"] if ahead else max(row["waiting"] - 1, 0)  # as long as it waits it is one of them
        return f"{where}: {what}, {behind:,} behind it{why}"
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


# -- ending it ---------------------------------------------------------------------------------------


def _cancel(app: App, link: Link, said: Row, *, yes: bool, dry_run: bool) -> Exit:
    if dry_run:
        price = link.post("dlq/price", said)
        if app.as_json:
            result_json(price)
        else:
            result(f"{plural(price['under_way'], 'letter')} of these belong to replays under way")
        return Exit.OK
    if not agreed(yes, "End these replays?"):
        return Exit.USAGE
    found = link.post("dlq/cancel", said)
    if app.as_json:
        result_json(found)
        return Exit.OK
    for one in found["cancelled"]:
        as_before = "it was" if one["left"] == 1 else "they were"
        result(
            f"{one['integration']}: replay {one['replay']} cancelled, {plural(one['left'], 'letter')} left as {as_before}"
        )
    if not found["cancelled"]:
        result("no replay under way holds such letters")
    return Exit.OK
