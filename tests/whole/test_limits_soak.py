"""The quota as partners count it, for ten minutes: four tier sets at once, slow answers, three kills and five reloads.

`make soak T=tests/whole/test_limits_soak.py ARGS=-s`; SYNCD_SOAK_LIMITS_SECONDS=90 tries it for less. Two things must
hold: no partner ever counts more than it allows, and while work waits the configured budget is used as far as a limit can
be whose slots are held from send until one window after the response: W / (W + mean response time) of it, less 5 %.

Meanwhile people ask for single records, one in five seconds: they wait two seconds at most, but for the first window after
a kill.

What the partners measured themselves is all that counts here: arrivals, and how long their own answers took. What the
daemon and the network add to that is on our side of the ledger.
"""

from __future__ import annotations

import asyncio
import math
import os
import secrets
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import pytest

from syncd.testing.control import Control
from syncd.testing.process import Spawned
from tests.whole.daemon import Daemon, Rows
from tests.whole.metered import NOTE_TASKS, Line, described, journal, waits

SECONDS = float(os.environ.get("SYNCD_SOAK_LIMITS_SECONDS", "600"))
KILLS = (0.2, 0.28, 0.36)
RELOADS = (0.1, 0.45, 0.55, 0.65, 0.75)
"""When, as a share of the whole. The kills lie together, so that whole windows of the longest tier remain."""
PROMISED = 0.95
ASK_SECONDS = 5.0


@dataclass(slots=True)
class Tier:
    """One limit that should bind: what is configured, and which calls it counts."""

    name: str
    limit: float
    window: float
    counts: Callable[[Line], float] = lambda line: 1.0


@dataclass(slots=True)
class Side:
    """One partner of the campaign."""

    name: str
    tiers: list[Tier]
    body: Callable[[str], dict[str, Any]]
    options: dict[str, Any]
    simulator: Spawned | None = None
    control: Control | None = None
    spans: list[tuple[float, float]] = field(default_factory=list)
    """By its own clock: from when a daemon was ready until it was killed."""
    ready_at: float = 0.0
    asked: dict[str, bool] = field(default_factory=dict)
    """Single records people asked for; True: not in the first window after a kill."""
    page_size: int = 2

    def file(self) -> dict[str, Any]:
        assert self.simulator is not None
        body = self.body(self.simulator.base_url)
        body["rest"]["page_size"] = self.page_size
        return body


def reads(line: Line) -> float:
    return 1.0 if line.method == "GET" else 0.0


def writes(line: Line) -> float:
    return 1.0 - reads(line)


def points(line: Line) -> float:
    return line.points


def partner(base_url: str, rest: dict[str, Any], names: list[str], **more: Any) -> dict[str, Any]:
    integrations = {name: {"credentials": {"api_key": f"key-{name}"}} for name in names}
    return {"driver": "rest", "base_url": base_url, "rest": rest, "integrations": integrations, **more}


def steps(url: str) -> dict[str, Any]:
    """Three integrations in one scope below three tiers the operator wrote (hence all of them: share 1.0)."""
    made = partner(url, described(6), ["step-one", "step-two", "step-three"], workers=12)
    made["limits"] = {"tiers": ["10/1s", "50/10s", "300/120s"], "accept_risk": True}
    for integration in made["integrations"].values():
        integration["scope"] = "shared"
    return made


def split(url: str) -> dict[str, Any]:
    """Reads and writes are counted apart."""
    limits = {"tiers": [{"rate": "5/s", "budget": "read"}, {"rate": "2/s", "budget": "write"}], "accept_risk": True}
    return partner(url, described(8, searches=6), ["split"], workers=14, limits=limits)


def scored(url: str) -> dict[str, Any]:
    """Calls cost 4 to 6 points, told afterwards; the most they can cost is what must fit before."""
    rest = described(12, weight=6.0, cost="X-Cost", tiers=[{"rate": "600/20s", "weighted": True}, "20/s"])
    return partner(url, rest, ["scored"], workers=12)


