"""The simulated Stripe against what Stripe documents, asked by a plain HTTP client."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json

import aiohttp
import pytest
from aiohttp import web

from syncd.drivers.stripe.simulator import create
from syncd.testing.limits_server import most_in_window
from syncd.testing.simulator import serve

KEY = {"Authorization": "Bearer sk_live_simulated"}


@pytest.fixture
async def partner():
    async with await serve(create(tiers=[])) as served:
        yield served


@pytest.fixture
async def client(partner):
    async with aiohttp.ClientSession(partner.url, headers=KEY) as session:
        yield session


async def get(client, path, status=200, **params):
    async with client.get(path, params=params) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def walk(client, path, **params):
    found, cursor = [], {}
    while True:
        page = await get(client, path, **params, **cursor)
        found += page["data"]
        if not page["has_more"]:
            return found
        cursor = {"starting_after": page["data"][-1]["id"]}


async def test_lists_are_newest_first_and_complete(partner, client):
    found = await walk(client, "/v1/customers", limit=7)
    times = [row["created"] for row in found]
    assert times == sorted(times, reverse=True)
    assert {row["id"]: row for row in found} == partner.simulator.truth("customers")
    first = await get(client, "/v1/customers")
    assert (first["object"], first["url"], len(first["data"])) == ("list", "/v1/customers", 10)


async def test_a_cursor_survives_the_deletion_of_its_object_and_new_objects_above(partner, client):
    simulator = partner.simulator
    page = await get(client, "/v1/customers", limit=50)
    rest = await get(client, "/v1/customers", limit=50, starting_after=page["data"][-1]["id"])
    simulator.delete("customers", page["data"][-1]["id"])
    simulator.create("customers")
    again = await get(client, "/v1/customers", limit=50, starting_after=page["data"][-1]["id"])
    assert again["data"] == rest["data"]


async def test_ending_before_gives_the_next_newer_ones(partner, client):
    every = await walk(client, "/v1/products", limit=100)
    page = await get(client, "/v1/products", limit=3, ending_before=every[10]["id"])
    assert [row["id"] for row in page["data"]] == [row["id"] for row in every[7:10]]
    assert page["has_more"] is True
    top = await get(client, "/v1/products", limit=3, ending_before=every[2]["id"])
    assert [row["id"] for row in top["data"]] == [row["id"] for row in every[:2]]
    assert top["has_more"] is False


async def test_created_filters_hold_their_borders(client):
    every = await walk(client, "/v1/invoices", limit=100)
    mark = every[20]["created"]
    for name, keep in {
        "gte": lambda t: t >= mark,
        "gt": lambda t: t > mark,
        "lte": lambda t: t <= mark,
        "lt": lambda t: t < mark,
    }.items():
        got = await walk(client, "/v1/invoices", **{"limit": 100, f"created[{name}]": mark})
        assert [row["id"] for row in got] == [row["id"] for row in every if keep(row["created"])], name


async def test_other_filters_narrow_the_list(client):
    every = await walk(client, "/v1/charges", limit=100)
    intent = every[0]["payment_intent"]
    got = await walk(client, "/v1/charges", payment_intent=intent)
    assert [row["id"] for row in got] == [row["id"] for row in every if row["payment_intent"] == intent]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"limit": 101}, ("limit", None)),
        ({"limit": "x"}, ("limit", "parameter_invalid_integer")),
        ({"page": 2}, ("page", "parameter_unknown")),
        ({"starting_after": "cus_none"}, ("starting_after", "resource_missing")),
    ],
)
async def test_bad_parameters_are_refused_by_name(client, params, said):
    error = (await get(client, "/v1/customers", status=400, **params))["error"]
    assert error["type"] == "invalid_request_error"
    assert (error.get("param"), error.get("code")) == said


async def test_a_deleted_customer_is_a_200_and_other_missing_things_are_404(partner, client):
    simulator = partner.simulator
    external_id = simulator.state["customers"].order[3][2]
    simulator.delete("customers", external_id)
    said = await get(client, f"/v1/customers/{external_id}")
    assert said == {"id": external_id, "object": "customer", "deleted": True}
    product = simulator.state["products"].order[0][2]
    simulator.delete("products", product)
    error = (await get(client, f"/v1/products/{product}", status=404))["error"]
    assert error["code"] == "resource_missing"
    assert external_id not in {row["id"] for row in await walk(client, "/v1/customers", limit=100)}


async def test_every_change_makes_an_event_with_a_snapshot(partner, client):
    simulator = partner.simulator
    before = {row["id"] for row in await walk(client, "/v1/events", limit=100)}
    made = simulator.create("customers", {"name": "One"})
    simulator.update("customers", made, {"name": "Two", "metadata": {"a": "1"}})
    simulator.delete("customers", made)
    events = [row for row in await walk(client, "/v1/events", limit=100) if row["id"] not in before]
    assert [row["type"] for row in events] == ["customer.deleted", "customer.updated", "customer.created"]
    assert events[2]["data"]["object"]["name"] == "One"
    assert events[1]["data"]["object"]["name"] == "Two"
    assert events[1]["data"]["previous_attributes"]["name"] == "One"
    assert events[1]["api_version"] == simulator.options["version"]
    assert "previous_attributes" not in events[2]["data"]


async def test_events_are_chosen_by_type(partner, client):
    partner.simulator.mutate(40)
    every = await walk(client, "/v1/events", limit=100)
    wanted = ["customer.created", "product.updated"]
    got = await walk_types(client, wanted)
    assert [row["id"] for row in got] == [row["id"] for row in every if row["type"] in wanted]
    stars = await walk(client, "/v1/events", type="customer.*", limit=100)
    assert [row["id"] for row in stars] == [row["id"] for row in every if row["type"].startswith("customer.")]
    async with client.get("/v1/events", params=[("types[]", f"t{n}") for n in range(21)]) as answer:
        assert answer.status == 400


async def walk_types(client, types):
    found, cursor = [], []
    while True:
        params = [("limit", "5"), *[("types[]", name) for name in types], *cursor]
        async with client.get("/v1/events", params=params) as answer:
            page = await answer.json()
        found += page["data"]
        if not page["has_more"]:
            return found
        cursor = [("starting_after", page["data"][-1]["id"])]


async def test_events_are_kept_thirty_days(partner, client):
    simulator = partner.simulator
    events = simulator.state["events"]
    raw = dict(next(iter(events)).raw, id="evt_old", created=int(simulator.now()) - 31 * 86400)
    events.add("evt_old", raw, raw["created"])
    assert "evt_old" not in {row["id"] for row in await walk(client, "/v1/events", limit=100)}
    await get(client, "/v1/events/evt_old", status=404)


async def test_keys_are_taken_as_bearer_and_as_basic_and_refused_otherwise(partner):
    basic = base64.b64encode(b"sk_live_simulated:").decode()
    async with aiohttp.ClientSession(partner.url) as session:
        for header, status in [
            ({"Authorization": f"Basic {basic}"}, 200),
            (KEY, 200),
            ({"Authorization": "Bearer wrong"}, 401),
            ({}, 401),
        ]:
            async with session.get("/v1/balance", headers=header) as answer:
                assert answer.status == status
                if status == 401:
                    assert (await answer.json())["error"]["type"] == "invalid_request_error"


async def test_a_restricted_key_gets_403_where_it_has_no_right():
    simulator = create(restricted={"rk_1": ["customers"]})
    async with await serve(simulator) as served, aiohttp.ClientSession(served.url) as session:
        header = {"Authorization": "Bearer rk_1"}
        async with session.get("/v1/customers", headers=header) as answer:
            assert answer.status == 200
        async with session.get("/v1/invoices", headers=header) as answer:
            assert answer.status == 403


async def test_version_and_request_id_come_back(client):
    async with client.get("/v1/balance", headers={"Stripe-Version": "2025-01-01.x"}) as answer:
        assert answer.headers["Stripe-Version"] == "2025-01-01.x"
        first = answer.headers["Request-Id"]
        assert "Date" in answer.headers
    async with client.get("/v1/balance") as answer:
        assert answer.headers["Request-Id"] != first


async def test_a_burst_is_cut_off_exactly_at_the_endpoint_limit():
    async with await serve(create()) as served, aiohttp.ClientSession(served.url, headers=KEY) as session:

        async def one(path):
            async with session.get(path) as answer:
                await answer.read()
                return (
                    answer.status,
                    answer.headers.get("Stripe-Rate-Limited-Reason"),
                    answer.headers.get("Retry-After"),
                )

        got = await asyncio.gather(*(one("/v1/customers?limit=1") for _ in range(40)))
        times = served.simulator.counters.arrivals("/v1/customers", 200)
        if times[-1] - times[0] < 1.0 and len(served.simulator.counters.times) == 40:
            assert most_in_window(times, 1.0) <= 25
        assert {answer for answer in got if answer[0] != 200} == {(429, "endpoint-rate", None)}
        assert served.simulator.enforcer.violations == sum(status == 429 for status, _, _ in got)
        assert served.simulator.stats()["refused_429"] == served.simulator.enforcer.violations
        everything = served.simulator.counters.arrivals()
        assert most_in_window(everything, 1.0) <= served.simulator.stats()["tiers"]["endpoint"]["peak"] + 0


async def test_single_objects_share_an_endpoint_apart_from_their_list():
    async with await serve(create(tiers=[{"rate": "1/h", "per_route": True}])) as served:
        ids = [place[2] for place in served.simulator.state["customers"].order[:2]]
        statuses = []
        async with aiohttp.ClientSession(served.url, headers=KEY) as session:
            for path in ("/v1/customers", f"/v1/customers/{ids[0]}", f"/v1/customers/{ids[1]}"):
                async with session.get(path) as answer:
                    statuses.append(answer.status)
        assert statuses == [200, 200, 429]


async def test_too_many_at_once_is_a_429_about_concurrency():
    async with (
        await serve(create(tiers=[], concurrency=1, latency=(0.5, 0.5))) as served,
        aiohttp.ClientSession(served.url, headers=KEY) as session,
    ):

        async def one():
            async with session.get("/v1/customers?limit=1") as answer:
                return answer.status, answer.headers.get("Stripe-Rate-Limited-Reason")

        got = await asyncio.gather(*(one() for _ in range(3)))
    assert sorted(got, key=str) == [(200, None), (429, "global-concurrency"), (429, "global-concurrency")]


async def test_a_lock_timeout_is_a_429_that_is_no_rate_limit(partner, client):
    partner.simulator.misbehaviour.add("lock_timeout", count=1)
    async with client.get("/v1/customers") as answer:
        assert answer.status == 429
        assert "Stripe-Rate-Limited-Reason" not in answer.headers
        assert (await answer.json())["error"]["code"] == "lock_timeout"
    assert partner.simulator.enforcer.violations == 0
    await get(client, "/v1/customers")


async def post(client, path, data=None, status=200, key=None):
    headers = {"Idempotency-Key": key} if key else {}
    async with client.post(path, data=data or {}, headers=headers) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(), answer.headers


async def test_metadata_is_set_and_removed_by_form_and_makes_an_event(partner, client):
    external_id = partner.simulator.state["customers"].order[0][2]
    said, _ = await post(client, f"/v1/customers/{external_id}", {"metadata[a]": "1", "metadata[b]": "2"}, key="k1")
    assert (said["metadata"]["a"], said["metadata"]["b"]) == ("1", "2")
    said, _ = await post(client, f"/v1/customers/{external_id}", {"metadata[a]": ""})
    assert "a" not in said["metadata"]
    assert said["metadata"]["b"] == "2"
    events = await get(client, "/v1/events", limit=2)
    assert [row["request"]["idempotency_key"] for row in events["data"]] == [None, "k1"]


async def test_an_idempotency_key_replays_the_first_answer(partner, client):
    first, _ = await post(client, "/v1/customers", {"name": "Once"}, key="same")
    again, headers = await post(client, "/v1/customers", {"name": "Once"}, key="same")
    assert again == first
    assert headers["Idempotent-Replayed"] == "true"
    other, _ = await post(client, "/v1/customers", {"name": "Other"}, status=400, key="same")
    assert other["error"]["type"] == "idempotency_error"
    await post(client, "/v1/customers", {"nonsense": "1"}, status=400, key="free")
    await post(client, "/v1/customers", {"name": "Fine"}, key="free")


async def test_a_500_after_the_work_is_replayed_too(partner, client):
    count = len(partner.simulator.state["customers"])
    partner.simulator.misbehaviour.add("status", status=500, count=1, processed=True)
    await post(client, "/v1/customers", {"name": "Lost"}, status=500, key="k500")
    await post(client, "/v1/customers", {"name": "Lost"}, status=500, key="k500")
    assert len(partner.simulator.state["customers"]) == count + 1


async def test_a_refund_changes_its_charge(partner, client):
    charge = next(e.raw for e in partner.simulator.state["charges"] if e.raw["status"] == "succeeded")
    said, _ = await post(client, "/v1/refunds", {"charge": charge["id"], "amount": "100"})
    assert (said["object"], said["amount"]) == ("refund", 100)
    after = await get(client, f"/v1/charges/{charge['id']}")
    assert after["amount_refunded"] == 100
    await post(client, "/v1/refunds", {"charge": charge["id"], "amount": str(charge["amount"])}, status=400)


async def test_an_invoice_goes_through_its_states(partner, client):
    invoice = partner.simulator.create("invoices", {"status": "draft", "number": None})
    await post(client, f"/v1/invoices/{invoice}/pay", status=400)
    said, _ = await post(client, f"/v1/invoices/{invoice}/finalize")
    assert said["status"] == "open"
    said, _ = await post(client, f"/v1/invoices/{invoice}/pay")
    assert (said["status"], said["amount_remaining"]) == ("paid", 0)
    types = [row["type"] for row in (await get(client, "/v1/events", limit=2))["data"]]
    assert types == ["invoice.paid", "invoice.finalized"]


async def test_mutations_are_delivered_signed_and_tried_again(partner, client):
    simulator = partner.simulator
    simulator.deliveries.retry_seconds = (0.01, 0.01)
    got = []

    async def hook(request):
        got.append((dict(request.headers), await request.read()))
        return web.Response(status=500 if len(got) == 1 else 202)

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        form = {"url": url, "enabled_events[]": "customer.*"}
        said, _ = await post(client, "/v1/webhook_endpoints", form)
        simulator.create("customers")
        simulator.create("products")
        async with asyncio.timeout(10):
            while simulator.deliveries.delivered < 1:
                await asyncio.sleep(0.01)
        assert len(got) == 2
        assert got[0][1] == got[1][1]
        headers, body = got[1]
        parts = dict(part.split("=", 1) for part in headers["Stripe-Signature"].split(",") if not part.startswith("v0"))
        expected = hmac.new(said["secret"].encode(), f"{parts['t']}.".encode() + body, hashlib.sha256).hexdigest()
        assert parts["v1"] == expected
        assert json.loads(body)["type"] == "customer.created"
        listed = await get(client, "/v1/webhook_endpoints")
        assert "secret" not in listed["data"][0]
    finally:
        await runner.cleanup()


async def test_an_invoice_shows_its_first_lines_and_lists_all_of_them(partner, client):
    invoices = [entry.raw for entry in partner.simulator.state["invoices"]]
    cut = next((raw for raw in invoices if raw["lines"]["has_more"]), None)
    assert cut is not None
    found, after = [], {}
    while True:
        page = await get(client, f"/v1/invoices/{cut['id']}/lines", limit=2, **after)
        found += page["data"]
        if not page["has_more"]:
            break
        after = {"starting_after": found[-1]["id"]}
    assert len(found) == cut["lines"]["total_count"] > len(cut["lines"]["data"])
    assert {one["id"] for one in found} == {
        one for one, raw in partner.simulator.truth("invoice_lines").items() if raw["invoice"] == cut["id"]
    }


async def test_subscriptions_tell_by_events_of_their_own_and_canceled_ones_are_asked_for(partner, client):
    made = partner.simulator.create("subscriptions", {"status": "canceled"})
    event = (await get(client, "/v1/events", limit=1))["data"][0]
    assert (event["type"], event["data"]["object"]["id"]) == ("customer.subscription.created", made)
    async with client.get("/v1/subscriptions", params={"limit": "100", "status": "all"}) as answer:
        shown = {row["id"] for row in (await answer.json())["data"]}
    assert shown == set(partner.simulator.truth("subscriptions"))
    assert made not in {row["id"] for row in await walk(client, "/v1/subscriptions", limit=100)}
