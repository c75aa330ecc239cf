"""The wire proves that a process lives, and that is all it does: a lease is kept and lost by its row."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from syncd.clock import SystemClock
from syncd.errors import StoreError
from syncd.store import Store
from syncd.store.leases import GRACE_SECONDS
from syncd.store.wire import LIFE_KEY, Wire
from syncd.sync.ownership import LEASE_SECONDS
from tests.whole.postgres import Postgres

from .half_open import HalfOpen
from .test_leases import living, until_free

UNPROVEN = "SELECT count(*) = 1 FROM syncd.leases WHERE scope = 'acme' AND proven_in IS NULL"
PROVEN = "SELECT count(*) = 1 FROM syncd.leases WHERE scope = 'acme' AND proven_in IS NOT NULL"


async def until(happened: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await happened():
            await asyncio.sleep(0.02)


async def has_one_wire(store: Store, ours: Store) -> bool:
    """A new wire proves that we live, the row says so, and the server has no other session of ours."""
    if len(ours._wire._sessions) != 1:
        return False  # it is being mended
    [(pid, _)] = ours._wire._sessions
    wires = "SELECT pid FROM pg_stat_activity WHERE application_name = 'syncd wire' AND datname = current_database()"
    others = {each["pid"] for each in await store._database.fetch(wires)} - {sid for sid, _ in store._wire._sessions}
    return others == {pid} and await proves(store, ours)


async def proves(store: Store, ours: Store) -> bool:
    return ours._wire.proof("me") is not None and await store._database.fetchval(PROVEN)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    async with await Store.open(url, clock=SystemClock(), pool_size=2, migrate=False) as store:
        yield store


@pytest.fixture
async def way(database: str) -> AsyncIterator[HalfOpen]:
    async with HalfOpen(database) as way:
        yield way


async def not_taken(heir: Store) -> None:
    """For several times as long as a dead owner's scope takes."""
    fence, _ = await until_free(heir, "acme", "heir", GRACE_SECONDS * 5)
    assert fence is None


async def test_a_lease_is_renewed_while_the_server_takes_a_wire_for_alive_that_is_dead(store: Store, way: HalfOpen):
    async with opened(way.url) as ours:
        assert await ours.leases.acquire("acme", "me", 60) == 1
        assert way.cut_wires() == 1
        began = time.monotonic()
        for _ in range(20):
            assert await ours.leases.renew("acme", "me", 1, 60)
        assert time.monotonic() - began < 8, "nothing is waited for"
        await not_taken(store)
        await until(lambda: has_one_wire(store, ours))


async def test_who_dies_after_its_wire_was_mended_is_told_early_all_the_same(store: Store, way: HalfOpen):
    ours = await Store.open(way.url, clock=SystemClock(), pool_size=1, migrate=False)
    assert await ours.leases.acquire("acme", "me", 3600) == 1
    way.cut_wires()
    await until(lambda: has_one_wire(store, ours))
    await ours.aclose()
    fence, _ = await until_free(store, "acme", "heir", 20)
    assert fence == 2


async def test_an_owner_without_a_wire_keeps_its_scope_until_the_lease_runs_out(store: Store, way: HalfOpen):
    async with opened(way.url) as ours:
        assert await ours.leases.acquire("acme", "me", 60) == 1
        way.refuses_wires = True
        await store._database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'syncd wire' "
            "AND datname = current_database()"
        )
        await until(lambda: store._database.fetchval(UNPROVEN))
        await not_taken(store)
        assert await ours.leases.renew("acme", "me", 1, 60)
        way.refuses_wires = False
        await until(lambda: proves(store, ours))


async def test_who_cannot_have_a_wire_at_all_gets_scopes_and_gives_them_up_by_time(store: Store, way: HalfOpen):
    way.refuses_wires = True
    async with opened(way.url) as ours:
        assert await ours.leases.acquire("acme", "me", 1.5) == 1
        assert await ours.leases.renew("acme", "me", 1, 1.5)
        assert await store.leases.acquire("acme", "heir", 60) is None
        fence, _ = await until_free(store, "acme", "heir", 20)
        assert fence == 2
        assert not await ours.leases.renew("acme", "me", 1, 60)


async def test_a_lock_that_somebody_holds_in_our_name_delays_neither_getting_nor_keeping(database: str, store: Store):
    squatter = await asyncpg.connect(database)
    try:
        await squatter.execute(f"SELECT pg_advisory_lock({LIFE_KEY.format(owner='$1::text')})", "me")
        async with opened(database) as ours:
            began = time.monotonic()
            assert await ours.leases.acquire("acme", "me", 60) == 1
            for _ in range(10):
                assert await ours.leases.renew("acme", "me", 1, 60)
            assert time.monotonic() - began < 8
            assert await store._database.fetchval(UNPROVEN)
            await not_taken(store)
            heard: asyncio.Queue[str] = asyncio.Queue()
            await ours.listen("syncd_test", heard.put_nowait)
            await store._database.execute("SELECT pg_notify('syncd_test', 'still')")
            assert await asyncio.wait_for(heard.get(), 10) == "still"
    finally:
        await squatter.close()