def stated(url: str) -> dict[str, Any]:
    """A partner's stated limit, of which 70 % is configured, and seats: those of a killed process may be taken for one
    deadline, which is kept below the window here."""
    rest = described(8, share=0.7, tiers=["60/15s", "1500/300s"], concurrency=6)
    return partner(url, rest, ["stated"], deadline="12s")


def campaign() -> list[Side]:
    slow = {"latency": (0.02, 0.5), "tail": [0.02, 2.0, 5.0]}
    return [
        Side(
            "steps",
            [Tier("10/1s", 10, 1), Tier("50/10s", 50, 10), Tier("300/120s", 300, 120)],
            steps,
            {"tiers": ["10/1s", "50/10s", "300/120s"], **slow},
        ),
        Side(
            "split",
            [Tier("read 5/1s", 5, 1, reads), Tier("write 2/1s", 2, 1, writes)],
            split,
            {"tiers": [{"rate": "5/s", "budget": "read"}, {"rate": "2/s", "budget": "write"}], **slow},
        ),
        Side(
            "scored",
            [Tier("600 points/20s", 600, 20, points), Tier("20/1s", 20, 1)],
            scored,
            {"tiers": ["20/s"], "points": "600/20s", "scores": [4, 6], **slow},
        ),
        Side(
            "stated",
            [Tier("60/15s", 42, 15), Tier("1500/300s", 1050, 300)],
            stated,
            {"tiers": ["60/15s", "1500/300s"], "concurrency": 6, **slow},
        ),
    ]


@dataclass(slots=True)
class Row:
    """What came of one tier."""

    side: str
    tier: Tier
    windows: float
    """So many whole windows were measured."""
    mean_seconds: float
    allowed: float
    """A share of the limit: what holding a slot until one window after the response allows."""
    used: float
    """A share of the limit."""
    most: float
    """The largest sum in any window of all arrivals; the limit written at the partner's side is what it may not pass."""

    @property
    def pace(self) -> float:
        """What this tier lets through a second, at best."""
        return self.tier.limit / self.tier.window * self.allowed

    @property
    def ratio(self) -> float:
        return self.used / self.allowed if self.allowed else math.nan


def usage(at: list[float], sums: list[float], tier: Tier, spans: list[tuple[float, float]]) -> tuple[float, float]:
    """The mean sum of all whole windows in the spans, as a share of the limit; and how many windows there were.

    The first window of each span but the first is left out: what was in flight when the daemon was killed is charged
    to it.
    """
    total = seen = windows = 0.0
    for number, (since, until) in enumerate(spans):
        start = since + (tier.window if number else 0.0)
        if until - start < tier.window:
            continue
        windows += (until - start) / tier.window
        step = tier.window / 40
        for place in range(int((until - start - tier.window) / step) + 1):
            begin = start + place * step
            total += sums[bisect_left(at, begin + tier.window)] - sums[bisect_left(at, begin)]
            seen += 1
    return (total / seen / tier.limit if seen else math.nan), windows


def measured(side: Side, lines: list[Line]) -> list[Row]:
    found = []
    for tier in side.tiers:
        counted = [(line.at, tier.counts(line), line.seconds or 0.0) for line in lines if tier.counts(line)]
        at = [arrived for arrived, _, _ in counted]
        sums = [0.0]
        for _, weight, _ in counted:
            sums.append(sums[-1] + weight)
        weight = max(sums[-1], 1.0)
        mean = sum(seconds * cost for _, cost, seconds in counted) / weight
        used, windows = usage(at, sums, tier, side.spans)
        most = max(
            (sums[place + 1] - sums[bisect_left(at, at[place] - tier.window + 1e-9)] for place in range(len(at))),
            default=0.0,
        )
        found.append(Row(side.name, tier, windows, mean, tier.window / (tier.window + mean), used, most))
    return found


def binding(side: Side, rows: list[Row]) -> list[Row]:
    """The tiers that decide the pace: of those that count the same calls, the slowest."""
    if side.name == "split":
        return rows
    if side.name == "scored":
        return [row for row in rows if row.tier.counts is points]
    return [min(rows, key=lambda row: row.pace)]


