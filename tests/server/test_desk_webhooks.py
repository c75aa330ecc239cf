"""The admin API's part about deliveries: what it asks for, what it answers, and what it refuses to pass on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from syncd.clock import SystemClock
from syncd.errors import ConfigError
from syncd.server import desk_webhooks
from syncd.server.address import url_of
from syncd.store.received import Which
from tests.server.fakes import FakeStatus, serving

SINCE = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
ROW = {"integration": "acme", "id": 7, "state": "done"}


class FakeRehearsals:
    def __init__(self, fake: FakeDeliveries) -> None:
        self.rehearse = fake.rehearse

    def types(self, integration: str) -> list[str]:
        return ["thing.updated"]


class FakeDeliveries:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def latest(self, integration: str | None, which: Which, *, limit: int) -> list[dict[str, Any]]:
        self.asked.append((integration, which, limit))
        return [ROW]

    async def delivery(self, integration: str, name: str, *, body: bool) -> dict[str, Any] | None:
        return {**ROW, "body_masked": not body} if name in {"7", "evt_7"} else None

    async def count(self, integration: str, which: Which) -> tuple[int, int]:
        self.asked.append(("count", which))
        return 12, 9

    async def replay(self, integration: str, ids: Sequence[int], *, who: str) -> int:
        self.asked.append(("replay", list(ids), who))
        return len(ids)

    async def replay_range(self, integration: str, which: Which, *, who: str) -> int:
        self.asked.append(("range", which, who))
        return 12

    async def types(self, integration: str | None) -> list[dict[str, Any]]:
        return [{"integration": integration, "type": "thing.updated", "known": True}]

    async def rehearse(self, integration: str, kind: str, **said: Any) -> dict[str, Any]:
        self.asked.append((kind, said))
        if kind == "unknown":
            raise ConfigError("acme is not known to send 'unknown'", hint="it has: thing.updated")
        return {"schema": "syncd.rehearsal/1"}


async def call(fake: FakeDeliveries, method: str, path: str, **options: Any) -> tuple[int, Any]:
    engine = FakeStatus()
    desks = desk_webhooks.routes(engine, fake, FakeRehearsals(fake))
    async with serving(engine, clock=SystemClock(), desks=desks) as server, aiohttp.ClientSession() as client:
        url = f"{url_of(server.admin)}/api/v1/webhooks/{path}"
        async with client.request(method, url, **options) as response:
            return response.status, await response.json()


async def test_deliveries_are_listed_of_one_integration_or_of_all_in_a_range():
    fake = FakeDeliveries()
    assert await call(fake, "GET", "deliveries") == (200, {"schema": "syncd.deliveries/1", "deliveries": [ROW]})
    query = {"integration": "acme", "since": SINCE.isoformat(), "state": "buried", "limit": "5"}
    assert (await call(fake, "GET", "deliveries", params=query))[0] == 200
    assert fake.asked == [(None, Which(), 50), ("acme", Which(since=SINCE, state="buried"), 5)]


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ({"integration": "acmee"}, 404, "acme"),
        ({"limit": "0"}, 400, "limit"),
        ({"limit": "many"}, 400, "limit"),
        ({"limit": "9" * 5000}, 400, "limit"),
        ({"state": "gone"}, 400, "buried"),
        ({"since": "yesterday"}, 400, "RFC 3339"),
        ({"until": "2026-11-22T08:00:00"}, 400, "offset"),
    ],
)
async def test_a_wrong_question_is_said_to_be_wrong(query: Mapping[str, str], status: int, word: str):
    fake = FakeDeliveries()
    found, body = await call(fake, "GET", "deliveries", params=query)
    assert found == status
    assert word in body["error"]["message"] + body["error"]["hint"]
    assert fake.asked == []


async def test_one_delivery_is_found_by_its_number_or_the_partners_id_of_it():
    fake = FakeDeliveries()
    for name in ("7", "evt_7"):
        answer = await call(fake, "GET", "delivery", params={"integration": "acme", "id": name})
        assert answer == (200, {"schema": "syncd.delivery/1", **ROW, "body_masked": True})
    whole = await call(fake, "GET", "delivery", params={"integration": "acme", "id": "7", "body": "1"})
    assert whole[1]["body_masked"] is False
    status, body = await call(fake, "GET", "delivery", params={"integration": "acme", "id": "8"})
    assert (status, body["error"]["code"]) == (404, "unknown-delivery")
    assert (await call(fake, "GET", "delivery", params={"integration": "acme"}))[0] == 400


async def test_a_replay_names_ids_or_a_range_and_can_only_be_counted():
    fake = FakeDeliveries()
    status, body = await call(
        fake, "POST", "replay", json={"integration": "acme", "ids": [3, 4]}, headers={"X-Syncd-Actor": "ann@ops"}
    )
    assert (status, body["replayed"]) == (202, 2)
    ranged = {"integration": "acme", "since": SINCE.isoformat(), "state": "buried"}
    assert (await call(fake, "POST", "replay", json={**ranged, "count": True}))[1]["count"] == 12
    assert (await call(fake, "POST", "replay", json=ranged))[1]["replayed"] == 12
    chosen = Which(since=SINCE, state="buried")
    assert fake.asked == [("replay", [3, 4], "ann@ops"), ("count", chosen), ("range", chosen, "admin API")]


@pytest.mark.parametrize(
    "said",
    [
        {"integration": "acme"},
        {"integration": "acme", "state": "buried"},
        {"integration": "acme", "ids": "7"},
        {"integration": "acme", "ids": [True]},
        {"integration": "acme", "ids": ["7"]},
        {"integration": "acme", "ids": list(range(1001))},
        {"ids": [7]},
    ],
    ids=str,
)
async def test_a_replay_of_everything_by_mistake_is_refused(said: dict[str, Any]):
    fake = FakeDeliveries()
    assert (await call(fake, "POST", "replay", json=said))[0] == 400
    assert fake.asked == []


async def test_a_rehearsal_is_asked_for_as_it_was_said():
    fake = FakeDeliveries()
    said = {"integration": "acme", "type": "thing.updated", "id": "t1", "set": {"a.b": 3}, "bad_signature": True,
            "stale_seconds": 600}  # fmt: skip
    assert await call(fake, "POST", "rehearse", json=said) == (200, {"schema": "syncd.rehearsal/1"})
    assert fake.asked == [
        (
            "thing.updated",
            {"external_id": "t1", "settings": {"a.b": 3}, "forged": True, "stale_seconds": 600.0, "who": "admin API"},
        )
    ]
    assert (await call(fake, "GET", "samples", params={"integration": "acme"}))[1]["types"] == ["thing.updated"]
    for query in ({"integration": "acme"}, {}):
        (came,) = (await call(fake, "GET", "types", params=query))[1]["types"]
        assert came == {"integration": query.get("integration"), "type": "thing.updated", "known": True}
    status, body = await call(fake, "POST", "rehearse", json={"integration": "acme", "type": "unknown"})
    assert status == 422
    assert body["error"]["hint"] == "it has: thing.updated"


@pytest.mark.parametrize(
    "more",
    [{"type": None}, {"set": [1]}, {"stale_seconds": "10m"}, {"stale_seconds": -1}, {"integration": "b"}],
    ids=str,
)
async def test_a_rehearsal_of_nonsense_is_refused(more: dict[str, Any]):
    fake = FakeDeliveries()
    said = {"integration": "acme", "type": "thing.updated", **more}
    assert (await call(fake, "POST", "rehearse", json=said))[0] in {400, 404}
    assert fake.asked == []
