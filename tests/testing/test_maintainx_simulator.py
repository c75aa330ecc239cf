"""The simulated MaintainX against what MaintainX documents, asked by a plain HTTP client."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json

import aiohttp
import pytest
from aiohttp import web

from syncd.drivers.maintainx.simulator import create
from syncd.testing.clock import FakeClock
from syncd.testing.simulator import serve

FEW = {"work_orders": 40, "assets": 12, "parts": 5, "purchase_orders": 4, "users": 6, "work_order_comments": 5}
KEY = {"Authorization": "Bearer simulated-maintainx-key"}


@pytest.fixture
async def partner():
    async with await serve(create(tiers=[], **FEW)) as served:
        yield served


@pytest.fixture
async def client(partner):
    async with aiohttp.ClientSession(partner.url, headers=KEY) as session:
        yield session


async def ask(client, path, status=200, method="GET", body=None, **params):
    async with client.request(method, f"/v1{path}", params=params, json=body) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(content_type=None) if await answer.read() else None


async def walk(client, path, key, **params):
    found, cursor = [], {}
    while True:
        page = await ask(client, path, **params, **cursor)
        found += page[key]
        if page["nextCursor"] is None:
            assert page["nextPageUrl"] is None
            return found
        assert page["nextPageUrl"].startswith(f"/v1{path}?") and "cursor=" in page["nextPageUrl"]
        cursor = {"cursor": page["nextCursor"]}


async def test_a_key_and_where_it_sees_several_the_organization_let_one_in(partner):
    async with aiohttp.ClientSession(partner.url) as session:
        for wrong in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic simulated-maintainx-key"}):
            async with session.get("/v1/users", headers=wrong) as answer:
                assert (answer.status, await answer.read()) == (401, b"")
        async with session.get(
            "/v1/users?limit=1", headers={"Authorization": "bearer simulated-maintainx-key"}
        ) as answer:
            assert answer.status == 200
    several = await serve(create(tiers=[], organization_required=True, **FEW))
    async with several, aiohttp.ClientSession(several.url, headers=KEY) as session:
        said = await ask(session, "/users", 400)
        assert said["errors"][0]["error"] == "Missing x-organization-id header."
        [known] = (await ask(session, "/organizations"))["organizations"]
        session.headers["x-organization-id"] = str(known["id"])
        await ask(session, "/users")
        session.headers["x-organization-id"] = "1"
        await ask(session, "/users", 400)


async def test_a_hundred_calls_in_a_window_that_comes_back_as_a_whole_and_every_answer_says_so():
    clock = FakeClock()
    simulator = create(clock=clock, **FEW)
    async with await serve(simulator) as served, aiohttp.ClientSession(served.url, headers=KEY) as session:
        for number in range(102):
            async with session.get("/v1/teams") as answer:
                assert answer.status == (200 if number < 100 else 429)
                assert answer.headers["X-Rate-Limit-Limit"] == "100"
                assert answer.headers["X-Rate-Limit-Remaining"] == str(max(99 - number, 0))
                assert 0 < int(answer.headers["X-Rate-Limit-Reset"]) <= 60
                last = answer.headers, await answer.json()
        assert "Retry-After" not in last[0] and last[1]["error"].startswith("Too many requests. Please retry in")
        await clock.advance(int(last[0]["X-Rate-Limit-Reset"]))
        async with session.get("/v1/teams") as answer:
            assert (answer.status, answer.headers["X-Rate-Limit-Remaining"]) == (200, "99")
    assert simulator.stats()["violations"] == 2


async def test_work_orders_that_begin_later_are_hidden_unless_asked_for(partner, client):
    simulator = partner.simulator
    later = simulator.create("work_orders", {"startDate": "2999-01-01T00:00:00.000Z"})
    hidden = {str(one["id"]) for one in await walk(client, "/workorders", "workOrders", limit=7)}
    shown = {str(one["id"]) for one in await walk(client, "/workorders", "workOrders", limit=7, show_upcoming="true")}
    assert later in shown - hidden
    assert shown == set(simulator.truth("work_orders"))


async def test_lists_leave_out_what_only_expand_or_a_single_read_brings(partner, client):
    number = partner.simulator.create("work_orders", {"externalData": {"erp": 1}, "assetId": 500001})
    listed = (await ask(client, "/workorders", sort="-createdAt", limit=1, show_upcoming="true"))["workOrders"][0]
    assert str(listed["id"]) == number
    assert (
        not {"assetId", "asset", "assignees", "assigneeIds", "teamIds", "externalData", "extraFields"} & listed.keys()
    )
    more = await ask(
        client, "/workorders?expand=asset&expand=assignees", sort="-createdAt", limit=1, show_upcoming="true"
    )
    assert more["workOrders"][0]["asset"]["id"] == 500001 and "assignees" in more["workOrders"][0]
    alone = (await ask(client, f"/workorders/{number}"))["workOrder"]
    assert (alone["assetId"], alone["externalData"]) == (500001, {"erp": 1}) and "asset" not in alone
    by_number = await ask(client, f"/workorders/{alone['sequentialId']}", useSequentialId="true")
    assert by_number["workOrder"]["id"] == alone["id"]
    [order, *_] = (await ask(client, "/purchaseorders"))["purchaseOrders"]
    assert set(order) == {"id", "status", "createdAt", "updatedAt"}
    assert (await ask(client, f"/purchaseorders/{order['id']}"))["purchaseOrder"]["items"]
    assert "removedFromOrganization" in (await ask(client, "/users/88001"))["user"]
    for path in ("/workorders?expand=nonsense", "/workorders?sort=title", "/assets?limit=201", "/parts?limit=0"):
        assert (await ask(client, path, 400))["errors"][0]["fieldPath"] in {"expand", "sort", "limit"}
    assert await ask(client, "/workorders/1", 404) == {"error": "WorkOrder Not Found"}


async def test_a_true_cursor_passes_over_nothing_and_an_offset_behind_its_name_does(partner, client):
    simulator = partner.simulator
    # What is removed from what was shown already: an offset skips as many, a cursor none.
    for path, key, resource, skipped in (
        ("/workorders", "workOrders", "work_orders", 0),
        ("/assets", "assets", "assets", 1),
    ):
        rows = {"sort": "createdAt", "limit": 4, "show_upcoming": "true"}
        page = await ask(client, path, **rows)
        first = [str(one["id"]) for one in page[key]]
        simulator.delete(resource, first[0])
        rest, cursor = [], page["nextCursor"]
        while cursor:
            page = await ask(client, path, **rows, cursor=cursor)
            rest += [str(one["id"]) for one in page[key]]
            cursor = page["nextCursor"]
        assert len(simulator.truth(resource).keys() - {*first, *rest}) == skipped
    await ask(client, "/workorders", 400, cursor="bm9uc2Vuc2U")
    await ask(client, "/workorders", 400, cursor="%%%")


async def test_changes_are_asked_for_by_inclusive_moments(partner, client):
    simulator = partner.simulator
    for path, key, resource in (("/workorders", "workOrders", "work_orders"), ("/parts", "parts", "parts")):
        rows = sorted(simulator.truth(resource).values(), key=lambda raw: raw["updatedAt"])
        middle = rows[len(rows) // 2]["updatedAt"]
        after = await walk(client, path, key, **{"updatedAt[gte]": middle, "show_upcoming": "true"})
        before = await walk(client, path, key, **{"updatedAt[lte]": middle, "show_upcoming": "true"})
        assert len(after) + len(before) == len(rows) + 1
    assert "fieldPath" in (await ask(client, "/assets", 400, **{"updatedAt[gte]": "yesterday"}))["errors"][0]


async def test_a_comment_moves_one_stamp_only_and_goes_with_its_work_order(partner, client):
    [order, *_] = (await ask(client, "/workorders", show_upcoming="true"))["workOrders"]
    made = await ask(client, f"/workorders/{order['id']}/comments", 201, "POST", {"content": "Look again"})
    [one] = [
        each
        for each in await walk(client, f"/workorders/{order['id']}/comments", "comments")
        if each["id"] == made["id"]
    ]
    assert set(one) == {"id", "authorId", "content", "createdAt"} and one["content"] == "Look again"
    now = (await ask(client, f"/workorders/{order['id']}"))["workOrder"]
    assert (now["updatedAt"], now["lastMessageSentAt"]) == (order["updatedAt"], one["createdAt"])
    await ask(client, f"/workorders/{order['id']}", 204, "DELETE")
    await ask(client, f"/workorders/{order['id']}/comments", 404)
    assert str(made["id"]) not in partner.simulator.truth("work_order_comments")


async def test_status_has_an_address_of_its_own_and_a_repeat_raises_the_counters(partner, client):
    number = partner.simulator.create("work_orders", {"status": "OPEN", "progress": {"openCount": 1}})
    ignored = await ask(client, f"/workorders/{number}", 200, "PATCH", {"status": "DONE", "title": "New"})
    assert (ignored["workOrder"]["status"], ignored["workOrder"]["title"]) == ("OPEN", "New")
    for times in (1, 2):
        done = await ask(client, f"/workorders/{number}/status", 200, "PATCH", {"status": "DONE"})
        assert done["workOrder"]["progress"]["doneCount"] == times
    for wrong in ("CLOSED", "SKIPPED", None):
        said = await ask(client, f"/workorders/{number}/status", 400, "PATCH", {"status": wrong})
        assert said["errors"][0]["fieldPath"] == "status"
    made = await ask(client, "/workorders", 200, "POST", {"title": "Smoke", "priority": "LOW", "externalData": "k"})
    assert set(made) == {"id"}
    found = await ask(client, "/workorders", title="smoke")
    assert [one["id"] for one in found["workOrders"]] == [made["id"]]
    await ask(client, "/workorders", 400, "POST", {"priority": "LOW"})
    await ask(client, "/workorders", 400, "POST", {"title": "x", "priority": "Happy Birthday"})


class Receiver:
    """What arrives, by path."""

    def __init__(self):
        self.came = []

    async def take(self, request):
        self.came.append((request.path, dict(request.headers), await request.read()))
        return web.Response(status=202)


@pytest.fixture
async def receiver():
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{tail:.*}", receiver.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield receiver
    await runner.cleanup()


async def came(receiver, count):
    for _ in range(200):
        if len(receiver.came) >= count:
            break
        await asyncio.sleep(0.01)
    assert len(receiver.came) == count
    return receiver.came


async def test_a_subscription_is_for_one_type_has_a_secret_and_is_known_by_its_id_only(partner, client, receiver):
    url = f"{receiver.url}/hooks/WORK_ORDER_STATUS_CHANGE"
    made = await ask(client, "/subscriptions", 201, "POST", {"type": "WORK_ORDER_STATUS_CHANGE", "url": url})
    assert set(made) == {"id", "status", "secret"} and made["status"] == "VALID"
    await ask(client, "/subscriptions", 404)
    one = (await ask(client, f"/subscriptions/{made['id']}"))["subscription"]
    assert (one["type"], one["url"], one["status"]) == ("WORK_ORDER_STATUS_CHANGE", url, "VALID")
    assert await ask(client, f"/subscriptions/{made['id']}/secret") == {"secret": made["secret"]}
    for wrong in ({"type": "work_order.changed", "url": url}, {"type": "NEW_PART", "url": "http://h/" + "x" * 504}):
        await ask(client, "/subscriptions", 400, "POST", wrong)
    order = partner.simulator.create("work_orders", {"status": "OPEN"})  # nobody wanted that
    partner.simulator.update("work_orders", order, {"title": "New title"})
    partner.simulator.update("work_orders", order, {"status": "CANCELED"})
    [(path, headers, body)] = await came(receiver, 1)
    assert path == "/hooks/WORK_ORDER_STATUS_CHANGE"
    told = json.loads(body)
    assert (told["oldStatus"], told["newStatus"], told["newSubStatus"]) == ("OPEN", "DONE", "CANCELED")
    assert told["workOrderId"] == int(order) and "type" not in told and "id" not in told
    for name, message in (("body", body), ("uri", url.encode())):
        parts = dict(part.split("=", 1) for part in headers[f"x-maintainx-webhook-{name}-signature"].split(","))
        seal = hmac.new(made["secret"].encode(), parts["t"].encode() + b"." + message, hashlib.sha256).hexdigest()
        assert parts["v1"] == seal
    await ask(client, f"/workorders/{order}/status", 200, "PATCH", {"status": "OPEN"}, skipWebhook="true")
    await ask(client, f"/workorders/{order}/status", 200, "PATCH", {"status": "DONE"})
    assert len(await came(receiver, 2)) == 2, "nobody is told of what asked for silence"
    await ask(client, f"/subscriptions/{made['id']}", 204, "DELETE")
    await ask(client, f"/subscriptions/{made['id']}", 404)


async def test_a_subscription_that_waits_for_approval_brings_nothing_until_it_has_it(receiver):
    simulator = create(tiers=[], approval=True, **FEW)
    async with await serve(simulator) as served, aiohttp.ClientSession(served.url, headers=KEY) as session:
        body = {"type": "PART_DELETE", "url": f"{receiver.url}/PART_DELETE"}
        made = await ask(session, "/subscriptions", 201, "POST", body)
        assert made["status"] == "PENDING_APPROVAL"
        first, second, *_ = simulator.truth("parts")
        simulator.delete("parts", first)
        simulator.action("approve", {})
        simulator.delete("parts", second)
        [(_, _, body)] = await came(receiver, 1)
        assert int(second) == json.loads(body)["partId"]


async def test_every_kind_of_record_can_be_listed_and_is_the_truth(partner, client):
    names = {"workorders": "workOrders", "purchaseorders": "purchaseOrders", "workrequests": "workRequests"}
    resources = {"workorders": "work_orders", "purchaseorders": "purchase_orders", "workrequests": "work_requests"}
    for path in ("workorders", "assets", "parts", "purchaseorders", "workrequests", "locations", "users", "teams",
                 "vendors", "categories", "meters", "organizations"):  # fmt: skip
        rows = await walk(client, f"/{path}", names.get(path, path), limit=5, show_upcoming="true")
        assert {str(row["id"]) for row in rows} == set(partner.simulator.truth(resources.get(path, path)))
    members = [
        f"{team['id']}:{one['id']}"
        for team in await walk(client, "/teams", "teams")
        for one in await walk(client, f"/teams/{team['id']}/members", "members")
    ]
    assert sorted(members) == sorted(partner.simulator.truth("team_members"))
    before = partner.simulator.truth("work_orders")
    partner.simulator.mutate(40)
    assert partner.simulator.truth("work_orders") != before
