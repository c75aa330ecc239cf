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
