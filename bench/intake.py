"""`python -m bench.intake`: how many signed deliveries of 1 KB a second are stored before they are acknowledged.

One load (`bench.hammer`: 64 connections, each sends its next event when the last one is answered) meets four servers turn
about, each a process of its own, all with one PostgreSQL with durable settings:

* an aiohttp handler that reads the body and does nothing
* syncd's public site with its receivers and intake
* the null handler with the same check of the signature and one insert a request
* the whole daemon, whose workers process the same events into records beside it

What counts are the ratios within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg

from bench.daemon import cpu_seconds
from bench.doors import HOOKS
from bench.hammer import SECRET
from bench.parts import ROOT, contender, execute
from bench.run import DOCUMENT, write_into
from syncd.clock import SystemClock
from syncd.store import Store, embedded
from tests.whole.daemon import Daemon

MARKS = ("<!-- intake: written by python -m bench.intake --write -->", "<!-- end of intake -->")
NULL, INTAKE, SINGLE, WORKED = "null handler", "syncd intake", "one insert a request", "syncd with workers beside it"
RATIOS = (
    (INTAKE, NULL, 0.5, "durable intake against the handler that does nothing"),
    (INTAKE, SINGLE, 2.0, "durable intake against one insert a request"),
    (WORKED, NULL, 0.3, "with workers processing the same events, against the handler that does nothing"),
)
P99_TIMES = 10.0
RECORDS = 1_000


@contextmanager
def served(kind: str, database: str) -> Iterator[tuple[int, int]]:
    """Port and process id."""
    command = [sys.executable, "-m", "bench.doors", kind, "--database", database]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


def partner() -> dict[str, Any]:
    """config/partners/bench.yaml: a partner nobody calls, whose events carry the whole record."""
    hooks = {**HOOKS, "id": "record.id", "at": "record.updated_at", "record": "record",
             "routes": {"record.updated": "records"}}  # fmt: skip
    resource = {"path": "/records", "records": "data", "id": "id", "updated": "updated_at", "every": "12h",
                "fields": {"name": "name", "status": "status", "amount": {"from": "amount", "as": "number"}}}  # fmt: skip
    return {
        "driver": "rest",
        "rest": {"name": "bench", "base_url": "http://127.0.0.1:9", "auth": {"kind": "none"},
                 "resources": {"records": resource}, "webhooks": hooks},
        "integrations": {
            "bench_one": {
                "base_url": "http://127.0.0.1:9",
                "webhook": {"secrets": [SECRET], "per_second": 1_000_000},
                "resources": {"records": {"enabled": True}},
            }
        },
    }  # fmt: skip


def hammered(port: int, pid: int, requests: int, connections: int, run: str) -> dict[str, Any]:
    before = cpu_seconds(pid)
    result = contender(
        [sys.executable, "-m", "bench.hammer", "--port", str(port), "--requests", str(requests),
         "--connections", str(connections), "--records", str(RECORDS), "--run", run]
    )  # fmt: skip
    if set(result["statuses"]) != {"202"}:
        raise SystemExit(f"not all were accepted: {result['statuses']}")
    result["cpu_us"] = (cpu_seconds(pid) - before) / requests * 1e6
    return result


async def beside(database: str, requests: int, connections: int, run: str) -> dict[str, Any]:
    """The whole daemon; also what its workers had done by the end, and how long they took for the rest."""
    with tempfile.TemporaryDirectory(prefix="syncd-bench-") as folder:
        daemon = Daemon(Path(folder), database, {"bench": partner()}, main={"log": {"level": "warning"}}, cold=True)
        async with daemon:
            connection = await asyncpg.connect(database)
            result = await asyncio.to_thread(hammered, daemon.port, daemon.pid, requests, connections, run)
            begun = time.monotonic()
            left = "SELECT count(*) FROM syncd.inbox WHERE state IN ('waiting', 'taken')"
            result["done_by_the_end"] = requests - int(await connection.fetchval(left))

            async def finished() -> bool:
                return not await connection.fetchval(left)

            await daemon.until(finished, seconds=300, every=0.2)
            result["rest_seconds"] = time.monotonic() - begun
            result["records"] = await connection.fetchval("SELECT count(*) FROM syncd.records")
            await connection.close()
    return result


def measure(requests: int, connections: int, repeats: int, only: set[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="syncd-bench-") as scratch, embedded.start(Path(scratch)) as server:
        for turn in range(repeats):
            for number, (row, kind) in enumerate(((NULL, "null"), (INTAKE, "syncd"), (SINGLE, "single"), (WORKED, ""))):
                if row not in only:
                    continue
                name, run = f"intake_{turn}_{number}", f"{turn}_{number}"
                execute(server.url, f"CREATE DATABASE {name}", "CHECKPOINT")
                database = server.url_of(name)
                asyncio.run(_migrate(database))
                if kind:
                    with served(kind, database) as (port, pid):
                        result = hammered(port, pid, requests, connections, run)
                    if kind != "null":
                        _stored(database, requests)
                else:
                    result = asyncio.run(beside(database, requests, connections, run))
                found.setdefault(row, []).append(result)
                print(
                    f"  round {turn + 1}  {row:30} {result['rate']:8,.0f} requests/s  p99 {result['p99_ms']:6.1f} ms",
                    file=sys.stderr,
                )
                execute(server.url, f"DROP DATABASE {name} WITH (FORCE)")
    return found


async def _migrate(database: str) -> None:
    store = await Store.open(database, clock=SystemClock(), pool_size=1)
    await store.aclose()


def _stored(database: str, requests: int) -> None:
    async def count() -> int:
        connection = await asyncpg.connect(database)
        found = int(await connection.fetchval("SELECT count(*) FROM syncd.inbox"))
        await connection.close()
        return found

    if (stored := asyncio.run(count())) != requests:
        raise SystemExit(f"{stored} of {requests} acknowledged deliveries are stored")


def judged(found: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians of each row, the ratios that were promised, and whether the slowest hundredth kept its promise."""
    rows = {
        row: {key: median(result[key] for result in results) for key in ("rate", "p50_ms", "p99_ms", "cpu_us")}
        | {"min": min(result["rate"] for result in results), "max": max(result["rate"] for result in results)}
        for row, results in found.items()
    }
    # Neighbours on the machine come and go: what is compared was measured within one round.
    ratios = [
        {
            "ratio": median(a["rate"] / b["rate"] for a, b in zip(found[over], found[under], strict=True)),
            "wanted": wanted,
            "meaning": meaning,
        }
        for over, under, wanted, meaning in RATIOS
        if over in found and under in found
    ]
    if INTAKE in found and NULL in found:
        slower = median(a["p99_ms"] / b["p99_ms"] for a, b in zip(found[INTAKE], found[NULL], strict=True))
        ratios.append(
            {"ratio": slower, "at_most": P99_TIMES, "meaning": "p99 of durable intake against the null handler's"}
        )
    result = {"rows": rows, "ratios": ratios}
    if WORKED in found:
        last = found[WORKED][-1]
        result["beside"] = {
            key: last[key] for key in ("requests", "done_by_the_end", "rest_seconds", "records", "seconds")
        }
    return result


