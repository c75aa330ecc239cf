"""The simulated Cloudbeds against what Cloudbeds documents, asked by a plain HTTP client."""

from __future__ import annotations

import asyncio
import json
import tracemalloc

import aiohttp
import pytest
from aiohttp import web

from syncd.drivers.cloudbeds.simulator import create
from syncd.testing.clock import FakeClock
from syncd.testing.simulator import serve

P, Q = "900000000101", "900000000102"
R = "7100000000011"
KEY = {"Authorization": "Bearer cbat_simulated"}
REFRESH = {
    "grant_type": "refresh_token",
    "client_id": "simulated-client",
    "client_secret": "simulated-secret",
    "refresh_token": "simulated-refresh",
}


@pytest.fixture
async def partner():
    async with await serve(create(tiers=[], retry_seconds=[0.1])) as served:
        yield served


@pytest.fixture
async def client(partner):
    async with aiohttp.ClientSession(partner.url, headers=KEY) as session:
        yield session


async def get(client, method, answers=200, **params):
    async with client.get(f"/api/v1.3/{method}", params=params) as answer:
        assert answer.status == answers, await answer.text()
        return await answer.json()


async def send(client, method, verb="POST", **form):
    async with client.request(verb, f"/api/v1.3/{method}", data=form) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def walk(client, method, **params):
    found, page = [], 1
    while True:
        told = await get(client, method, pageNumber=page, **params)
        if not told["data"]:
            return found
        found += list(told["data"].values()) if isinstance(told["data"], dict) else told["data"]
        page += 1


async def test_a_failure_comes_with_200_and_an_account_of_several_properties_is_told_which(partner, client):
    told = await get(client, "getRooms")
    assert told == {"success": False, "message": 'Please specify "propertyID" parameter for this call'}
    told = await get(client, "getRooms", propertyIDs="1")
    assert told["success"] is False and "None of the included" in told["message"]
    key = {"x-api-key": "cbat_simulated"}
    async with aiohttp.ClientSession(partner.url) as other, other.get("/api/v1.3/userinfo", headers=key) as answer:
        assert answer.status == 200 and answer.headers["X-Request-ID"]


async def test_a_property_may_disconnect_or_be_cancelled_while_the_others_answer(partner, client):
    partner.simulator.action("shut", {"property": P, "how": "disconnected"})
    assert "not available to be connected" in (await get(client, "getRooms", answers=401, propertyIDs=P))["message"]
    partner.simulator.action("shut", {"property": P, "how": "canceled"})
    assert f"canceled: {P}" in (await get(client, "getRooms", propertyIDs=P))["message"]
    assert (await get(client, "getRooms", propertyIDs=Q))["success"] and (await get(client, "userinfo"))["user_id"]
    partner.simulator.action("shut", {"property": P})
    assert (await get(client, "getRooms", propertyIDs=P))["success"]


async def test_a_key_nobody_knows_is_denied(partner):
    async with aiohttp.ClientSession(partner.url, headers={"Authorization": "Bearer no"}) as session:
        told = await get(session, "getHotels", answers=401)
    assert told["error"] == "access_denied"


async def test_reservations_page_repeat_over_properties_and_filter_by_the_property_clock(partner, client):
    truth = partner.simulator.truth("reservations")
    found = []
    for known in (P, Q):
        page = await get(client, "getReservationsWithRateDetails", propertyID=known, pageSize=500)
        assert (page["count"], page["total"]) == (100, 150), "a page has at most 100"
        found += await walk(client, "getReservationsWithRateDetails", propertyID=known, includeCustomFields="true")
    assert {f"{row['propertyID']}:{row['reservationID']}": row for row in found} == truth
    assert f"{P}:{R}" in truth and f"{Q}:{R}" in truth
    west = max((row for row in found if row["propertyID"] == Q), key=lambda row: row["dateModified"])
    assert west["dateModified"] < west["dateModifiedUTC"], "Los Angeles is behind"
    page = await get(client, "getReservationsWithRateDetails", propertyID=Q, modifiedFrom=west["dateModified"])
    assert [row["reservationID"] for row in page["data"]] == [west["reservationID"]]
    page = await get(client, "getReservationsWithRateDetails", propertyID=P, reservationID=R, status="canceled")
    assert page["total"] == 1, "the filter by status is ignored without a word"
    assert "customFields" not in page["data"][0]


async def test_a_deleted_reservation_shows_when_asked_for_and_a_silent_change_moves_no_stamp(partner, client):
    simulator = partner.simulator
    simulator.delete("reservations", f"{P}:{R}")
    ask = {"propertyID": P, "reservationID": R}
    assert (await get(client, "getReservationsWithRateDetails", **ask))["data"] == []
    (row,) = (await get(client, "getReservationsWithRateDetails", includeDeleted="true", **ask))["data"]
    assert row["isDeleted"] is True and f"{P}:{R}" not in simulator.truth("reservations")
    before = simulator.truth("reservations")[f"{Q}:{R}"]
    simulator.action("silent", {"resource": "reservations", "id": f"{Q}:{R}", "changes": {"balance": 1.5}})
    after = simulator.truth("reservations")[f"{Q}:{R}"]
    assert (after["balance"], after["dateModified"]) == (1.5, before["dateModified"])


