"""Outages of a part of a partner: one endpoint group, or the endpoint that gives tokens. And coming back from one."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.whole.conftest import PLAIN, only, partner
from tests.whole.daemon import Daemon, Rows
from tests.whole.test_outage import closed, fetchval, groups, limits, opened, said


class Tokens:
    """A partner whose tokens live for two seconds, and whose token endpoint can be made sick."""

    def __init__(self) -> None:
        self.well = True
        self.calls: Counter[str] = Counter()
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        app = web.Application()
        app.router.add_post("/oauth/token", self._token)
        app.router.add_get("/v1/things", self._things)
        app.router.add_get("/v1/things/{id}/notes", self._notes)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}/v1"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _token(self, request: web.Request) -> web.Response:
        self.calls["token"] += 1
        if not self.well:
            return web.json_response({"error": "down"}, status=503)
        return web.json_response({"access_token": f"token-{self.calls['token']:012d}", "expires_in": 2})

    async def _things(self, request: web.Request) -> web.Response:
        self.calls["things"] += 1
        return web.json_response({"items": [{"id": f"t{number}", "n": number} for number in range(80)]})

    async def _notes(self, request: web.Request) -> web.Response:
        self.calls["notes"] += 1
        thing = request.match_info["id"]
        return web.json_response({"items": [{"id": f"n-{thing}", "text": "as told"}]})


@pytest.fixture
async def tokens() -> AsyncIterator[Tokens]:
    made = Tokens()
    yield made
    await made.stop()


async def test_a_token_endpoint_that_is_down_for_long_spends_no_attempts_and_buries_nothing(
    tokens: Tokens, tmp_path: Path, database: str, rows: Rows
):
    file = {
        "driver": "rest",
        "base_url": await tokens.start(),
        "rest": {
            "auth": {"kind": "oauth2_client", "token_path": "/oauth/token"},
            "resources": {
                "things": {"path": "/things", "records": "items", "fields": {"n": "n"}},
                "notes": {
                    "path": "/things/{parent.id}/notes",
                    "parent": "things",
                    "records": "items",
                    "fields": {"text": "text"},
                },
            },
        },
        "limits": {**limits("10/s"), "accept_risk": True},
        "resources": {"things": {"every": "2s"}},
        "integrations": {
            "acme": {"credentials": {"client_id": "the-client-id-0001", "client_secret": "the-client-secret-0001"}}
        },
    }
    async with Daemon(tmp_path, database, {"plain": file}) as daemon:

        async def some_children() -> bool:
            return await rows.count("acme", "notes") >= 10

        await daemon.until(some_children)
        tokens.well = False
        token_open = 'syncd_breaker_state{group="token",scope="plain/acme"}'

        async def broken() -> bool:
            return await daemon.metric(token_open) > 0

        await daemon.until(broken)
        await asyncio.sleep(3)  # the last token has ended, and with it all that was on its way
        tasks = await fetchval(rows, "SELECT count(*) FROM syncd.tasks")
        attempts = await fetchval(rows, "SELECT coalesce(sum(attempts), 0) FROM syncd.tasks")
        runs = await fetchval(rows, "SELECT count(*) FROM syncd.runs")
        assert tasks > 20
        await asyncio.sleep(12)
        assert await fetchval(rows, "SELECT count(*) FROM syncd.tasks") == tasks
        assert await fetchval(rows, "SELECT coalesce(sum(attempts), 0) FROM syncd.tasks") <= attempts + 1
        assert await fetchval(rows, "SELECT count(*) FROM syncd.runs") - runs <= 15
        one = await daemon.integration("acme")
        assert one["state"] == "down"
        assert (one["explanation"]["code"], one["explanation"]["cause"]) == (
            "breaker-open",
            "POST token: answered 503",
        )
        assert one["explanation"]["action"].endswith("syncd breaker acme reset --group token")
        stored = await rows.count("acme", "notes")
        tokens.well = True

        async def goes_on() -> bool:
            return await rows.count("acme", "notes") >= stored + 5

        await daemon.until(goes_on, seconds=90)
    assert await fetchval(rows, "SELECT count(*) FROM syncd.dead_letters") == 0


async def test_a_sick_endpoint_group_stops_its_own_resources_only(tmp_path: Path, database: str, plain):
    simulator, control = plain(things=50)
    spec: dict[str, Any] = copy.deepcopy(PLAIN)
    spec["resources"]["flow"]["group"] = "flows"
    file = partner(simulator.base_url, resources=only("things", "flow", every="1s"), limits=limits(), rest=spec)
    async with Daemon(tmp_path, database, {"plain": file}) as daemon:

        async def both() -> bool:
            one = await daemon.integration("acme")
            return all(each["last_success_at"] for each in one["resources"])

        await daemon.until(both)
        await control.misbehave("status", status=500, match="/flow")

        async def broken() -> bool:
            return any(one["group"] == "flows" and one["state"] != "closed" for one in await groups(daemon))

        await daemon.until(broken)
        one = await daemon.integration("acme")
        assert (one["state"], one["explanation"]["code"]) == ("degraded", "breaker-open")
        states = {each["name"]: each["state"] for each in one["resources"]}
        assert states == {"things": "healthy", "flow": "down"}
        before = len(await control.arrivals("/things"))
        await asyncio.sleep(4)
        assert len(await control.arrivals("/things")) - before >= 2, "the others go on as if nothing were"
        await control.behave()

        async def healed() -> bool:
            return (await daemon.integration("acme"))["state"] == "healthy"

        await daemon.until(healed)
        assert (await daemon.integration("acme"))["limits"]["ramp"] is None, "nothing had piled up"
        assert [one["group"] for one in said(daemon, "breaker_opened")] == ["flows"]


async def test_after_an_outage_the_partner_meets_a_tenth_of_the_budget_at_first(tmp_path: Path, database: str, plain):
    simulator, control = plain(things=3000)
    spec: dict[str, Any] = copy.deepcopy(PLAIN) | {"page_size": 5}
    file = partner(
        simulator.base_url, resources=only("things", every="1s", strategy="full"), limits=limits("20/s"), rest=spec
    )
    async with Daemon(tmp_path, database, {"plain": file}) as daemon:

        async def going() -> bool:
            return len(await control.arrivals("/things")) > 30

        await daemon.until(going)
        await control.misbehave("status", status=502)
        await daemon.until(lambda: opened(daemon))
        await asyncio.sleep(3)
        await control.behave()
        began = len(await control.arrivals("/things"))
        await daemon.until(lambda: closed(daemon))
        began_at = time.monotonic()
        found = (await daemon.integration("acme"))["limits"]["ramp"]
        assert 0.1 <= found["share"] < 0.3
        await asyncio.sleep(10)
        arrivals = (await control.arrivals("/things"))[began:]
        elapsed = time.monotonic() - began_at
        back = arrivals[0]
        assert sum(1 for at in arrivals if at < back + 5) <= 5 * 20 * 0.25 + 2, "two a second, and slowly more"
        assert len(arrivals) <= elapsed * 20 * 0.4
        assert len(arrivals) >= 5, "but it goes on"


@pytest.mark.soak
async def test_after_downtime_too_what_waited_does_not_go_all_at_once(tmp_path: Path, database: str, rows: Rows, plain):
    simulator, control = plain(things=3000)
    spec: dict[str, Any] = copy.deepcopy(PLAIN) | {"page_size": 5}
    file = partner(
        simulator.base_url, resources=only("things", every="1s", strategy="full"), limits=limits("20/s"), rest=spec
    )
    daemon = Daemon(tmp_path, database, {"plain": file})
    async with daemon:

        async def going() -> bool:
            return len(await control.arrivals("/things")) > 30

        await daemon.until(going)
        assert await daemon.stop() == 0
        # Two minutes pass, as far as the rows can tell: what they say of their own age, and of the boot, is moved back.
        await rows.connection.execute(
            "UPDATE syncd.limit_state SET saved_at = saved_at - interval '2 minutes', "
            "state = jsonb_set(jsonb_set(state, '{boot}', '\"another\"'), '{saved_at}', "
            "to_jsonb((state->>'saved_at')::float8 - 120))"
        )
        before = len(await control.arrivals("/things"))
        await daemon.start()

        async def back() -> bool:
            return len(await control.arrivals("/things")) > before

        await daemon.until(back)
        assert (await daemon.integration("acme"))["limits"]["ramp"]["share"] < 0.5
        await asyncio.sleep(6)
        arrivals = (await control.arrivals("/things"))[before:]
        assert sum(1 for at in arrivals if at < arrivals[0] + 5) <= 5 * 20 * 0.25 + 2
        assert len(said(daemon, "scope_ramped")) == 1