async def test_a_lock_that_went_with_the_server_proves_nothing_of_its_owner(database: str, store: Store):
    """After a restart, or on another server that took over, no owner has its lock yet."""
    async with living(database, "acme", "far:1") as (process, fence):
        await store._database.execute("UPDATE syncd.leases SET proven_in = proven_in - interval '1 day'")
        process.kill()
        await process.wait()
        await not_taken(store)
        await store._database.execute("UPDATE syncd.leases SET expires_at = clock_timestamp()")
        taken, _ = await until_free(store, "acme", "heir", 20)
        assert taken == fence + 1


async def test_a_server_that_recovers_from_a_crash_gives_no_living_owners_scope_away(tmp_path: Path):
    """All locks are gone, and whoever comes first could take every owner for dead."""
    tmp_path.chmod(0o755)
    postgres = Postgres(tmp_path)
    await postgres.start()
    try:
        async with (
            await Store.open(postgres.url, clock=SystemClock(), pool_size=2) as ours,
            opened(postgres.url) as heir,
        ):
            assert await ours.leases.acquire("acme", "me", 60) == 1
            assert await heir.leases.acquire("acme", "heir", 60) is None
            await ours._database.execute("CHECKPOINT")  # the server of the tests writes its log late
            victim = await asyncpg.connect(postgres.url)
            os.kill(await victim.fetchval("SELECT pg_backend_pid()"), signal.SIGKILL)
            victim.terminate()
            tries, until_at = 0, time.monotonic() + 3
            async with asyncio.timeout(60):
                while time.monotonic() < until_at or tries < 5:
                    with suppress(StoreError):
                        assert await heir.leases.acquire("acme", "heir", 60) is None
                        tries += 1
                    await asyncio.sleep(0.01)
            assert await ours.leases.renew("acme", "me", 1, 60)
    finally:
        await postgres.stop()


async def test_a_stopped_owner_loses_its_scope_by_time_and_hears_of_it_when_it_goes_on(database: str, store: Store):
    async with living(database, "acme", "frozen:1") as (process, fence):
        process.send_signal(signal.SIGSTOP)
        await not_taken(store)
        await store._database.execute("UPDATE syncd.leases SET expires_at = clock_timestamp()")
        assert await store.leases.acquire("acme", "heir", 60) == fence + 1
        process.send_signal(signal.SIGCONT)
        assert not await store.leases.renew("acme", "frozen:1", fence, 60)
        assert await store.leases.renew("acme", "heir", fence + 1, 60)


async def test_only_sessions_that_were_ours_are_ended(database: str, store: Store):
    """The server gives process ids again: somebody else's session may have the one ours had."""
    stranger = await asyncpg.connect(database, server_settings={"application_name": "syncd wire"})
    try:
        pid = await stranger.fetchval("SELECT pg_backend_pid()")
        async with opened(database) as ours:
            await ours.leases.acquire("acme", "me", 60)
            began_at = await store._database.fetchval(
                "SELECT backend_start - interval '1 us' FROM pg_stat_activity LIMIT 1"
            )
            ours._wire._sessions.add((pid, began_at))
            assert ours._wire._connection is not None
            ours._wire._connection.terminate()
            await until(lambda: proves(store, ours))
        assert await stranger.fetchval("SELECT 1") == 1
    finally:
        await stranger.close()


async def test_a_wire_is_asked_whether_it_stands_only_when_nobody_else_uses_it(database: str, store: Store):
    """A connection answers one question at a time; a second one at once would look like a broken one."""
    wire = Wire(database, clock=SystemClock())
    try:
        await wire.hold("one")
        standing = wire._connection
        await asyncio.gather(
            *(wire.hold(f"other {number}") for number in range(5)), *(wire._answers() for _ in range(5))
        )
        assert wire._connection is standing
        assert wire.up
    finally:
        await wire.aclose()


async def test_the_server_is_asked_to_look_whether_we_are_there_and_not_to_be_hasty(way: HalfOpen):
    async with opened(way.url) as ours:
        await ours.leases.acquire("acme", "me", 60)
    assert len(way.openings) >= 2
    for opening in way.openings:
        words = opening.split(b"\0")
        idle, every, times = (
            int(words[words.index(b"tcp_keepalives_" + name) + 1]) for name in (b"idle", b"interval", b"count")
        )
        assert LEASE_SECONDS + 15 <= idle + every * times <= 120
