"""Databases that one test leaves to the next."""

import asyncpg
import pytest

from tests.emptied import Emptied

TASK = "INSERT INTO syncd.tasks (integration, kind, created_at) VALUES ('acme', 'fetch', now()) RETURNING id"


async def ask(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@pytest.fixture
async def known(database: str) -> Emptied:
    made = Emptied()
    await made.learn(database)
    return made


async def test_rows_and_places_of_sequences_are_gone_and_whoever_stayed_connected_is(database: str, known: Emptied):
    first = await ask(database, TASK)
    assert await ask(database, TASK) == 2
    stayed = await asyncpg.connect(database)
    assert await known.empty(database)
    assert await ask(database, "SELECT count(*) FROM syncd.tasks") == 0
    assert await ask(database, "SELECT count(*) FROM syncd.schema_migrations") != 0
    assert await ask(database, TASK) == first
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await stayed.fetchval("SELECT 1")


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE syncd.another (id int)",
        "CREATE VIEW syncd.seen AS SELECT 1 AS n",
        "ALTER TABLE syncd.tasks ADD COLUMN more int",
        "ALTER TABLE syncd.tasks ALTER COLUMN lane SET DEFAULT 2",
        "ALTER TABLE syncd.tasks SET (fillfactor = 50)",
        "CREATE INDEX ON syncd.tasks (resource)",
        "CREATE FUNCTION syncd.one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA another",
        "DELETE FROM syncd.schema_migrations",
        "UPDATE syncd.schema_migrations SET applied_at = applied_at - interval '1 day'",
    ],
)
async def test_where_more_than_rows_was_changed_nobody_gets_it(database: str, known: Emptied, change: str):
    await ask(database, change)
    assert not await known.empty(database)


async def test_a_database_that_is_gone_is_given_to_nobody(known: Emptied, postgres_url: str):
    assert not await known.empty(postgres_url + "_that_is_not_there")
