"""Whose turn it is among pushes: of each record its oldest, and past any number that may not go."""

from __future__ import annotations

from datetime import timedelta

import pytest

from syncd.errors import StoreError
from syncd.store import Store

from .looking import FEW, WAITING, rows_read
from .test_outbox import SCOPE, now, own, put, ready, taken


async def test_of_each_record_only_the_oldest_is_ready(store: Store):
    await own(store)
    first, second, other = await put(store, "a"), await put(store, "a"), await put(store, "b")
    assert await ready(store) == [first, other]
    push = await taken(store, first)
    assert await ready(store) == [other]
    assert await store.outbox.take("acme", second, scope=SCOPE, fence=1) is None
    await store.outbox.later(push, now(store) + timedelta(hours=1), reason="busy")
    assert await ready(store) == [other], "one that is put off keeps its turn"
    assert await store.outbox.take("acme", first, scope=SCOPE, fence=1) is None, "not before its time"
    assert await ready(store, without=["acme/things"]) == []
    assert await ready(store, limit=1) == [other]


async def test_pushes_without_an_id_wait_until_it_is_said_what_orders_them(store: Store):
    first, second, free = await put(store), await put(store), await put(store)
    assert await ready(store) == []
    fresh = await store.outbox.unordered(["acme"])
    assert [each.id for each in fresh] == [first, second, free]
    await store.outbox.order({("acme", first): "email=a", ("acme", second): "email=a", ("acme", free): ""})
    assert await store.outbox.unordered(["acme"]) == []
    assert await ready(store) == [first, free]


async def test_a_look_finds_whose_turn_it_is_behind_any_number_that_stand_in_a_row(store: Store):
    await own(store)
    fill = (
        "INSERT INTO syncd.outbox (integration, resource, operation, external_id, payload, not_before) "
        "SELECT 'acme', 'things', 'x', {}, '{{}}', {} FROM generate_series(1, 1500) g"
    )
    await store._database.execute(fill.format("'one'", "NULL"))
    await store._database.execute(fill.format("'off' || g", "now() + interval '1 hour'"))
    first = (await ready(store))[0]
    last, due, free = await put(store, "z"), await put(store, "zz"), await put(store)
    await store.outbox.order({("acme", free): ""})
    push = await taken(store, due)
    await store.outbox.later(push, now(store) - timedelta(seconds=1))
    seen: set[int] = set()
    for _ in range(4):  # round the records once, whatever comes before them
        seen |= set(await ready(store))
    assert seen == {first, last, due, free}


async def test_a_look_passes_by_whatever_a_paused_resource_has_waiting(store: Store, database: str):
    fill = (
        "INSERT INTO syncd.outbox (integration, resource, operation, payload, external_id, ordered_by) "
        "SELECT 'acme', 'paused', 'x', '{}', CASE WHEN $1 THEN 'r' || g END, CASE WHEN NOT $1 THEN '' END "
        "FROM generate_series(1, $2::integer) g"
    )
    await store._database.execute(fill, True, WAITING)
    await store._database.execute(fill, False, WAITING)
    of_record, free = await put(store, "a"), await put(store)
    await store.outbox.order({("acme", free): ""})
    found: list[int] = []

    async def look(other: Store) -> None:
        found.extend(await ready(other, without=["acme/paused"]))
        assert await ready(other, without=["acme/paused", "acme/things"]) == []
        assert await other.outbox.expire(["acme"]) == 0

    assert await rows_read(database, "outbox", look) < FEW
    assert found == [of_record, free]


async def test_a_round_of_the_records_goes_on_with_the_next_resource_when_its_own_is_paused(store: Store):
    heads = (
        "INSERT INTO syncd.outbox (integration, resource, operation, payload, external_id) "
        "SELECT 'acme', $1, 'x', '{}', 'r' || g / 3 FROM generate_series(0, 3 * 600 - 1) g"
    )
    for resource in ("calls", "notes"):
        await store._database.execute(heads, resource)
    await store._database.execute(heads.replace("'r' || g / 3", "'a'"), "things")
    last = await put(store, "z")
    assert last not in await ready(store, limit=1000), "a look goes only so far round"
    seen: set[int] = set()
    for _ in range(2):
        seen |= set(await ready(store, limit=1000, without=["acme/calls"]))
    assert last in seen
    assert len(seen) == 602, "of each record its oldest, and none of what is paused"


async def test_however_large_pushes_without_an_id_are_a_look_holds_a_few_mebibytes_of_them(store: Store):
    big = {"note": "x" * 900_000}
    numbers = [await put(store, data=big) for _ in range(12)]
    seen: list[int] = []
    while found := [each.id for each in await store.outbox.unordered(["acme"])]:
        assert len(found) <= 5
        await store.outbox.order({("acme", number): "" for number in found})
        seen += found
    assert seen == numbers
    assert [each.id for each in await store.outbox.list("acme")] == numbers[::-1][:10]


async def test_the_data_of_a_push_is_a_mebibyte_at_most(store: Store):
    with pytest.raises(StoreError, match="at most 1 MiB as JSON, and this is 1100012 bytes"):
        await put(store, data={"note": "x" * 1_100_000})
    with pytest.raises(StoreError, match="outbox_at_most_1_mib"):
        await store._database.execute(
            "INSERT INTO syncd.outbox (integration, resource, operation, payload) "
            "VALUES ('acme', 'things', 'x', jsonb_build_object('note', repeat('x', 1100000)))"
        )
