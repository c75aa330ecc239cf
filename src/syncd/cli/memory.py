"""`syncd memory`: how much the daemon has, what narrows it, and on request where it went."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, Lasting, arun, common
from syncd.cli.output import ago, clock_time, lasting, number, paint, plural, result, result_json, say, table

if TYPE_CHECKING:
    from syncd.cli.link import Link
    from syncd.clock import Clock

MOST_SECONDS = 600.0
GRACE_SECONDS = 5.0
"""After so much more the daemon ends it by itself: whoever began it is gone."""


@click.command(short_help="How much memory the daemon has, and where it went.")
@click.option(
    "--trace", "seconds", type=Lasting(), metavar="DURATION",
    help="Note for so long (10m at most) which lines of code keep memory; the daemon is slower meanwhile.",
)  # fmt: skip
@click.option(
    "--frames", type=click.IntRange(1, 10), default=1, show_default=True, help="Callers noted with each line."
)
@click.option("--top", type=click.IntRange(1, 100), default=20, show_default=True, help="So many lines, largest first.")
@click.option("--last", is_flag=True, help="What the last trace found, or the one under way so far.")
@click.option("--stop", is_flag=True, help="End a trace before its time.")
@common(json=True)
def memory(app: App, seconds: float | None, frames: int, top: int, last: bool, stop: bool) -> None:
    """How much memory the daemon has, its ceiling, what narrows it, and what holds most of what it may.

    With --trace, the lines of code whose memory grew meanwhile. Ctrl-C ends a trace and shows what it found so far.
    """
    link = app.link()
    if stop:
        ended = link.post("memory/trace", {"action": "stop"})
        if app.as_json:
            result_json(ended)
        else:
            result("the trace is ended: syncd memory --last" if ended.get("stopped") else "nothing was being traced")
        return
    if seconds is not None:
        if seconds > MOST_SECONDS:
            raise click.UsageError("a trace lasts 10m at most")
        _traced(link, app.clock, seconds, frames)
    if seconds is not None or last:
        found = link.post("memory/trace", {"action": "snapshot", "top": top}, seconds=60.0)
    else:
        found = link.get("memory")
    if app.as_json:
        result_json(found)
    elif seconds is not None or last:
        _print_trace(found)
    else:
        _print(found, app.clock.now())


def _traced(link: Link, clock: Clock, seconds: float, frames: int) -> None:
    """Begin, wait, end. Whatever ends the waiting, the daemon does not go on tracing."""
    longest = min(seconds + GRACE_SECONDS, MOST_SECONDS)
    link.post("memory/trace", {"action": "start", "seconds": longest, "frames": frames}, seconds=60.0)
    say(f"tracing for {lasting(seconds)}, and slower for it; Ctrl-C ends it now")
    try:
        arun(clock.sleep(seconds))
    except KeyboardInterrupt:
        say("")
    link.post("memory/trace", {"action": "stop"}, seconds=60.0)


def _print(found: Mapping[str, Any], now: datetime) -> None:
    ceiling, narrowing = found["ceiling"], found["narrowing"]
    result(f"resident   {size(found['rss_bytes'])}, at most so far {size(found['highest_bytes'])}")
    said = f"{size(ceiling['bytes'])} ({ceiling['told_by']})" if ceiling["bytes"] else f"none ({ceiling['told_by']})"
    result(f"ceiling    {said}")
    if narrowing["level"]:
        since = f" for {ago(narrowing['since'], now)}" if narrowing["since"] else ""
        result(paint(f"narrowed   {narrowing['says']}{since}; {narrowing['waiting']} wait for their turn", "yellow"))
    if found.get("given_back"):
        result(f"given back what was free, {plural(found['given_back'], 'time')}")
    if found.get("trace"):
        result(paint(f"traced     by {found['trace']['who']} until {clock_time(found['trace']['ends_at'])}", "yellow"))
    step = found.get("slow_step")
    if step:
        where = step["place"] + (f" ({step['task']})" if step.get("task") else "")
        result(f"slow step  {ago(step['at'], now)} ago: {step['seconds']} s in {where}")
    result()
    rows = [
        [_held(one["holds"], one["unit"]), _held(one["most"], one["unit"]), one["unit"], one["name"]]
        for one in found["holds"]
        if one["most"]
    ]
    result(table(rows, ["HOLDS", "MOST", "OF", "WHAT"], right=frozenset({0, 1})))
    say("where it goes: syncd memory --trace 60s")


def _print_trace(found: Mapping[str, Any]) -> None:
    places = found.get("places") or []
    result(f"grown by {size(found['grown_bytes'])} in what Python handed out, from {clock_time(found['began_at'])} on")
    if not places:
        result("nothing grew")
        return
    rows = [
        [size(one["bytes"]), number(one["count"]), size(one["held_bytes"]), " < ".join(one["at"])] for one in places
    ]
    result(table(rows, ["GREW", "PIECES", "HOLDS", "WHERE"], right=frozenset({0, 1, 2})))


def _held(value: int, unit: str) -> str:
    return size(value) if unit == "bytes" else number(value)


def size(value: float) -> str:
    """`143.2 MiB`."""
    for unit, bytes_each in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if abs(value) >= bytes_each:
            return f"{value / bytes_each:,.1f} {unit}"
    return f"{value:,.0f} B"
