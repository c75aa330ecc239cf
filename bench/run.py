"""`make bench`: import the same pages by a bare script, by syncd and by dlt, turn about, and print the ratios.

All three read from one static partner and write into one PostgreSQL with durable settings, each round into a new
database. What counts are the ratios within one run; absolute rates say more about the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench import daemon
from bench.parts import BENCH_PYTHON, asked, contender, execute, static_partner
from syncd.store import embedded

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
MARKS = ("<!-- measured: written by make bench ARGS=--write -->", "<!-- end of measured -->")

Measured = dict[str, dict[str, Any]]
"""By row of the report: records, seconds, cpu_seconds and peak_rss_mib of one import."""


def bare(url: str, database: str, paging: str) -> Measured:
    command = [sys.executable, "-m", "bench.bare", "--url", url, "--database", database, "--paging", paging]
    return {"bare": contender(command), "bare, again": contender([*command, "--ask-first"])}


def dlt(url: str, database: str, paging: str) -> Measured:
    command = [str(BENCH_PYTHON), "bench/dlt_run.py", "--url", url, "--database", database, "--paging", paging]
    return {"dlt": contender(command)}


def syncd(url: str, database: str, paging: str) -> Measured:
    first, again = daemon.import_twice(url, database, paging)
    return {"syncd": first, "syncd, again": again}


CONTENDERS: dict[str, Callable[[str, str, str], Measured]] = {"bare": bare, "syncd": syncd, "dlt": dlt}

RATIOS = (
    ("syncd", "bare", 0.6, "the import against the bare script's"),
    ("syncd, again", "syncd", 1.5, "a second pass with nothing changed against the first"),
    ("syncd", "dlt", 5.0, "the import against dlt's"),
)


def measure(names: Iterable[str], records: int, repeats: int, paging: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="syncd-bench-") as scratch,
        embedded.start(Path(scratch)) as server,
        static_partner(records, paging) as url,
    ):
        for turn in range(repeats):
            for name in names:
                database = f"{name}_{turn}"
                execute(server.url, f"CREATE DATABASE {database}", "CHECKPOINT")
                asked(url, reset=True)
                for row, result in CONTENDERS[name](url, server.url_of(database), paging).items():
                    if result["records"] != records:
                        raise SystemExit(f"{row} stored {result['records']} of {records} records")
                    result["rate"] = records / result["seconds"]
                    found.setdefault(row, []).append(result)
                    print(f"  round {turn + 1}  {row:14} {result['rate']:10,.0f} records/s", file=sys.stderr)
                execute(server.url, f"DROP DATABASE {database} WITH (FORCE)")
    return found


def judged(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians and spread of each row, and the ratios that were promised."""
    rows: dict[str, dict[str, float]] = {}
    for row, results in found.items():
        rates = [result["rate"] for result in results]
        cpu, peak = (median(result[key] for result in results) for key in ("cpu_seconds", "peak_rss_mib"))
        rows[row] = {
            "median": median(rates),
            "min": min(rates),
            "max": max(rates),
            "cpu_seconds": cpu,
            "peak_rss_mib": peak,
        }
    ratios = [
        {"ratio": rows[over]["median"] / rows[under]["median"], "wanted": wanted, "meaning": meaning}
        for over, under, wanted, meaning in RATIOS
        if over in rows and under in rows
    ]
    return {"rows": rows, "ratios": ratios}


def markdown(result: dict[str, Any]) -> str:
    """The result as docs/performance.md shows it."""
    lines = [
        f"{result['records']:,} records of 1 KB, pages of 100 by {result['paging']}, {result['repeats']} rounds, "
        f"{result['date']}, Python {result['python']}, {result['cores']} cores ({result['machine']}).",
        "",
        "| | records/s: median | min | max | CPU seconds | peak MiB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row, of in result["rows"].items():
        rates = " | ".join(f"{of[key]:,.0f}" for key in ("median", "min", "max"))
        lines.append(f"| {row} | {rates} | {of['cpu_seconds']:.2f} | {of['peak_rss_mib']:.0f} |")
    if result["ratios"]:
        lines += ["", "| ratio of medians | | wanted |", "|---|---:|---:|"]
    for of in result["ratios"]:
        missed = "" if of["ratio"] >= of["wanted"] else " (missed)"
        lines.append(f"| {of['meaning']} | {of['ratio']:.2f}{missed} | {of['wanted']:g} |")
    return "\n".join(lines) + "\n"


def write_into(document: Path, text: str, marks: tuple[str, str] = MARKS) -> None:
    """Put the result between the marks of the document."""
    before, rest = document.read_text("utf-8").split(marks[0] + "\n", 1)
    document.write_text(before + marks[0] + "\n" + text + marks[1] + rest.split(marks[1], 1)[1], "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--paging", choices=["cursor", "offset"], default="cursor")
    parser.add_argument("--only", default="bare,syncd,dlt", help="contenders, by comma")
    parser.add_argument("--json", type=Path, default=Path("dist/bench.json"), help="where the result goes")
    parser.add_argument("--write", action="store_true", help="also put it into docs/performance.md")
    options = parser.parse_args()
    print(
        f"{options.records:,} records of 1 KB, pages of 100 by {options.paging}, {options.repeats} rounds",
        file=sys.stderr,
    )
    result = judged(measure(options.only.split(","), options.records, options.repeats, options.paging))
    result |= {key: getattr(options, key) for key in ("records", "repeats", "paging")}
    result |= {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    result["date"] = f"{datetime.now(UTC):%Y-%m-%d}"
    print("\n" + markdown(result))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n")
    if options.write:
        write_into(DOCUMENT, markdown(result))


if __name__ == "__main__":
    main()
