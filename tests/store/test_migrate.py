"""Migrations: each once, in order, by one, and never over something unknown."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from syncd.clock import SystemClock
from syncd.errors import StoreError
from syncd.store import Migration, Store
from syncd.store.database import Database
from syncd.store.migrate import Migrations, shipped

HEAD = "-- previous release: none\n"
ONE = Migration(1, "one", HEAD + "CREATE TABLE syncd.one (n int);")
TWO = Migration(
    2, "two", "-- previous release: runs\nCREATE TABLE syncd.two (n int); INSERT INTO syncd.two VALUES (1);"
)


@pytest.fixture
async def opened(empty_database: str):
    database = await Database.open(empty_database, clock=SystemClock(), pool_size=2)
    yield database
    await database.aclose()


def test_the_shipped_files_are_in_order_and_say_whether_the_previous_release_runs():
    files = shipped()
    assert [each.version for each in files] == list(range(1, len(files) + 1))
    for each in files:
        assert each.previous_release.split()[0] in {"none", "runs", "stop"}


async def test_looking_changes_nothing(opened: Database):
    status = await Migrations(opened).status()
    assert (status.version, status.current, len(status.pending)) == (0, False, len(shipped()))
    assert await opened.fetchval("SELECT to_regnamespace('syncd')") is None


async def test_each_file_is_applied_once(opened: Database):
    assert await Migrations(opened, [ONE]).apply() == [ONE]
    assert await Migrations(opened, [ONE, TWO]).apply() == [TWO]
    assert await Migrations(opened, [ONE, TWO]).apply() == []
    status = await Migrations(opened, [ONE, TWO]).status()
    assert [(each.version, each.name) for each in status.applied] == [(1, "one"), (2, "two")]
    assert status.current


async def test_many_machines_at_once_apply_them_once(empty_database: str):
    async def machine() -> int:
        database = await Database.open(empty_database, clock=SystemClock(), pool_size=1)
        try:
            return len(await Migrations(database, [ONE, TWO]).apply())
        finally:
            await database.aclose()

    done = await asyncio.gather(*(machine() for _ in range(5)))
    assert sum(done) == 2


async def test_a_failing_file_leaves_nothing_of_itself(opened: Database):
    bad = Migration(2, "bad", HEAD + "CREATE TABLE syncd.half (n int); SELECT 1/0;")
    with pytest.raises(StoreError):
        await Migrations(opened, [ONE, bad]).apply()
    assert await opened.fetchval("SELECT to_regclass('syncd.half')") is None
    assert (await Migrations(opened, [ONE, TWO]).status()).version == 1
    assert await Migrations(opened, [ONE, TWO]).apply() == [TWO]


async def test_a_newer_schema_is_refused(opened: Database):
    await Migrations(opened, [ONE, TWO]).apply()
    for call in (Migrations(opened, [ONE]).status, Migrations(opened, [ONE]).apply):
        with pytest.raises(StoreError, match="schema 0002, this release knows 0001") as caught:
            await call()
        assert "newer release" in caught.value.hint


async def test_a_file_changed_after_it_was_applied_is_refused(opened: Database):
    await Migrations(opened, [ONE]).apply()
    with pytest.raises(StoreError, match="other text"):
        await Migrations(opened, [Migration(1, "one", HEAD + "SELECT 1;")]).status()


async def test_a_file_without_the_word_on_the_previous_release_is_refused():
    with pytest.raises(StoreError, match="previous release"):
        _ = Migration(3, "silent", "SELECT 1;").previous_release


async def test_a_store_that_may_not_migrate_refuses_an_old_schema(empty_database: str):
    with pytest.raises(StoreError) as caught:
        await Store.open(empty_database, clock=SystemClock(), migrate=False)
    assert caught.value.hint == "syncd migrate"
    async with await Store.open(empty_database, clock=SystemClock()) as store:
        assert (await store.migrations.status()).current


async def test_the_public_tables_lead_their_keys_with_integration(database: str):
    """So that each can be partitioned or distributed by it."""
    plain = await asyncpg.connect(database)
    found = await plain.fetch(
        "SELECT c.relname AS name, (SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid "
        "AND a.attnum = i.indkey[0] WHERE i.indrelid = c.oid AND i.indisprimary) AS first FROM pg_class c "
        "WHERE c.relnamespace = 'syncd'::regnamespace AND c.relkind = 'r' ORDER BY 1"
    )
    await plain.close()
    firsts = {each["name"]: each["first"] for each in found}
    assert {name for name, first in firsts.items() if first != "integration"} == {
        "leases",
        "limit_state",
        "schema_migrations",
    }
    assert set(firsts) >= {
        "records",
        "changes",
        "checkpoints",
        "runs",
        "inbox",
        "outbox",
        "tasks",
        "dead_letters",
        "rejects",
        "credentials",
        "leases",
        "limit_state",
        "controls",
        "audit_log",
    }