def markdown(result: Mapping[str, Any]) -> str:
    """The result as docs/performance.md shows it."""
    lines = [
        f"{result['requests']:,} events of 1 KB a round, {result['connections']} connections, {result['repeats']} rounds, "
        f"{result['date']}, Python {result['python']}, {result['cores']} cores ({result['machine']}).",
        "",
        "| | requests/s: median | min | max | p50 ms | p99 ms | the server's CPU us a request |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row, of in result["rows"].items():
        rates = " | ".join(f"{of[key]:,.0f}" for key in ("rate", "min", "max"))
        lines.append(f"| {row} | {rates} | {of['p50_ms']:.1f} | {of['p99_ms']:.1f} | {of['cpu_us']:.0f} |")
    if result["ratios"]:
        lines += ["", "| median of the rounds' ratios | | wanted |", "|---|---:|---:|"]
    for of in result["ratios"]:
        kept = of["ratio"] >= of["wanted"] if "wanted" in of else of["ratio"] <= of["at_most"]
        goal = f"{of['wanted']:g}" if "wanted" in of else f"at most {of['at_most']:g}"
        lines.append(f"| {of['meaning']} | {of['ratio']:.2f}{'' if kept else ' (missed)'} | {goal} |")
    if "beside" in result:
        of = result["beside"]
        lines += [
            "",
            f"When the last event of the last round was acknowledged, {of['done_by_the_end']:,} of {of['requests']:,} had "
            f"been processed; the rest took {of['rest_seconds']:.1f} s more.",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.intake", description=__doc__)
    parser.add_argument("--requests", type=int, default=15_000, help="a round and server")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", default=",".join((NULL, INTAKE, SINGLE, WORKED)), help="rows, by comma")
    parser.add_argument("--json", type=Path, default=Path("dist/bench-intake.json"), help="where the result goes")
    parser.add_argument("--write", action="store_true", help="also put it into docs/performance.md")
    options = parser.parse_args()
    found = measure(options.requests, options.connections, options.repeats, set(options.only.split(",")))
    result = judged(found) | {key: getattr(options, key) for key in ("requests", "connections", "repeats")}
    result |= {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    result["date"] = f"{datetime.now(UTC):%Y-%m-%d}"
    print("\n" + markdown(result))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n")
    if options.write:
        write_into(DOCUMENT, markdown(result), MARKS)


if __name__ == "__main__":
    main()
