"""`syncd backfill`: read a time range again in the lowest lane; the plan first, then a question, then progress."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from syncd.cli.app import App, Target, arun, common
from syncd.cli.exits import Exit
from syncd.cli.following import ENDED, Row, until_ended
from syncd.cli.moments import Moment
from syncd.cli.output import lasting, moment_of, number, plural, result, result_json, say

if TYPE_CHECKING:
    from syncd.cli.link import Link

LOOK_SECONDS = 1.0


@click.command(short_help="Read a time range again, in the lowest lane.")
@click.argument("target", type=Target(), metavar="INTEGRATION[/RESOURCE]")
@click.option("--since", type=Moment(), metavar="WHEN", help="From here: 2026-01-31, 2026-01-31T12:00Z, or 30d (ago).")
@click.option("--until", type=Moment(), metavar="WHEN", help="To here; default: now.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what it would cost, and nothing more.")
@click.option("--follow", "-f", is_flag=True, help="Stay and show how it goes; Ctrl-C leaves it running.")
@click.option("--stop", is_flag=True, help="Stop what is under way; what is stored stays.")
@common(json=True)
def backfill(
    app: App,
    target: tuple[str, str | None],
    since: datetime | None,
    until: datetime | None,
    yes: bool,
    dry_run: bool,
    follow: bool,
    stop: bool,
) -> Exit:
    """Read again what changed at a partner within a time range, listings below its records included.

    Says first what it costs, and asks. The daemon does it in its lowest lane, so that live work goes first, and goes on
    after any restart; the same command shows how it stands, or goes on with one that failed. The schedule is not touched.
    Exit 1 when one failed.
    """
    link = app.link()
    named = {key: text for key, text in zip(("integration", "resource"), target, strict=True) if text is not None}
    if stop:
        return _stop(app, link, named)
    if since is None and until is not None:
        raise click.UsageError("--until needs --since: from when on?")
    if since is None:
        return _standing(app, link, named, follow)
    to = until or app.clock.now().replace(microsecond=0)
    if since >= to:
        raise click.UsageError("--since must be before --until")
    said = {**named, "since": since.isoformat(), "until": to.isoformat()}
    plan = link.get("backfill/plan", said)
    if dry_run:
        _show(app, plan)
        return Exit.OK
    for line in render(plan):
        say(line)
    if not yes and not _agreed():
        return Exit.USAGE
    rows = link.post("backfill", said)["backfills"]
    for row in rows:
        if not row.get("new") and (row["since"], row["until"]) != (plan["since"], plan["until"]):
            say(f"{_place(row)}: one of {_range(row)} is under way already; stop it with --stop to begin another")
    if not follow:
        return _told(app, rows)
    return _follow(app, link, [row["id"] for row in rows])


def render(plan: Row) -> list[str]:
    """What it would cost, as lines."""
    least = "at least " if plan.get("at_least") else "about "
    lines = [f"backfill of {plan['integration']} from {_when(plan['since'])} to {_when(plan['until'])}"]
    for one in plan["resources"]:
        calls = one["calls"]["value"]
        text = f"  {one['name']}: " + (plural(int(calls), "call") if calls is not None else "calls not known yet")
        if one["bounds"] == "none":
            text += ", all of it: the partner cannot be asked for a range"
        elif one["bounds"] == "since":
            text += ", to now: the partner takes no upper bound"
        for child, more in one["children"].items():
            text += f"; {child} below: {number(int(more))} more"
        lines.append(text)
    total = f"{least}{plural(int(plan['calls']), 'call')}, {lasting(max(plan['seconds'], 1.0))}"
    binding = f" ({plan['binding']} binds)" if plan.get("binding") else ""
    lines.append(f"{total} in the lowest lane beside the schedule{binding}")
    shares = [f"{name} {share:.0%}" for name, share in plan["shares"].items() if share >= 0.005]
    if shares:
        lines.append(f"share of the budget meanwhile: {', '.join(shares)}")
    return lines


def _agreed() -> bool:
    if not sys.stdin.isatty():
        say("not begun: nobody is there to ask; say --yes")
        return False
    return click.confirm("begin?", default=False, err=True)


def _show(app: App, plan: Row) -> None:
    if app.as_json:
        result_json(plan)
    else:
        for line in render(plan):
            result(line)


def _told(app: App, rows: Sequence[Row], *, of: int = 0) -> Exit:
    if app.as_json:
        result_json({"schema": "syncd.backfills/1", "backfills": list(rows)})
    else:
        for row in rows:
            result(line_of(row, app.clock.now()))
        if any(row["state"] not in ENDED for row in rows):
            say(f"the daemon goes on with it; see: syncd backfill {rows[0]['integration']} --follow")
    if any(row["state"] == "failed" for row in rows):
        return Exit.FAILURES
    return Exit.OK if len(rows) >= of else Exit.TRY_LATER


def _stop(app: App, link: Link, named: Mapping[str, str]) -> Exit:
    rows = link.post("backfill/stop", named)["backfills"]
    if not rows and not app.as_json:
        result("none was under way")
        return Exit.OK
    return _told(app, rows)


def _standing(app: App, link: Link, named: Mapping[str, str], follow: bool) -> Exit:
    rows = link.get("backfills", {"integration": named["integration"]})["backfills"]
    rows = [row for row in rows if named.get("resource") in (None, row["resource"])]
    if not rows and not app.as_json:
        result("no backfill yet; begin one with --since")
        return Exit.OK
    if follow and any(row["state"] not in ENDED for row in rows):
        return _follow(app, link, [row["id"] for row in rows if row["state"] not in ENDED])
    return _told(app, rows)


def _follow(app: App, link: Link, ids: Sequence[int]) -> Exit:
    try:
        rows = arun(
            until_ended(
                app,
                link,
                "backfills",
                ids,
                lambda row: line_of(row, app.clock.now()),
                look_seconds=LOOK_SECONDS,
                line_at_once=True,
            )
        )
    except KeyboardInterrupt:
        say("left: the daemon goes on with it. Stop it with --stop")
        return Exit.INTERRUPTED
    return _told(app, rows, of=len(ids))


def line_of(row: Row, now: datetime) -> str:
    """One backfill as one line."""
    state = str(row["state"])
    until = moment_of(row.get("not_before"))
    if state == "running" and until is not None and until > now:
        state = f"waiting {lasting((until - now).total_seconds())}"
    calls = plural(row["calls"], "call")
    if row.get("expected_calls"):
        calls += f" of about {number(row['expected_calls'])}"
    parts = [calls, f"{number(row['seen'])} read", f"{number(row['added'])} new", f"{number(row['updated'])} changed"]
    parts += [f"{number(row[key])} {key}" for key in ("deleted", "rejected") if row.get(key)]
    if row.get("tasks"):
        parts.append(plural(row["tasks"], "listing below", "listings below"))
    if row.get("waited_seconds", 0.0) >= 1.0:
        parts.append(f"waited {lasting(row['waited_seconds'])} for limits")
    text = f"{_place(row)}  {_range(row)}  {state}: {', '.join(parts)}"
    if row.get("reason") and state != "done":
        text += f"\n  {row['reason']}"
    if state == "failed":
        text += "\n  do: the same command goes on where it stopped"
    return text


def _place(row: Row) -> str:
    return f"{row['integration']}/{row['resource']}"


def _range(row: Row) -> str:
    return f"{_when(row['since'])} to {_when(row['until'])}"


def _when(value: str) -> str:
    moment = moment_of(value)
    if moment is None:
        return "?"
    return f"{moment:%Y-%m-%d}" if not (moment.hour or moment.minute) else f"{moment:%Y-%m-%d %H:%M}"
