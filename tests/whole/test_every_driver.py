"""All drivers at once in one daemon: thousands of records each in bounded memory, tokens that end in the midst of it, and
deliveries that come twice."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from syncd import drivers
from syncd.testing.base import Simulator
from syncd.testing.process import Served, make, serve
from tests.whole.daemon import Daemon, Rows

SELDOM: dict[str, Any] = {"every": "12h", "jitter": "0s"}
OFF: dict[str, Any] = {"enabled": False}
MANY = 10_000
MOST_BYTES = 256 * 1024 * 1024
EXCHANGE = "/token-based-authentication/exchange"
SIGNED = "whsec_" + secrets.token_hex(16)
WIDE = {"tiers": ["100000/s", "1000000/min", "10000000/h"], "concurrency": 8, "accept_risk": True}


@dataclass(frozen=True)
class Part:
    """One partner: its simulator's options, its integration, and what of it is read."""

    resource: str
    """Of which there are many."""
    simulated: Mapping[str, Any]
    credentials: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=lambda: WIDE)
    many: int = MANY
    also: tuple[str, ...] = ()
    """Further resources that it takes."""
    ends: bool = False
    """Its tokens can end."""
    hook: Mapping[str, Any] | None = None
    change: Mapping[str, Any] | None = None
    """What is changed in a record to be told of it; None: anything."""
    base: str = "{base_url}"


PARTS: dict[str, Part] = {
    "stripe": Part(
        "customers",
        {"products": 1, "invoices": 1, "charges": 1, "key": "sk_live_simulated_key_1"},
        {"api_key": "sk_live_simulated_key_1"},
        options={"mode": "live", "monthly_reads": 0},
        limits={**WIDE, "tiers": ["100000/s", {"rate": "100000/s", "budget": "customers"}]},
        hook={"secrets": [SIGNED]},
    ),
    "attio": Part(
        "people",
        {"companies": 1, "deals": 1, "notes": 1, "tasks": 1},
        {"token": "simulated-attio-token"},
        options={"score_limit": 10_000_000},
        hook={"secrets": [SIGNED]},
        change={"job_title": "Keeper of the light"},
    ),
    "guesty": Part(
        "guests",
        {"listings": 1, "reservations": 1},
        {"client_id": "simulated-client", "client_secret": "simulated-secret"},
        ends=True,
        hook={"secrets": [SIGNED]},
    ),
    "twilio": Part(
        "messages",
        {"calls": 1},
        {"sid": "AC5c0de5c0de5c0de5c0de5c0de5c0dea1", "secret": "simulated-twilio-token-1"},
        options={"account_sid": "AC5c0de5c0de5c0de5c0de5c0de5c0dea1"},
        limits={"concurrency": 8},
        base="{url}/2010-04-01/Accounts/{{option.account_sid}}",
        hook={"secrets": ["simulated-twilio-token-1"], "url": "{hook}"},
        change={"status": "read"},
    ),
    "cloudbeds": Part(
        "guests",
        {"reservations": 1, "rooms": 1, "room_types": 1, "room_blocks": 1, "rate_plans": 1},
        {"client_id": "simulated-client", "client_secret": "simulated-secret", "refresh_token": "simulated-refresh"},
        options={"properties": ["900000000101", "900000000102"], "auth": "oauth"},
        ends=True,
    ),
    "maintainx": Part(
        "parts",
        {"work_orders": 1, "assets": 1},
        {"api_key": "simulated-maintainx-key"},
        limits={"tiers": ["1000000/60s"], "accept_risk": True},
    ),
    "bookingcom": Part(
        "properties",
        {"queued": 0},
        {"client_id": "simulated-machine", "client_secret": "simulated-machine-secret"},
        options={"calls_per_minute": 100_000, "reservations_url": "{url}", "auth_url": f"{{url}}{EXCHANGE}"},
        limits={"concurrency": 4},
    ),
    "airbnb": Part(
        "threads",
        {"listings": 1, "reservations": 1, "alterations": 0, "past": 0},
        {
            "client_id": "simulated-client",
            "client_secret": "simulated-secret",
            "refresh_token": "simulated-refresh-token",
        },
        limits={"tiers": ["100000/10min"], "concurrency": 8, "accept_risk": True},
    ),
}
WHY_NOT = {"rest": "has no partner of its own"}


