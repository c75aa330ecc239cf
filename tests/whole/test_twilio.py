"""The twilio driver against its simulator: imported, kept by callbacks and windows, pushed to, its token exchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from twilio.request_validator import RequestValidator

from syncd.testing.control import Control
from tests.whole.daemon import Daemon, Rows
from tests.whole.test_pushes import over
from tests.whole.test_pushes_partners import Desk
from tests.whole.warm import spawn

ACCOUNT = "AC5c0de5c0de5c0de5c0de5c0de5c0dea1"
TOKEN, SECOND = "simulated-twilio-token-1", "simulated-twilio-token-2"
RESOURCES = ("messages", "media", "calls", "recordings", "conferences", "incoming_phone_numbers", "balance")
SELDOM: dict[str, Any] = {"every": "12h", "jitter": "0s"}


@pytest.mark.timeout(120)
async def test_twilio_is_imported_kept_and_pushed_to_and_its_token_exchanged(
    tmp_path: Path, database: str, rows: Rows
) -> None:
    with spawn("twilio", messages=1200, calls=60) as simulator:
        control, desk = Control(simulator.url), Desk(rows, "office")
        secret = tmp_path / "token"
        secret.write_text(TOKEN)
        secret.chmod(0o600)
        body: dict[str, Any] = {
            "driver": "twilio",
            "base_url": f"{simulator.url}/2010-04-01/Accounts/{{option.account_sid}}",
            "options": {"account_sid": ACCOUNT},
            "resources": dict.fromkeys(RESOURCES, SELDOM),
            "integrations": {
                "office": {
                    "credentials": {"sid": ACCOUNT, "secret": {"file": str(secret)}},
                    "webhook": {"secrets": [TOKEN, SECOND]},  # both are valid while one is promoted
                }
            },
        }

        async def same() -> bool:
            return not [name for name in RESOURCES if await rows.live("office", name) != await control.truth(name)]

        daemon = Daemon(tmp_path, database, {})
        hook = f"http://127.0.0.1:{daemon.port}/webhooks/twilio/office"
        body["integrations"]["office"]["webhook"]["url"] = hook  # it is part of what is signed
        daemon.write_partner("twilio", body)
        async with daemon:
            await daemon.until(same, seconds=60, every=0.3)
            await control.webhooks(hook, TOKEN)

            # A message is sent although its answer is lost, once; it goes on by callbacks, also those that come late.
            await control.deliver(duplicate=1, hold=1.0)
            await control.misbehave("drop_after", match="POST /2010-04-01/Accounts/{account}/Messages.json", count=1)
            words = {"to": "+4520550101", "from": "+4515550100", "body": "The gate is open."}
            sent = await desk.push("messages", "send", words)
            wrong = await desk.push("messages", "send", {**words, "to": "20550101"})
            await daemon.until(lambda: over(rows), seconds=40)
            assert (await desk.became(sent))["state"] == "done"
            assert "field to" in (await desk.became(wrong))["reason"]
            made = [sid for sid, raw in (await control.truth("messages")).items() if raw["body"] == words["body"]]
            assert [(await desk.became(sent))["external_id"]] == made
            assert len(await control.arrivals("POST /2010-04-01")) == 1

            async def delivered() -> bool:
                return (await desk.stored("messages", made[0]))["data"]["status"] == "delivered"

            for _ in range(3):
                await control.do("advance")
            await daemon.until(delivered, seconds=40)

            # The secondary token becomes the primary one: it is put in force while both are good, and signs from then on.
            secret.write_text(SECOND)
            daemon.hup()

            async def reloaded() -> bool:
                return "config_reloaded" in daemon.log()

            await daemon.until(reloaded, seconds=40)
            await control.do("promote")
            inbound = (await control.do("inbound", body="Merci, à demain!"))["sid"]

            async def arrived() -> bool:
                return inbound in await rows.live("office", "messages")

            await daemon.until(arrived, seconds=40)
            form = {"MessageSid": inbound, "AccountSid": ACCOUNT, "Body": "Merci, à demain!", "NumMedia": "0"}
            seal = RequestValidator(SECOND).compute_signature(hook, form)
            async with (
                aiohttp.ClientSession() as http,
                http.post(hook, data=form, headers={"X-Twilio-Signature": seal}) as answer,
            ):
                told = (answer.status, answer.content_type, await answer.text())
            assert told == (200, "text/xml", "<Response/>"), "an inbound message expects TwiML"
            code, out, err = await daemon.cli("webhook", "send", "office", "call", "--duplicate")
            assert code == 0, out + err

            async def worked_on() -> bool:
                waits = "SELECT count(*) FROM syncd.inbox WHERE state IN ('waiting', 'taken')"
                return await rows.connection.fetchval(waits) == 0

            await daemon.until(worked_on, seconds=40)
            redacted = await desk.push("messages", "redact", {}, inbound)
            await daemon.until(lambda: over(rows), seconds=40)
            assert (await desk.became(redacted))["state"] == "done"
            assert (await desk.stored("messages", inbound))["data"]["body"] == ""
            left = await rows.connection.fetch(
                "SELECT 'changes', to_jsonb(c)::text FROM syncd.changes c WHERE external_id = $1 UNION ALL "
                "SELECT 'inbox', convert_from(body, 'UTF8') FROM syncd.inbox WHERE body IS NOT NULL UNION ALL "
                "SELECT 'outbox', to_jsonb(o)::text FROM syncd.outbox o",
                inbound,
            )
            assert not [tuple(one) for one in left if "demain" in one[1]], "what was redacted is nowhere any more"
            assert any("erased: " in one[1] for one in left)
            await daemon.until(same, seconds=40, every=0.3)
            assert await rows.connection.fetchval("SELECT count(*) FROM syncd.rejects") == 0
            assert TOKEN not in daemon.log()
        stats = await control.stats()
        assert (stats["violations"], stats["refused_429"]) == (0, 0), stats["rules_broken"]
