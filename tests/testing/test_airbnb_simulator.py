"""The simulated Airbnb behaves as the partner facts say: tokens, headers, hidden records, refusals, signed notifications."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from syncd.client.grants import basic
from syncd.drivers.airbnb.simulator import create
from syncd.kit import signatures
from syncd.testing.process import Served, serve

CLIENT = {"Authorization": basic("simulated-client", "simulated-secret")}
REFRESH = {"refresh_token": "simulated-refresh-token", "reset_refresh_token": 0}
TOKENS = "/v2/oauth2/authorizations"


class Account:
    """One client of it."""

    def __init__(self, served: Served, http: aiohttp.ClientSession) -> None:
        self.served = served
        self.http = http
        self.simulator = served.simulator
        self.headers: dict[str, str] = {}

    async def ask(self, method: str, path: str, body: Any = None, **how: Any) -> tuple[int, Any, Any]:
        how.setdefault("headers", self.headers)
        async with self.http.request(method, self.served.url + path, json=body, **how) as answer:
            return answer.status, await answer.json(), answer.headers

    async def token(self, **more: Any) -> tuple[int, Any]:
        status, said, _ = await self.ask("POST", f"{TOKENS}?_unwrapped=true", {**REFRESH, **more}, headers=CLIENT)
        if status == 200:
            self.headers = {
                "X-Airbnb-API-Key": "simulated-client",
                "X-Airbnb-OAuth-Token": said["access_token"],
                "X-AIRBNB-REQ-API-VERSION": "2024.06.30",
            }
        return status, said

    async def get(self, path: str, **params: str) -> tuple[int, Any]:
        status, said, _ = await self.ask("GET", f"/v2{path}", params=params)
        return status, said


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    simulator = create(listings=60, reservations=130, threads=3, alterations=4, past=5, tiers=[])
    async with await serve(simulator) as served, aiohttp.ClientSession() as http:
        yield Account(served, http)


async def test_tokens_are_got_by_json_alone_and_the_old_refresh_token_stays(account: Account):
    status, said = await account.token()
    assert status == 200
    assert set(said) == {"access_token", "expires_at", "user_id", "user_id_str"}
    assert said["expires_at"] > 1_700_000_000
    assert (await account.token(grant_type="refresh_token"))[0] == 400
    assert (await account.token(refresh_token="of nobody"))[0] == 404
    status, said = await account.token(reset_refresh_token=1)
    assert status == 200 and said["refresh_token"]
    assert (await account.token())[0] == 404
    wrapped, said, _ = await account.ask("POST", TOKENS, {"code": "simulated-code"}, headers=CLIENT)
    assert wrapped == 200 and set(said) == {"oauth2_authorization"}
    wrong, _, _ = await account.ask("POST", TOKENS, REFRESH, headers={"Authorization": basic("simulated-client", "x")})
    assert wrong == 401


async def test_a_call_needs_both_headers_and_a_version(account: Account):
    await account.token()
    assert (await account.get("/users/me"))[0] == 200
    for name, status in (("X-Airbnb-API-Key", 401), ("X-Airbnb-OAuth-Token", 401), ("X-AIRBNB-REQ-API-VERSION", 400)):
        headers = {**account.headers, name: "other"}
        assert (await account.ask("GET", "/v2/users/me", headers=headers))[0] == status


async def test_lists_hide_by_default_and_go_on_by_cursor(account: Account):
    await account.token()
    _, some = await account.get("/listings", _limit="50")
    _, every = await account.get("/listings", _limit="50", has_availability="false")
    assert every["paging"]["total_count"] == 60 > some["paging"]["total_count"]
    _, rest = await account.get(
        "/listings", _limit="50", has_availability="false", _cursor=every["paging"]["next_cursor"]
    )
    assert len(every["listings"]) + len(rest["listings"]) == 60
    assert rest["paging"]["next_cursor"] is None
    assert (await account.get("/listings", _limit="51"))[0] == 400
    host = str(account.simulator.mint.host)
    assert (await account.get("/reservations"))[0] == 400
    _, shown = await account.get("/reservations", host_id=host)
    assert {one["status_type"] for one in shown["reservations"]} == {"accept"}
    _, all_of_them = await account.get(
        "/reservations", host_id=host, all_status="true", start_date="2000-01-01", _limit="50"
    )
    assert any(one["confirmation_code"].startswith("PAST") for one in all_of_them["reservations"])
    assert (await account.get("/reservations", host_id="1"))[0] == 403


async def test_what_is_deleted_is_forbidden_and_not_missing(account: Account):
    await account.token()
    gone = next(iter(account.simulator.truth("listings")))
    account.simulator.action("remove", {"id": gone})
    for path in (f"/listings/{gone}", f"/booking_settings/{gone}", f"/calendars/{gone}/2026-09-01/2026-09-02"):
        status, said = await account.get(path)
        assert (status, said["error_type"]) == (403, "no_access")
    account.simulator.action("deny", {"of": "reservations"})
    host = str(account.simulator.mint.host)
    assert [(await account.get(path, host_id=host))[0] for path in ("/reservations", "/users/me")] == [403, 200]
    account.simulator.action("deny", {})
    assert (await account.get("/users/me"))[0] == 403


async def test_one_call_at_a_time_and_two_hundred_in_ten_minutes_are_enforced():
    async with await serve(create(listings=1, reservations=1, threads=1)) as served, aiohttp.ClientSession() as http:
        account = Account(served, http)
        await account.token()
        statuses = [(await account.get("/users/me"))[0] for _ in range(201)]
        assert statuses == [200] * 200 + [429]
        assert served.simulator.enforcer.violations == 1


async def test_a_secret_that_was_rotated_dies_after_its_grace(account: Account):
    new = account.simulator.action("rotate", {"grace": 0})["secret"]
    assert (await account.token())[0] == 401
    status, _, _ = await account.ask("POST", TOKENS, REFRESH, headers={"Authorization": basic("simulated-client", new)})
    assert status == 200
    never = account.simulator.action("rotate", {"works": False})["secret"]
    status, _, _ = await account.ask(
        "POST", TOKENS, REFRESH, headers={"Authorization": basic("simulated-client", never)}
    )
    assert status == 401


async def test_notifications_are_signed_with_the_key_it_shows(account: Account):
    simulator = account.simulator
    target = simulator.subscription("http://127.0.0.1:1/webhooks/airbnb/acme", [], ["*"])
    simulator.deliveries.targets[target.id] = target
    headers = dict(simulator.sign(target, b'{"action":"x"}', "n"))
    pem = [simulator.action("public_key", {})["pem"]]
    keys = signatures.public_keys(pem)
    told = (
        target.url,
        b'{"action":"x"}',
        headers["Date"],
        headers["Content-Type"],
        headers["Authorization"],
        keys,
        0.0,
    )
    assert signatures.airbnb(*told)
    assert not signatures.airbnb(told[0], b'{"action":"y"}', *told[2:])
    assert simulator.deliveries.accepts is not None
    assert simulator.deliveries.accepts(200, b'{"succeed": true}')
    assert not simulator.deliveries.accepts(202, b'{"succeed": true}')


def test_records_nobody_changed_are_made_when_they_are_asked_for():
    tracemalloc.start()
    simulator = create(listings=10, reservations=5_000, threads=1)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(simulator.state["reservations"]) == 5_000
    assert used < 5_000 * 800  # one such record has two thousand bytes as JSON, and more as objects
    first = next(iter(simulator.state["reservations"]))
    assert first.raw == first.raw


async def test_a_notification_is_sent_again_until_it_is_answered_as_airbnb_wants(account: Account):
    answers = [web.json_response({"succeed": True}, status=202), web.json_response({"status": "accepted"})]
    seen: list[bytes] = []

    async def hear(request: web.Request) -> web.Response:
        seen.append(await request.read())
        return answers.pop() if answers else web.json_response({"succeed": True})

    app = web.Application()
    app.router.add_post("/hook", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    deliveries = account.simulator.deliveries
    deliveries.retry_seconds = (0.0, 0.0, 0.0)
    target = account.simulator.subscription(f"http://127.0.0.1:{runner.addresses[0][1]}/hook", [], ["*"])
    deliveries.targets[target.id] = target
    account.simulator.action("test", {})
    while deliveries.delivered < 2:
        await asyncio.sleep(0.01)
    await runner.cleanup()
    assert (len(seen), deliveries.failed) == (4, 0)
