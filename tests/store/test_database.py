"""The border to the database: trouble is translated, connections heal, nothing leaks."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from syncd.clock import SystemClock
from syncd.errors import OwnershipError, StoreError
from syncd.store import Store, embedded
from syncd.store.database import ConflictError, Database, DataRefusedError, affected, again_after_conflict, border
from syncd.store.pool import Pool
from syncd.store.vitals import NO_SPACE
from syncd.testing.clock import FakeClock

from .parts import Desk, row


async def open_database(url: str, pool_size: int = 2) -> Database:
    return await Database.open(url, clock=SystemClock(), pool_size=pool_size)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://nobody@127.0.0.1:1/nothing", "cannot be reached"),
        ("postgresql://x@/x?host=/nonexistent", "cannot be reached"),
        ("mysql://x", "cannot be used"),
    ],
)
async def test_a_database_that_is_not_there_is_a_store_error_with_a_hint(url: str, says: str):
    with pytest.raises(StoreError, match=says) as caught:
        await open_database(url)
    assert caught.value.hint


async def test_an_unknown_database_says_check_the_url(postgres_url: str):
    with pytest.raises(StoreError) as caught:
        await open_database(urlunsplit(urlsplit(postgres_url)._replace(path="/no_such_database")))
    assert caught.value.hint == "check database.url"


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT 1/0", DataRefusedError),
        ("SELECT * FROM nothing", StoreError),
        ("SELEC", StoreError),
        ("DO $$ BEGIN RAISE EXCEPTION 'not yours' USING ERRCODE = 'SY001'; END $$", OwnershipError),
        ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$", ConflictError),
        ("SET statement_timeout = '20ms'; SELECT pg_sleep(5)", StoreError),
    ],
)
async def test_every_error_of_the_database_is_ours_outside(database: str, statement: str, kind: type[StoreError]):
    opened = await open_database(database)
    with pytest.raises(StoreError) as caught:
        await opened.execute(statement)
    assert type(caught.value) is kind
    assert await opened.fetchval("SELECT 1") == 1
    await opened.aclose()


def test_lost_connections_and_silence_are_store_errors():
    for error in (ConnectionResetError("x"), TimeoutError(), asyncpg.InterfaceError("closed"), OSError("x")):
        with pytest.raises(StoreError), border():
            raise error


def test_a_pooler_that_refuses_our_settings_is_named_for_what_it_is():
    with pytest.raises(StoreError) as caught, border():
        raise asyncpg.ProtocolViolationError("unsupported startup parameter: statement_timeout")
    assert "pooler" in str(caught.value)
    assert caught.value.hint == "let database.url name PostgreSQL itself"


async def test_a_killed_connection_fails_one_statement_and_the_next_one_works(database: str):
    opened = await open_database(database)
    pid = await opened.fetchval("SELECT pg_backend_pid()")
    killer = await asyncpg.connect(database)
    with pytest.raises(StoreError):
        async with opened.transaction() as connection:
            await connection.execute("SELECT 1")
            await killer.execute("SELECT pg_terminate_backend($1)", pid)
            await connection.execute("SELECT pg_sleep(5)")
    assert await opened.fetchval("SELECT 1") == 1
    # One killed while it lies idle is not handed out again.
    pid = await opened.fetchval("SELECT pg_backend_pid()")
    await killer.execute("SELECT pg_terminate_backend($1)", pid)
    await asyncio.sleep(0.2)
    assert await opened.fetchval("SELECT pg_backend_pid()") != pid
    await killer.close()
    await opened.aclose()


async def test_a_transaction_left_idle_is_ended_by_the_server_and_only_that_one(database: str):
    opened = await open_database(database)
    with pytest.raises(StoreError):
        async with opened.transaction() as connection:
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '50ms'")
            await asyncio.sleep(0.5)
            await connection.execute("SELECT 1")
    assert await opened.fetchval("SELECT 1") == 1
    await opened.aclose()


async def test_a_cancelled_statement_leaves_no_half_used_connection(database: str):
    opened = await open_database(database, pool_size=1)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await opened.fetchval("SELECT pg_sleep(30)")
        assert await opened.fetchval("SELECT 7") == 7
    await opened.aclose()


async def test_a_cancelled_page_is_stored_whole_or_not_at_all(database: str):
    async with await Store.open(database, clock=SystemClock(), pool_size=1) as store:
        desk = await Desk.open(store)
        await desk.begin()
        for number in range(30):
            page = desk.page(*(row(f"{number}-{n}") for n in range(50)))
            try:
                async with asyncio.timeout(number * 0.0005):
                    await store.pages.commit(page)
            except TimeoutError:
                pass
            # One look: the server may be at work on it still, and a new run is what comes after a cancelled one.
            cursor, live, stored = await store._database.fetchrow(
                "SELECT c.cursor, count(r), count(r) FILTER (WHERE r.external_id LIKE $1) FROM syncd.checkpoints c "
                "LEFT JOIN syncd.records r ON true GROUP BY c.cursor",
                f"{number}-%",
            )
            assert live % 50 == 0
            assert stored == (50 if cursor == page.cursor_next else 0)
            await desk.begin()


async def test_waiters_take_turns_for_the_last_connection(database: str):
    opened = await open_database(database, pool_size=2)
    found = await asyncio.gather(*(opened.fetchval("SELECT pg_backend_pid() FROM pg_sleep(0.01)") for _ in range(12)))
    assert len(set(found)) == 2
    await opened.aclose()
    with pytest.raises(StoreError, match="closed"):
        await opened.fetchval("SELECT 1")


async def test_a_transaction_that_met_another_writer_is_run_again_but_not_for_ever():
    tries = []

    @again_after_conflict
    async def meet(times: int) -> str:
        tries.append(times)
        if len(tries) <= times:
            raise ConflictError("two writers met")
        return "done"

    assert await meet(2) == "done"
    assert len(tries) == 3
    tries.clear()
    with pytest.raises(ConflictError):
        await meet(99)
    assert len(tries) == 5


async def test_names_carry_no_password(database: str):
    async with await Store.open(database, clock=SystemClock(), pool_size=1) as store:
        assert store.name.startswith("local/syncd_test_")
        assert await store.ping() < 5
    assert Database("postgresql://user:secret@db.example:5432/syncd", clock=SystemClock(), pool_size=1).name == (
        "db.example/syncd"
    )


@pytest.mark.parametrize(
    ("tag", "count"), [("UPDATE 3", 3), ("INSERT 0 5", 5), ("SELECT 1", 1), ("CREATE TABLE", 0), ("", 0)]
)
def test_a_command_tag_tells_the_rows(tag: str, count: int):
    assert affected(tag) == count


async def test_a_database_restart_is_survived(tmp_path: Path):
    """Statements fail while it is away, work when it is back; leases, listeners and cursors go on."""
    tmp_path.chmod(0o755)
    with embedded.start(tmp_path, settings=embedded.DISPOSABLE | {"fsync": "on"}) as server:
        async with await Store.open(server.url, clock=SystemClock(), pool_size=2) as store:
            desk = await Desk.open(store)
            heard: asyncio.Queue[str] = asyncio.Queue()
            await store.listen("syncd_test", heard.put_nowait)
            await desk.begin()
            await desk.commit(row("a"))
            await asyncio.to_thread(server.stop)
            with pytest.raises(StoreError):
                await desk.commit(row("b"))
            with pytest.raises(StoreError):
                await store.leases.renew("acme", "test:1", desk.fence, 60)
            again = await asyncio.to_thread(embedded.start, tmp_path, settings=embedded.DISPOSABLE)
            try:
                assert await asyncio.wait_for(heard.get(), 30) == ""
                assert await store.leases.renew("acme", "test:1", desk.fence, 60)
                desk.pages = 1
                await desk.commit(row("b"))
                assert sorted(await store.records.known("acme", "things", ["a", "b", "c"])) == ["a", "b"]
            finally:
                await store.aclose()
                await asyncio.to_thread(again.stop)


def test_a_connection_whose_server_took_leave_between_two_statements_is_an_expected_fault():
    """Seen under load when PostgreSQL stops: the library calls it a fault of its own."""
    with pytest.raises(StoreError, match="cannot be used"), border():
        raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")


async def test_what_the_library_cannot_write_down_is_a_refused_value(database: str):
    opened = await open_database(database)
    try:
        with pytest.raises(DataRefusedError, match="refuses a value"):
            await opened.fetchval("SELECT $1::bigint", 10**19)
    finally:
        await opened.aclose()


async def test_connections_to_a_server_that_hangs_are_closed_together():
    clock, terminated = FakeClock(), []

    class Hanging:
        async def close(self, *, timeout: float) -> None:
            await clock.sleep(timeout)
            raise TimeoutError

        def terminate(self) -> None:
            terminated.append(self)

        def is_closed(self) -> bool:
            return False

        def is_in_transaction(self) -> bool:
            return False

    async def connect() -> Any:
        return Hanging()

    pool = Pool(connect, 10, clock=clock)
    async with AsyncExitStack() as held:
        for _ in range(10):
            await held.enter_async_context(pool.acquire())
    assert pool.idle == 10
    began_at = clock.monotonic()
    await clock.run(pool.aclose())
    assert len(terminated) == 10
    assert clock.monotonic() - began_at <= 5.0


@pytest.mark.parametrize(
    ("url", "place", "hint"),
    [
        (
            "postgresql://me:hidden@127.0.0.1:1/books",
            "127.0.0.1:1, database books",
            "pg_isready -h 127.0.0.1 -p 1",
        ),  # not-a-secret
        (
            "postgresql://me:hidden@/books?host=/nowhere/run",  # not-a-secret
            "/nowhere/run/.s.PGSQL.5432, database books",
            "pg_isready -h /nowhere/run -p 5432",
        ),
        (
            "postgresql://me:hidden@/books?host=/nowhere&port=5433",  # not-a-secret
            "/nowhere/.s.PGSQL.5433, database books",
            "pg_isready -h /nowhere -p 5433",
        ),
        ("postgresql://me:hidden@[::1]:1/books", "::1:1, database books", "pg_isready -h ::1 -p 1"),  # not-a-secret
    ],
)
async def test_a_database_that_cannot_be_reached_is_named_without_its_password(url: str, place: str, hint: str):
    with pytest.raises(StoreError) as caught:
        await Database.open(url, clock=SystemClock(), pool_size=1)
    assert f"the database at {place} cannot be reached" in str(caught.value)
    assert caught.value.hint == hint
    assert "hidden" not in str(caught.value) + caught.value.hint


async def test_whether_there_is_room_again_is_tried_and_nothing_of_it_stays(store: Store):
    vitals = store.vitals
    heard = vitals.heard_of
    await store.try_room()
    assert vitals.heard_of == heard, "where nothing was amiss nothing is tried"
    vitals.heard(SimpleNamespace(query="INSERT INTO syncd.records", elapsed=0.1, exception=OSError(NO_SPACE)))
    assert vitals.full
    await store.try_room()
    assert not vitals.full
    assert await store._database.fetchval("SELECT to_regclass('pg_temp.syncd_room')") is None
