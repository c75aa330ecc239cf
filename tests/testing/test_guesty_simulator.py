"""The simulated Guesty against what Guesty documents, asked by a plain HTTP client."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json

import aiohttp
import pytest
from aiohttp import web

from syncd.drivers.guesty.simulator import create
from syncd.testing.clock import FakeClock
from syncd.testing.limits_server import most_in_window
from syncd.testing.simulator import serve

FORM = {
    "grant_type": "client_credentials",
    "scope": "open-api",
    "client_id": "simulated-client",
    "client_secret": "simulated-secret",
}


async def token(session, status=200, **changes):
    async with session.post("/oauth2/token", data={**FORM, **changes}) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(), answer.headers


@pytest.fixture
async def partner():
    async with await serve(create(tiers=[], concurrency=100)) as served:
        yield served


@pytest.fixture
async def client(partner):
    async with aiohttp.ClientSession(partner.url) as session:
        said, _ = await token(session)
        session.headers["Authorization"] = f"Bearer {said['access_token']}"
        yield session


async def get(client, path, status=200, **params):
    async with client.get(f"/v1{path}", params=params) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def walk(client, path, limit=50, **params):
    found = []
    while True:
        page = await get(client, path, limit=limit, skip=len(found), **params)
        found += page["results"]
        if len(page["results"]) < limit:
            return found


async def test_tokens_come_from_client_credentials_and_are_five_a_day():
    simulator = create()
    async with await serve(simulator) as served, aiohttp.ClientSession(served.url) as session:
        said, _ = await token(session)
        assert (said["token_type"], said["expires_in"], said["scope"]) == ("Bearer", 86400, "open-api")
        claims = said["access_token"].split(".")[1]
        assert "accountId" in json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        refused, _ = await token(session, 401, client_secret="wrong")
        assert refused["error"] == "invalid_client"
        for _ in range(4):
            await token(session)
        _, headers = await token(session, 429)
        assert 86000 < int(headers["Retry-After"]) <= 86400
        assert simulator.stats()["tokens_issued"] == 5
        assert simulator.enforcer.violations == 1


async def test_an_expired_token_is_a_403_and_an_unknown_one_a_401(partner, client):
    partner.simulator.action("expire_tokens", {})
    said = await get(client, "/listings", status=403)
    assert said == {"message": "You don't have permission to access, please contact Guesty support."}
    partner.simulator.action("revoke_tokens", {})
    said = await get(client, "/listings", status=401)
    assert said["error"]["code"] == "UNAUTHORIZED"


async def test_a_token_lives_as_long_as_it_says():
    async with await serve(create(token_seconds=1)) as served, aiohttp.ClientSession(served.url) as session:
        said, _ = await token(session)
        simulator = served.simulator
        assert said["expires_in"] == 1
        session.headers["Authorization"] = f"Bearer {said['access_token']}"
        await get(session, "/accounts/me")
        simulator.tokens[said["access_token"]] -= 1
        await get(session, "/accounts/me", status=403)


async def test_listings_page_by_limit_and_skip(partner, client):
    page = await get(client, "/listings", limit=7, skip=3, sort="_id")
    assert (page["count"], page["limit"], page["skip"], len(page["results"])) == (120, 7, 3, 7)
    found = await walk(client, "/listings", sort="_id")
    assert [row["_id"] for row in found] == sorted(partner.simulator.truth("listings"))
    assert {row["_id"]: row for row in found} == partner.simulator.truth("listings")
    assert len((await get(client, "/listings"))["results"]) == 25
    await get(client, "/listings", status=400, limit=101)


async def test_listings_can_be_narrowed(partner, client):
    every = partner.simulator.truth("listings")
    ids = list(every)[:3]
    page = await get(client, "/listings", ids=",".join(ids), fields="title address.city")
    assert sorted(row["_id"] for row in page["results"]) == sorted(ids)
    assert set(page["results"][0]) <= {"_id", "accountId", "title", "address"}
    off = await walk(client, "/listings", active="false")
    assert {row["_id"] for row in off} == {key for key, row in every.items() if not row["active"]}
    assert off


async def test_the_second_shape_has_other_names():
    async with await serve(create(shape="v2", listings=5)) as served, aiohttp.ClientSession(served.url) as session:
        session.headers["Authorization"] = f"Bearer {(await token(session))[0]['access_token']}"
        page = await get(session, "/listings", sort="_id")
        row = page["results"][0]
        assert "_id" not in row
        assert "title" not in row
        assert {"id", "nickname", "location"} <= set(row)
        assert await get(session, f"/listings/{row['id']}") == row


async def test_reservations_are_filtered_by_when_they_changed(partner, client):
    rows = sorted(partner.simulator.truth("reservations").values(), key=lambda row: row["lastUpdatedAt"])
    mark = rows[300]["lastUpdatedAt"]
    for operator, keep in {"$gt": lambda t: t > mark, "$gte": lambda t: t >= mark}.items():
        filters = json.dumps([{"field": "lastUpdatedAt", "operator": operator, "value": mark}])
        found = await walk(client, "/reservations", filters=filters, sort="lastUpdatedAt")
        assert [row["_id"] for row in found] == [row["_id"] for row in rows if keep(row["lastUpdatedAt"])]
    filters = json.dumps([{"field": "status", "operator": "$in", "value": ["canceled", "closed"]}])
    found = await walk(client, "/reservations", filters=filters)
    assert len(found) == sum(row["status"] in ("canceled", "closed") for row in rows)
    await get(client, "/reservations", status=400, filters='[{"field":"status","operator":"$near","value":1}]')
    await get(client, "/reservations", status=400, filters="not json")


async def test_a_changed_reservation_has_a_later_stamp_and_sorts_last(partner, client):
    simulator = partner.simulator
    external_id = simulator.state["reservations"].order[5][2]
    before = simulator.truth("reservations")[external_id]["lastUpdatedAt"]
    simulator.update("reservations", external_id)
    page = await get(client, "/reservations", sort="-lastUpdatedAt", limit=1)
    assert page["results"][0]["_id"] == external_id
    assert page["results"][0]["lastUpdatedAt"] > before


async def test_fields_bring_the_guest_and_leave_the_status_out(partner, client):
    external_id = next(iter(partner.simulator.truth("reservations")))
    row = await get(client, f"/reservations/{external_id}", fields="guest.email guest.fullName listing.title")
    assert set(row["guest"]) == {"email", "fullName"}
    assert "status" not in row
    whole = await get(client, f"/reservations/{external_id}")
    assert "status" in whole
    assert "listing" not in whole


async def test_v3_gives_ten_ids_and_is_sparse(partner, client):
    ids = list(partner.simulator.truth("reservations"))
    async with client.get(
        "/v1/reservations-v3", params=[("reservationIds[]", key) for key in [*ids[:9], "0" * 24]]
    ) as r:
        rows = await r.json()
    assert [row["_id"] for row in rows] == ids[:9]
    assert "listingId" not in rows[0]
    assert "notes" not in rows[0]
    assert rows[0]["stay"][0]["unitId"] == partner.simulator.truth("reservations")[ids[0]]["listingId"]
    async with client.get("/v1/reservations-v3", params=[("reservationIds[]", key) for key in ids[:11]]) as r:
        assert r.status == 400


async def test_v3_search_says_whether_there_is_more(partner, client):
    rows = partner.simulator.truth("reservations")
    found, more = [], True
    while more:
        page = await get(
            client, "/reservations-v3/search", skip=len(found), limit=90, **{"filter[status]": "confirmed"}
        )
        found += page["results"]
        more = page["pagination"]["hasMore"]
    wanted = [key for key in sorted(rows, reverse=True) if rows[key]["status"] == "confirmed"]
    assert [row["_id"] for row in found] == wanted
    mark = sorted(row["createdAt"] for row in rows.values())[200]
    page = await get(client, "/reservations-v3/search", limit=100, sort="createdAt", **{"filter[createdAt][gte]": mark})
    assert page["results"][0]["createdAt"] == mark
    assert page["pagination"]["total"] == 200
    await get(client, "/reservations-v3/search", status=400, **{"filter[lastUpdatedAt][gte]": mark})


async def test_guests_need_columns(partner, client):
    await get(client, "/guests-crud", status=400)
    page = await get(client, "/guests-crud", columns="fullName guestEmail id", limit=200)
    assert page["total"] == 150
    assert len(page["results"]) == 150
    assert set(page["results"][0]) == {"_id", "id", "fullName", "guestEmail"}
    external_id = page["results"][0]["_id"]
    await get(client, f"/guests-crud/{external_id}", status=400)
    row = await get(client, f"/guests-crud/{external_id}", fields="fullName email")
    assert row["fullName"] == page["results"][0]["fullName"]


async def test_missing_records_are_404_each_in_its_own_dialect(client):
    assert await get(client, "/reservations/none", status=404) == "Reservation not found"
    assert (await get(client, "/listings/none", status=404))["code"] == "LISTING_NOT_FOUND"


async def test_the_limits_are_in_every_answer_and_enforced_exactly():
    simulator = create()
    async with await serve(simulator) as served, aiohttp.ClientSession(served.url) as session:
        session.headers["Authorization"] = f"Bearer {(await token(session))[0]['access_token']}"
        async with session.get("/v1/accounts/me") as answer:
            assert answer.headers["X-RateLimit-Limit-Second"] == "15"
            assert answer.headers["X-RateLimit-Limit-Minute"] == "120"
            assert answer.headers["X-RateLimit-Remaining-Minute"] == "119"
            assert answer.headers["X-RateLimit-Remaining-Hour"] == "4999"

        async def one():
            async with session.get("/v1/accounts/me") as answer:
                return answer.status, answer.headers.get("Retry-After")

        got = [await one() for _ in range(30)]
        refused = [wait for status, wait in got if status == 429]
        assert all(int(wait) >= 1 for wait in refused)
        times = simulator.counters.arrivals("/accounts/me", 200)
        assert most_in_window(times, 1.0) <= 15
        assert simulator.enforcer.violations == len(refused)


async def test_the_minute_lasts_a_minute():
    clock = FakeClock()
    simulator = create(clock=clock, concurrency=100, tokens=None)
    refusals = []
    call = type("Arrival", (), {"method": "GET", "route": "/v1/listings", "args": {}, "budget": "read"})()
    for _ in range(130):
        refusal, held = simulator.enforcer.arrive(call, clock.monotonic())
        simulator.enforcer.leave(held)
        refusals.append(refusal)
        await clock.advance(0.1)
    kinds = [refusal.tier.name if refusal else "" for refusal in refusals]
    assert kinds.index("minute") == 120
    assert set(kinds[:120]) == {""}
    await clock.advance(60.0)
    assert simulator.enforcer.arrive(call, clock.monotonic())[0] is None


async def test_more_than_fifteen_at_once_is_refused():
    simulator = create(tiers=[], latency=[0.3, 0.3])
    async with await serve(simulator) as served:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(served.url, connector=connector) as session:
            session.headers["Authorization"] = f"Bearer {(await token(session))[0]['access_token']}"

            async def one():
                async with session.get("/v1/accounts/me") as answer:
                    return answer.status

            got = await asyncio.gather(*(one() for _ in range(20)))
    assert got.count(429) == simulator.enforcer.violations
    assert got.count(200) >= 15
    assert simulator.stats()["max_in_flight"] > 15


async def test_webhooks_are_registered_signed_and_their_secret_comes_late(partner, client):
    simulator = partner.simulator
    simulator.options["secret_delay"] = 0.2
    got = []

    async def hook(request):
        got.append((request.headers.copy(), await request.read()))
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        async with client.post("/v1/webhooks", json={"url": url, "event": "listing.new"}) as answer:
            assert answer.status == 400
        body = {"url": url, "events": ["listing.updated", "reservation.updated.v2", "listing.removed"]}
        async with client.post("/v1/webhooks", json=body) as answer:
            assert answer.status == 201
            made = await answer.json()
        await get(client, "/webhooks-v2/secret", status=404, url=url)
        assert [row["_id"] for row in await get(client, "/webhooks")] == [made["_id"]]
        listing = simulator.state["listings"].order[0][2]
        simulator.update("listings", listing, {"nickname": "Other"})
        simulator.update("reservations", simulator.state["reservations"].order[0][2])
        simulator.delete("listings", listing)
        async with asyncio.timeout(10):
            while len(got) < 3:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
        secret = (await get(client, "/webhooks-v2/secret", url=url))["key"]
        key = base64.b64decode(secret.removeprefix("whsec_"))
        for headers, raw in got:
            signed = f"{headers['svix-id']}.{headers['svix-timestamp']}.".encode() + raw
            expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
            assert f"v1,{expected}" in headers["svix-signature"].split(" ")
        bodies = {json.loads(raw)["event"]: json.loads(raw) for _, raw in got}
        assert set(bodies) == {"listing.updated", "reservation.updated.v2", "listing.removed"}
        assert bodies["listing.updated"]["listing"]["nickname"] == "Other"
        assert "money" not in bodies["reservation.updated.v2"]["data"]
        async with client.delete(f"/v1/webhooks/{made['_id']}") as answer:
            assert answer.status == 204
        assert await get(client, "/webhooks") == []
    finally:
        await runner.cleanup()


async def test_status_and_notes_are_written_by_v3(partner, client):
    rows = partner.simulator.truth("reservations")
    own = next(key for key, row in rows.items() if row["source"] == "manual")
    channel = next(key for key, row in rows.items() if row["source"] != "manual")
    async with client.put(f"/v1/reservations-v3/{own}/status", json={"status": "canceled"}) as answer:
        assert await answer.json() == {"reservationId": own, "status": "canceled"}
    assert (await get(client, f"/reservations/{own}"))["status"] == "canceled"
    async with client.put(f"/v1/reservations-v3/{own}/status", json={"status": "gone"}) as answer:
        assert answer.status == 422
    async with client.put(f"/v1/reservations-v3/{channel}/notes", json={"notes": {"keyCode": "1"}}) as answer:
        assert answer.status == 404


async def test_the_legacy_route_can_be_retired():
    async with await serve(create(legacy=False)) as served, aiohttp.ClientSession(served.url) as session:
        session.headers["Authorization"] = f"Bearer {(await token(session))[0]['access_token']}"
        await get(session, "/reservations", status=410)
        await get(session, "/reservations-v3/search")


async def put(client, path, body, status=200, method="PUT"):
    async with client.request(method, f"/v1{path}", json=body) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def test_a_range_of_days_is_set_and_shown_by_the_calendar(partner, client):
    listing = partner.simulator.state["listings"].order[0][2]
    where = f"/availability-pricing/api/calendar/listings/{listing}"
    given = {"startDate": "2026-12-02", "endDate": "2026-12-03", "price": 777, "status": "unavailable"}
    assert await put(client, where, given) == "ok"
    await put(client, where, {"startDate": "2026-12-02"}, status=422)
    shown = await get(
        client,
        f"/availability-pricing/api/calendar/listings/minified/{listing}",
        startDate="2026-12-01",
        endDate="2026-12-03",
    )
    days = {day["date"]: (day["price"] == 777, day["blocks"]) for day in shown["days"]["calendar"]}
    assert days == {"2026-12-01": (False, {}), "2026-12-02": (True, {"m": True}), "2026-12-03": (True, {"m": True})}


async def test_a_request_is_approved_or_declined_once(partner, client):
    asked = partner.simulator.create("reservations", {"status": "inquiry"})
    assert (await put(client, f"/reservations/{asked}/approve", None, method="POST"))["status"] == "CONFIRMED"
    assert partner.simulator.state["reservations"].entries[asked].raw["status"] == "confirmed"
    await put(client, f"/reservations/{asked}/decline", None, status=400, method="POST")


async def test_dates_of_a_reservation_are_moved(partner, client):
    stay = partner.simulator.state["reservations"].order[0][2]
    days = {"checkInDateLocalized": "2027-01-02", "checkOutDateLocalized": "2027-01-05"}
    await put(client, f"/reservations-v3/{stay}/dates", days)
    raw = partner.simulator.state["reservations"].entries[stay].raw
    assert {name: raw[name] for name in days} == days
    await put(client, f"/reservations-v3/{stay}/dates", {}, status=422)
