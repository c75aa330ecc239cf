"""Stripe's writes by the real daemon: done once though their answers are lost, stored at once, and without secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from syncd.testing.control import Control
from tests.whole.daemon import Daemon, Rows
from tests.whole.stripe_truth import stored
from tests.whole.test_pushes import over
from tests.whole.test_pushes_partners import Desk
from tests.whole.warm import spawn

KEY = "sk_live_simulated_key_1"
SELDOM: dict[str, Any] = {"every": "12h", "jitter": "0s"}
SYNCED = ("payment_intents", "charges", "refunds", "invoices", "subscriptions", "prices", "disputes", "payouts",
          "balance_transactions", "invoice_lines")  # fmt: skip


@pytest.mark.timeout(120)
async def test_stripe_is_written_to_once_and_every_resource_is_imported(
    tmp_path: Path, database: str, rows: Rows
) -> None:
    with spawn("stripe", key=KEY, customers=8, products=4, payment_intents=12, charges=12, invoices=60) as simulator:
        control, desk = Control(simulator.url), Desk(rows, "shop")
        off = {name: {"enabled": False} for name in ("customers", "products", "events", "payment_events")}
        body = {
            "driver": "stripe",
            "base_url": simulator.base_url,
            "options": {"mode": "live"},
            "resources": {**{name: {**SELDOM, "enabled": True} for name in SYNCED}, **off},
            "integrations": {"shop": {"credentials": {"api_key": KEY}}},
        }

        async def same() -> bool:
            for name in SYNCED:
                truth = {one: stored(raw) for one, raw in (await control.truth(name)).items()}
                if await rows.live("shop", name) != truth:
                    return False
            return True

        async with Daemon(tmp_path, database, {"stripe": body}) as daemon:
            waiting = (
                await control.create("payment_intents", {"status": "requires_capture", "amount_capturable": 900})
            )[0]
            charge = (await control.create("charges", {"amount": 900, "amount_captured": 900, "status": "succeeded"}))[
                0
            ]
            draft = (await control.create("invoices", {"status": "draft", "number": None}))[0]
            await daemon.until(same, seconds=60, every=0.3)
            assert await rows.live("shop", "invoice_lines"), "no invoice has more lines than it holds"
            await control.misbehave("drop_after", match="POST /v1/", count=2)
            pushes = [
                await desk.push("payment_intents", "capture", {}, waiting),
                await desk.push("refunds", "create", {"charge": charge, "amount": 100, "metadata": {"why": "late"}}),
                await desk.push("invoices", "finalize", {}, draft),
                await desk.push("charges", "metadata", {"metadata": {"syncd_id": "7041"}}, charge),
            ]
            await daemon.until(lambda: over(rows), seconds=60)
            assert [(await desk.became(push))["state"] for push in pushes] == ["done"] * 4
            refunds = [raw for raw in (await control.truth("refunds")).values() if raw["charge"] == charge]
            assert [(raw["amount"], raw["metadata"]["why"]) for raw in refunds] == [(100, "late")]
            captured = await desk.stored("payment_intents", waiting)
            assert captured["data"]["status"] == "succeeded"
            assert (await desk.stored("charges", charge))["data"]["metadata"]["syncd_id"] == "7041"
            assert (await desk.stored("invoices", draft))["data"]["status"] == "open"
            secrets = "SELECT count(*) FROM syncd.records WHERE raw::text LIKE '%client_secret%'"
            assert await rows.connection.fetchval(secrets) == 0
        assert (await control.stats())["violations"] == 0