async def test_rooms_are_counted_by_property_and_end_on_an_empty_page(partner, client):
    told = await get(client, "getRooms", propertyIDs=P, pageSize=5)
    assert (told["count"], told["total"], len(told["data"][0]["rooms"])) == (1, 1, 5)
    rooms = [room for row in await walk(client, "getRooms", propertyIDs=P, pageSize=5) for room in row["rooms"]]
    assert len(rooms) == 12
    assert set(await get(client, "getRoomTypes", propertyIDs=P)) == {"success", "data"}


@pytest.mark.parametrize("kind", ["map", "list"])
async def test_guests_come_as_a_map_or_a_list_and_an_empty_map_is_a_list(kind):
    simulator = create(tiers=[], guest_list=kind, guests=6)
    async with await serve(simulator) as served, aiohttp.ClientSession(served.url, headers=KEY) as session:
        told = await get(session, "getGuestList", propertyIDs=P)
        assert isinstance(told["data"], dict if kind == "map" else list)
        assert len(told["data"]) == told["total"] == (3 if kind == "map" else 4), "one of two reservations stands twice"
        assert (await get(session, "getGuestList", propertyIDs=P, pageNumber=9))["data"] == []


async def test_room_blocks_take_35_days_and_default_to_today(client):
    told = await get(client, "getRoomBlocks", propertyID=P, startDate="2026-01-01", endDate="2026-02-05")
    assert told["success"] is False
    assert (await get(client, "getRoomBlocks", propertyID=P, startDate="2026-01-01", endDate="2026-02-04"))["success"]
    told = await get(client, "getRoomBlocks", propertyID=P)
    assert [one["roomBlockReason"] for one in told["data"]["roomBlocks"]] == ["Paint 0"]


async def test_each_refresh_token_works_once_and_two_at_once_spoil_both():
    clock = FakeClock()
    simulator = create(clock=clock, tiers=[], token_seconds=60)
    async with await serve(simulator) as served, aiohttp.ClientSession(served.url) as session:
        first = await send(session, "access_token", **REFRESH)
        assert first["expires_in"] == 60 and {one["id"] for one in first["resources"]} == {P, Q}
        session.headers["Authorization"] = f"Bearer {first['access_token']}"
        await get(session, "userinfo")
        second = await send(session, "access_token", **{**REFRESH, "refresh_token": first["refresh_token"]})
        await get(session, "userinfo")
        await clock.advance(61)
        assert "expired" in (await get(session, "userinfo", answers=401))["message"]
        async with session.post("/api/v1.3/access_token", data=REFRESH) as answer:
            assert (answer.status, (await answer.json())["message"]) == (400, "The refresh token is invalid.")
        third = {**REFRESH, "refresh_token": second["refresh_token"]}
        good = await send(session, "access_token", **third)
        async with session.post("/api/v1.3/access_token", data=third) as answer:
            assert answer.status == 400
        session.headers["Authorization"] = f"Bearer {good['access_token']}"
        await get(session, "userinfo", answers=401)
        assert simulator.stats()["parallel_refreshes"] == 1


async def test_five_calls_a_second_and_who_goes_on_is_suspended():
    clock = FakeClock()
    simulator = create(clock=clock, suspend_after=3)
    async with await serve(simulator) as served, aiohttp.ClientSession(served.url, headers=KEY) as session:
        for _ in range(5):
            await get(session, "userinfo")
        for _ in range(3):
            async with session.get("/api/v1.3/userinfo") as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
        await clock.advance(2)
        await get(session, "userinfo", answers=401)
        assert simulator.stats()["violations"] == 3


