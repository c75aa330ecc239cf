"""The stripe driver against its simulator with its true limits: imported by listings, kept by the event log alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from syncd.testing.control import Control
from tests.whole.daemon import Daemon, Rows
from tests.whole.stripe_truth import stored
from tests.whole.warm import spawn

RESOURCES = ("customers", "products", "invoices", "charges", "payment_intents", "refunds")
KEY = "sk_live_simulated_key_1"


@pytest.mark.timeout(120)
async def test_stripe_converges_by_its_event_log_within_its_limits(tmp_path: Path, database: str, rows: Rows):
    with spawn("stripe", key=KEY, customers=250, products=120, payment_intents=130) as simulator:
        control = Control(simulator.url)
        slow: dict[str, Any] = {"enabled": True, "every": "1h"}
        quick: dict[str, Any] = {"enabled": True, "every": "1s", "overlap": "5s"}
        body = {
            "driver": "stripe",
            "base_url": simulator.base_url,
            "options": {"mode": "live"},
            "resources": {**dict.fromkeys(RESOURCES, slow), "events": quick, "payment_events": quick},
            "integrations": {"shop": {"credentials": {"api_key": KEY}}},
        }

        async def same() -> bool:
            return not [name for name in RESOURCES if await rows.live("shop", name) != await truth(control, name)]

        async with Daemon(tmp_path, database, {"stripe": body}) as daemon:
            await daemon.until(same, seconds=40, every=0.5)
            for resource in ("customers", "products", "invoices", "charges"):
                await control.mutate(12, resource)
            # Stripe has no event for a payment intent that changed in anything but its status.
            open_ones = [
                i for i, raw in (await control.truth("payment_intents")).items() if raw["status"] != "canceled"
            ]
            for external_id in open_ones[:5]:
                await control.update("payment_intents", external_id, {"status": "canceled"})
            await control.create("payment_intents", count=3)
            await control.create("refunds", count=3)
            gone = next(iter(await rows.live("shop", "customers")))
            await control.update("customers", gone, {"name": "Renamed before it goes"})
            await control.delete("customers", gone)
            await daemon.until(same, seconds=40, every=0.5)
            deleted = await rows.connection.fetchrow(
                "SELECT deleted_at, data->>'email' AS email FROM syncd.records WHERE external_id = $1", gone
            )
            assert deleted["deleted_at"] is not None
            passes = await rows.connection.fetch(
                "SELECT resource, passes FROM syncd.checkpoints WHERE resource = ANY($1)", list(RESOURCES)
            )
            assert {row["passes"] for row in passes} == {1}, "a second listing did the event log's work"
            assert await rows.connection.fetchval("SELECT count(*) FROM syncd.rejects") == 0
            secrets = await rows.connection.fetchval(
                "SELECT count(*) FROM syncd.records WHERE raw::text LIKE '%client_secret%'"
            )
            assert secrets == 0
        stats = await control.stats()
        assert stats["violations"] == 0
        assert stats["refused_429"] == 0


async def truth(control: Control, resource: str) -> dict[str, Any]:
    return {external_id: stored(raw) for external_id, raw in (await control.truth(resource)).items()}
