"""Each simulated partner's own webhooks to the real daemon: its changes are here within seconds, without a poll between."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from syncd.testing.control import Control
from tests.whole.daemon import Daemon, Rows
from tests.whole.stripe_truth import stored
from tests.whole.warm import spawn

SECRET = "whsec_" + base64.b64encode(b"a signing key that only tests know").decode()
SELDOM: dict[str, Any] = {"every": "12h", "jitter": "0s"}
SOON = 30.0
"""Seconds within which a change is here, with plenty for a busy machine. The next poll is hours away."""


async def polls(rows: Rows) -> int:
    """Runs of whole listings so far, re-reads of single records left out."""
    return int(await rows.connection.fetchval("SELECT count(*) FROM syncd.runs WHERE pages > 0"))


async def settled(rows: Rows) -> bool:
    """Every delivery is worked off."""
    left = "SELECT count(*) FROM syncd.inbox WHERE state IN ('waiting', 'taken')"
    return int(await rows.connection.fetchval(left)) == 0


async def told_of(daemon: Daemon, control: Control, rows: Rows) -> None:
    """All that the partner sent was acknowledged and worked off."""

    async def all_sent() -> bool:
        view = (await control.stats())["webhooks"]
        return not (view["waiting"] or view["in_flight"] or view["retrying"])

    await daemon.until(all_sent, seconds=SOON)
    await daemon.until(lambda: settled(rows), seconds=SOON)
    stats = (await control.stats())["webhooks"]
    assert stats["failed"] == 0
    assert stats["delivered"] > 0
    assert set(await control.acknowledged()) == {
        row["event_id"] for row in await rows.connection.fetch("SELECT event_id FROM syncd.inbox")
    }
    assert await rows.connection.fetchval("SELECT count(*) FROM syncd.dead_letters") == 0


async def rehearsed(daemon: Daemon, integration: str, kind: str) -> None:
    """`syncd webhook send` goes through the door to a row that is stored."""
    code, out, err = await daemon.cli("webhook", "send", integration, kind)
    assert code == 0, out + err
    assert "row_version" in out


@pytest.mark.timeout(120)
async def test_stripes_events_bring_its_changes(tmp_path: Path, database: str, rows: Rows):
    resources = ("customers", "products", "invoices", "charges")
    with spawn("stripe", key="sk_live_simulated_key_1", customers=60, products=30, payment_intents=20) as simulator:
        control = Control(simulator.url)
        body = {
            "driver": "stripe",
            "base_url": simulator.base_url,
            "options": {"mode": "live"},
            "resources": {**dict.fromkeys(resources, SELDOM), "payment_intents": {"enabled": False},
                          "refunds": {"enabled": False}, "events": {"enabled": False}, "payment_events": {"enabled": False}},
            "integrations": {
                "shop": {"credentials": {"api_key": "sk_live_simulated_key_1"}, "webhook": {"secrets": [SECRET]}}
            },
        }  # fmt: skip

        async def same() -> bool:
            for name in resources:
                truth = await control.truth(name)
                if await rows.live("shop", name) != {one: stored(raw) for one, raw in truth.items()}:
                    return False
            return True

        async with Daemon(tmp_path, database, {"stripe": body}) as daemon:
            await daemon.until(same, seconds=60, every=0.3)
            before = await polls(rows)
            await control.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/stripe/shop", SECRET)
            for resource in resources:
                await control.mutate(5, resource)
            gone = (await control.truth_ids("customers"))[0]
            await control.update("customers", gone, {"name": "Renamed before it goes"})
            await control.delete("customers", gone)
            await control.create("products", count=2)
            await daemon.until(same, seconds=SOON, every=0.3)
            await told_of(daemon, control, rows)
            assert await polls(rows) == before
            assert await same(), "what came last was not what stays"
            await rehearsed(daemon, "shop", "customer.updated")
        assert (await control.stats())["violations"] == 0


@pytest.mark.timeout(120)
async def test_guestys_deliveries_bring_its_changes(tmp_path: Path, database: str, rows: Rows):
    resources = ("listings", "reservations", "guests")
    with spawn("guesty", listings=12, guests=15, reservations=20) as simulator:
        control = Control(simulator.url)
        body = {
            "driver": "guesty",
            "base_url": simulator.base_url,
            "resources": dict.fromkeys(resources, SELDOM),
            "integrations": {
                "acme": {
                    "credentials": {"client_id": "simulated-client", "client_secret": "simulated-secret"},
                    "webhook": {"secrets": [SECRET]},
                }
            },
        }

        async def differing(resource: str) -> list[str]:
            there, here = await control.truth(resource), await rows.live("acme", resource)
            if resource == "guests":
                there = {
                    i: {**raw, "id": i, "guestEmail": raw["email"], "guestPhone": raw["phone"]}
                    for i, raw in there.items()
                }
            wrong = [i for i in here.keys() & there.keys() if here[i] != {name: there[i].get(name) for name in here[i]}]
            return [*(there.keys() ^ here.keys()), *wrong]

        async def same() -> bool:
            return not [name for name in resources if await differing(name)]

        async with Daemon(tmp_path, database, {"guesty": body}) as daemon:
            await daemon.until(same, seconds=60, every=0.3)
            before = await polls(rows)
            await control.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/guesty/acme", SECRET)
            listings = await control.truth_ids("listings")
            await control.update("listings", listings[0], {"nickname": "Renamed at the source"})
            await control.delete("listings", listings[1])
            await control.mutate(3, "guests")
            await control.mutate(4, "reservations")
            await daemon.until(same, seconds=SOON, every=0.3)
            await told_of(daemon, control, rows)
            assert await polls(rows) == before
            assert await same(), "what came last was not what stays"
            await rehearsed(daemon, "acme", "reservation.updated.v2")
        stats = await control.stats()
        assert (stats["violations"], stats["refused_429"], stats["tokens_issued"]) == (0, 0, 1)


@pytest.mark.timeout(120)
async def test_attios_events_bring_its_changes(tmp_path: Path, database: str, rows: Rows):
    resources = ("people", "companies", "deals", "tasks", "notes")
    with spawn("attio", people=40, companies=20, deals=15, notes=10, tasks=10, seed=11) as simulator:
        control = Control(simulator.url)
        body = {
            "driver": "attio",
            "base_url": simulator.base_url,
            "options": {"status_attributes": {"deals": ["stage"]}},
            "resources": {**dict.fromkeys(resources, SELDOM), "objects": SELDOM, "lists": SELDOM},
            "integrations": {
                "crm": {"credentials": {"token": "simulated-attio-token"}, "webhook": {"secrets": [SECRET]}}
            },
        }

        async def same() -> bool:
            for name in (*resources, "objects"):
                if await rows.live("crm", name) != await control.truth(name):
                    return False
            return True

        async with Daemon(tmp_path, database, {"attio": body}) as daemon:
            await daemon.until(same, seconds=60, every=0.3)
            before = await polls(rows)
            await control.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/attio/crm", SECRET)
            for resource in resources:
                await control.mutate(4, resource)
            person = (await control.truth_ids("people"))[3]
            await control.update("people", person, {"job_title": []})
            await control.delete("companies", (await control.truth_ids("companies"))[0])
            await daemon.until(same, seconds=SOON, every=0.3)
            await told_of(daemon, control, rows)
            assert await polls(rows) == before
            assert await same(), "what came last was not what stays"
            await rehearsed(daemon, "crm", "record.updated")
        stats = await control.stats()
        assert (stats["violations"], stats["refused_429"]) == (0, 0)
