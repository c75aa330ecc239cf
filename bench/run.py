"""`make bench`: import the same pages by a bare script, by syncd and by dlt, turn about, and print the ratios.

All three read from one static partner and write into one PostgreSQL with durable settings, each round into a new
database. What counts are the ratios within one run; absolute rates say more about the machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from bench import daemon
from bench.parts import BENCH_PYTHON, asked, contender, execute, static_partner
from syncd.store import embedded

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


def report(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Print medians, spread and ratios; the same as one JSON value."""
    print(f"\n{'':14}  records/s: median      min       max   CPU s   peak MiB")
    rows = {}
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
        print(f"{row:14}  {median(rates):17,.0f} {min(rates):9,.0f} {max(rates):9,.0f} {cpu:7.2f} {peak:10.0f}")
    ratios = {}
    for over, under, wanted, meaning in RATIOS:
        if over in rows and under in rows:
            ratio = ratios[f"{over} / {under}"] = rows[over]["median"] / rows[under]["median"]
            print(f"{ratio:6.2f} times  {meaning} (wanted: {wanted:g}) {'' if ratio >= wanted else '  MISSED'}")
    return {"rows": rows, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--paging", choices=["cursor", "offset"], default="cursor")
    parser.add_argument("--only", default="bare,syncd,dlt", help="contenders, by comma")
    parser.add_argument("--json", type=Path, default=Path("dist/bench.json"), help="where the result goes")
    options = parser.parse_args()
    print(
        f"{options.records:,} records of 1 KB, pages of 100 by {options.paging}, {options.repeats} rounds",
        file=sys.stderr,
    )
    result = report(measure(options.only.split(","), options.records, options.repeats, options.paging))
    result |= {"python": platform.python_version(), "machine": platform.machine(), "records": options.records}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(
        json.dumps(result | {"paging": options.paging, "repeats": options.repeats}, indent=2) + "\n"
    )
    print(f"\nwritten: {options.json}")


if __name__ == "__main__":
    main()
