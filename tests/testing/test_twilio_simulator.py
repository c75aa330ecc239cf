"""The simulated Twilio against what Twilio documents, asked by a plain HTTP client and by Twilio's own library."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest
from aiohttp import encode_basic_auth, web
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from syncd.drivers.twilio.simulator import create
from syncd.testing.clock import FakeClock
from syncd.testing.process import Served
from syncd.testing.simulator import serve

ACCOUNT, TOKEN = "AC5c0de5c0de5c0de5c0de5c0de5c0dea1", "simulated-twilio-token-1"
PATH = f"/2010-04-01/Accounts/{ACCOUNT}"
BASIC = {"Authorization": encode_basic_auth(ACCOUNT, TOKEN)}


@pytest.fixture
async def partner() -> AsyncIterator[Served]:
    async with await serve(create(messages=120, calls=30)) as served:
        yield served


@pytest.fixture
async def client(partner: Served) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(partner.url, headers=BASIC) as session:
        yield session


async def get(client: aiohttp.ClientSession, path: str, status: int = 200, **params: str) -> Any:
    async with client.get(path, params=params) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def post(client: aiohttp.ClientSession, path: str, status: int = 200, **form: str) -> Any:
    async with client.post(PATH + path, data=form) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json() if status != 204 else None


async def walk(client: aiohttp.ClientSession, path: str, name: str, **params: str) -> list[Any]:
    page = await get(client, PATH + path, **params)
    found = list(page[name])
    while page["next_page_uri"]:
        page = await get(client, page["next_page_uri"])
        found += page[name]
    return found


async def test_lists_go_on_by_their_tokens_newest_first_and_complete(
    partner: Served, client: aiohttp.ClientSession
) -> None:
    found = await walk(client, "/Messages.json", "messages", PageSize="50")
    assert {one["sid"]: one for one in found} == partner.simulator.truth("messages")
    first = await get(client, f"{PATH}/Messages.json", PageSize="50")
    partner.simulator.create("messages")
    second = await get(client, first["next_page_uri"])
    assert [one["sid"] for one in second["messages"]] == [one["sid"] for one in found[50:100]]
    assert second["page"] == 1
    assert second["start"] == 50
    assert partner.simulator.stats()["violations"] == 0


async def test_a_page_number_of_ones_own_and_a_path_without_json_are_broken_rules(
    partner: Served, client: aiohttp.ClientSession
) -> None:
    await get(client, f"{PATH}/Messages.json", 400, Page="2")
    async with client.get(f"{PATH}/Messages") as answer:
        assert answer.status == 404
        assert answer.content_type == "application/xml"
    await get(client, f"{PATH}/Messages.json", UpdatedSince="2026-01-01")
    assert partner.simulator.stats()["violations"] == 3


async def test_dates_filter_by_day_and_leave_out_what_has_none(partner: Served, client: aiohttp.ClientSession) -> None:
    made = (await post(client, "/Messages.json", 201, To="+4520550101", From="+4515550100", Body="x"))["sid"]
    today = await walk(client, "/Messages.json", "messages", **{"DateSent>": "2000-01-01"})
    assert len(today) == 120
    assert made not in {one["sid"] for one in today}
    assert await walk(client, "/Messages.json", "messages", **{"DateSent<": "2000-01-01"}) == []
    assert len(await walk(client, "/Messages.json", "messages", To="+4520550101")) >= 1


async def test_who_calls_is_told_by_account_or_key_and_the_account_shows_its_token_to_no_key(partner: Served) -> None:
    key = encode_basic_auth("SK5c0de5c0de5c0de5c0de5c0de5c0de99", "simulated-twilio-key-secret")  # not-a-secret
    wrong = encode_basic_auth(ACCOUNT, "wrong")
    async with aiohttp.ClientSession(partner.url) as session:
        for header, path, status in [
            (BASIC["Authorization"], f"{PATH}.json", 200),
            (key, f"{PATH}/Balance.json", 200),
            (key, f"{PATH}.json", 401),
            (wrong, f"{PATH}/Balance.json", 401),
            (BASIC["Authorization"], "/2010-04-01/Accounts/AC00/Balance.json", 404),
        ]:
            async with session.get(path, headers={"Authorization": header}) as answer:
                assert answer.status == status, path
                said = await answer.json()
                if status == 401:
                    assert said["code"] == 20003
                if path == f"{PATH}.json" and status == 200:
                    assert said["auth_token"] == TOKEN


async def test_too_many_at_once_is_a_429_and_a_violation() -> None:
    simulator = create(seats=2, latency=(0.3, 0.3))
    async with await serve(simulator) as served, aiohttp.ClientSession(served.url, headers=BASIC) as session:

        async def one() -> tuple[int, int | None]:
            async with session.get(f"{PATH}/Balance.json") as answer:
                return answer.status, (await answer.json()).get("code")

        got = await asyncio.gather(*(one() for _ in range(4)))
    assert sorted(got) == [(200, None), (200, None), (429, 20429), (429, 20429)]
    assert simulator.stats()["violations"] == 2


async def test_a_message_goes_its_way_and_its_price_comes_last(partner: Served, client: aiohttp.ClientSession) -> None:
    words = {"To": "+4520550101", "From": "+4515550100", "Body": "x"}
    sid = (await post(client, "/Messages.json", 201, **words))["sid"]
    for status in ("sending", "sent", "delivered"):
        partner.simulator.action("advance", {})
        said = await get(client, f"{PATH}/Messages/{sid}.json")
        assert said["status"] == status
    assert said["date_sent"] is not None
    assert said["price"] is None
    partner.simulator.update("messages", sid)
    assert (await get(client, f"{PATH}/Messages/{sid}.json"))["price"] is not None
    assert (await post(client, f"/Messages/{sid}.json", Body=""))["body"] == ""
    async with client.delete(f"{PATH}/Messages/{sid}.json") as answer:
        assert answer.status == 204
    await get(client, f"{PATH}/Messages/{sid}.json", 404)


async def test_a_message_needs_a_number_a_sender_and_words(client: aiohttp.ClientSession) -> None:
    whole = {"To": "+4520550101", "From": "+4515550100", "Body": "x"}
    for name in whole:
        await post(client, "/Messages.json", 400, **{one: value for one, value in whole.items() if one != name})
    await post(client, "/Messages.json", 400, **{**whole, "To": "20550101"})


async def test_a_call_is_cancelled_before_it_is_answered_and_completed_after(
    partner: Served, client: aiohttp.ClientSession
) -> None:
    ringing = partner.simulator.create("calls", {"status": "ringing"})
    going = partner.simulator.create("calls", {"status": "in-progress"})
    await post(client, f"/Calls/{ringing}.json", 400, Status="completed")
    assert (await post(client, f"/Calls/{ringing}.json", Status="canceled"))["status"] == "canceled"
    assert (await post(client, f"/Calls/{going}.json", Status="completed"))["status"] == "completed"
    await post(client, f"/Calls/{going}.json", 400, Twiml="<Response/>")


async def test_a_deleted_recording_is_shown_to_who_asks_for_it(partner: Served, client: aiohttp.ClientSession) -> None:
    sid = partner.simulator.state["recordings"].order[0][2]
    partner.simulator.delete("recordings", sid)
    assert sid not in {one["sid"] for one in await walk(client, "/Recordings.json", "recordings")}
    shown = await walk(client, "/Recordings.json", "recordings", IncludeSoftDeleted="true")
    assert {one["sid"]: one["status"] for one in shown}[sid] == "deleted"
    assert sid not in partner.simulator.truth("recordings")


async def test_media_lie_below_the_messages_that_count_them(partner: Served, client: aiohttp.ClientSession) -> None:
    messages = partner.simulator.truth("messages")
    for sid, raw in list(messages.items())[:50]:
        found = await walk(client, f"/Messages/{sid}/Media.json", "media_list")
        assert len(found) == int(raw["num_media"])


async def test_callbacks_are_signed_as_twilios_own_library_checks_them(partner: Served) -> None:
    simulator = partner.simulator
    got: list[tuple[str, dict[str, str], str]] = []

    async def hook(request: web.Request) -> web.Response:
        form = dict(parse_qsl(await request.text(), keep_blank_values=True))
        got.append((str(request.url), form, request.headers["X-Twilio-Signature"]))
        return web.Response(text="<Response/>", content_type="text/xml")

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?office=1"
        target = simulator.subscription(url, [TOKEN], ["*"])
        simulator.deliveries.targets[target.id] = target
        simulator.action("inbound", {"body": " Olá + bem "})
        simulator.create("messages", {"status": "queued"})
        simulator.action("advance", {})
        simulator.action("promote", {})
        call = simulator.create("calls", {"status": "queued"})
        simulator.action("advance", {"to": "completed"})
        async with asyncio.timeout(10):
            while simulator.deliveries.delivered < 6:
                await asyncio.sleep(0.01)
    finally:
        await runner.cleanup()
    old, new = RequestValidator(TOKEN), RequestValidator("simulated-twilio-token-2")
    assert all(old.validate(*one) or new.validate(*one) for one in got)
    assert all(not RequestValidator("another").validate(*one) for one in got)
    inbound = next(form for _, form, _ in got if "Body" in form)
    assert inbound["Body"] == " Olá + bem "
    assert "MessageStatus" not in inbound
    calls = sorted((form["SequenceNumber"], form["CallStatus"]) for _, form, _ in got if form.get("CallSid") == call)
    assert calls == [("0", "queued"), ("1", "completed")]


def test_twenty_thousand_messages_cost_little_and_are_the_same_each_time_they_are_read() -> None:
    clock = FakeClock()
    tracemalloc.start()
    simulator = create(messages=20_000, clock=clock)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 20_000 * 1_000
    messages = simulator.state["messages"]
    ids = [place[2] for place in messages.order[10_000:10_050]]
    again = create(messages=20_000, clock=clock).state["messages"]
    assert [messages.entries[one].raw for one in ids] == [again.entries[one].raw for one in ids]


class Local(HttpClient):
    """Sends what Twilio's library asks for to the simulator, from a thread beside its loop."""

    def __init__(self, served: Served, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(None, False, None)
        self.served, self.loop = served, loop

    def request(self, method: str, url: str, **given: Any) -> Response:
        async def ask() -> Response:
            header = {"Authorization": encode_basic_auth(*given["auth"])}
            url_here = url.replace("https://api.twilio.com", self.served.url)
            data = {name: value for name, value in (given.get("data") or {}).items() if value is not None}
            params = {name: str(value) for name, value in (given.get("params") or {}).items()}
            async with (
                aiohttp.ClientSession(headers=header) as session,
                session.request(method, url_here, params=params, data=data or None) as answer,
            ):
                return Response(answer.status, await answer.text())

        return asyncio.run_coroutine_threadsafe(ask(), self.loop).result(20)


async def test_twilios_own_library_reads_and_writes_it(partner: Served) -> None:
    client = Client(ACCOUNT, TOKEN, http_client=Local(partner, asyncio.get_running_loop()))

    def use() -> tuple[int, str, str]:
        made = client.messages.create(to="+4520550101", from_="+4515550100", body="Written by a library")
        listed = client.messages.list(page_size=50)
        redacted = client.messages(made.sid).update(body="")
        return len(listed), redacted.body, client.balance.fetch().currency

    assert await asyncio.to_thread(use) == (121, "", "USD")
    assert partner.simulator.stats()["violations"] == 0
