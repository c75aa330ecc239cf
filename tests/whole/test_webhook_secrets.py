"""Webhook secrets are rotated by a reload, while the partner itself is down: judging needs nothing of it."""

from __future__ import annotations

import time
from pathlib import Path

import aiohttp
import orjson
import pytest

from syncd.kit import signatures
from tests.whole.daemon import Daemon, Rows, free_port
from tests.whole.test_hostile import acme

PARTNER = """\
driver: stripe
base_url: http://127.0.0.1:{port}/v1
integrations:
  shop:
    credentials: {{api_key: {{file: key}}}}
    webhook: {{secrets: [{secrets}]}}
"""
UNSIGNED = """\
driver: rest
rest:
  base_url: http://127.0.0.1:{port}/v1
  resources: {{rooms: {{path: /rooms, id: id, one: "/rooms/{{id}}"}}}}
  webhooks:
    verify: none
    composite: [event, room, "timestamp || @body"]
    type: event
    id: room
    routes: {{room/changed: rooms, room/removed: rooms}}
    deletes: [room/removed]
integrations:
  hotel: {{webhook: {{secrets: [{{file: address}}]}}}}
"""
ADDRESS = "3kq9Zr0V7sYwT2mXbN5uLd8E"


class Shop:
    """Files of one integration, and deliveries to it."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.folder = daemon.folder / "secrets"
        self.folder.mkdir(mode=0o700)
        self.port = free_port()
        self.secret("key", "sk_test_nobody_answers")
        daemon.write_main({"secrets": {"directory": str(self.folder)}})

    def secret(self, name: str, value: str, mode: int = 0o600) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(value)
        path.chmod(mode)

    def lists(self, *names: str) -> None:
        secrets = ", ".join(f"{{file: {name}}}" for name in names)
        self.daemon.write_partner("stripe", PARTNER.format(port=self.port, secrets=secrets))

    async def send(
        self, secret: str, *, path: str = "stripe/shop", age: float = 0.0, event: str = ""
    ) -> tuple[int, bytes]:
        name = event or f"evt_{time.monotonic_ns()}"
        body = orjson.dumps(
            {"id": name, "type": "customer.updated", "data": {"object": {"id": "cus_1", "object": "customer"}}}
        )
        headers = {"Stripe-Signature": signatures.sign_stamped(body, str(int(time.time() - age)), secret)}
        url = f"http://127.0.0.1:{self.daemon.port}/webhooks/{path}"
        async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as answer:
            return answer.status, await answer.read()

    async def takes(self, *secrets: str) -> set[str]:
        """Which of these secrets a delivery may be signed with."""
        return {secret for secret in secrets if (await self.send(secret))[0] == 202}


@pytest.mark.timeout(120)
async def test_secrets_rotate_without_a_restart_and_a_broken_one_keeps_the_old(
    tmp_path: Path, database: str, rows: Rows
):
    daemon = Daemon(tmp_path, database, {})
    shop = Shop(daemon)
    shop.secret("old", "whsec_old")
    shop.lists("old")
    both = ("whsec_old", "whsec_new")
    shop.secret("address", ADDRESS)
    daemon.write_partner("unsigned", UNSIGNED.format(port=shop.port))
    async with daemon:
        # One who signs nothing is known by the address, which is stored nowhere.
        said = b'{"event": "room/removed", "room": 7}'
        async with aiohttp.ClientSession(f"http://127.0.0.1:{daemon.port}") as http:
            for route, status in ((ADDRESS, 202), (ADDRESS, 200), (ADDRESS[:-1], 401), ("", 401)):
                async with http.post(f"/webhooks/unsigned/hotel/{route}".rstrip("/"), data=said) as answer:
                    assert answer.status == status
        [row] = await rows.connection.fetch("SELECT * FROM syncd.inbox WHERE integration = 'hotel'")
        assert (row["route"], row["event_type"], "syncd-known-by" in row["headers"]) == ("", "room/removed", True)

        async def looked_for() -> bool:
            found = "SELECT 1 FROM syncd.tasks WHERE integration = 'hotel' AND kind = 'fetch' AND external_id = '7'"
            return bool(await rows.connection.fetchval(found))

        await daemon.until(looked_for, seconds=20)  # the removal is not believed: the room is looked for
        assert ADDRESS not in str([dict(row)]) + daemon.log()

        assert await shop.takes(*both) == {"whsec_old"}
        refused = await shop.send("whsec_new")
        assert refused[0] == 401
        assert refused == await shop.send("whsec_old", age=301) == await shop.send("whsec_old", path="stripe/nobody")
        assert (await shop.send("whsec_old", event="evt_twice"), await shop.send("whsec_old", event="evt_twice")) == (
            (202, b'{"status": "accepted"}\n'), (200, b'{"status": "duplicate"}\n'))  # fmt: skip
        assert await daemon.metric('webhook_failures_total{error_type="stale",partner="stripe"}') == 1
        assert await daemon.metric('webhook_failures_total{error_type="signature",partner="stripe"}') >= 2

        # A second one is listed: both are valid, and the difference shows no more than that.
        shop.secret("new", "whsec_new")
        shop.lists("old", "new")
        code, out, err = await daemon.cli("reload", "--wait")
        assert code == 0 and "webhook.secrets[1]: (not set) → {file: new} #" in out + err, (out, err)
        assert await shop.takes(*both) == {"whsec_old", "whsec_new"}

        # The first one is replaced in its file alone.
        shop.secret("old", "whsec_third")
        code, out, err = await daemon.cli("reload", "--wait")
        assert code == 0 and "webhook.secrets[0]: {file: old} #" in out + err, (out, err)
        assert await shop.takes("whsec_third", *both) == {"whsec_third", "whsec_new"}

        # One that others may read is refused, and what was valid stays so.
        shop.secret("old", "whsec_fourth", mode=0o644)
        code, out, err = await daemon.cli("reload", "--wait")
        assert code == 1 and "chmod 600" in out + err and "judged as before" in out + err, (out, err)
        assert await shop.takes("whsec_fourth", "whsec_third", "whsec_new") == {"whsec_third", "whsec_new"}
        shop.secret("old", "whsec_fourth")
        daemon.hup()

        async def turned() -> bool:
            return await shop.takes("whsec_fourth", "whsec_third") == {"whsec_fourth"}

        await daemon.until(turned, seconds=20)

        # The rotation ends.
        shop.lists("new")
        code, _, _ = await daemon.cli("reload", "--wait")
        assert code == 0 and await shop.takes("whsec_fourth", "whsec_new") == {"whsec_new"}
        log = daemon.log()
        assert "whsec_" not in log
        assert log.count('"event":"partner_started"') == 2, "a run was cut short for a secret that only deliveries need"
    assert (await rows.connection.fetchval("SELECT count(*) FROM syncd.inbox WHERE event_id = 'evt_twice'")) == 1


@pytest.mark.timeout(120)
async def test_a_secret_that_cannot_be_read_after_a_start_is_said_everywhere_until_it_can(
    tmp_path: Path, database: str
):
    daemon = Daemon(tmp_path, database, {})
    shop = Shop(daemon)
    shop.lists("lost")  # its partner does not answer: that is said first, and hides nothing
    quiet = acme()
    quiet["integrations"]["one"]["webhook"] = {"secrets": [{"file": "lost"}]}
    daemon.write_partner("acme", quiet)
    async with daemon:
        assert (await shop.send("whsec_lost"))[0] == 503

        async def behind_the_outage() -> bool:
            code, out, _ = await daemon.cli("status", "shop")
            assert code == 0 and "answered 503" in out, out
            return "also: deliveries" in out  # once its partner was found not to answer

        await daemon.until(behind_the_outage, seconds=40, every=0.5)
        code, out, _ = await daemon.cli("status", "one", "--exit-code")
        assert code == 1 and "DEGRADED" in out and "answered 503" in out, out
        assert f"{shop.folder}/lost" in out and "syncd check --env" in out, out
        told = orjson.loads((await daemon.get("/health"))[1])["services"]["one"]
        assert told["status"] == "degraded" and "answered 503" in told["reason"] and told["since"], told
        assert await daemon.metric('syncd_webhook_secrets_unread{integration="one"}') == 1
        assert await daemon.metric('webhook_failures_total{error_type="secrets_unread",partner="stripe"}') == 1
        shop.secret("lost", "whsec_lost")

        async def heard() -> bool:
            return (await shop.send("whsec_lost"))[0] == 202

        await daemon.until(heard, seconds=40)
        assert await daemon.metric('syncd_webhook_secrets_unread{integration="one"}') == 0
        for name in ("shop", "one"):
            assert "answered 503" not in (await daemon.cli("status", name))[1]
