"""`python -m bench.isolation`: what one sick integration costs the others.

Four healthy integrations pull, take deliveries and push, in one daemon with one PostgreSQL (durable settings), and a fifth
falls ill, each time in another way: turn about, healthy alone and healthy beside it, a ratio a round, the median of the
rounds. `--kinds hangs,drips` measures some.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.parts import execute
from bench.run import DOCUMENT, write_into
from syncd.store import embedded
from tests.whole.isolating import SICKNESSES, Sickness, Stage, Verdict, judged

MARKS = ("<!-- isolation: written by python -m bench.isolation --write -->", "<!-- end of isolation -->")
KEPT = 0.9
"""What the others keep of their throughput."""


async def campaign(kinds: Sequence[Sickness], seconds: float, rounds: int, fresh: Any) -> list[Verdict]:
    """All of them, each in a daemon and a database of its own."""
    found = []
    for number, sickness in enumerate(kinds):
        database = fresh(f"isolation_{number}")
        with tempfile.TemporaryDirectory(prefix="syncd-bench-") as folder:
            async with Stage(Path(folder), database) as stage:
                await asyncio.sleep(2.0)
                turns = await stage.turns(sickness, seconds, rounds)
                await stage.arrived([one for turn in turns for one in turn])
                found.append(judged(sickness.name, turns))
                if sickness.flood:
                    print(f"    answered: {dict(stage.flooded)}", file=sys.stderr)
        print(f"  {line(found[-1])}", file=sys.stderr, flush=True)
    return found


def line(of: Verdict) -> str:
    hooks = " | ".join(f"{at * 1000:,.0f}" for at in of.hooks)
    pushes = " | ".join(f"{at * 1000:,.0f}" for at in of.pushes)
    missed = " (missed)" if min(of.kept, of.worst) < KEPT else ""
    return (
        f"| {of.sickness} | {of.kept:.2f}{missed} | {of.worst:.2f} | {of.alone:,.0f} | {of.beside:,.0f} | {hooks} | {pushes} "
        f"| {of.cpu[0]:.0%} | {of.cpu[1]:.0%} |"
        + (f" {of.lost} lost, {of.refused} refused" if of.lost or of.refused else "")
    )


def markdown(result: dict[str, Any], verdicts: Sequence[Verdict]) -> str:
    """The result as docs/performance.md shows it."""
    lines = [
        f"{result['rounds']} rounds of {result['seconds']:g} s alone and {result['seconds']:g} s beside, {result['date']}, "
        f"Python {result['python']}, {result['cores']} cores ({result['machine']}). p50 and p99 in ms, alone then beside.",
        "",
        "| the neighbour | kept | by who kept least | records/s alone | beside | delivery to row: p50 | p99 "
        "| beside: p50 | p99 | push: p50 | p99 | beside: p50 | p99 | CPU alone | beside |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        *map(line, verdicts),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.isolation", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", default="", help="parts of names or moods, by comma; left out: all")
    parser.add_argument("--json", type=Path, default=Path("dist/bench-isolation.json"), help="where the result goes")
    parser.add_argument("--write", action="store_true", help="also put it into docs/performance.md")
    options = parser.parse_args()
    wanted = [part for part in options.kinds.split(",") if part]
    kinds = [one for one in SICKNESSES if not wanted or any(part in one.name or part == one.mood for part in wanted)]
    settings = {**embedded.DURABLE, "track_commit_timestamp": "on"}
    with (
        tempfile.TemporaryDirectory(prefix="syncd-bench-") as scratch,
        embedded.start(Path(scratch), settings=settings) as server,
    ):

        def fresh(name: str) -> str:
            execute(server.url, f"CREATE DATABASE {name}", "CHECKPOINT")
            return str(server.url_of(name))

        found = asyncio.run(campaign(kinds, options.seconds, options.rounds, lambda name: _apart(fresh, name)))
    result = {"rounds": options.rounds, "seconds": options.seconds, "cores": os.cpu_count()}
    result |= {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    text = markdown(result, found)
    print("\n" + text)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result | {"verdicts": [asdict(one) for one in found]}, indent=2) + "\n")
    if options.write:
        write_into(DOCUMENT, text, MARKS)


def _apart(make: Any, name: str) -> str:
    """`execute` runs a loop of its own: not in ours."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as one:
        return str(one.submit(make, name).result())


if __name__ == "__main__":
    main()
