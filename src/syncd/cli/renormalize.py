"""`syncd renormalize`: stored raw read again by an adapter, without a call to the partner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from syncd.cli.app import App, Target, arun, common
from syncd.cli.exits import Exit
from syncd.cli.following import Row, until_ended
from syncd.cli.output import number, plural, result, result_json, say

LOOK_SECONDS = 0.3
SHOWN = 5


@click.command(short_help="Read stored records again by an adapter, without a call.")
@click.argument("target", type=Target(), metavar="INTEGRATION[/RESOURCE]")
@click.option(
    "--adapter", metavar="NAME", help="Instead of what the file says; without --dry-run it must say the same."
)
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--no-wait", is_flag=True, help="Do not stay until it has ended.")
@click.option("--stop", is_flag=True, help="Stop what is under way; what is done stays.")
@common(json=True)
def renormalize(
    app: App, target: tuple[str, str | None], adapter: str | None, dry_run: bool, no_wait: bool, stop: bool
) -> Exit:
    """Read what is stored as the partner sent it again by an adapter, and store what it makes of that.

    No call is made. The daemon does it in batches beside its work, goes on after a restart, and never touches what was
    stored anew meanwhile. Rejected records are tried too: one that is sound now becomes a record. Exit 1 when one failed.
    """
    link = app.link()
    named = {key: text for key, text in zip(("integration", "resource"), target, strict=True) if text is not None}
    if stop:
        rows: Sequence[Row] = link.post("renormalize/stop", named)["renormalizations"]
        if not rows and not app.as_json:
            result("none was under way")
            return Exit.OK
        return _told(app, rows)
    said = {**named, "dry": dry_run, **({"adapter": adapter} if adapter else {})}
    rows = link.post("renormalize", said)["renormalizations"]
    if no_wait:
        return _told(app, rows)
    ids = [row["id"] for row in rows]
    try:
        rows = arun(until_ended(app, link, "renormalizations", ids, line_of, look_seconds=LOOK_SECONDS))
    except KeyboardInterrupt:
        say("left: the daemon goes on with it. Stop it with --stop")
        return Exit.INTERRUPTED
    return _told(app, rows, of=len(ids))


def _told(app: App, rows: Sequence[Row], *, of: int = 0) -> Exit:
    if app.as_json:
        result_json({"schema": "syncd.renormalizations/1", "renormalizations": list(rows)})
    else:
        for row in rows:
            for line in (line_of(row), *lines_below(row)):
                result(line)
    if any(row["state"] == "failed" for row in rows):
        return Exit.FAILURES
    return Exit.OK if len(rows) >= of else Exit.TRY_LATER


def line_of(row: Row) -> str:
    """One of them as one line."""
    by = f" by {row['adapter']}" if row.get("adapter") else ""
    changed = "would change" if row["dry"] else "changed"
    parts = [f"{number(row['seen'])} read{by}", f"{number(row['changed'])} {changed}"]
    parts.append(f"{number(row['unchanged'])} the same")
    if row.get("passed"):
        parts.append(f"{number(row['passed'])} stored anew meanwhile")
    if row.get("rejected"):
        parts.append(
            f"{number(row['rejected'])} {'would be refused' if row['dry'] else 'refused'}, and left as they were"
        )
    if row.get("healed"):
        parts.append(f"{number(row['healed'])} rejected before {'would be stored' if row['dry'] else 'stored now'}")
    text = f"{row['integration']}/{row['resource']}  {row['state']}: {', '.join(parts)}"
    return text + (f"\n  {row['reason']}" if row.get("reason") else "")


def lines_below(row: Row) -> list[str]:
    """Which fields differ, and in which records."""
    fields = sorted(row.get("fields", {}).items(), key=lambda each: (-each[1], each[0]))
    lines = [f"  {name}: {plural(count, 'record')}" for name, count in fields[:20]]
    for one in row.get("examples", [])[:SHOWN]:
        lines += example_lines(one)
    return lines


def example_lines(one: Mapping[str, Any]) -> list[str]:
    """One record, as kinds of values and never the values."""
    if "refused" in one:
        return [f"  {one['id']}: refused: {one['refused']}"]
    told = [f"{name}: {here} → {there}" for name, (here, there) in one.get("fields", {}).items()]
    return [f"  {one['id']}: {'; '.join(told)}"]
