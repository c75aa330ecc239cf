"""The feed of changes: in order, resumable, and nothing is ever skipped."""

from __future__ import annotations

import asyncio
import random

import asyncpg

from syncd.clock import SystemClock
from syncd.store import CHANGES, Store
from syncd.store.database import prepare

from .parts import Desk, feed, row


async def start(store: Store, *names: str) -> Desk:
    desk = await Desk.open(store)
    await desk.put(*(row(name, {"x": 0}, version=0) for name in names))
    return desk


async def test_changes_come_in_order_and_can_be_resumed(store: Store):
    desk = await start(store, "a", "b")
    for number in range(1, 4):
        await desk.put(row("a", {"x": number}, version=number), row("b", {"x": number}, version=number))
    everything = await feed(store, 6)
    assert [(each.external_id, each.old, each.new) for each in everything] == [
        (name, number, number + 1) for number in range(3) for name in "ab"
    ]
    resumed, last = [], 0
    while batch := await store.changes.after(last, 2):
        resumed += batch
        last = batch[-1].id
    assert resumed == everything


async def test_a_reader_does_not_pass_a_transaction_still_open(database: str, store: Store):
    """The slow writer takes lower ids than the quick one and commits later."""
    await start(store, "slow", "quick")
    slow = await asyncpg.connect(database)
    await prepare(slow)
    desk = Desk(store, 1)
    transaction = slow.transaction()
    await transaction.start()
    await write(slow, "slow", 1)
    await desk.put(row("quick", {"x": 1}, version=1))
    assert await store.changes.after(0) == []
    await transaction.commit()
    await slow.close()
    assert [each.external_id for each in await feed(store, 2)] == ["slow", "quick"]


async def test_a_writer_that_gave_up_holds_nobody_back(database: str, store: Store):
    await start(store, "slow", "quick")
    slow = await asyncpg.connect(database)
    await prepare(slow)
    transaction = slow.transaction()
    await transaction.start()
    await write(slow, "slow", 1)
    await Desk(store, 1).put(row("quick", {"x": 1}, version=1))
    await transaction.rollback()
    await slow.close()
    assert [each.external_id for each in await feed(store, 1)] == ["quick"]


async def write(connection: asyncpg.Connection, name: str, number: int) -> None:
    from syncd.model import History
    from syncd.store.page_call import STORE_ROWS, columns_of

    rows = [row(name, {"x": number}, version=number)]
    await connection.fetchrow(STORE_ROWS, "acme", rows[0].fetched_at, columns_of(rows, "test", History.CHANGES), False)


async def test_a_reader_beside_many_writers_sees_each_change_exactly_once(database: str, store: Store):
    """Eight writers with pauses inside their transactions, and a reader that never looks back."""
    names = [f"r{number}" for number in range(8)]
    await start(store, *names)
    turns, dice = 12, random.Random(7)

    async def keep_writing(name: str) -> None:
        connection = await asyncpg.connect(database)
        await prepare(connection)
        for number in range(1, turns + 1):
            async with connection.transaction():
                await write(connection, name, number)
                await asyncio.sleep(dice.random() * 0.02)
        await connection.close()

    seen: list[tuple[str, object]] = []

    async def keep_reading() -> None:
        last = 0
        while len(seen) < turns * len(names):
            for change in await store.changes.after(last, 5):
                assert change.id > last
                last = change.id
                seen.append((change.external_id, change.new))

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(keep_reading())
        for name in names:
            tasks.create_task(keep_writing(name))
    assert sorted(seen) == sorted((name, number) for name in names for number in range(1, turns + 1))


async def test_readers_are_told_once_a_transaction(store: Store):
    desk = await start(store, *"abcdef")
    heard: asyncio.Queue[str] = asyncio.Queue()
    await store.listen(CHANGES, heard.put_nowait)
    await desk.put(*(row(name, {"x": 1}, version=1) for name in "abcdef"))
    assert await asyncio.wait_for(heard.get(), 10) == "acme"
    await desk.put(row("a", {"x": 1}, version=1))
    await store._database.execute("SELECT pg_notify($1, 'end')", CHANGES)
    assert await asyncio.wait_for(heard.get(), 10) == "end", "nothing changed: nothing to tell"


async def test_another_language_reads_the_feed_by_its_sql_function(database: str, store: Store):
    desk = await start(store, "a")
    await desk.put(row("a", {"x": 1}, version=1))
    await feed(store, 1)
    plain = await asyncpg.connect(database)
    found = await plain.fetch("SELECT id, field, old::text, new::text FROM syncd.changes_after(0)")
    assert [tuple(each)[1:] for each in found] == [("x", "0", "1")]
    assert await plain.fetch("SELECT * FROM syncd.changes_after($1, 10)", found[0]["id"]) == []
    await plain.close()


async def test_a_store_with_another_clock_shares_the_feed(database: str, store: Store):
    desk = await start(store, "a")
    await desk.put(row("a", {"x": 1}, version=1))
    async with await Store.open(database, clock=SystemClock(), pool_size=1) as other:
        await feed(other, 1)


async def test_the_feed_goes_on_after_a_restore_into_a_younger_server(database: str, store: Store):
    """Bounds are transaction ids, and those of another server may lie far ahead."""
    desk = await start(store, "a")
    await desk.put(row("a", {"x": 1}, version=1))
    await store._database.execute("UPDATE syncd.changes SET bound = '900000000000'")
    assert await store.changes.after(0) == []
    async with await Store.open(database, clock=SystemClock(), pool_size=1) as restored:
        await feed(restored, 1)
        await desk.put(row("a", {"x": 2}, version=2))
        await feed(restored, 2)
        assert await store._database.fetchval("SELECT syncd.mend_changes()") is False
