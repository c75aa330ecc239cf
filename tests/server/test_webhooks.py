"""Deliveries at the public site: acknowledged when stored, and nothing told to those who are not the partner."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from syncd import metrics
from syncd.errors import StoreError
from syncd.kit import Receiver, signatures
from syncd.server import webhooks as module
from syncd.store.intake import Arrival, IntakeFullError
from syncd.testing.clock import FakeClock
from tests.server.hooks import KEY, RULES, FakeKeeper, by_name, hooked, receiver, seal

BODY = b'{"id": "evt_1", "type": "thing.updated"}'


class Gate:
    """A site with two integrations of one partner, and a client."""

    def __init__(self, http: aiohttp.ClientSession, keeper: FakeKeeper, clock: FakeClock) -> None:
        self.http, self.keeper, self.clock = http, keeper, clock
        self.receivers = by_name(receiver("one"), receiver("two", key="whsec_other"))
        self.arrived: list[str] = []
        self.ours = True
        self.is_sure = True

    async def post(
        self, path: str = "/webhooks/acme/one", body: bytes = BODY, **headers: str
    ) -> tuple[int, bytes, Any]:
        found = headers or seal(body, self.clock)
        async with self.http.post(path, data=body, headers=found) as answer:
            return answer.status, await answer.read(), answer.headers


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    clock, keeper = FakeClock(), FakeKeeper()
    found: list[Gate] = []

    def arrived(name: str) -> bool:
        found[0].arrived.append(name)
        return found[0].ours

    more = {"arrived": arrived, "sure": lambda: found[0].is_sure}
    async with (
        hooked(lambda: found[0].receivers, keeper, clock=clock, more=more) as url,
        aiohttp.ClientSession(url) as http,
    ):
        found.append(Gate(http, keeper, clock))
        yield found[0]


async def test_a_partners_delivery_is_stored_and_accepted(gate: Gate):
    status, body, headers = await gate.post()
    assert (status, body) == (202, b'{"status": "accepted"}\n')
    assert headers["Content-Type"] == "application/json"
    row = gate.keeper.rows["one", "evt_1"]
    assert (row.body, row.event_type, row.route, row.received_at) == (BODY, "thing.updated", "", gate.clock.now())
    assert gate.arrived == ["one"]


async def test_a_known_one_is_answered_200(gate: Gate):
    assert (await gate.post())[0] == 202
    assert (await gate.post())[0] == 200
    assert gate.arrived == ["one"]


async def test_a_partner_may_have_a_url_for_each_family_of_events(gate: Gate):
    assert (await gate.post("/webhooks/acme/one/visitors"))[0] == 202
    assert gate.keeper.rows["one", "evt_1"].route == "visitors"


async def test_who_works_elsewhere_is_told_through_the_database(gate: Gate):
    gate.ours = False
    await gate.post()
    await gate.post()
    assert gate.keeper.told == ["one"]


async def test_one_of_another_account_is_stored_and_worked_on_where_it_belongs(gate: Gate):
    """Several integrations behind one address: the keys, the dedupe and the waking are those of the account it names."""
    rules = {**RULES, "account": {"named": "of", "option": "account"}}
    spec = {"webhooks": rules, "options": {"account": {"about": "Whose."}}}
    shared = receiver("one", spec=spec, account="a", others={"b": "two"})
    gate.receivers = by_name(shared, receiver("two", key="whsec_other"))
    for number, of in enumerate(("a", "b", "b", "nobody")):
        body = json.dumps({"id": f"evt_{number // 2 * 2}", "type": "t", "of": of}).encode()
        assert (await gate.post(body=body, **seal(body, gate.clock)))[0] == 202
    assert list(gate.keeper.rows) == [("one", "evt_0"), ("two", "evt_0"), ("two", "evt_2"), ("one", "evt_2")]
    assert gate.arrived == ["one", "two", "two", "one"]
    gate.ours = False
    body = json.dumps({"id": "evt_9", "type": "t", "of": "b"}).encode()
    await gate.post(body=body, **seal(body, gate.clock))
    assert gate.keeper.told == ["two"]
    gate.receivers, gate.is_sure = by_name(receiver("one", spec=spec, account="a", unsure={"b"})), False
    body = json.dumps({"id": "evt_10", "type": "t", "of": "b"}).encode()
    assert (await gate.post(body=body, **seal(body, gate.clock)))[0] == 503, "it cannot be told yet: come again"
    assert len(gate.keeper.rows) == 5


async def test_outsiders_learn_nothing(gate: Gate):
    """Forged, stale, unsigned, of another integration, of nobody: one answer to the last byte."""
    old = seal(BODY, gate.clock)
    await gate.clock.advance(301)
    answers = [
        await gate.post("/webhooks/acme/one", **{"Stripe-Signature": "t=1,v1=00"}),
        await gate.post("/webhooks/acme/one", **old),
        await gate.post("/webhooks/acme/one", **{"X-None": "1"}),
        await gate.post("/webhooks/acme/one", b"\x00\xff" * 100, **{"X-None": "1"}),
        await gate.post("/webhooks/acme/one", **seal(BODY, gate.clock, key="whsec_other")),
        await gate.post("/webhooks/acme/nobody"),
        await gate.post("/webhooks/acme/nobody/route"),
        await gate.post("/webhooks/nobody/one"),
    ]
    shown = {
        (status, body, tuple((k, v) for k, v in headers.items() if k != "Date")) for status, body, headers in answers
    }
    assert len(shown) == 1
    assert shown.pop()[0] == 401
    assert gate.keeper.rows == {}


async def test_an_unknown_integration_costs_the_work_of_a_known_one(gate: Gate, monkeypatch: pytest.MonkeyPatch):
    judged: list[str] = []
    real = Receiver.judge

    def judge(self: Receiver, *args: Any) -> Any:
        judged.append(self.integration)
        return real(self, *args)

    monkeypatch.setattr(Receiver, "judge", judge)
    assert (await gate.post("/webhooks/acme/nobody"))[0] == 401
    assert (await gate.post("/webhooks/nobody/nobody"))[0] == 401
    assert len(judged) == 2
    assert gate.keeper.rows == {}


async def test_who_cannot_judge_stands_in_for_nobody_and_costs_the_same(gate: Gate, monkeypatch: pytest.MonkeyPatch):
    """One that is switched off or has no secret answers at once: its own address and unknown ones would be told by that."""
    off, bare = receiver("off", enabled=False), receiver("bare", key="")
    alone = receiver("alone", partner="other", enabled=False)
    gate.receivers = by_name(off, bare, alone, receiver("one"))
    verified: list[str] = []
    real = Receiver.judge

    def judge(self: Receiver, *args: Any) -> Any:
        if self.judges:
            verified.append(self.integration)
        return real(self, *args)

    monkeypatch.setattr(Receiver, "judge", judge)
    for path in ("acme/one", "acme/off", "acme/bare", "acme/nobody", "other/alone", "other/nobody", "nobody/nobody"):
        verified.clear()
        assert (await gate.post(f"/webhooks/{path}", **{"Stripe-Signature": "t=1,v1=00"}))[0] == 401
        assert verified == ["one"], path
    assert (await gate.post("/webhooks/acme/off"))[0] == 401, "what fits the one that stands in is refused all the same"
    assert gate.keeper.rows == {}


@pytest.mark.parametrize("error", [StoreError("away"), IntakeFullError("full"), RuntimeError("a fault of ours")])
async def test_in_doubt_the_partner_is_asked_to_come_again(gate: Gate, error: Exception):
    def refuse(_: Arrival) -> bool:
        raise error

    gate.keeper.says = refuse
    status, body, headers = await gate.post()
    assert status == 503
    assert 1 <= int(headers["Retry-After"]) <= 5
    assert b"away" not in body


async def test_while_secrets_may_be_missing_a_refusal_is_a_doubt(gate: Gate):
    gate.is_sure = False
    forged = await gate.post(**{"Stripe-Signature": "t=1,v1=00"})
    unknown = await gate.post("/webhooks/acme/nobody")
    assert (forged[0], unknown[0], forged[1]) == (503, 503, unknown[1])
    assert (await gate.post())[0] == 202


async def test_a_flood_is_slowed_for_its_own_integration_only(gate: Gate):
    gate.receivers = by_name(receiver("one", per_second=2.0), receiver("two", key="whsec_other"))
    found = [(await gate.post(body=b'{"id": "%d"}' % n))[0] for n in range(12)]
    assert found == [202] * 10 + [429] * 2
    _, _, headers = await gate.post(body=b'{"id": "x"}')
    assert int(headers["Retry-After"]) >= 1
    assert (await gate.post("/webhooks/acme/two", **seal(BODY, gate.clock, key="whsec_other")))[0] == 202
    await gate.clock.advance(1.0)
    assert [(await gate.post(body=b'{"id": "l%d"}' % n))[0] for n in range(3)] == [202, 202, 429]


async def test_forgers_do_not_spend_an_integrations_share(gate: Gate):
    gate.receivers = by_name(receiver("one", per_second=1.0))
    for _ in range(50):
        assert (await gate.post(**{"Stripe-Signature": "t=1,v1=00"}))[0] == 401
    assert (await gate.post())[0] == 202


async def test_compressed_and_oversized_bodies_are_refused_before_anybody_looks(gate: Gate):
    for path in ("/webhooks/acme/one", "/webhooks/acme/nobody"):
        assert (await gate.post(path, **seal(BODY, gate.clock), **{"Content-Encoding": "gzip"}))[0] == 415
        assert (await gate.post(path, b"x" * (1024 * 1024 + 1)))[0] == 413
    shown = metrics.exposition().decode()
    assert 'syncd_http_connections_cut_total{reason="compressed",site="public"}' in shown
    assert 'syncd_http_connections_cut_total{reason="too_large",site="public"}' in shown


async def test_an_address_is_judged_as_ours_whatever_host_the_request_names():
    """A signature over the address of another installation fits there only, even where the whole address is asked for."""
    ours, theirs = "https://prod.example/webhooks/acme/one", "https://staging.example/webhooks/acme/one"
    judges = by_name(receiver("one", key="tok", rules={"verify": "twilio"}, url=ours))
    found = []
    async with hooked(lambda: judges, FakeKeeper(), clock=FakeClock()) as url:
        at = urlsplit(url)
        for address, target in ((theirs, theirs), (theirs, ours), (ours, theirs), (ours + "?x=%20y", ours + "?x=%20y")):
            seal = base64.b64encode(hmac.digest(b"tok", f"{address}ab".encode(), "sha1")).decode()
            reader, writer = await asyncio.open_connection(at.hostname, at.port)
            kind = "application/x-www-form-urlencoded"
            head = f"POST {target} HTTP/1.1\r\nHost: x\r\nX-Twilio-Signature: {seal}\r\nContent-Type: {kind}\r\n"
            writer.write(f"{head}Content-Length: 3\r\n\r\na=b".encode())
            found.append((await asyncio.wait_for(reader.readline(), 10)).split()[1])
            writer.close()
    assert found == [b"401", b"401", b"202", b"202"]


async def test_receivers_are_swapped_whole(gate: Gate):
    assert (await gate.post())[0] == 202
    gate.receivers = by_name(receiver("two", key="whsec_other"))
    assert (await gate.post(body=b'{"id": "2"}'))[0] == 401


async def test_event_types_are_counted_by_name_up_to_a_bound(gate: Gate, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "EVENT_TYPES", 3)
    gate.receivers = by_name(receiver("one", partner="many"))
    for n in range(5):
        await gate.post("/webhooks/many/one", b'{"id": "%d", "type": "t%d"}' % (n, n))
        await gate.post("/webhooks/many/one", b'{"id": "%d", "type": "t%d"}' % (n, n))
    shown = metrics.exposition().decode()
    assert 'webhooks_received_total{event_type="t2",partner="many"} 2.0' in shown
    assert 'webhooks_received_total{event_type="other",partner="many"} 4.0' in shown
    assert 'event_type="t3",partner="many"' not in shown
    assert 'syncd_webhook_duplicates_total{partner="many"} 5.0' in shown


async def test_what_is_refused_is_counted_by_reason(gate: Gate):
    gate.receivers = by_name(receiver("one", partner="counted"))
    await gate.post("/webhooks/counted/one", **{"X-None": "1"})
    await gate.post("/webhooks/counted/nobody")
    shown = metrics.exposition().decode()
    assert 'webhook_failures_total{error_type="signature",partner="counted"} 1.0' in shown
    assert 'webhook_failures_total{error_type="unknown",partner="counted"} 1.0' in shown


async def test_a_partner_hears_what_it_wants_to_hear_of_what_is_stored_and_of_nothing_else(gate: Gate):
    wanted = {"verify": "stripe", "event_id": "id", "answer": {"status": 200, "body": {"succeed": True}}}
    gate.receivers = by_name(receiver("one", rules=wanted))
    for _ in range(2):
        status, body, headers = await gate.post()
        assert (status, body, headers["Content-Type"]) == (200, b'{"succeed":true}', "application/json")
    assert (await gate.post(**{"Stripe-Signature": "t=1,v1=00"}))[0] == 401
    gate.keeper.says = lambda arrival: "the database is away"
    status, body, headers = await gate.post(body=b'{"id": "evt_2"}')
    assert (status, "Retry-After" in headers) == (503, True)
    xml = {"verify": "stripe", "event_id": "id", "answer": {"body": "<Response/>", "type": "text/xml"}}
    gate.receivers, gate.keeper.says = by_name(receiver("one", rules=xml)), None
    status, body, headers = await gate.post(body=b'{"id": "evt_3"}')
    assert (status, body, headers["Content-Type"]) == (200, b"<Response/>", "text/xml")
    in_pieces = seal(b'{"id": "evt_4"}', gate.clock)
    async with gate.http.post("/webhooks/acme/one", data=_chunks(b'{"id": "evt_4"}'), headers=in_pieces) as answer:
        assert (answer.status, await answer.read(), answer.content_type) == (200, b"<Response/>", "text/xml")


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def test_who_asks_for_a_token_with_our_secret_delivers_with_it_and_nobody_else_learns_that_there_are_any(
    gate: Gate,
):
    rules = {"verify": "issued_token", "event_id": "id", "answer": {"status": 200}}
    gate.receivers = by_name(receiver("one", key="our-secret", rules=rules), receiver("two"))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    asked = b"grant_type=client_credentials&client_id=x&client_secret="
    status, body, _ = await gate.post("/webhooks/acme/one/token", asked + b"our-secret", **form)
    assert status == 200
    token = {"Authorization": f"Bearer {json.loads(body)['jwt']}"}
    assert (await gate.post(**token))[0] == 200
    assert ("one", "evt_1") in gate.keeper.rows
    answers = [
        await gate.post("/webhooks/acme/one/token", asked + b"guessed", **form),
        await gate.post("/webhooks/acme/two/token", asked + b"our-secret", **form),
        await gate.post("/webhooks/acme/nobody/token", asked + b"our-secret", **form),
        await gate.post("/webhooks/acme/two", **token),
    ]
    assert {(status, body) for status, body, _ in answers} == {(401, b'{"status": "refused"}\n')}
    assert len(gate.keeper.rows) == 1


async def test_what_is_signed_for_another_address_is_taken_and_counted_and_refused_only_where_a_file_says_so(
    gate: Gate,
):
    public = "https://sync.example.com/webhooks/signs/one"
    gate.receivers = by_name(
        *(
            receiver(name, partner="signs", url=public, rules={"verify": "maintainx", "signed_url": mode})
            for name, mode in (("one", "warn"), ("two", "reject"), ("three", "off"))
        )
    )
    moment = str(int(gate.clock.now().timestamp()))

    def headers(url: str) -> dict[str, str]:
        return {
            "x-maintainx-webhook-body-signature": signatures.sign_stamped(BODY, moment, KEY),
            "x-maintainx-webhook-uri-signature": signatures.sign_stamped(url.encode(), moment, KEY),
        }

    ours, theirs = headers(f"{public}/CHANGED"), headers("http://10.0.0.7:8080/webhooks/signs/one/CHANGED")
    for name, sent, status in (
        ("one", ours, 202),
        ("one", theirs, 202),
        ("two", ours, 202),
        ("two", theirs, 401),
        ("three", theirs, 202),
    ):
        gate.keeper.rows.clear()
        assert (await gate.post(f"/webhooks/signs/{name}/CHANGED", **sent))[0] == status, (name, sent is ours)
    shown = metrics.exposition().decode()
    assert 'webhook_failures_total{error_type="address",partner="signs"} 1.0' in shown
    assert 'webhook_failures_total{error_type="signature",partner="signs"} 1.0' in shown
