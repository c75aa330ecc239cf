"""The demo: raise the curtain, watch the import, play the story, compare and count, take everything down."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from syncd import __version__
from syncd.clock import SystemClock
from syncd.daemon import Daemon, Options
from syncd.demo.cast import CAST
from syncd.demo.lines import Line, lines, screen, shown
from syncd.demo.stage import Stage, free_ports, stage
from syncd.demo.story import Story
from syncd.demo.verdict import Verdict
from syncd.sync.scope import label

LOOK_SECONDS = 0.25
PLAIN_SECONDS = 2.0
LONGEST_SECONDS = 240.0
"""An import that has not converged by then says so and ends with 1."""

OK = 0
FAILED = 1
INTERRUPTED = 130


def run(*, plain: bool = False, keep: bool = False, quick: bool = False) -> int:
    """Run the demo; returns the exit code. Draws on stderr where that is a terminal, prints lines otherwise.

    `quick` leaves out the story: the import alone.
    """
    console = Console(stderr=True, highlight=False)
    drawn = console.is_terminal and not plain
    public, admin = free_ports(2)
    console.print(
        f"[bold]syncd {__version__} demo[/] · everything stays on this machine · Ctrl-C stops and cleans up\n"
    )
    began = SystemClock().monotonic()
    with suppress(KeyboardInterrupt), stage(public, admin) as set_up:
        console.print(f" ✓ PostgreSQL (embedded)       {SystemClock().monotonic() - began:.1f} s")
        console.print(f" ✓ {len(CAST)} simulated partners      {' '.join(CAST)}, with their true limits")
        return asyncio.run(_play(set_up, console, drawn=drawn, keep=keep, quick=quick))
    return INTERRUPTED


async def _play(set_up: Stage, console: Console, *, drawn: bool, keep: bool, quick: bool) -> int:
    log = (set_up.directory / "daemon.log").open("a")
    daemon = Daemon(Options(config=set_up.config, database_url=set_up.database_url, log_stream=log))
    running = asyncio.create_task(daemon.run())
    show = _Show(set_up, daemon, console)
    try:
        code = await show.play(running, drawn=drawn, quick=quick)
        if code == OK and keep and not daemon.stopping.is_set():
            console.print(f"\n Running on: http://127.0.0.1:{set_up.admin}/ui · Ctrl-C stops and cleans up")
            await asyncio.wait([running])
        return code
    finally:
        daemon.stopping.set()
        await asyncio.wait([running])
        log.close()


class _Show:
    def __init__(self, set_up: Stage, daemon: Daemon, console: Console) -> None:
        self._set_up = set_up
        self._daemon = daemon
        self._console = console
        self._clock = SystemClock()
        self._began = self._clock.monotonic()

    async def play(self, running: asyncio.Task[int], *, drawn: bool, quick: bool) -> int:
        while await self._daemon.engine.ready():
            if running.done():
                self._console.print(f"[red]the daemon ended:[/] {running.exception() or running.result()}")
                return FAILED
            await self._clock.sleep(0.05)
        self._console.print(f" ✓ syncd running               http://127.0.0.1:{self._set_up.public}/health")
        self._console.print(f" ✓ its page                    http://127.0.0.1:{self._set_up.admin}/ui\n")
        ended, forced = await self._watch(running, drawn=drawn), dict[str, int]()
        if ended and not quick:
            self._console.print(f"\n [bold]imported in {self._elapsed:.1f} s[/]; now the partners turn difficult\n")
            ended = await self._tell(running, forced, drawn=drawn)
        if ended:
            verdict = Verdict(self._set_up, self._daemon, self._clock, forced)
            return OK if await verdict.say(self._console, self._elapsed) else FAILED
        if self._daemon.stopping.is_set():
            self._console.print("\n stopped; nothing is left behind")
            return INTERRUPTED
        self._console.print("[red] not converged in time[/]")
        await self._say_log()
        return FAILED

    @property
    def _elapsed(self) -> float:
        return self._clock.monotonic() - self._began

    async def _watch(self, running: asyncio.Task[int], *, drawn: bool) -> bool:
        overview = await self._daemon.engine.overview()
        live = Live(self._table(overview), console=self._console, refresh_per_second=8) if drawn else None
        with live or nullcontext():
            said = -PLAIN_SECONDS
            while not running.done() and not self._daemon.stopping.is_set():
                overview = await self._daemon.engine.overview()
                elapsed = self._elapsed
                if live is not None:
                    live.update(self._table(overview))
                elif elapsed - said >= PLAIN_SECONDS:
                    said = elapsed
                    self._console.print(self._line(overview, elapsed))
                if all(_done(one) for one in _resources(overview)):
                    return True
                if elapsed > LONGEST_SECONDS:
                    return False
                await self._clock.sleep(LOOK_SECONDS)
        return False

    def _table(self, overview: Mapping[str, Any]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        for heading in ("partner", "resource", "records", "", "calls", "limit", ""):
            table.add_column(heading, justify="right" if heading in {"records", "calls"} else "left", no_wrap=True)
        for integration in sorted(overview["integrations"], key=lambda one: one["partner"]):
            limit = _limit(integration)
            for at, resource in enumerate(integration["resources"]):
                told = resource["last_run"] or {}
                due = CAST[integration["partner"]].simulated.get(resource["name"])
                done = _done(resource)
                table.add_row(
                    f"[bold]{integration['partner']}[/]" if at == 0 else "",
                    resource["name"],
                    f"{resource['records']:,}",
                    _bar(resource["records"], due, done=done, width=20 if self._console.width >= 100 else 10),
                    str(told.get("calls", 0)),
                    limit if at == 0 else "",
                    "[green]✓[/]" if done else _waiting(integration),
                )
        return table

    def _line(self, overview: Mapping[str, Any], elapsed: float) -> str:
        parts = []
        for integration in sorted(overview["integrations"], key=lambda one: one["partner"]):
            records = sum(resource["records"] for resource in integration["resources"])
            open_now = sum(not _done(resource) for resource in integration["resources"])
            note = "done" if not open_now else _waiting(integration) or f"{open_now} to go"
            parts.append(f"{integration['partner']} {records:,} records ({note})")
        return f" {elapsed:5.1f} s  " + " · ".join(parts)

    async def _tell(self, running: asyncio.Task[int], forced: dict[str, int], *, drawn: bool) -> bool:
        """Play the story; True when it ended by itself. `forced` is told the 429s that partners were made to answer."""
        engine = self._daemon.engine
        overview, caption = await engine.overview(), ""
        said: dict[str, Line] = {}

        def captioned(text: str) -> None:
            nonlocal caption
            caption = text
            if live is None:
                self._console.print(f" {self._elapsed:5.1f} s  » {text}", soft_wrap=True)

        store = self._daemon.store
        assert store is not None
        story = Story(self._set_up, engine, store, self._clock, lambda: overview, captioned, forced)
        playing = asyncio.create_task(story.play())
        live = Live(console=self._console, refresh_per_second=8) if drawn else None
        try:
            with live or nullcontext():
                while not running.done() and not self._daemon.stopping.is_set():
                    overview = await engine.overview()
                    told = lines(overview)
                    if live is not None:
                        live.update(screen(told, caption))
                    for line in told if live is None else ():
                        if line.is_news_after(said.get(line.partner)):
                            said[line.partner] = line
                            self._print(line)
                    if playing.done():
                        playing.result()
                        return True
                    await self._clock.sleep(LOOK_SECONDS)
            return False
        finally:
            playing.cancel()
            await asyncio.wait([playing])

    def _print(self, line: Line) -> None:
        said = f" {self._elapsed:5.1f} s  {line.partner:<7} {shown(line.state):<8} {line.text}"
        self._console.print(said, soft_wrap=True, markup=False)

    async def _say_log(self) -> None:
        lines = (self._set_up.directory / "daemon.log").read_text(errors="replace").splitlines()
        for line in lines[-15:]:
            self._console.print(f" [dim]{line}[/]")


def _resources(overview: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [resource for integration in overview["integrations"] for resource in integration["resources"]]


def _done(resource: Mapping[str, Any]) -> bool:
    return resource["last_success_at"] is not None or resource["strategy"] == "children"


def _limit(integration: Mapping[str, Any]) -> str:
    tiers = integration["limits"]["tiers"]
    if not tiers:
        return ""
    fullest = max(tiers, key=lambda tier: (tier["used"] / tier["budget"], tier["window_seconds"]))
    return f"{fullest['used']:.0f}/{fullest['budget']:.0f} {label(fullest)}"


def _waiting(integration: Mapping[str, Any]) -> str:
    limits = integration["limits"]
    if limits["paused_until"] is not None:
        return "[yellow]told to wait[/]"
    if sum(limits["waiting"].values()):
        return "[yellow]waiting[/]"
    explained = integration["explanation"]
    return f"[red]{explained['reason'][:60]}[/]" if explained is not None else ""


def _bar(have: int, due: int | None, *, done: bool, width: int) -> str:
    share = 1.0 if done else min(have / due, 1.0) if due else 0.0
    full = round(share * width)
    return f"[green]{'━' * full}[/][dim]{'━' * (width - full)}[/]"
