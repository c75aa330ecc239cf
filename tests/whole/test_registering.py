"""`syncd webhook register` at each simulated partner: its deliveries come, nothing is shown of a secret, repair mends."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import orjson
import pytest

from syncd.testing.control import Control
from syncd.testing.process import Spawned
from tests.whole.daemon import Daemon, Rows, free_port
from tests.whole.warm import spawn

SOON = 30.0
SELDOM: dict[str, Any] = {"enabled": True, "every": "12h", "jitter": "0s"}

SYNCED = {
    "stripe": (
        "customers",
        "products",
        "invoices",
        "charges",
        "payment_intents",
        "refunds",
        "events",
        "payment_events",
    ),
    "guesty": ("guests", "listings", "reservations"),
    "attio": ("people", "companies", "deals", "tasks", "notes", "objects", "lists"),
}


class Partner:
    """One simulated partner, configured without a webhook secret."""

    def __init__(self, driver: str, name: str, simulator: Spawned, credentials: dict[str, str]) -> None:
        self.driver, self.name, self.control = driver, name, Control(simulator.url)
        self.resource, *others = SYNCED[driver]
        self.body = {
            "driver": driver,
            "base_url": simulator.base_url,
            "integrations": {name: {"credentials": credentials, "webhook": {}, "accept_risk": True}},
            "resources": dict.fromkeys([self.resource, *others], SELDOM),
        }

    async def targets(self) -> list[dict[str, Any]]:
        return list((await self.control.stats())["webhooks"]["targets"])

    async def brings_changes(self, daemon: Daemon, rows: Rows) -> None:
        """A change there is here within seconds, by a delivery: no poll is due for hours."""
        before = (await self.control.stats())["webhooks"]["delivered"]
        [created] = await self.control.create(self.resource)

        async def there() -> bool:
            return created in await rows.live(self.name, self.resource)

        await daemon.until(there, seconds=SOON, every=0.2)
        assert (await self.control.stats())["webhooks"]["delivered"] > before

    async def is_not_fooled(self) -> None:
        """What nobody should take is refused, all of it alike."""
        kinds = ("forged", "altered", "unsigned", *(["stale"] if self.driver != "attio" else []))
        for kind in kinds:
            await self.control.attack(kind, 3)
        found: dict[str, dict[str, int]] = {}
        for _ in range(100):
            found = (await self.control.stats())["webhooks"]["attacks"]
            if sum(sum(each.values()) for each in found.values()) == 3 * len(kinds):
                break
            await asyncio.sleep(0.1)
        assert found == {kind: {"401": 3} for kind in kinds}


@pytest.mark.timeout(150)
async def test_registering_brings_deliveries_and_repair_mends_what_broke(tmp_path: Path, database: str, rows: Rows):
    with (
        spawn("stripe", key="sk_test_simulated_key_1", customers=10, products=5, payment_intents=3) as stripe,
        spawn("guesty", listings=3, guests=6, reservations=4, secret_delay=1.5) as guesty,
        spawn("attio", people=6, companies=3, deals=2, notes=2, tasks=2) as attio,
    ):
        shop = Partner("stripe", "shop", stripe, {"api_key": "sk_test_simulated_key_1"})
        stay = Partner("guesty", "stay", guesty, {"client_id": "simulated-client", "client_secret": "simulated-secret"})
        crm = Partner("attio", "crm", attio, {"token": "simulated-attio-token"})
        partners = (shop, stay, crm)
        daemon = Daemon(tmp_path, database, {partner.driver: partner.body for partner in partners})
        address = {"listen": f"127.0.0.1:{daemon.port}", "admin": f"127.0.0.1:{daemon.admin_port}",
                   "public_url": f"http://127.0.0.1:{daemon.port}"}  # fmt: skip
        daemon.write_main({"server": address})
        async with daemon:
            for partner in partners:

                async def read(partner: Partner = partner) -> bool:
                    return await rows.count(partner.name, partner.resource) > 0

                await daemon.until(read, seconds=SOON)
                url = f"http://127.0.0.1:{daemon.port}/webhooks/{partner.driver}/{partner.name}"
                if partner is shop:
                    code, out, _ = await daemon.cli("webhook", "register", "shop", "--dry-run")
                    assert (code, await partner.targets()) == (0, []), out
                code, out, err = await daemon.cli("webhook", "register", partner.name)
                assert code == 0 and "made a subscription" in out, (out, err)
                assert [target["url"] for target in await partner.targets()] == [url]
                await partner.brings_changes(daemon, rows)
                status, again = await daemon.post("webhooks/register", {"integration": partner.name})
                assert (status, again["schema"], again["done"], again["left"]) == (
                    200,
                    "syncd.webhook-register/1",
                    [],
                    [],
                )
                assert [(one["state"], one["secret"]) for one in again["subscriptions"]] == [("sound", "sealed")]
                await partner.is_not_fooled()
            code, out, _ = await daemon.cli("webhook", "register", "shop")
            assert code == 0 and "nothing to do" in out
            code, out, _ = await daemon.cli("webhook", "list", "shop", "--json")
            assert (code, orjson.loads(out)["schema"]) == (0, "syncd.webhook-subscriptions/1")

            # The secrets are sealed, survive the process, and stand nowhere.
            sealed = await rows.connection.fetch("SELECT integration, kind, ciphertext FROM syncd.credentials")
            assert {row["integration"] for row in sealed if row["kind"] == "webhook"} == {"shop", "stay", "crm"}
            assert "whsec_" not in daemon.log()
            audit = await rows.connection.fetch("SELECT * FROM syncd.audit_log WHERE action = 'webhooks_registered'")
            assert len(audit) == 3 and "whsec_" not in str([dict(row) for row in audit])
            await daemon.kill()
            await daemon.start()
            for partner in partners:
                await partner.brings_changes(daemon, rows)

            # One whose secret nobody has is replaced; what leads elsewhere is left alone.
            await rows.connection.execute("DELETE FROM syncd.credentials WHERE kind = 'webhook'")
            elsewhere = f"http://127.0.0.1:{free_port()}/not/ours"
            for partner in partners:
                [before] = await partner.targets()
                other = await partner.control.webhooks(elsewhere, "whsec_" + base64.b64encode(b"x" * 24).decode())
                if partner is shop:
                    code, out, err = await daemon.cli("webhook", "list", partner.name)
                    assert code == 1 and "foreign" in out and "syncd webhook repair shop" in err, (out, err)
                    code, out, err = await daemon.cli("webhook", "register", partner.name)
                    assert code == 1 and "left as it is" in out, (out, err)
                code, out, err = await daemon.cli("webhook", "repair", partner.name)
                assert code == 0, (out, err)
                after = {target["id"]: target["url"] for target in await partner.targets()}
                assert after.pop(other) == elsewhere and list(after.values()) == [before["url"]]
                assert (before["id"] in after) == (partner is stay), "Guesty tells a secret again, the others do not"
                await partner.brings_changes(daemon, rows)
        assert (await shop.control.stats())["violations"] == 0