async def test_webhooks_are_one_an_event_unsigned_tried_again_and_spelled_now_so_now_so(partner, client):
    heard: list[tuple[dict, dict]] = []

    async def hear(request):
        heard.append((await request.json(), dict(request.headers)))
        return web.Response(status=500 if len(heard) == 1 else 200)

    app = web.Application()
    app.router.add_post("/hook/secret", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook/secret"
    for action in ("status_changed", "dates_changed"):
        told = await send(client, "postWebhook", propertyID=P, object="reservation", action=action, endpointUrl=url)
        assert told["success"] and told["data"]["subscriptionID"]
    assert not (await send(client, "postWebhook", propertyID=P, object="room", action="eaten", endpointUrl=url))[
        "success"
    ]
    rows = (await get(client, "getWebhooks", propertyID=P))["data"]
    assert [row["event"]["action"] for row in rows] == ["status_changed", "dates_changed"]
    assert rows[0]["subscriptionData"] == {"endpoint": url}
    assert (await get(client, "getWebhooks", propertyID=Q))["data"] == []
    simulator = partner.simulator
    old = simulator.truth("reservations")[f"{P}:{R}"]["status"]
    simulator.update("reservations", f"{P}:{R}", {"status": "no_show" if old != "no_show" else "confirmed"})
    simulator.update("reservations", f"{P}:{R}", {"reservationCheckOut": "2027-01-01"})
    simulator.update("reservations", f"{Q}:{R}", {"reservationCheckOut": "2027-01-01"})
    for _ in range(100):
        if len(heard) == 3:
            break
        await asyncio.sleep(0.05)
    bodies = sorted((body for body, _ in heard), key=lambda body: body["timestamp"])
    assert len({body["timestamp"] for body in bodies}) == 2, "the one that was refused came again as it was"
    status = next(body for body in bodies if body["event"].endswith("status_changed"))
    dates = next(body for body in bodies if body["event"].endswith("dates_changed"))
    assert status["propertyID_str"] == P and status["reservationID"] == R and status["propertyID"] == int(P)
    assert dates["propertyId_str"] == P and dates["reservationId"] == R
    assert all(isinstance(body["timestamp"], float) for body in bodies)
    assert not [name for _, headers in heard for name in headers if "sign" in name.lower()]
    named = {"subscriptionID": rows[0]["id"]}
    async with client.delete("/api/v1.3/deleteWebhook", params=named) as answer:
        assert not (await answer.json())["success"], "an account of several properties says which"
    async with client.delete("/api/v1.3/deleteWebhook", params={**named, "propertyIDs": P}) as answer:
        assert (await answer.json())["success"]
    simulator.action("disconnect", {})
    assert (await get(client, "getWebhooks", propertyID=P))["data"] == []
    await runner.cleanup()


def test_a_delivery_has_two_seconds_and_five_tries_a_minute_apart():
    simulator = create()
    assert simulator.deliveries.timeout_seconds == 2.0
    assert list(simulator.deliveries.retry_seconds) == [60.0] * 4


async def test_writes_are_forms_and_say_what_is_wrong_with_200(partner, client):
    truth = partner.simulator.truth
    of = {"propertyID": P, "reservationID": R}
    told = await send(client, "putReservation", "PUT", **of, status="checked_in")
    assert told["data"]["status"] == truth("reservations")[f"{P}:{R}"]["status"] == "checked_in"
    assert not (await send(client, "putReservation", "PUT", **of, status="cancelled"))["success"]
    for _ in range(2):
        await send(client, "putReservation", "PUT", **of, status="checked_in", sendStatusChangeEmail="true")
    assert partner.simulator.mails == [f"{P}:{R}"] * 2, "each time"
    field = {"customFields[0][customFieldName]": "field_0"}
    told = await send(client, "putReservation", "PUT", **of, **field, **{"customFields[0][customFieldValue]": "A7"})
    assert told["data"]["customFields"][0]["customFieldValue"] == "A7"
    card = {"customFields[0][customFieldValue]": "4111111111111111"}
    assert not (await send(client, "putReservation", "PUT", **of, **field, **card))["success"]
    told = await send(client, "postReservationNote", **of, reservationNote="Late")
    notes = (await get(client, "getReservationNotes", **of))["data"]
    assert told["reservationNoteID"] in {note["reservationNoteID"] for note in notes}
    room = next(iter(truth("housekeeping").values()))
    before = room["roomCondition"]
    told = await send(client, "postHousekeepingStatus", propertyID=P, roomID=room["roomID"])
    assert told["data"]["roomCondition"] != before, "without a condition it turns it round"
    assert (await send(client, "postRoomCheckIn", **of, subReservationID=R))["success"]
    assert not (await send(client, "postRoomCheckIn", **of, subReservationID=R))["success"]
    assert (await send(client, "postRoomCheckOut", **of, subReservationID=R))["success"]
    assert truth("reservations")[f"{P}:{R}"]["status"] == "checked_out", "the last room out ends the stay"
    block = {
        "roomBlockType": "blocked_dates",
        "roomBlockReason": "Rain",
        "startDate": "2027-01-01",
        "endDate": "2027-01-02",
    }
    told = await send(client, "postRoomBlock", propertyID=P, **block, **{"rooms[0][roomID]": "410001-1"})
    assert truth("room_blocks")[f"{P}:{told['roomBlockID']}"]["rooms"] == [{"roomID": "410001-1"}]
    for room, count in (("410001-1", 1), ("410001-2", 0)):
        days = {"startDate": "2027-01-01", "endDate": "2027-01-01"}
        assert (await get(client, "getRoomBlocks", propertyID=P, roomID=room, **days))["total"] == count
    assert (await send(client, "deleteRoomBlock", propertyID=P, roomBlockID=told["roomBlockID"]))["success"]
    async with client.put("/api/v1.3/putReservationStatus", data=of) as answer:
        assert (answer.status, answer.content_type) == (404, "text/html")


def test_reservations_that_never_changed_need_little_memory():
    tracemalloc.start()
    try:
        simulator = create(reservations=20_000, guests=0)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(simulator.state["reservations"]) == 20_000
    assert used < 13 * 2**20, "125,000 of them stay below 80 MiB"
    entry = next(iter(simulator.state["reservations"]))
    assert json.loads(entry.encoded) == entry.raw
