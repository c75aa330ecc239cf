"""`syncd drift`: compare the copy with the partner, field by field, and write nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, Target, arun, common
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, lasting, number, plural, result, result_json, say

if TYPE_CHECKING:
    from syncd.cli.link import Link

Row = Mapping[str, Any]

FIRST_LOOK_SECONDS = 0.2
LOOK_SECONDS = 1.0
LINE_SECONDS = 10.0
MOST_SHOWN = 20
ALTERED = "altered here"
"""How the note of a record begins whose hash is that of the partner's answer, and whose fields are not."""
KINDS = {"missing_here": "missing here", "missing_there": "missing there", "differs": "differs"}


@click.command(short_help="Compare the copy with the partner; write nothing.")
@click.argument("target", type=Target(), metavar="INTEGRATION[/RESOURCE]")
@click.option(
    "--sample", type=click.IntRange(1, 100_000), metavar="N", help="N records by id instead of whole listings."
)
@click.option("--seed", type=click.IntRange(0, 2**31), help="The same sample once more.")
@click.option("--values", is_flag=True, help="Show the values that differ, not only of what kind they are.")
@click.option("--dry-run", is_flag=True, help="Say what it would cost, and nothing more.")
@common(json=True)
def drift(
    app: App, target: tuple[str, str | None], sample: int | None, seed: int | None, values: bool, dry_run: bool
) -> Exit:
    """Compare the copy with what the partner shows, record by record and field by field. Nothing is written.

    The daemon asks, in its lowest lane and within the limits. What looks different is read a second time before it is
    reported; what the next run will bring anyway is counted as pending. Ctrl-C stops it. Exit 1 when there is drift.
    """
    link = app.link()
    named = {key: text for key, text in zip(("integration", "resource"), target, strict=True) if text is not None}
    plan = link.get("drift/plan", {**named, **({"sample": sample} if sample is not None else {})})
    if dry_run:
        if app.as_json:
            result_json(plan)
        else:
            for line in render_plan(plan):
                result(line)
        return Exit.OK
    for line in render_plan(plan):
        say(line)
    asked: dict[str, Any] = {**named, "values": values}
    asked |= {key: value for key, value in (("sample", sample), ("seed", seed)) if value is not None}
    job = link.post("drift", asked)
    try:
        found = arun(_watch(app, link, str(job["id"])))
    except KeyboardInterrupt:
        link.post("drift/stop", {"id": job["id"]})
        say("stopped; nothing was written")
        return Exit.INTERRUPTED
    if app.as_json:
        result_json(found)
    else:
        for line in render(found):
            result(line)
    if found["state"] != "done":
        raise Failure(
            f"the comparison of {target[0]} did not end", found.get("reason") or found["state"],
            found.get("hint") or f"syncd status {target[0]}", exit=Exit.TRY_LATER,
        )  # fmt: skip
    return Exit.FAILURES if found["drift"] else Exit.OK


async def _watch(app: App, link: Link, key: str) -> Row:
    """Until it has ended. A daemon that is away has forgotten it: a comparison is not stored."""
    pause, shown_at = FIRST_LOOK_SECONDS, app.clock.monotonic()
    while True:
        found = link.get("drift", {"id": key})
        if found["state"] != "running":
            return found
        now = app.clock.monotonic()
        if now - shown_at >= LINE_SECONDS:
            shown_at = now
            for one in found["resources"]:
                if one["stage"] != "done" and one["checked"]:
                    say(f"{found['integration']}/{one['name']}  {one['stage']}: {_progress(one)}")
        await app.clock.sleep(pause)
        pause = min(pause * 1.5, LOOK_SECONDS)


def render_plan(plan: Row) -> list[str]:
    """What it costs, as lines."""
    least = "at least" if plan.get("at_least") else "about"
    what = f"{plan['sample']} records of each resource" if plan.get("sample") else "whole listings"
    lines = [
        f"comparing {what} of {plan['integration']}: {least} {plural(int(plan['calls']), 'call')}, "
        f"{lasting(max(plan['seconds'], 1.0))} in the lowest lane; what looks different is read once more"
    ]
    if plan.get("waits_seconds", 0.0) >= 1.0:
        lines.append(f"the first call can leave in {lasting(plan['waits_seconds'])}: {plan['waits_for']}")
    shares = [f"{name} {share:.0%}" for name, share in plan["shares"].items() if share >= 0.005]
    if shares:
        lines.append(f"share of the budget meanwhile: {', '.join(shares)}")
    lines += [f"not compared: {one['resource']} ({one['why']})" for one in plan.get("skipped", [])]
    return lines


def render(found: Row) -> list[str]:
    """What came of it, as lines."""
    lines = []
    for one in found["resources"]:
        state = "no drift" if not one["drift"] else plural(one["drift"], "record differs", "records differ")
        if one["stage"] != "done":
            state = f"not ended ({one['stage']})"
        lines.append(f"{found['integration']}/{one['name']}  {state}: {_progress(one)}")
        lines += [f"  {note}" for note in one["notes"]]
        for record in one["records"][:MOST_SHOWN]:
            lines += _record(record)
        if len(one["records"]) > MOST_SHOWN:
            lines.append(f"  … {len(one['records']) - MOST_SHOWN} more: --json has all of them")
        altered = sum(1 for record in one["records"] if record.get("note", "").startswith(ALTERED))
        if altered:
            lines.append(
                f"  {number(altered)} altered in the database: no pass writes these anew until their content_hash is empty; "
                'docs/operations.md, "A row that was altered here"'
            )
        if one["drift"] > altered:
            lines.append(f"  do: syncd reconcile {found['integration']}/{one['name']}")
        if one["sampled"] is not None:
            lines.append(f"  the same sample once more: --sample {one['sampled']} --seed {found['seed']}")
    return lines


def _progress(one: Row) -> str:
    parts = [f"{number(one['checked'])} compared"]
    for key, text in (("missing_here", "missing here"), ("missing_there", "missing there"), ("differing", "differing")):
        if one[key]:
            parts.append(f"{number(one[key])} {text}")
    if one["pending"]:
        parts.append(f"{number(one['pending'])} newer there, brought by the next run")
    if one["settled"]:
        parts.append(f"{number(one['settled'])} under way at the first look")
    if one["unsound"]:
        parts.append(f"{number(one['unsound'])} unreadable")
    parts.append(plural(one["calls"], "call"))
    return ", ".join(parts)


def _record(record: Row) -> list[str]:
    note = f" ({record['note']})" if record.get("note") else ""
    lines = [f"  {record['id']}  {KINDS.get(record['kind'], record['kind'])}{note}"]
    lines += [f"    {each['field']}: here {each['here']}, there {each['there']}" for each in record["fields"]]
    return lines
