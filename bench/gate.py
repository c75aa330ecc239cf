"""`python -m bench.gate`: what the gate costs, alone and as a part of an import.

Admissions a second on one core, by the CPU time of this process: nobody waiting, with and without a keeper that remembers
over restarts, and with sixty-four callers in line for sixteen seats. Then an import as in `bench.run`, once for its time
and its calls, once under the interpreter's profiler, which makes Python calls dearer than they are: its share is an upper
bound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench import daemon
from bench.divide import STARTING, WAITING, divide, profiled
from bench.parts import asked, execute, static_partner
from bench.run import DOCUMENT, write_into
from syncd.clock import SystemClock
from syncd.limits import Gate
from syncd.store import embedded

TIERS = ("1000000/s", "10000000/min", "100000000/h")
"""Three that all count every call and never fill."""
MARKS = ("<!-- gate: written by python -m bench.gate --write -->", "<!-- end of gate -->")
WANTED_RATE, WANTED_SHARE = 100_000, 0.05


class Nowhere:
    """A keeper that stores nothing: what is measured is the gate's own work for it."""

    async def save(self, scope: str, state: Mapping[str, Any]) -> None:
        pass

    async def load(self, scope: str) -> None:
        return None


async def alone(calls: int, keeper: Nowhere | None) -> None:
    gate = Gate("bench", TIERS, clock=SystemClock(), share=1.0, keeper=keeper)
    await gate.open()
    for _ in range(calls):
        async with gate.admit(member="one") as slot:
            slot.answered()
            slot.success()
    gate.close()


async def crowded(calls: int, callers: int = 64, seats: int = 16) -> None:
    gate = Gate("bench", TIERS, clock=SystemClock(), share=1.0, concurrency=seats)

    async def caller() -> None:
        for _ in range(calls // callers):
            async with gate.admit(member="one") as slot:
                await asyncio.sleep(0)
                slot.answered()
                slot.success()

    await asyncio.gather(*(caller() for _ in range(callers)))
    gate.close()


WORKS: dict[str, Callable[[int], Awaitable[None]]] = {
    "nobody waits": lambda calls: alone(calls, None),
    "nobody waits, remembered over restarts": lambda calls: alone(calls, Nowhere()),
    "64 callers in line for 16 seats": crowded,
}


def rates(calls: int, repeats: int) -> dict[str, float]:
    """Calls a second of CPU; the median of so many rounds, turn about, after one that does not count."""
    found: dict[str, list[float]] = {what: [] for what in WORKS}

    async def measure() -> None:
        for turn in range(repeats + 1):
            for what, work in WORKS.items():
                begun = time.process_time()
                await work(calls)
                if turn:
                    found[what].append(calls / (time.process_time() - begun))

    asyncio.run(measure())
    return {what: median(each) for what, each in found.items()}


def imported(records: int) -> tuple[float, float, float]:
    """Seconds of a first import, the calls it took, and the gate's share of a second one's work under the profiler."""
    with (
        tempfile.TemporaryDirectory(prefix="syncd-gate-") as scratch,
        embedded.start(Path(scratch)) as server,
        static_partner(records, "cursor") as url,
    ):
        execute(server.url, "CREATE DATABASE gate_timed", "CREATE DATABASE gate_profiled")
        asked(url, reset=True)
        first, calls = asyncio.run(once(url, server.url_of("gate_timed")))
        asked(url, reset=True)
        folder = Path(scratch) / "profiled"
        folder.mkdir()
        rooms = divide(asyncio.run(profiled(url, server.url_of("gate_profiled"), "cursor", folder)))
    total = sum(seconds for name, seconds in rooms.items() if name not in (WAITING, STARTING))
    return first, calls, rooms["syncd/limits"] / total


async def once(url: str, database: str) -> tuple[float, float]:
    async with daemon.running(url, database, "cursor") as (process, connection):
        row = await daemon.ended(process, connection, 0, 600)
        seen = asked(url)
    return row["ended_at"].timestamp() - seen["first"], seen["requests"]


def measure(records: int, calls: int, repeats: int) -> dict[str, Any]:
    quick = rates(calls, repeats)
    seconds, requests, profile = imported(records)
    each = 1 / quick["nobody waits, remembered over restarts"]
    return {
        "rates": quick,
        "records": records,
        "requests": requests,
        "import_seconds": seconds,
        "share": requests * each / seconds,
        "profiled_share": profile,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def markdown(result: Mapping[str, Any]) -> str:
    """The result as docs/performance.md shows it."""
    missed = " (missed)"
    lines = [
        f"Three tiers, median rounds by CPU time, {result['date']}, Python {result['python']} ({result['machine']}).",
        "",
        "| | admissions a second on one core | us each | wanted |",
        "|---|---:|---:|---:|",
    ]
    for what, found in result["rates"].items():
        goal = f"{WANTED_RATE:,}" if what == "nobody waits" else ""
        late = missed if goal and found < WANTED_RATE else ""
        lines.append(f"| {what} | {found:,.0f}{late} | {1e6 / found:.1f} | {goal} |")
    lines += [
        "",
        f"| part of an import of {result['records']:,} records ({result['requests']:,.0f} calls, "
        f"{result['import_seconds']:.1f} s) | | wanted at most |",
        "|---|---:|---:|",
    ]
    for what, key in (("calls times their cost", "share"), ("under the profiler, an upper bound", "profiled_share")):
        late = missed if result[key] > WANTED_SHARE else ""
        lines.append(f"| {what} | {result[key]:.2%}{late} | {WANTED_SHARE:.0%} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gate", description=__doc__)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, default=Path("dist/bench-gate.json"), help="where the result goes")
    parser.add_argument("--write", action="store_true", help="also put it into docs/performance.md")
    options = parser.parse_args()
    result = measure(options.records, options.calls, options.repeats)
    print(markdown(result))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n")
    if options.write:
        write_into(DOCUMENT, markdown(result), MARKS)


if __name__ == "__main__":
    main()
