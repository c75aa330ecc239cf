"""Deliveries that wait: what was put off costs those behind it nothing, and all go in the order they came."""

from __future__ import annotations

from syncd.store import Store

from .looking import FEW, WAITING, rows_read

SCOPE = "plain/acme"
FILL = (
    "INSERT INTO syncd.inbox (integration, event_id, received_at, body, not_before) "
    "SELECT 'acme', $1 || g, now(), '{}', now() + $2::float8 * interval '1 second' FROM generate_series(1, $3::integer) g"
)


async def test_a_look_passes_by_whatever_was_put_off(store: Store, database: str):
    fence = await store.leases.acquire(SCOPE, "one", 3600)
    assert fence is not None
    await store._database.execute(FILL, "off", 3600.0, WAITING)
    taken = []

    async def look(other: Store) -> None:
        assert await other.inbox.ready(["acme"]) == []
        await other._database.execute(FILL, "a", -1.0, 2)
        await other._database.execute(FILL, "b", None, 2)
        assert await other.inbox.ready(["acme"]) == ["acme"]
        taken.extend(await other.inbox.take("acme", scope=SCOPE, fence=fence, limit=250, size=1000))

    assert await rows_read(database, "inbox", look) < FEW
    assert [one.event_id for one in taken] == ["a1", "a2", "b1", "b2"]


async def test_what_was_put_off_and_what_never_was_share_a_batch_and_either_has_it_all_where_it_is_alone(store: Store):
    fence = await store.leases.acquire(SCOPE, "one", 3600)
    assert fence is not None

    async def take(limit: int = 20, size: int = 1000, *, put_off_first: bool = False) -> list[str]:
        taken = await store.inbox.take(
            "acme", scope=SCOPE, fence=fence, limit=limit, size=size, put_off_first=put_off_first
        )
        await store.inbox.give_back("acme", fence=fence)
        return [one.event_id for one in taken]

    await store._database.execute(FILL, "due", -1.0, 50)
    assert await take() == [f"due{number}" for number in range(1, 21)]
    await store._database.execute(FILL, "new", None, 50)
    half = range(1, 11)
    assert await take() == [f"due{number}" for number in half] + [f"new{number}" for number in half]
    assert sorted(await take(size=2 * 4)) == ["due1", "due2", "new1", "new2"], "bytes are shared as well"
    assert await take(1) == ["new1"]
    assert await take(1, put_off_first=True) == ["due1"]
    await store._database.execute("UPDATE syncd.inbox SET state = 'done' WHERE event_id LIKE 'due%'")
    assert await take() == [f"new{number}" for number in range(1, 21)]
