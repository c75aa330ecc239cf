"""Pushes to the simulated partners: what they say of it is stored at once, and their own echo of it changes nothing."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest

from syncd.testing.control import Control
from tests.whole.daemon import Daemon, Rows
from tests.whole.test_pushes import over
from tests.whole.warm import spawn

SECRET = "whsec_" + base64.b64encode(b"another signing key that tests know").decode()
OFF = {"enabled": False}
SELDOM = {"every": "12h", "jitter": "0s"}


class Desk:
    """An application that pushes and looks at what became of it."""

    def __init__(self, rows: Rows, integration: str) -> None:
        self.rows = rows
        self.integration = integration

    async def push(self, resource: str, kind: str, data: dict[str, Any], external_id: str | None = None) -> int:
        made: int = await self.rows.connection.fetchval(
            "SELECT syncd.push($1, $2, $3, $4::jsonb, external_id => $5)",
            self.integration,
            resource,
            kind,
            orjson.dumps(data).decode(),
            external_id,
        )
        return made

    async def became(self, push: int) -> dict[str, Any]:
        found = await self.rows.connection.fetchrow("SELECT * FROM syncd.outbox WHERE id = $1", push)
        return dict(found)

    async def stored(self, resource: str, external_id: str) -> dict[str, Any]:
        found = await self.rows.connection.fetchrow(
            "SELECT * FROM syncd.records WHERE integration = $1 AND resource = $2 AND external_id = $3",
            self.integration,
            resource,
            external_id,
        )
        return {**dict(found), "data": orjson.loads(found["data"])}

    async def told(self, daemon: Daemon, control: Control) -> None:
        """Every delivery was sent and worked off, and so was what it caused."""

        async def quiet() -> bool:
            view = (await control.stats())["webhooks"]
            left = await self.rows.connection.fetchval(
                "SELECT (SELECT count(*) FROM syncd.inbox WHERE state IN ('waiting', 'taken')) "
                "+ (SELECT count(*) FROM syncd.tasks)"
            )
            return not (view["waiting"] or view["in_flight"] or view["retrying"] or left)

        await daemon.until(quiet, seconds=40)
        assert (await control.stats())["webhooks"]["delivered"] > 0


@pytest.mark.timeout(120)
async def test_attio_asserts_people_by_email_and_its_echo_changes_nothing(tmp_path: Path, database: str, rows: Rows):
    with spawn("attio", seed=5, people=30, companies=20, deals=5, notes=0, tasks=4, entries=0) as simulator:
        control, desk = Control(simulator.url), Desk(rows, "crm")
        body = {
            "driver": "attio",
            "base_url": simulator.base_url,
            "resources": {**dict.fromkeys(("people", "companies", "objects"), SELDOM),
                          **dict.fromkeys(("deals", "lists", "list_entries", "tasks", "notes", "workspace_members"),
                                          OFF)},
            "integrations": {"crm": {"credentials": {"token": "simulated-attio-token"}, "webhook": {"secrets": [SECRET]}}},
        }  # fmt: skip
        async with Daemon(tmp_path, database, {"attio": body}) as daemon:

            async def copied() -> bool:
                return await rows.count("crm", "people") == 30 and await rows.count("crm", "companies") == 20

            await daemon.until(copied, seconds=60)
            await control.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/attio/crm", SECRET)
            name = {"first_name": "Ada", "last_name": "Lovelace"}
            ada = {"email_addresses": ["ada@example.com"], "name": name, "phone_numbers": ["+14155550123"]}
            # Both are of one record, though nobody knows its id yet: the second waits for the first.
            first = await desk.push("people", "upsert", {**ada, "job_title": "Analyst"})
            second = await desk.push(
                "people", "upsert", {"email_addresses": "ada@example.com", "job_title": "Countess"}
            )
            company = await desk.push("companies", "upsert", {"domains": "example.com", "name": "Example"})
            wrong = await desk.push(
                "people", "upsert", {"email_addresses": "ada@example.com", "phone_numbers": "555 0123"}
            )
            bare = await desk.push("people", "upsert", {"email_addresses": "ada@example.com", "name": "Ada Lovelace"})
            await daemon.until(lambda: over(rows), seconds=40)
            ids = {push: (await desk.became(push))["external_id"] for push in (first, second, company)}
            assert ids[first] == ids[second]
            assert (await control.truth("people"))[ids[first]]["values"]["job_title"][0]["value"] == "Countess"
            person = await desk.stored("people", ids[first])
            assert person["data"]["job_title"] == "Countess"
            assert person["data"]["name"] == "Ada Lovelace"
            assert person["data"]["phone_numbers"] == ["+14155550123"]
            assert (await desk.stored("companies", ids[company]))["data"]["domains"] == ["example.com"]
            assert "field phone_numbers" in (await desk.became(wrong))["reason"]
            assert "field name" in (await desk.became(bare))["reason"]
            await desk.told(daemon, control)
            echoed = await desk.stored("people", ids[first])
            assert (echoed["row_version"], echoed["cause"]) == (person["row_version"], f"push {second}")
            assert await rows.live("crm", "people") == await control.truth("people")
            assert len(await control.arrivals("PUT /v2/objects")) == 3


@pytest.mark.timeout(120)
async def test_guesty_takes_status_and_custom_fields_and_the_copy_follows(tmp_path: Path, database: str, rows: Rows):
    with spawn("guesty", seed=5, listings=5, guests=6, reservations=12) as simulator:
        control, desk = Control(simulator.url), Desk(rows, "acme")
        body = {
            "driver": "guesty",
            "base_url": simulator.base_url,
            "resources": {"listings": {"enabled": False}, "reservations": SELDOM, "guests": SELDOM},
            "integrations": {
                "acme": {
                    "credentials": {"client_id": "simulated-client", "client_secret": "simulated-secret"},
                    "webhook": {"secrets": [SECRET]},
                }
            },
        }
        async with Daemon(tmp_path, database, {"guesty": body}) as daemon:

            async def copied() -> bool:
                return await rows.count("acme", "reservations") == 12 and await rows.count("acme", "guests") == 6

            await daemon.until(copied, seconds=60)
            await control.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/guesty/acme", SECRET)
            stay, other = (await control.truth_ids("reservations"))[:2]
            guest = (await control.truth_ids("guests"))[0]
            field = {"fieldId": "65fab102a5284d73c6206db0", "value": "crib"}
            pushes = [
                await desk.push("reservations", "status", {"status": "canceled"}, stay),
                await desk.push("reservations", "custom_fields", {"custom_fields": [field]}, stay),
                await desk.push("reservations", "key_code", {"key_code": "4711"}, other),
                await desk.push("guests", "update", {"email": "ada@example.com", "phone": "+351912345678"}, guest),
            ]
            wrong = await desk.push("reservations", "status", {"status": "cancelled"}, other)
            await control.misbehave("drop_after", match="PUT /v1/reservations", count=2)
            await daemon.until(lambda: over(rows), seconds=40)
            assert [(await desk.became(push))["state"] for push in pushes] == ["done"] * 4
            assert "field status: is none of" in (await desk.became(wrong))["reason"]
            await desk.told(daemon, control)
            truth = await control.truth("reservations")
            assert truth[stay]["status"] == "canceled"
            assert truth[other]["keyCode"] == "4711"
            assert [{name: one[name] for name in field} for one in truth[stay]["customFields"]] == [field]
            copied_stay = await desk.stored("reservations", stay)
            assert copied_stay["data"]["status"] == "canceled"
            assert copied_stay["data"]["custom_fields"] == truth[stay]["customFields"]
            assert (await desk.stored("guests", guest))["data"]["email"] == "ada@example.com"
