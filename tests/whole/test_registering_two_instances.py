"""What one instance registers, every other one judges by at once; and only the one that calls the partner is asked to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from syncd.store import new_key_line
from syncd.testing.control import Control
from tests.whole.daemon import Daemon, Rows
from tests.whole.warm import spawn

SELDOM: dict[str, Any] = {"every": "12h", "jitter": "0s"}


@pytest.mark.timeout(120)
async def test_a_secret_that_one_instance_was_given_is_every_instances_at_once(
    tmp_path: Path, database: str, rows: Rows
):
    key = tmp_path / "syncd.key"
    key.touch(mode=0o600)
    key.write_text(new_key_line())
    with spawn("stripe", key="sk_test_simulated_key_1", customers=4, products=2, payment_intents=1) as simulator:
        control = Control(simulator.url)
        body = {
            "driver": "stripe",
            "base_url": simulator.base_url,
            "resources": dict.fromkeys(("customers", "products", "invoices", "charges", "events"), SELDOM),
            "integrations": {"shop": {"credentials": {"api_key": "sk_test_simulated_key_1"}}},
        }
        one, two = (Daemon(tmp_path / name, database, {"stripe": body}) for name in ("one", "two"))
        for daemon in (one, two):
            server = {"listen": f"127.0.0.1:{daemon.port}", "admin": f"127.0.0.1:{daemon.admin_port}",
                      "public_url": f"http://127.0.0.1:{two.port}"}  # fmt: skip
            daemon.write_main({"server": server, "secrets": {"key": {"file": str(key)}}})
        async with one:

            async def read() -> bool:
                return await rows.count("shop", "customers") == 4

            await one.until(read, seconds=30)
            async with two:
                status, refused = await two.post("webhooks/register", {"integration": "shop"})
                assert (status, refused["error"]["code"]) == (409, "conflict")
                assert "another instance calls for stripe/shop" in refused["error"]["message"]
                status, told = await one.post("webhooks/register", {"integration": "shop"})
                assert (status, len(told["done"])) == (200, 1), told
                [created] = await control.create("customers")

                async def there() -> bool:
                    return created in await rows.live("shop", "customers")

                await two.until(there, seconds=30)
                assert await two.metric('webhooks_received_total{event_type="customer.created",partner="stripe"}') == 1
