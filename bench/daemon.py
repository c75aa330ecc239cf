"""syncd itself as a contender: `syncd run` as a process on a generated configuration, watched from outside.

An import is timed from the first request the partner saw to the moment the daemon wrote its run down as done. What the
daemon does once (starting, migrating, the wait after an unclean stop) is not in it, what it does for every page is.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from bench.parts import asked
from tests.whole.daemon import Daemon

INTEGRATION = "bench_one"
PAGES: dict[str, dict[str, Any]] = {
    "cursor": {"pages": {"kind": "cursor", "param": "after", "next": "next", "size": "limit"}},
    "offset": {"pages": {"kind": "offset", "param": "offset", "size": "limit"}, "total": "total"},
}
FIELDS = {
    "name": "name",
    "status": "status",
    "amount": {"from": "amount", "as": "number"},
    "count": {"from": "count", "as": "integer"},
    "updated_at": {"from": "updated_at", "as": "timestamp"},
    "city": "address.city",
}
LAST_RUN = """SELECT * FROM syncd.runs WHERE integration = $1 AND resource = 'records' ORDER BY id DESC LIMIT 1"""


def partner(url: str, paging: str) -> dict[str, Any]:
    """The whole file config/partners/bench.yaml, as data: a plain REST partner without limits."""
    resource = {"path": "/records", "records": "data", "id": "id", "updated": "updated_at", "page_size": 100}
    return {
        "driver": "rest",
        "rest": {
            "name": "bench",
            "base_url": url,
            "auth": {"kind": "none"},
            "resources": {"records": resource | PAGES[paging] | {"fields": FIELDS, "every": "12h"}},
        },
        "integrations": {INTEGRATION: {"base_url": url, "resources": {"records": {"jitter": "0s"}}}},
    }


@asynccontextmanager
async def running(url: str, database: str, paging: str) -> AsyncIterator[tuple[Daemon, asyncpg.Connection]]:
    """A started daemon and a connection to its database."""
    with tempfile.TemporaryDirectory(prefix="syncd-bench-") as folder:
        daemon = Daemon(
            Path(folder), database, {"bench": partner(url, paging)}, main={"log": {"level": "warning"}}, cold=True
        )
        async with daemon:
            connection = await asyncpg.connect(database)
            try:
                yield daemon, connection
            finally:
                await connection.close()


async def ended(daemon: Daemon, connection: asyncpg.Connection, after: int, seconds: float) -> asyncpg.Record:
    """The first run with a higher id than `after`, once it is done. Raises AssertionError when it is not in time."""

    async def look() -> asyncpg.Record | None:
        row = await connection.fetchrow(LAST_RUN, INTEGRATION)
        if row is not None and row["outcome"] == "failed":
            raise AssertionError(f"the run failed: {row['explanation']}\n{daemon.log()[-4000:]}")
        return row if row is not None and row["id"] > after and row["outcome"] == "done" else None

    row: asyncpg.Record = await daemon.until(look, seconds=seconds, every=0.2)
    return row


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int, what: str = "VmRSS") -> float:
    """Resident memory now (VmRSS) or at its highest (VmHWM), without any child."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


async def _import_twice(url: str, database: str, paging: str) -> tuple[dict[str, Any], dict[str, Any]]:
    found = []
    async with running(url, database, paging) as (daemon, connection):
        seen, spent = 0, 0.0
        for turn in range(2):
            if turn:
                asked(url, reset=True)
                code, _, err = await daemon.cli("sync", f"{INTEGRATION}/records", "--no-wait")
                assert code == 0, err
            row = await ended(daemon, connection, seen, 600)
            seconds = row["ended_at"].timestamp() - asked(url)["first"]
            cpu = cpu_seconds(daemon.pid)
            found.append(
                {
                    "records": row["unchanged"] if turn else row["added"],
                    "seconds": seconds,
                    "cpu_seconds": cpu - spent,
                    "peak_rss_mib": memory_mib(daemon.pid, "VmHWM"),
                }
            )
            seen, spent = row["id"], cpu
    return found[0], found[1]


def import_twice(url: str, database: str, paging: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """One import into an empty database, and one complete pass more with nothing changed."""
    return asyncio.run(_import_twice(url, database, paging))