def table(rows: list[Row], bind: list[Row]) -> str:
    head = f"{'':10}{'tier':18}{'windows':>8}{'answer':>9}{'allowed':>9}{'used':>8}{'of that':>9}{'most':>8}  binds"
    lines = [head]
    for row in rows:
        lines.append(
            f"{row.side:10}{row.tier.name:18}{row.windows:8.1f}{row.mean_seconds:8.2f}s{row.allowed:9.1%}{row.used:8.1%}"
            f"{row.ratio:9.1%}{row.most:8g}  {'*' if row in bind else ''}"
        )
    return "\n".join(lines)


@pytest.mark.soak
@pytest.mark.timeout(SECONDS * 2 + 300)
async def test_the_budget_is_used_and_never_exceeded_whatever_happens(
    tmp_path: Path, database: str, rows: Rows, metering
):
    seed = int(os.environ.get("SYNCD_SOAK_SEED", secrets.randbelow(10**9)))
    print(f"\nSYNCD_SOAK_SEED={seed}, {SECONDS:.0f} s")
    dice = Random(seed)
    sides = campaign()
    for side in sides:
        side.simulator, side.control = metering(seed=dice.randrange(10**6), **side.options)
    await rows.connection.execute(NOTE_TASKS)
    daemon = Daemon(tmp_path, database, {side.name: side.file() for side in sides})

    async def clocks() -> list[float]:
        assert all(side.control is not None for side in sides)
        return [(await side.control.stats())["uptime_seconds"] for side in sides if side.control is not None]

    async def ready() -> None:
        await daemon.start()
        for side, now in zip(sides, await clocks(), strict=True):
            side.ready_at = now

    async def ended() -> None:
        for side, now in zip(sides, await clocks(), strict=True):
            side.spans.append((side.ready_at, now))

    async def ask(number: int, seconds_up: float) -> None:
        """Somebody wants one record of one partner, each in turn."""
        side = sides[number % len(sides)]
        record = f"l0-9{number:06}"
        names = list(side.file()["integrations"])
        status, _ = await daemon.post("sync", {"integration": names[0], "resource": "l0", "id": record})
        assert status < 300
        side.asked[record] = seconds_up > max(tier.window for tier in side.tiers) or not side.spans

    await ready()
    loop = asyncio.get_running_loop()
    began = up_since = loop.time()
    asked = 0
    events = sorted([(share * SECONDS, "kill") for share in KILLS] + [(share * SECONDS, "reload") for share in RELOADS])
    for number, (moment, event) in enumerate([*events, (SECONDS, "end")]):
        while (left := began + moment - loop.time()) > 0:
            await asyncio.sleep(min(left, ASK_SECONDS))
            if left > ASK_SECONDS:
                await ask(asked, loop.time() - up_since)
                asked += 1
        if event == "kill":
            await ended()
            await daemon.kill()
            await ready()
            up_since = loop.time()
        elif event == "reload":
            changed = sides if number % 2 else [dice.choice(sides)]
            for side in changed:
                side.page_size = 5 - side.page_size
                daemon.write_partner(side.name, side.file())
            daemon.hup()
    await ended()
    assert await daemon.stop() == 0

    found_waits = await waits(rows, *[side.control for side in sides if side.control is not None])
    late: list[float] = []
    for side in sides:
        known = sorted(found_waits[record] for record, counts in side.asked.items() if counts and record in found_waits)
        late += [wait for wait in known if wait > 2.0]
        if known:
            print(f"{side.name}: {len(known)} urgent calls, median {median(known):.3f} s, most {known[-1]:.3f} s")
    told: list[Row] = []
    bind: list[Row] = []
    violations: dict[str, int] = {}
    for side in sides:
        assert side.control is not None
        violations[side.name] = (await side.control.stats())["violations"]
        found = measured(side, (await journal(side.control))[1])
        told += found
        bind += binding(side, found)
    print(table(told, bind))
    print("violations:", violations)
    assert sum(violations.values()) == 0
    whole = [row for row in bind if row.windows]
    assert len(whole) == len(bind) or SECONDS < 600, "the campaign is too short for whole windows of the longest tier"
    assert all(row.ratio >= PROMISED for row in whole), table(told, bind)
    assert len(late) <= 1, f"urgent calls waited {late}"
