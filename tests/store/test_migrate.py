"""Migrations: each once, in order, by one, and never over something unknown."""

from __future__ import annotations

import asyncio
import re

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
        assert re.match("none|runs|stop", each.previous_release)


FIRST_THAT_SAYS_FROM_WHERE = 20


def test_every_file_says_which_older_releases_run_on_what_it_makes_or_why_none_does():
    """Files before this word was invented cannot: whoever knows less than all of them has never been told to read it."""
    for each in shipped()[FIRST_THAT_SAYS_FROM_WHERE - 1 :]:
        promised = each.works_with is not None and 1 <= each.works_with < each.version
        assert promised or re.fullmatch(r"stop\W+\S.*", each.previous_release), (
            f"{each.version:04}_{each.name}: write `-- previous release: runs, from NNNN`, the newest schema of the release "
            "before yours, or `stop` and why"
        )


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


async def test_who_applied_what_to_a_database_in_use_is_noted(opened: Database):
    await Migrations(opened, shipped()[:-2]).apply(who="ann@web1")
    assert await opened.fetch("SELECT * FROM syncd.audit_log") == [], "it was new"
    files = await Migrations(opened).apply(who="ann@web1")
    rows = await opened.fetch("SELECT actor, action, before, after FROM syncd.audit_log ORDER BY id")
    before = {"schema": files[0].version - 1}
    assert [tuple(row) for row in rows] == [
        ("ann@web1", "schema_migrated", before, {"schema": file.version, "name": file.name}) for file in files
    ]


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


FROM = "-- previous release: runs, from {:04}\nCREATE TABLE syncd.three (n int);"


async def test_a_newer_schema_that_says_so_works_with_an_older_release(opened: Database):
    three = Migration(3, "three", FROM.format(2))
    await Migrations(opened, [ONE, TWO, three]).apply()
    older = Migrations(opened, [ONE, TWO])
    status = await older.status()
    assert (status.version, status.current, [each.name for each in status.newer]) == (3, True, ["three"])
    assert await older.apply() == []
    with pytest.raises(StoreError, match="this release knows 0001 at most") as caught:
        await Migrations(opened, [ONE]).status()
    assert "newer release" in caught.value.hint


async def test_one_file_of_many_that_does_not_say_so_is_enough_to_refuse(opened: Database):
    files = [ONE, TWO, Migration(3, "three", FROM.format(2)), Migration(4, "four", HEAD + "SELECT 1;")]
    await Migrations(opened, files).apply()
    with pytest.raises(StoreError, match="schema 0004, this release knows 0002 at most"):
        await Migrations(opened, [ONE, TWO]).status()


async def test_a_table_of_migrations_of_the_time_before_learns_the_word_with_the_next_file(opened: Database):
    await Migrations(opened, [ONE, TWO]).apply()
    await opened.execute("ALTER TABLE syncd.schema_migrations DROP COLUMN works_with")
    assert (await Migrations(opened, [ONE, TWO]).status()).current
    with pytest.raises(StoreError, match="knows 0001 at most"):
        await Migrations(opened, [ONE]).status()
    await Migrations(opened, [ONE, TWO, Migration(3, "three", FROM.format(2))]).apply()
    assert (await Migrations(opened, [ONE, TWO]).status()).newer


@pytest.mark.parametrize(
    ("head", "goes_on", "starts"),
    [
        ("runs, from 0002", True, True),
        ("runs, from 0003", True, False),
        ("runs", True, False),
        ("stop: x", False, False),
    ],
)
async def test_what_is_pending_tells_what_the_release_that_runs_can_do(
    opened: Database, head: str, goes_on: bool, starts: bool
):
    await Migrations(opened, [ONE, TWO]).apply()
    status = await Migrations(opened, [ONE, TWO, Migration(3, "x", f"-- previous release: {head}\nSELECT 1;")]).status()
    assert (status.older_goes_on, status.older_starts) == (goes_on, starts)


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
