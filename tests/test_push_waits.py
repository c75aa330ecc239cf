"""Why a push waits is said, whatever holds it."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from syncd.clock import SystemClock
from syncd.limits import Gate
from syncd.push_waits import reasons
from syncd.pushing import Pushing, listed
from syncd.store import NewPush, Store
from syncd.store.controls import PAUSE
from syncd.sync.health import Health

SCOPE = "plain/acme"


def account() -> Any:
    return SimpleNamespace(
        name="acme", plans={"things": None}, health=Health("acme"), needs=lambda resource: ("",),
        gate=Gate(SCOPE, ["100/s"], clock=SystemClock()),
    )  # fmt: skip


async def put(store: Store, external_id: str | None = "t1", integration: str = "acme", **more: Any) -> int:
    made, _ = await store.outbox.put(NewPush(integration, "things", "set", {"n": 1}, external_id=external_id, **more))
    return made


async def why(store: Store, push_id: int, one: Any = None, integration: str = "acme") -> str | None:
    row = await store.outbox.get(integration, push_id)
    assert row is not None
    found = await reasons(store, [row], ["acme"], store._database.clock.now(), lambda name: one)
    return found.get((integration, push_id))


async def test_one_whose_turn_it_is_has_no_reason(store: Store):
    assert await why(store, await put(store), account()) is None


async def test_behind_an_older_push_of_its_record_that_one_is_named_with_what_it_waits_for(store: Store):
    fence = await store.leases.acquire(SCOPE, "one", 3600)
    assert fence is not None
    first, second, other = await put(store), await put(store), await put(store, "t2")
    taken = await store.outbox.take("acme", first, scope=SCOPE, fence=fence)
    assert taken is not None
    assert await why(store, second) == f"waits behind push {first} of the same record, which is taken"
    await store.outbox.later(taken, store._database.clock.now() + timedelta(hours=1), reason="refused the connection")
    third = await put(store)
    for waits in (second, third):
        assert await why(store, waits) == (
            f"waits behind push {first} of the same record, which is waiting: refused the connection"
        )
    assert await why(store, first) == "refused the connection"
    assert await why(store, other) is None


async def test_creates_of_no_known_record_wait_behind_nobody(store: Store):
    numbers = [await put(store, None) for _ in range(3)]
    await store.outbox.order({("acme", number): "" for number in numbers})
    assert [await why(store, number, account()) for number in numbers] == [None, None, None]


async def test_of_an_integration_nobody_configured_it_is_said(store: Store):
    number = await put(store, integration="nope")
    assert (await why(store, number, integration="nope") or "").startswith("no such integration is configured")
    found = await listed(store, "nope", ["acme"], store._database.clock.now(), resource=None, states=None, limit=10)
    assert found["pushes"][0]["reason"].startswith("no such integration is configured")


async def test_a_pause_a_refused_credential_and_a_breaker_are_said(store: Store):
    number, one = await put(store), account()
    await store.controls.set("acme", PAUSE, who="ann", resource="things")
    assert (
        await why(store, number) == await why(store, number, one) == "acme/things is paused: syncd resume acme/things"
    )
    await store.controls.clear("acme", PAUSE, resource="things")
    one.health.auth_retry_at = SystemClock().now() + timedelta(minutes=5)
    assert await why(store, number, one) == "the credential was refused: syncd credential test acme"
    one.health.auth_retry_at = None
    one.gate.hold("they asked", who="ann")
    assert await why(store, number, one) == "calls are held by ann: they asked: syncd breaker acme release"


async def test_what_was_asked_for_later_says_when(store: Store):
    number = await put(store, not_before=store._database.clock.now() + timedelta(hours=1))
    assert (await why(store, number) or "").endswith("UTC, as was asked")


async def test_the_daemon_says_it_of_one_and_of_many(store: Store):
    first, second = await put(store), await put(store)
    desk = Pushing(lambda: [account()], lambda: store, known=lambda: {"acme": ["things"]}, now=SystemClock().now)
    one = await desk.one("acme", second)
    assert one is not None
    assert one["push"]["reason"] == f"waits behind push {first} of the same record, which is waiting"
    many = (await desk.some("acme", resource=None, states=None, limit=10))["pushes"]
    assert [each["reason"] for each in many] == [one["push"]["reason"], None]
