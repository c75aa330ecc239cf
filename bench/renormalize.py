"""`python -m bench.renormalize`: stored records read again by another adapter, against the import that stored them.

Both in one daemon against one PostgreSQL with durable settings; records of 1 KB. Every record changes, so every one is
written, and with the default history each changed field is told too.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any

from bench import daemon as imports
from bench.parts import execute, static_partner
from syncd.store import embedded
from tests.whole.daemon import Daemon

V2 = {"fields": {**imports.FIELDS, "city": {"from": "address.street"}}}


def partner(url: str, adapter: str, history: str) -> dict[str, Any]:
    """As in the other benchmarks, with a second adapter that reads one field otherwise."""
    found = imports.partner(url, "cursor")
    found["rest"]["resources"]["records"]["adapters"] = {"v2": V2}
    integration = found["integrations"][imports.INTEGRATION]
    integration["adapter"] = adapter
    integration["resources"]["records"]["history"] = history
    return found


async def measured(url: str, database: str, records: int, history: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="syncd-bench-") as folder:
        parts = Daemon(
            Path(folder),
            database,
            {"bench": partner(url, "v1", history)},
            main={"log": {"level": "warning"}},
            cold=True,
        )
        async with parts as running:
            connection = await imports.asyncpg.connect(database)
            run = await imports.ended(running, connection, 0, 600)
            before = imports.cpu_seconds(running.pid)
            running.write_partner("bench", partner(url, "v2", history))
            code, out, err = await running.cli("reload", "--wait")
            assert code == 0, out + err
            code, out, err = await running.cli("renormalize", imports.INTEGRATION, seconds=600)
            assert code == 0, out + err
            row = await connection.fetchrow("SELECT * FROM syncd.renormalizations")
            assert row["changed"] == records, row
            cpu = imports.cpu_seconds(running.pid) - before
            await connection.close()
    importing = (run["ended_at"] - run["started_at"]).total_seconds()
    reading = (row["ended_at"] - row["started_at"]).total_seconds()
    return {"import": records / importing, "renormalize": records / reading, "cpu_us": cpu / records * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    said = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="syncd-bench-") as scratch,
        embedded.start(Path(scratch)) as server,
        static_partner(said.records, "cursor") as url,
    ):
        for history in ("changes", "off"):
            execute(server.url, f"CREATE DATABASE h_{history}", "CHECKPOINT")
            found = asyncio.run(measured(url, server.url_of(f"h_{history}"), said.records, history))
            print(
                f"history {history}: import {found['import']:,.0f} records/s, renormalize {found['renormalize']:,.0f} "
                f"records/s ({found['renormalize'] / found['import']:.2f}), {found['cpu_us']:.0f} us of CPU a record"
            )


if __name__ == "__main__":
    main()
