"""R5: one owner a scope, and a fence that tells early from late."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from syncd.clock import SystemClock
from syncd.store import Store
from syncd.store.rows import NewTask

OWNER = Path(__file__).parent / "owner.py"
SOURCE = Path(__file__).parents[2] / "src"


@asynccontextmanager
async def living(database: str, scope: str, owner: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Another process that owns the scope."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(OWNER),
        database,
        scope,
        owner,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    try:
        assert process.stdout is not None
        yield process, int(await asyncio.wait_for(process.stdout.readline(), 30))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until_free(store: Store, scope: str, owner: str, seconds: float) -> tuple[int | None, float]:
    started = time.monotonic()
    fence = None
    while fence is None and time.monotonic() - started < seconds:
        fence = await store.leases.acquire(scope, owner, 60)
        await asyncio.sleep(0.02)
    return fence, time.monotonic() - started


async def test_the_fence_rises_with_each_acquisition(store: Store):
    assert await store.leases.acquire("acme", "a", 60) == 1
    assert await store.leases.acquire("acme", "a", 60) == 2, "its own owner may take it again"
    assert await store.leases.acquire("other", "a", 60) == 1
    assert await store.leases.release("acme", "a", 2)
    assert await store.leases.acquire("acme", "b", 60) == 3


async def test_a_living_owner_keeps_its_scope_from_others(database: str, store: Store):
    other = await Store.open(database, clock=SystemClock(), pool_size=1, migrate=False)
    assert await store.leases.acquire("acme", "a", 60) == 1
    assert await other.leases.acquire("acme", "b", 60) is None
    assert await store.leases.renew("acme", "a", 1, 60)
    assert not await other.leases.renew("acme", "b", 1, 60)
    assert not await other.leases.release("acme", "b", 1)
    [lease] = await store.leases.list()
    assert (lease.scope, lease.owner, lease.fence, lease.live) == ("acme", "a", 1, True)
    await other.aclose()


async def test_a_lock_that_everybody_else_waits_for_costs_no_lease(database: str, store: Store):
    assert await store.leases.acquire("acme", "a", 60) == 1
    hand = await asyncpg.connect(database)
    await hand.execute("BEGIN; LOCK TABLE syncd.tasks IN SHARE MODE")
    waiting = [asyncio.create_task(store.tasks.put(f"i{number}", NewTask("fetch"))) for number in range(30)]
    try:
        async with asyncio.timeout(10):
            while store._database._pool._permits.free:
                await asyncio.sleep(0.02)
            assert await store.leases.renew("acme", "a", 1, 60)
    finally:
        await hand.close()
        await asyncio.gather(*waiting)


async def test_whoever_lives_is_known_with_leases_or_without(database: str, store: Store):
    await store.leases.acquire("acme", "here:1:x", 60)
    assert await store.leases.others("here:1:x") == []
    assert await store.leases.others(None) == ["here:1"]
    async with await Store.open(database, clock=SystemClock(), pool_size=1, migrate=False) as other:
        assert await store.leases.others("here:1:x") == [], "a command is no instance"
        assert await other.leases.acquire("acme", "there:2:y", 60) is None
        [told] = await store.leases.others("here:1:x")
        assert told.endswith("without work"), "it waits to take over"
        await other.leases.acquire("another", "there:2:y", 60)
        assert await store.leases.others("here:1:x") == ["there:2"]


async def test_an_expired_lease_may_be_taken_and_its_owner_is_told(database: str, store: Store):
    other = await Store.open(database, clock=SystemClock(), pool_size=1, migrate=False)
    assert await store.leases.acquire("acme", "a", 0.05) == 1
    await asyncio.sleep(0.1)
    assert await other.leases.acquire("acme", "b", 60) == 2
    assert not await store.leases.renew("acme", "a", 1, 60)
    await other.aclose()


async def test_an_expired_lease_that_nobody_took_is_still_ours(store: Store):
    assert await store.leases.acquire("acme", "a", 0.01) == 1
    await asyncio.sleep(0.05)
    assert await store.leases.renew("acme", "a", 1, 60)


async def test_renewing_many_scopes_says_which_are_ours(store: Store):
    for scope in ("x", "y", "z"):
        await store.leases.acquire(scope, "a", 60)
    await store.leases.release("y", "a", 1)
    assert await store.leases.renew_all({"x": 1, "y": 1, "z": 9}, "a", 60) == {"x"}
    assert [each.scope for each in await store.leases.list(["x", "z"])] == ["x", "z"]


async def test_a_killed_owners_scope_moves_within_a_second(database: str, store: Store):
    async with living(database, "acme", "dead:1") as (process, fence):
        assert await store.leases.acquire("acme", "heir:1", 60) is None
        process.send_signal(signal.SIGKILL)
        await process.wait()
        taken, seconds = await until_free(store, "acme", "heir:1", 20)
    assert taken == fence + 1
    assert seconds < 5  # 0.3 on an idle machine; the lease itself would last an hour


async def test_a_stopped_owner_is_not_a_dead_one(database: str, store: Store):
    async with living(database, "acme", "slow:1") as (process, _):
        process.send_signal(signal.SIGSTOP)
        taken, _ = await until_free(store, "acme", "heir:1", 1.0)
        assert taken is None
        process.send_signal(signal.SIGCONT)


async def test_a_restarted_owner_gets_its_scope_back_at_once(database: str):
    async with living(database, "acme", "host:8080") as (process, fence):
        process.kill()
        await process.wait()
        async with living(database, "acme", "host:8080") as (_, again):
            assert again == fence + 1


async def test_two_heirs_never_both_get_it(database: str, store: Store):
    heirs = [await Store.open(database, clock=SystemClock(), pool_size=1, migrate=False) for _ in range(4)]
    async with living(database, "acme", "dead:1") as (process, _):
        process.kill()
        await process.wait()
        found: list[int | None] = []
        while not any(found):
            found = list(
                await asyncio.gather(
                    *(heir.leases.acquire("acme", f"heir:{number}", 60) for number, heir in enumerate(heirs))
                )
            )
        assert [each for each in found if each is not None] == [2]
    for heir in heirs:
        await heir.aclose()


async def test_an_owner_whose_connection_broke_proves_its_life_again_before_it_is_believed_dead(
    database: str, store: Store
):
    other = await Store.open(database, clock=SystemClock(), pool_size=1, migrate=False)
    assert await store.leases.acquire("acme", "a", 60) == 1
    await store._database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syncd wire' "
        "AND datname = current_database() AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
    )
    for _ in range(5):
        assert await other.leases.acquire("acme", "b", 60) is None
    assert await store.leases.renew("acme", "a", 1, 60)
    await other.aclose()


async def test_a_closed_store_lets_go(database: str, store: Store):
    other = await Store.open(database, clock=SystemClock(), pool_size=1, migrate=False)
    assert await other.leases.acquire("acme", "b", 3600) == 1
    await other.aclose()
    taken, _ = await until_free(store, "acme", "a", 20)
    assert taken == 2


@pytest.mark.parametrize("payload", ["acme", "it's; \\ ü"])
async def test_notifications_arrive_and_survive_a_broken_connection(store: Store, payload: str):
    heard: asyncio.Queue[str] = asyncio.Queue()
    await store.listen("syncd_test", heard.put_nowait)
    await store._database.execute("SELECT pg_notify('syncd_test', $1)", payload)
    assert await asyncio.wait_for(heard.get(), 10) == payload
    await store._database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syncd wire' "
        "AND datname = current_database()"
    )
    assert await asyncio.wait_for(heard.get(), 20) == "", "something may have been missed: look for yourself"
    await store._database.execute("SELECT pg_notify('syncd_test', 'again')")
    assert await asyncio.wait_for(heard.get(), 10) == "again"
