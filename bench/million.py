"""`python -m bench.million`: a million records of eight partners, imported by one daemon; its resident size all the while.

The partners are simulated with limits that do not bind (with the true ones it would take days), each in a process of its own
that is not counted, nor is PostgreSQL. Converged means: every resource of every partner ran to its end, nothing was rejected,
nothing is a dead letter, and the ids of what each partner lists by itself are those that it has.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from bench.daemon import cpu_seconds, memory_mib
from syncd import drivers
from syncd.clock import SystemClock
from syncd.demo.cast import CAST
from syncd.store import embedded
from syncd.testing.control import Control
from syncd.testing.process import Spawned, spawn
from tests.whole.daemon import Daemon, Rows

MOST_MIB = 256
MANY: dict[str, dict[str, Any]] = {
    "stripe": {"customers": 60_000, "products": 15_000, "invoices": 20_000, "charges": 30_000},
    "attio": {"people": 80_000, "companies": 40_000, "deals": 2_000, "notes": 1_000, "tasks": 2_000},
    "guesty": {"listings": 200, "reservations": 65_000, "guests": 62_000},
    "maintainx": {"work_orders": 4_000, "assets": 60_000, "parts": 60_000},
    "airbnb": {"listings": 320, "reservations": 4_000},
    "bookingcom": {"properties": 1_200, "units": 120_000, "reservations": 3_000, "queued": 200, "pace": 0.2},
    "cloudbeds": {"reservations": 90_000, "guests": 35_000, "rooms": 200, "per_second": 100_000},
    "twilio": {"messages": 118_000, "calls": 7_000},
}
"""About 125,000 of each; days of calendars make up most of Airbnb's, units most of Booking.com's."""


def files(simulators: dict[str, Spawned], folder: Path, scale: float) -> dict[str, dict[str, Any]]:
    """Each partner's file as in the demo, with limits that do not bind."""
    said = {}
    for name, role in CAST.items():
        at = {"base_url": simulators[name].base_url, "url": simulators[name].url, "hook": "http://127.0.0.1:1/"}
        body = yaml.safe_load(role.file.format(**at))
        for integration in body["integrations"].values():
            integration.pop("webhook", None)
            integration["accept_risk"] = True
            for key, reference in integration["credentials"].items():
                integration["credentials"][key] = {"file": str(folder / reference["file"])}
            integration.pop("resources", None)
        body["resources"] = {
            one.name: {"every": "12h", "jitter": "0s"}
            for one in drivers.load(name).spec.resources.values()
            if one.enabled
        }
        if name == "bookingcom":
            body["options"] |= {"queue_seconds": 0.2, "calls_per_minute": 600_000}
            body["resources"]["reservations"] = body["resources"]["reservation_changes"] = {
                "every": "1s",
                "jitter": "0s",
            }
        if name == "guesty":
            body["options"] = {"account_id": "5f0000000000000000000001"}
        if name == "stripe":
            body["options"] = {"mode": "live", "monthly_reads": 0}
        limits = drivers.load(name).spec.limits
        tiers = [
            {"rate": f"{10_000_000}/{tier.rate.window_seconds:.0f}s", **({"budget": tier.budget} if tier.budget else {}),
             **({"weighted": True} if tier.weighted else {})}
            for tier in limits.tiers
            if name != "bookingcom"
        ]  # fmt: skip
        body["limits"] = {"tiers": tiers, "concurrency": 4, "accept_risk": True, "share": 1.0}
        body["workers"] = 4
        body["deadline"] = "120s"
        said[name] = body
    return said