def files(name: str, part: Part, served: Served, hook: str) -> dict[str, Any]:
    """The partner's file: only what is read at length is switched on."""
    driver = drivers.load(name)
    options = {name: one.format(url=served.url) if isinstance(one, str) else one for name, one in part.options.items()}
    known = driver.resources(options)
    resources = dict.fromkeys(known, OFF) | dict.fromkeys((part.resource, *part.also), SELDOM)
    integration: dict[str, Any] = {"credentials": dict(part.credentials), "accept_risk": True}
    if part.hook is not None:
        told = {key: value.format(hook=hook) if isinstance(value, str) else value for key, value in part.hook.items()}
        integration["webhook"] = told
    return {
        "driver": name,
        "base_url": part.base.format(base_url=served.base_url, url=served.url),
        "limits": dict(part.limits),
        "options": options,
        "resources": resources,
        "integrations": {f"my_{name}": integration},
    }


def test_every_driver_is_here_or_it_is_said_why_not() -> None:
    assert set(PARTS) | set(WHY_NOT) == set(drivers.names())


@pytest.mark.timeout(180)
async def test_all_drivers_bring_thousands_in_bounded_memory_while_tokens_end_and_deliveries_come_twice(
    tmp_path: Path, database: str, rows: Rows
) -> None:
    daemon = Daemon(tmp_path, database, {}, cold=True)
    simulators: dict[str, Simulator] = {}
    async with AsyncExitStack() as stack:
        for name, part in PARTS.items():
            simulator = make(name, {"tiers": [], "concurrency": 100, part.resource: part.many, **part.simulated})
            served = await stack.enter_async_context(await serve(simulator))
            simulators[name] = simulator
            hook = f"http://127.0.0.1:{daemon.port}/webhooks/{name}/my_{name}"
            daemon.write_partner(name, files(name, part, served, hook))
        async with daemon:

            async def progress() -> dict[str, int]:
                found = await rows.connection.fetch(
                    "SELECT integration, count(*) AS rows FROM syncd.records WHERE deleted_at IS NULL GROUP BY 1"
                )
                return {one["integration"]: one["rows"] for one in found}

            # Tokens end in the midst of it: after ten pages of a hundred.
            for name in [name for name, part in PARTS.items() if part.ends]:

                async def begun(name: str = name) -> bool:
                    return simulators[name].counters.calls >= 10

                await daemon.until(begun, seconds=60, every=0.005)
                simulators[name].action("expire_tokens", {})

            async def complete() -> bool:
                found = await progress()
                return all(found.get(f"my_{name}", 0) >= part.many for name, part in PARTS.items())

            await daemon.until(complete, seconds=90, every=0.3)
            resident = await daemon.metric("process_resident_memory_bytes")
            assert 0 < peak(daemon.pid) < MOST_BYTES, f"{peak(daemon.pid):,} bytes, now {resident:,.0f}"
            for name, part in PARTS.items():
                if part.ends:
                    assert simulators[name].stats()["tokens_issued"] == 2, name

            # Each change is told twice, and is one row in the inbox.
            told = {name: part for name, part in PARTS.items() if part.hook is not None}
            for name, part in told.items():
                simulator = simulators[name]
                url = f"http://127.0.0.1:{daemon.port}/webhooks/{name}/my_{name}"
                target = simulator.subscription(url, list(part.hook["secrets"]), ["*"])
                simulator.deliveries.targets[target.id] = target
                simulator.deliveries.duplicate = 1
                for place in simulator.state[part.resource].order[:5]:
                    simulator.update(part.resource, place[2], None if part.change is None else dict(part.change))

            async def undelivered() -> dict[str, Any]:
                views = {name: simulators[name].deliveries.view() for name in told}
                few = [name for name in told if len(simulators[name].deliveries.acknowledged) < 10]
                return {name: {**views[name], "targets": None} for name in few}

            async def delivered() -> bool:
                return not await undelivered()

            try:
                await daemon.until(delivered, seconds=20, every=0.2)
            except AssertionError as error:
                raise AssertionError(str(await undelivered())) from error

            async def settled() -> bool:
                waiting = "SELECT count(*) FROM syncd.inbox WHERE state NOT IN ('done', 'dropped')"
                return await rows.connection.fetchval(waiting) == 0

            await daemon.until(settled, seconds=30, every=0.2)
            inbox = {
                one["integration"]: one["rows"]
                for one in await rows.connection.fetch(
                    "SELECT integration, count(*) AS rows FROM syncd.inbox GROUP BY 1"
                )
            }
            assert inbox == {f"my_{name}": len(set(simulators[name].deliveries.acknowledged)) for name in told}
            letters = await rows.connection.fetch("SELECT integration, resource, message FROM syncd.dead_letters")
            assert not letters
            for name, simulator in simulators.items():
                part = PARTS[name]
                here = await rows.live(f"my_{name}", part.resource)
                assert set(here) == set(simulator.truth(part.resource)), name
    assert {name: one.stats()["violations"] for name, one in simulators.items()} == dict.fromkeys(PARTS, 0)


def peak(pid: int) -> int:
    """The most memory a process ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
