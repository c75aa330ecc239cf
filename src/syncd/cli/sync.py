"""`syncd sync`: wish for runs now and watch them. Waiting for a limit is a state of its own, never a failure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import click

from syncd.cli.app import App, Target, arun, common
from syncd.cli.exits import Exit
from syncd.cli.following import LINE_SECONDS, may_return
from syncd.cli.output import Failure, lasting, moment_of, number, plural, result, result_json, say

if TYPE_CHECKING:
    from syncd.cli.link import Link

LOOK_SECONDS = 0.5
FIRST_LOOK_SECONDS = 0.1
"""After the first look; each pause is half as long again as the one before, up to LOOK_SECONDS. One record is often there
at once."""
MISSES = 10
"""Looks at which the daemon may leave a run out before it counts as ended. A single record is a row from before its wish is
answered until it was dealt with: left out once, it has ended."""
BARRED_SECONDS = 10.0
"""So long the end of a pause, a hold or an open breaker is waited for; whoever asked has more to do than that."""
ENDED = frozenset({"done", "failed", "cut", "unknown"})

NOT_RUNNING = ("starting", "disabled", "not-started")
"""What the status calls an integration that does not run; its words are of more use than that."""

Row = dict[str, Any]


@click.command(short_help="Bring an integration up to date now.")
@click.argument("targets", nargs=-1, required=True, type=Target(), metavar="INTEGRATION[/RESOURCE]...")
@click.option("--id", "external_id", metavar="ID", help="One record only, by the partner's id; needs a resource.")
@click.option("--no-wait", is_flag=True, help="Return once the wish is stored.")
@common(json=True)
def sync(app: App, targets: Sequence[tuple[str, str | None]], external_id: str | None, no_wait: bool) -> Exit:
    """Bring an integration up to date now, ahead of its schedule, and show how it goes.

    Of a whole integration what seldom changes (`ttl`: users, teams) is left alone while its copy serves; name it to read it.
    Ctrl-C detaches: the daemon goes on. Exit 1 when a run failed; 75 when one was cut short by a stop of the daemon, or
    waits for the end of a pause, a hold or an open breaker: it is told why, and the daemon goes on with it then.
    """
    if external_id is not None and (len(targets) != 1 or targets[0][1] is None):
        raise click.UsageError("--id needs one INTEGRATION/RESOURCE")
    link = app.link()
    wishes: list[int] = []
    for integration, resource in targets:
        said = {"integration": integration, "resource": resource, "id": external_id}
        wishes += arun(wished(app, link, {key: value for key, value in said.items() if value is not None}))
    if no_wait:
        if app.as_json:
            result_json({"schema": "syncd.wishes/1", "wishes": wishes})
        else:
            result(f"{plural(len(wishes), 'run')} wished for; see syncd status")
        return Exit.OK
    live = sys.stderr.isatty() and not app.as_json
    screen: Screen = LiveScreen() if live else LineScreen()
    board = Board(wishes, _place(targets, external_id))
    try:
        rows = arun(follow(app, link, board, screen))
    except KeyboardInterrupt:
        say("detached: the daemon goes on with it. See: syncd status")
        return Exit.INTERRUPTED
    if app.as_json:
        result_json({"schema": "syncd.sync/1", "runs": rows})
    else:
        for row in rows:
            result(summary(row))
    return verdict(rows)


class Screen(Protocol):
    every_seconds: float

    def show(self, rows: Sequence[Row], now: datetime) -> None: ...

    def remark(self, text: str) -> None: ...

    def close(self) -> None: ...


def _place(targets: Sequence[tuple[str, str | None]], external_id: str | None) -> Row:
    """What is known of every wish before the daemon has told anything."""
    integration, resource = targets[0] if len(targets) == 1 else ("?", None)
    return {"integration": integration, "resource": resource or "?", "external_id": external_id}


async def follow(app: App, link: Link, board: Board, screen: Screen) -> list[Row]:
    """Show progress until every wish has ended. A daemon that restarts meanwhile is waited for."""
    rows: list[Row] = []
    shown_at = seen_at = barred_at = app.clock.monotonic()
    away = False
    pause = FIRST_LOOK_SECONDS
    try:
        while True:
            now = app.clock.monotonic()
            try:
                told = link.get("progress", [("wish", wish) for wish in board.wishes])["runs"]
                rows = board.told(told)
                seen_at, away = now, False
            except Failure as failure:
                if not may_return(failure, now - seen_at):
                    raise
                if not away:
                    screen.remark("the daemon is away; the wish is stored and waits for it")
                away = True
            over = len(rows) == len(board.wishes) and all(is_barred(row) or row.get("state") in ENDED for row in rows)
            if not over:
                barred_at = now
            elif now - barred_at >= BARRED_SECONDS or not any(soon(row, app.clock.now()) for row in rows):
                screen.show(rows, app.clock.now())
                return rows
            if now - shown_at >= screen.every_seconds:
                screen.show(rows, app.clock.now())
                shown_at = now
            await app.clock.sleep(pause)
            pause = min(pause * 1.5, LOOK_SECONDS)
    finally:
        screen.close()


def is_barred(row: Row) -> bool:
    """Does it wait for what no time of its own ends: a pause, a hold, an open breaker?"""
    return row.get("state") == "waiting" and bool(row.get("explanation"))


def soon(row: Row, now: datetime) -> bool:
    """Is what bars it to be over within moments?"""
    until = moment_of(row.get("resumes_at")) if is_barred(row) else None
    return until is not None and (until - now).total_seconds() < BARRED_SECONDS


async def wished(app: App, link: Link, said: Row) -> list[int]:
    """Ask for it; a daemon that is about to start this integration is waited for. Raises Failure."""
    began, waited = app.clock.monotonic(), False
    while True:
        try:
            return list(link.post("sync", said)["wishes"])
        except Failure as failure:
            if failure.exit_code != Exit.TRY_LATER:
                raise
            why = _standing(link, said["integration"])
            if why.get("code") != "starting" or not may_return(failure, app.clock.monotonic() - began):
                if why.get("code") in NOT_RUNNING:
                    failure.why, failure.do = why["reason"], why["action"]
                raise
        if not waited:
            say(f"the daemon is about to start {said['integration']}: waiting for it")
        waited = True
        await app.clock.sleep(LOOK_SECONDS)


def _standing(link: Link, integration: str) -> Row:
    """Why the status says it is as it is; empty where nothing is to be said, or nobody says it."""
    try:
        found = link.get("status")["integrations"]
    except Failure:
        return {}
    return next((one.get("explanation") or {} for one in found if one.get("name") == integration), {})


class Board:
    """The last thing known of each wish. A wish the daemon keeps leaving out has ended, we cannot know how: a single
    record is not followed, and a daemon that was restarted no longer knows the runs it had finished."""

    def __init__(self, wishes: Sequence[int], place: Row) -> None:
        self.wishes = tuple(wishes)
        self._place = place
        self._misses = MISSES if place.get("external_id") is None else 1
        self._last: dict[int, Row | None] = dict.fromkeys(wishes)
        self._missed = dict.fromkeys(wishes, 0)

    def told(self, rows: Sequence[Row]) -> list[Row]:
        found = {row["wish_id"]: row for row in rows}
        for wish, last in self._last.items():
            if wish in found:
                self._last[wish], self._missed[wish] = found[wish], 0
            elif last is None or last.get("state") not in ENDED:
                self._missed[wish] += 1
                if self._missed[wish] >= self._misses:
                    self._last[wish] = {**self._place, **(last or {}), "wish_id": wish, "state": "unknown"}
        return [row for row in self._last.values() if row is not None]


def line_of(row: Row, now: datetime | None) -> str:
    """One run as one line; what it waits for is said in words."""
    parts = [
        f"page {row.get('page', 0)}",
        f"{number(row.get('added', 0))} new",
        f"{number(row.get('updated', 0))} changed",
    ]
    parts.append(f"{number(row.get('unchanged', 0))} unchanged")
    parts += [f"{number(row[key])} {key}" for key in ("rejected", "deleted") if row.get(key)]
    parts.append(plural(row.get("calls", 0), "call"))
    if row.get("waited_seconds", 0.0) >= 1.0:
        parts.append(f"waited {lasting(row['waited_seconds'])} for limits")
    return f"{state_of(row, now)}: {', '.join(parts)}"


def state_of(row: Row, now: datetime | None) -> str:
    state = str(row.get("state", "?"))
    if state == "waiting":
        until = moment_of(row.get("resumes_at"))
        seconds = (until - now).total_seconds() if until and now else 0.0
        left = f" {lasting(seconds)}" if seconds >= 1.0 else ""
        return f"waiting{left} ({row.get('waiting_reason') or 'limit'})"
    if state == "running" and row.get("eta_seconds") is not None:
        return f"running, about {lasting(row['eta_seconds'])} left"
    return state


def summary(row: Row) -> str:
    place = f"{row.get('integration')}/{row.get('resource')}"
    if row.get("external_id"):
        place += f" {row['external_id']}"
    if row.get("state") == "unknown" and row.get("external_id"):
        where = f"{row.get('integration')}/{row.get('resource')} {row['external_id']}"
        return f"{place}  taken; what came of it: syncd records show {where}, or syncd dlq list"
    why = row.get("explanation") or {}
    text = f"{place}  {line_of(row, None)}"
    if why.get("reason"):
        text += f"\n  {why['reason']}" + (f"\n  do: {why['action']}" if why.get("action") else "")
    if is_barred(row):
        text += f"\n  it is kept, and goes by itself then; nobody has to wait: syncd status {row.get('integration')}"
    if row.get("state") == "unknown":
        text += "\n  the daemon was restarted meanwhile and no longer knows how it ended: syncd status"
    if row.get("rejected"):
        text += "\n  rejected records: syncd dlq list"
    return text


def verdict(rows: Sequence[Row]) -> Exit:
    states = {row.get("state") for row in rows if not (row.get("external_id") and row.get("state") == "unknown")}
    if "failed" in states:
        return Exit.FAILURES
    return Exit.TRY_LATER if states & {"cut", "unknown", "waiting"} else Exit.OK


class LineScreen:
    """For logs and pipes: a line a run every ten seconds."""

    every_seconds = LINE_SECONDS

    def show(self, rows: Sequence[Row], now: datetime) -> None:
        for row in rows:
            if row.get("state") not in ENDED:
                say(f"{row.get('integration')}/{row.get('resource')}  {line_of(row, now)}")

    def remark(self, text: str) -> None:
        say(text)

    def close(self) -> None:
        return


class LiveScreen:
    """For people: one bar a run, redrawn in place."""

    every_seconds = 0.0

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
        self._live.start()

    def show(self, rows: Sequence[Row], now: datetime) -> None:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 1))
        for row in rows:
            state = row.get("state")
            done = sum(row.get(key) or 0 for key in ("added", "updated", "unchanged", "rejected"))
            total = row.get("total")
            bar = ProgressBar(
                total=total or 100.0,
                completed=min(done, total) if total else 100.0 if state in ENDED else 0.0,
                width=24,
                pulse=total is None and state == "running",
            )
            style = {"waiting": "cyan", "failed": "red", "done": "green", "cut": "yellow"}.get(str(state), "")
            place = f"{row.get('integration')}/{row.get('resource')}"
            grid.add_row(Text(place), bar, Text(line_of(row, now), style=style))
        if not rows:
            grid.add_row(Text("waiting for the daemon to take it"))
        self._live.update(grid, refresh=True)

    def remark(self, text: str) -> None:
        self._live.console.print(text, markup=False)

    def close(self) -> None:
        self._live.stop()