async def watch(simulators: dict[str, Spawned], database: str, folder: Path, scale: float, seconds: float) -> bool:
    clock = SystemClock()
    least = 120_000 * scale * len(CAST)
    for role in CAST.values():
        for name, value in role.credentials.items():
            file = folder / name
            file.touch(mode=0o600)
            file.write_text(value)
    (folder / "airbnb_key").touch(mode=0o600)
    daemon = Daemon(folder, database, files(simulators, folder, scale), main={"log": {"level": "warning"}}, cold=True)
    began = clock.monotonic()
    async with daemon:
        rows = await Rows.connect(database)
        sizes: dict[int, float] = {}
        said_at = began

        async def converged() -> bool:
            nonlocal said_at
            stored = int(await rows.connection.fetchval("SELECT coalesce(sum(live), 0) FROM syncd.record_counts"))
            sizes[stored] = memory_mib(daemon.pid)
            if clock.monotonic() - said_at > 8:
                said_at = clock.monotonic()
                print(f"{said_at - began:6.0f} s  {stored:>9,} records  {sizes[stored]:6.1f} MiB", flush=True)
            waiting = await rows.connection.fetchval(
                "SELECT count(*) FROM syncd.tasks WHERE state IN ('waiting', 'taken') "
                "AND coalesce(not_before, now()) <= now()"
            )
            begun = await rows.connection.fetchval(
                "SELECT count(*) FROM syncd.checkpoints WHERE run_id IS NOT NULL OR cursor IS NOT NULL"
            )
            ended = await rows.connection.fetchval("SELECT count(*) FROM syncd.checkpoints WHERE passed_at IS NOT NULL")
            running = await rows.connection.fetchval("SELECT count(*) FROM syncd.runs WHERE outcome = 'running'")
            return stored >= least and not waiting and not begun and not running and ended > 0

        await daemon.until(converged, seconds=seconds, every=1.0)
        highest = memory_mib(daemon.pid, "VmHWM")
        spent = clock.monotonic() - began
        by = await rows.connection.fetch(
            "SELECT integration, sum(live) AS live FROM syncd.record_counts GROUP BY 1 ORDER BY 1"
        )
        rejected = await rows.connection.fetchval("SELECT count(*) FROM syncd.rejects")
        letters = await rows.connection.fetchval("SELECT count(*) FROM syncd.dead_letters")
        processor = cpu_seconds(daemon.pid)
        compared, differing = await by_id(simulators, rows)
        await rows.aclose()
    total = sum(int(one["live"]) for one in by)
    for one in by:
        print(f"{one['integration']:<10} {int(one['live']):>9,} records")
    print(
        f"{total:,} records in {spent:.0f} s, {processor:.0f} s of the daemon's CPU, {rejected} rejects, {letters} letters"
    )
    print(f"{compared:,} ids compared with the partners' own, {differing} differ")
    print(f"resident: highest {highest:.1f} MiB (at most {MOST_MIB})", end=": ")
    sound = highest <= MOST_MIB and not rejected and not letters and not differing
    print("ok" if sound else "MISSED")
    return sound


async def by_id(simulators: dict[str, Spawned], rows: Rows) -> tuple[int, int]:
    """Ids that the partners have of what they list by itself, and how many are here and not there, or there and not here."""
    compared = differing = 0
    for name, role in CAST.items():
        [integration] = yaml.safe_load(role.file.format(base_url="", url="", hook=""))["integrations"]
        for resource in role.compared:
            there = set(await Control(simulators[name].url).truth_ids(resource))
            here = await rows.connection.fetch(
                "SELECT external_id FROM syncd.records WHERE integration = $1 AND resource = $2 AND deleted_at IS NULL",
                integration,
                resource,
            )
            compared += len(there)
            differing += len(there ^ {one["external_id"] for one in here})
    return compared, differing


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.million", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="a share of the million")
    parser.add_argument("--only", default="", help="one partner")
    parser.add_argument("--seconds", type=float, default=3000.0, help="give up after so long")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="syncd-million-") as scratch, ExitStack() as stack:
        server = stack.enter_context(embedded.start(Path(scratch)))
        simulators = {}
        for name in [name for name in CAST if options.only and name != options.only]:
            del CAST[name]
        for name, role in CAST.items():
            counts = {
                key: max(1, int(value * options.scale)) if isinstance(value, int) and value > 300 else value
                for key, value in {**role.simulated, **MANY[name]}.items()
            }
            simulators[name] = stack.enter_context(spawn(name, enforce=False, tiers=["1000000/s"], **counts))
        folder = Path(scratch) / "secrets"
        folder.mkdir(mode=0o700)
        sound = asyncio.run(watch(simulators, server.url, folder, options.scale, options.seconds))
    raise SystemExit(not sound)


if __name__ == "__main__":
    main()
