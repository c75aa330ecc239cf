"""`make conformance`: give every answer of the table to every tool, and write down what each did.

    .venv/bin/python -m conformance.run [--only TOOL] [--dry] [--real]

Each stranger runs in a process of its own in `.venv-conformance`, against a server on the loopback. Its sleeps are recorded
and skipped, so the whole table takes less than a minute. Results go to conformance/results.json, the tables to the
documents; --dry prints the sums and writes nothing. --real gives one answer to all of them at once and lets them sleep: it
prints what the server's own clock saw beside what the results file says.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import structlog

from conformance.ours import measured
from conformance.rows import HERE, Row, rows
from conformance.server import partner
from conformance.tables import DOCUMENTS, OURS, RESULTS, filled, load, rendered
from syncd import __version__

PYTHON = HERE.parent / ".venv-conformance" / "bin" / "python"
TOOLS = (
    "dlt", "airbyte-cdk", "airbyte-cdk, told", "singer-sdk", "requests + urllib3", "httpx-retries", "aiohttp-retry",
    "stripe", "tenacity", "stamina", "backoff", "aiolimiter", "pybreaker",
)  # fmt: skip
SHOWN = (
    "syncd",
    "dlt",
    "airbyte-cdk",
    "airbyte-cdk, told",
    "singer-sdk",
    "requests + urllib3",
    "httpx-retries",
    "tenacity",
)
"""Those in the short table of the project's README."""
TOOL_SECONDS = 180.0


async def strangers(table: list[Row], only: str | None) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What each of the other tools did: about the tools, and a cell for each row and tool."""
    about: dict[str, Any] = {}
    cells: dict[str, dict[str, Any]] = {}
    async with partner(table, lambda: datetime.now(UTC)) as server:
        for tool in TOOLS:
            if only is not None and tool != only:
                continue
            print(f"{tool} ...", file=sys.stderr)
            process = await asyncio.create_subprocess_exec(
                str(PYTHON), str(HERE / "strangers.py"), tool, server.base_url, *(row.name for row in table),
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            try:
                out, err = await asyncio.wait_for(process.communicate(), TOOL_SECONDS)
            except TimeoutError:
                process.kill()
                out, err = await process.communicate()
            for line in out.decode().splitlines():
                told = json.loads(line)
                if "tool" in told:
                    about[tool] = {"version": told["version"], "how": told["how"], "shown": tool in SHOWN}
                    continue
                cells.setdefault(told["row"], {})[tool] = {
                    "seconds": round(sum(told["sleeps"]), 1),
                    "calls": server.calls.get(told["path"], 0),
                    "error": told["error"] and told["error"].partition(" < ")[0].partition(":")[0],
                }
            if process.returncode:
                print(f"{tool} ended with {process.returncode}; rows without a cell are `not run`", file=sys.stderr)
                print(err.decode(errors="replace")[-800:], file=sys.stderr)
                about.setdefault(tool, {"version": "", "how": "did not start", "shown": tool in SHOWN})
    return about, cells


async def real(results: dict[str, Any], name: str = "seconds") -> None:
    """Nothing skipped: the seconds between two arrivals of each tool, to be held against what was recorded."""
    table = [row for row in rows() if row.name == name]
    arrivals: dict[str, list[float]] = {}
    async with partner(table, lambda: datetime.now(UTC)) as server:
        server.arrived = lambda path: arrivals.setdefault(path, []).append(monotonic())
        processes = [
            await asyncio.create_subprocess_exec(
                str(PYTHON), str(HERE / "strangers.py"), "--real", tool, server.base_url, name,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )
            for tool in TOOLS
        ]  # fmt: skip
        for tool, process in zip(TOOLS, processes, strict=True):
            out, _ = await asyncio.wait_for(process.communicate(), TOOL_SECONDS)
            seen = arrivals.get(json.loads(out.decode().splitlines()[-1])["path"], [])
            waited = f"{seen[1] - seen[0]:.1f} s" if len(seen) > 1 else "no second call"
            recorded = results["rows"][name][tool]
            told = f"{recorded['seconds']} s" if recorded["calls"] > 1 else "no second call"
            print(f"{tool:20} by the server's clock {waited:15} recorded {told}")


async def everything(only: str | None) -> dict[str, Any]:
    """The results file's content."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    table = rows()
    about: dict[str, Any] = {}
    cells: dict[str, dict[str, Any]] = {row.name: {} for row in table}
    if only in (None, OURS):
        about[OURS] = {
            "version": __version__,
            "how": "Session.call, again at the time it was handed back with",
            "shown": True,
        }
        for row in table:
            found = await measured(row)
            cells[row.name][OURS] = {"seconds": round(found.seconds, 1), "calls": 2, "error": None}
    theirs, more = await strangers(table, only)
    for name, found_cells in more.items():
        cells[name].update(found_cells)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "tools": {**about, **theirs},
        "rows": cells,
    }


def main() -> None:
    """The command."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--only", metavar="TOOL", help=f"one of {OURS}, {', '.join(TOOLS)}; implies --dry")
    words.add_argument("--dry", action="store_true", help="print, write nothing")
    words.add_argument("--real", action="store_true", help="one answer, really slept (half a minute); implies --dry")
    given = words.parse_args()
    if given.real:
        asyncio.run(real(load()))
        return
    results = asyncio.run(everything(given.only))
    table = rows()
    print(rendered(results, table, "full" if given.only else "sums"))
    if given.only or given.dry:
        return
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    for document in DOCUMENTS:
        document.write_text(filled(document.read_text("utf-8"), results, table), "utf-8")


if __name__ == "__main__":
    main()
