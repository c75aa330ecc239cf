"""Webhooks that a simulator sends: retried with the same id, doubled or replayed when told so; admin for loopback only."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from syncd.drivers import load
from syncd.drivers.attio.simulator import create as attio
from syncd.drivers.stripe.simulator import create
from syncd.kit import Delivery, Headers, Secret, Verdict
from syncd.testing import admin
from syncd.testing.simulator import Control, serve

KEY = {"Authorization": "Bearer sk_live_simulated"}


class Hook:
    """A receiver that refuses while `down`."""

    def __init__(self) -> None:
        self.down = False
        self.got: list[tuple[str, str]] = []
        self.heard: list[Delivery] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.heard.append(Delivery(body, Headers(dict(request.headers))))
        said = json.loads(body)
        self.got.append((request.path, said["id"]))
        down = self.down and request.path == "/hook"
        return web.Response(status=503 if down else 202)

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(15):
            while len(self.got) < count:
                await asyncio.sleep(0.01)


@pytest.fixture
async def hook():
    receiver = Hook()
    app = web.Application()
    app.router.add_post("/{tail:.*}", receiver.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield receiver
    await runner.cleanup()


@pytest.fixture
async def partner():
    async with await serve(create(tiers=[], retry_seconds=[0.02, 0.02, 0.02])) as served:
        yield served


async def test_a_refused_delivery_is_tried_again_with_the_same_id_until_it_is_taken(partner, hook):
    hook.down = True
    await Control(partner.url).webhooks(f"{hook.url}/hook", "whsec_x")
    partner.simulator.create("customers")
    await hook.wait(2)
    hook.down = False
    async with asyncio.timeout(15):
        while not partner.simulator.deliveries.delivered:
            await asyncio.sleep(0.01)
    assert len(set(hook.got)) == 1
    assert partner.simulator.deliveries.failed == 0


async def test_what_is_never_taken_is_counted_as_failed(partner, hook):
    hook.down = True
    await Control(partner.url).webhooks(f"{hook.url}/hook", "whsec_x")
    partner.simulator.create("customers")
    async with asyncio.timeout(15):
        while not partner.simulator.deliveries.failed:
            await asyncio.sleep(0.01)
    assert len(hook.got) == 4


async def test_those_that_wait_to_be_tried_again_hold_up_no_others(partner, hook):
    partner.simulator.deliveries.retry_seconds = (600.0,)
    hook.down = True
    control = Control(partner.url)
    await control.webhooks(f"{hook.url}/hook", "whsec_x", events=["customer.*"])
    await control.webhooks(f"{hook.url}/other", "whsec_y", events=["product.created"])
    for _ in range(40):
        partner.simulator.create("customers")
    partner.simulator.create("products")
    await hook.wait(41)
    assert [path for path, _ in hook.got].count("/other") == 1


async def test_messages_can_come_twice_and_be_redelivered_in_reverse(partner, hook):
    control = Control(partner.url)
    await control.webhooks(f"{hook.url}/hook", "whsec_x", duplicate=1)
    partner.simulator.create("customers")
    await hook.wait(2)
    partner.simulator.deliveries.duplicate = 0
    partner.simulator.create("products")
    await hook.wait(3)
    assert len(set(hook.got)) == 2
    async with asyncio.timeout(15):
        while partner.simulator.deliveries.delivered < 3:
            await asyncio.sleep(0.01)
    assert len(await control.acknowledged()) == 3
    assert (await control.ask("POST", "redeliver", {"count": 2}))["redelivered"] == 2
    await hook.wait(5)
    assert set(hook.got[3:]) == set(hook.got[:3])


async def test_messages_can_be_lost_and_come_out_of_order(partner, hook):
    control = Control(partner.url)
    await control.webhooks(f"{hook.url}/hook", "whsec_x", events=["customer.created"])
    await control.deliver(lose=4, hold=0.3)
    made = [partner.simulator.create("customers") for _ in range(20)]
    await hook.wait(15)
    assert partner.simulator.deliveries.view()["lost"] == 5
    told = [delivery.json()["data"]["object"]["id"] for delivery in hook.heard]
    assert sorted(told) == sorted(customer for number, customer in enumerate(made, 1) if number % 4)
    assert told != sorted(told, key=made.index)
    await control.deliver(lose=0, hold=0)
    partner.simulator.create("customers")
    await hook.wait(16)


async def test_attacks_are_what_a_verifier_refuses_and_are_counted_apart(partner, hook):
    control = Control(partner.url)
    await control.webhooks(f"{hook.url}/hook", "whsec_abcdef")
    partner.simulator.create("customers")
    await hook.wait(1)
    check = load("stripe").verifier([Secret("whsec_abcdef")])
    hook.heard.clear()
    found = {}
    for kind in ("forged", "altered", "unsigned", "stale"):
        before = len(hook.heard)
        assert await control.attack(kind, 3) == 3
        await hook.wait(before + 4)
        found[kind] = {check(delivery, time.time()) for delivery in hook.heard[before : before + 3]}
    assert found == {
        "forged": {Verdict.FORGED}, "altered": {Verdict.FORGED}, "unsigned": {Verdict.FORGED}, "stale": {Verdict.STALE},
    }  # fmt: skip
    stats = (await control.stats())["webhooks"]
    assert {kind: sum(each.values()) for kind, each in stats["attacks"].items()} == dict.fromkeys(found, 3)
    assert (stats["delivered"], stats["failed"]) == (1, 0)
    with pytest.raises(RuntimeError, match="unknown attack"):
        await control.attack("friendly")


async def test_nothing_is_stale_at_a_partner_that_signs_no_time(hook):
    async with await serve(attio()) as served:
        control = Control(served.url)
        await control.webhooks(f"{hook.url}/hook", "a1b2c3d4e5f6")
        with pytest.raises(RuntimeError, match="signs no time"):
            await control.attack("stale")


async def test_the_admin_side_answers_loopback_only():
    simulator = create(customers=1)
    for peer, status in [("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 403)]:
        request = make_mocked_request("GET", "/_sim/stats")
        request = request.clone(remote=peer)
        answer = await admin.answer(simulator, request)
        assert answer.status == status, peer


async def test_limits_can_be_lowered_while_it_runs():
    async with await serve(create(tiers=["10/h"])) as served:
        control = Control(served.url)
        await control.ask("POST", "limits", {"share": 0.2})
        async with aiohttp.ClientSession(served.url, headers=KEY) as session:
            statuses = []
            for _ in range(3):
                async with session.get("/v1/balance") as answer:
                    statuses.append(answer.status)
        assert statuses == [200, 200, 429]
        await control.reset()
        stats = await control.stats()
        assert (stats["violations"], stats["tiers"]["10/h"]["limit"]) == (0, 2)


async def test_nonsense_for_the_admin_side_is_refused_in_words():
    async with await serve(create()) as served:
        control = Control(served.url)
        for method, path, body in [
            ("POST", "mutate", {"op": "improve", "resource": "customers"}),
            ("POST", "stream", {}),
            ("POST", "do/nothing", {}),
            ("GET", "nowhere", None),
        ]:
            with pytest.raises(RuntimeError, match=path.split("/")[0]):
                await control.ask(method, path, body)
