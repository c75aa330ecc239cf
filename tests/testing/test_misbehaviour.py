"""What a simulator does when told to misbehave, what /_sim answers, and how one runs in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import aiohttp
import pytest

from syncd.drivers.attio.simulator import create as attio
from syncd.drivers.guesty.simulator import create as guesty
from syncd.drivers.stripe.simulator import create as stripe
from syncd.testing.misbehaviour import KINDS
from syncd.testing.simulator import Control, serve, spawn

KEY = {"Authorization": "Bearer sk_live_simulated"}
SOURCE = str(Path(__file__).resolve().parents[2] / "src")


@pytest.fixture
async def partner():
    async with await serve(stripe(tiers=[], customers=60)) as served:
        yield served


@pytest.fixture
async def client(partner):
    async with aiohttp.ClientSession(partner.url, headers=KEY) as session:
        yield session


async def customers(client, **params):
    async with client.get("/v1/customers", params={"limit": 100, **params}) as answer:
        assert answer.status == 200
        return await answer.json()


async def test_a_burst_of_a_status_ends_after_its_count(partner, client):
    await Control(partner.url).misbehave("status", status=503, count=2, retry_after=9, match="/v1/customers")
    seen = []
    for path in ("/v1/products", "/v1/customers", "/v1/customers", "/v1/customers"):
        async with client.get(path) as answer:
            seen.append((answer.status, answer.headers.get("Retry-After")))
            if answer.status == 503:
                assert (await answer.json())["error"]["type"] == "api_error"
    assert seen == [(200, None), (503, "9"), (503, "9"), (200, None)]


async def test_rules_can_wait_and_be_cleared(partner, client):
    rule = partner.simulator.misbehaviour.add("status", status=500, after=1)
    statuses = []
    for _ in range(3):
        async with client.get("/v1/customers") as answer:
            statuses.append(answer.status)
    assert statuses == [200, 500, 500]
    assert rule.used == 2
    await Control(partner.url).behave("status")
    await customers(client)


async def test_html_with_200_and_json_that_stops(partner, client):
    partner.simulator.misbehaviour.add("html", count=1)
    async with client.get("/v1/customers") as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
    partner.simulator.misbehaviour.add("half_json", count=1)
    async with client.get("/v1/customers") as answer:
        assert answer.status == 200
        with pytest.raises(json.JSONDecodeError):
            json.loads(await answer.read())


async def test_a_cut_body_and_dropped_connections_are_seen_as_such(partner, client):
    partner.simulator.misbehaviour.add("cut", count=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        async with client.get("/v1/customers") as answer:
            await answer.read()
    count = len(partner.simulator.state["customers"])
    for kind, made in (("drop_before", 0), ("drop_after", 1)):
        partner.simulator.misbehaviour.add(kind, count=1)
        with pytest.raises(aiohttp.ClientConnectionError):
            async with client.post("/v1/customers", data={"name": "X"}):
                pass
        assert len(partner.simulator.state["customers"]) == count + made
    assert partner.simulator.stats()["in_flight"] == 0


async def test_a_slow_body_arrives_whole(partner, client):
    partner.simulator.misbehaviour.add("slow_body", count=1, seconds=0.2)
    page = await customers(client)
    assert len(page["data"]) == 60


async def test_a_huge_body_and_a_bomb(partner, client):
    partner.simulator.misbehaviour.add("huge", count=1, bytes=2_000_000)
    async with client.get("/v1/customers") as answer:
        assert len(await answer.read()) > 1_900_000
    partner.simulator.misbehaviour.add("gzip_bomb", count=1, bytes=20_000_000)
    async with (
        aiohttp.ClientSession(partner.url, headers=KEY, auto_decompress=False) as raw,
        raw.get("/v1/customers") as answer,
    ):
        assert answer.headers["Content-Encoding"] == "gzip"
        packed = await answer.read()
    assert len(packed) < 100_000
    assert len(zlib.decompress(packed, 16 + zlib.MAX_WBITS)) >= 20_000_000


async def test_listings_can_be_empty_thinner_or_somebody_elses(partner, client):
    simulator = partner.simulator
    own = set(simulator.truth("customers"))
    simulator.misbehaviour.add("empty", match="GET /v1/customers", count=1)
    assert (await customers(client))["data"] == []
    simulator.misbehaviour.add("missing", share=0.4, match="GET /v1/customers")
    thin = {row["id"] for row in (await customers(client))["data"]}
    assert thin < own
    assert len(own) * 0.3 < len(thin) < len(own) * 0.9
    assert {row["id"] for row in (await customers(client))["data"]} == thin
    simulator.misbehaviour.clear()
    simulator.misbehaviour.add("foreign", count=1)
    foreign = {row["id"] for row in (await customers(client))["data"]}
    assert len(foreign) == 60
    assert not foreign & own
    assert {row["id"] for row in (await customers(client))["data"]} == own


async def test_the_share_of_a_thin_listing_is_given_over_http(partner, client):
    await Control(partner.url).misbehave("missing", match="GET /v1/customers", share=0.9)
    thin = (await customers(client))["data"]
    assert 0 < len(thin) < 30


async def test_pages_can_repeat_for_ever(partner, client):
    partner.simulator.misbehaviour.add("loop")
    first = await customers(client, limit=5)
    again = await customers(client, limit=5, starting_after=first["data"][-1]["id"])
    assert again["data"] == first["data"]
    assert again["has_more"] is True


@pytest.mark.parametrize(
    "how", ["nul", "surrogate", "huge_number", "infinity", "missing_id", "wrong_types", "deep", "nan"]
)
async def test_one_record_of_a_page_is_poisoned(partner, client, how):
    partner.simulator.misbehaviour.add("poison", how=how, at=1, count=1, field="name")
    async with client.get("/v1/customers", params={"limit": 4}) as answer:
        text = await answer.read()
    sound = await customers(client, limit=4)
    marks = {
        "nul": b"\\u0000",
        "surrogate": b"\\ud800",
        "huge_number": b"9" * 400,
        "infinity": b"1e999",
        "nan": b":NaN",
    }
    marks |= {"deep": b"[" * 3000, "wrong_types": b'"livemode":[true]'}
    assert text.count(marks.get(how, b'"object":"customer"')) == (4 if how == "missing_id" else 1)
    if how == "missing_id":
        assert "id" not in json.loads(text)["data"][1]
        assert json.loads(text)["data"][2] == sound["data"][2]
    if how == "nul":
        assert json.loads(text)["data"][1]["name"] == "before\0after"


async def test_a_total_can_be_wrong():
    async with await serve(guesty(tiers=[])) as served, aiohttp.ClientSession(served.url) as session:
        served.simulator.tokens["t"] = float("inf")
        served.simulator.misbehaviour.add("wrong_total", by=7)
        async with session.get("/v1/listings", headers={"Authorization": "Bearer t"}) as answer:
            assert (await answer.json())["count"] == 127


async def test_the_token_endpoint_can_be_slow_or_fail():
    async with await serve(guesty()) as served, aiohttp.ClientSession(served.url) as session:
        control = Control(served.url)
        await control.misbehave("token_fail", status=502, count=1)
        async with session.post("/oauth2/token", data={}) as answer:
            assert answer.status == 502
        await control.misbehave("token_slow", seconds=5, count=1)
        with pytest.raises(TimeoutError):
            async with session.post("/oauth2/token", data={}, timeout=aiohttp.ClientTimeout(total=0.3)):
                pass


async def test_the_date_can_be_off(partner, client):
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    partner.simulator.misbehaviour.add("skew", by=3600)
    async with client.get("/v1/balance") as answer:
        ahead = parsedate_to_datetime(answer.headers["Date"]) - datetime.now(UTC)
    assert 3500 < ahead.total_seconds() < 3700


async def test_a_date_to_wait_for_is_one_by_the_partners_own_clock():
    from email.utils import parsedate_to_datetime

    async with await serve(attio()) as served, aiohttp.ClientSession(served.url) as session:
        control = Control(served.url)
        await control.misbehave("skew", by=-420)
        await control.misbehave("status", status=429, retry_date=6, count=1)
        async with session.get("/v2/objects") as answer:
            assert answer.status == 429
            date, until = (parsedate_to_datetime(answer.headers[name]) for name in ("Date", "Retry-After"))
    assert (until - date).total_seconds() in (5, 6, 7)  # whole seconds, and the answer is dated after the wait was


async def test_a_partner_tightens_a_limit_and_goes_on_stating_the_old_one():
    headers = {"Authorization": "Bearer simulated"}
    async with await serve(guesty()) as served, aiohttp.ClientSession(served.url, headers=headers) as session:
        control = Control(served.url)
        await control.tighten(0.2, "second", silent=True)
        stated, statuses = set(), []
        for _ in range(5):
            async with session.get("/v1/listings") as answer:
                stated.add(answer.headers["X-RateLimit-Limit-second"])
                statuses.append(answer.status == 429)
        assert stated == {"15"}
        assert statuses == [False] * 3 + [True] * 2
        counted = await control.stats()
        assert (counted["surprises"], counted["violations"]) == (2, 0)


async def test_unknown_misbehaviour_is_refused_with_what_is_known(partner):
    with pytest.raises(RuntimeError, match="gzip_bomb"):
        await Control(partner.url).misbehave("sulk")
    assert "latency" in KINDS


async def test_answers_are_compressed_when_told_so():
    async with (
        await serve(stripe(compress=True)) as served,
        aiohttp.ClientSession(served.url, headers=KEY, auto_decompress=False) as session,
        session.get("/v1/customers", headers={"Accept-Encoding": "gzip"}) as answer,
    ):
        assert answer.headers["Content-Encoding"] == "gzip"
        assert json.loads(zlib.decompress(await answer.read(), 16 + zlib.MAX_WBITS))["object"] == "list"


async def test_the_admin_side_tells_the_truth_and_changes_it(partner, client):
    control = Control(partner.url)
    made = (await control.create("customers", {"name": "Made"}))[0]
    assert (await control.truth("customers"))[made]["name"] == "Made"
    await control.update("customers", made, {"name": "Changed"})
    async with client.get(f"/v1/customers/{made}") as answer:
        assert (await answer.json())["name"] == "Changed"
    await control.delete("customers", made)
    assert made not in await control.truth_ids("customers")
    await control.mutate(25)
    stats = await control.stats()
    assert sum(stats["mutations"].values()) == 28
    assert stats["routes"]["GET /v1/customers/{id}"] == {"200": 1}
    assert stats["calls"] == 1, "admin calls are not counted"
    with pytest.raises(RuntimeError, match="there is no"):
        await control.truth("planets")
    await control.reset()
    assert (await control.stats())["calls"] == 0
    assert await control.arrivals() == []


async def test_a_stream_of_changes_is_bounded(partner):
    control = Control(partner.url)
    await control.stream(per_second=500, total=30)
    async with asyncio.timeout(20):
        while (await control.stats())["streaming"]:
            await asyncio.sleep(0.02)
    assert sum((await control.stats())["mutations"].values()) == 30


async def test_the_same_seed_makes_the_same_ids():
    for make in (stripe, guesty, attio):
        one, two, other = make(seed=1), make(seed=1), make(seed=2)
        for name, collection in one.state.collections.items():
            assert list(collection.entries) == list(two.state[name].entries)
            if len(collection):
                assert not set(collection.entries) & set(other.state[name].entries)


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="colour"):
        stripe(colour="red")


async def test_every_simulator_runs_in_a_process_of_its_own_and_ends():
    for name in ("stripe", "guesty", "attio"):
        with spawn(name, seed=3) as simulator:
            stats = await Control(simulator.url).stats()
            assert stats["name"] == name
            assert stats["violations"] == 0
        assert simulator.process.returncode == 0


def test_a_simulator_does_not_outlive_its_parent():
    code = (
        f"import os, sys; sys.path.insert(0, {SOURCE!r})\n"
        "from syncd.testing.simulator import spawn\n"
        "print(spawn('stripe').pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert parent.wait() == -signal.SIGKILL
    # the pipe's write end is inherited by nobody else: end of file means that the simulator is gone, too
    parent.stdout.close()
    for _ in range(200):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        signal.sigtimedwait([], 0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the simulator outlived its parent by ten seconds")
