"""`python -m bench.memory`: is memory bounded? The daemon's own resident size while it imports 300,000 records of 1 KB.

Read from /proc while the import runs: where 50,000 records are stored, where 300,000 are, and the highest in between. The
PostgreSQL server and the static partner are other processes and not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from bench.daemon import INTEGRATION, memory_mib, running
from bench.parts import static_partner
from syncd.store import embedded

EARLY = 50_000
MOST_GROWTH_MIB = 16
MOST_MIB = 150


async def watch(url: str, database: str, paging: str, records: int) -> dict[str, float]:
    sizes: dict[int, float] = {}
    async with running(url, database, paging) as (daemon, connection):

        async def all_stored() -> bool:
            stored = (
                await connection.fetchval("SELECT sum(added) FROM syncd.runs WHERE integration = $1", INTEGRATION) or 0
            )
            sizes[int(stored)] = memory_mib(daemon.pid)
            return int(stored) >= records

        await daemon.until(all_stored, seconds=900, every=0.05)
        highest = memory_mib(daemon.pid, "VmHWM")
    early = sizes[min((stored for stored in sizes if stored >= min(EARLY, records // 6)), default=records)]
    late = sizes[max(sizes)]
    return {"early": early, "late": late, "growth": late - early, "highest": highest}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--paging", choices=["cursor", "offset"], default="cursor")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="syncd-memory-") as scratch,
        embedded.start(Path(scratch)) as server,
        static_partner(options.records, options.paging) as url,
    ):
        found = asyncio.run(watch(url, server.url, options.paging, options.records))
    print(f"resident at {min(EARLY, options.records // 6):,} records {found['early']:7.1f} MiB")
    print(f"resident at {options.records:,} records {found['late']:6.1f} MiB, highest {found['highest']:.1f} MiB")
    sound = found["growth"] <= MOST_GROWTH_MIB and found["highest"] <= MOST_MIB
    print(f"growth {found['growth']:.1f} MiB (at most {MOST_GROWTH_MIB}), highest at most {MOST_MIB} MiB", end=": ")
    print("ok" if sound else "MISSED")
    raise SystemExit(not sound)


if __name__ == "__main__":
    main()
