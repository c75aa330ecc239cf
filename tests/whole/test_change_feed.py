"""docs/changes.md, run: its consumer beside the real daemon, killed at any moment, sees each change once."""

from __future__ import annotations

import asyncio
import os
import random
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "changes.md").read_text()
CONSUMER = re.search(r"```python\n# consumer\.py\n(.*?)```", PAGE, re.DOTALL)[1]
TABLES, REPORT, START = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
ROLE = "my_program"
THINGS = 300


@asynccontextmanager
async def consumer(folder: Path, url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The page's own program as a process; killed when the block is left."""
    (folder / "consumer.py").write_text(CONSUMER)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(folder / "consumer.py"), env={**os.environ, "DATABASE_URL": url}
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def program(rows: Rows, database: str) -> AsyncIterator[str]:
    """The page's tables, and its user with no more rights than the page gives; the way in as that user."""
    name = f"{ROLE}_{await rows.connection.fetchval('SELECT current_database()')}"
    await rows.connection.execute("SET search_path = public")  # its owner has a schema of his own name, which is ours
    await rows.connection.execute(f'CREATE ROLE "{name}"')
    await rows.connection.execute(TABLES.replace(ROLE, f'"{name}"'))
    yield f"{database}{'&' if '?' in database else '?'}role={name}"
    await rows.connection.execute(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')


async def test_the_pages_consumer_is_killed_again_and_again_and_sees_each_change_once(
    tmp_path: Path, database: str, rows: Rows, plain, program: str
):
    simulator, control = plain(things=THINGS)
    dice = random.Random(11)
    resources = only("things", every="1s", overlap="3s", history="full")
    async with Daemon(tmp_path, database, {"plain": partner(simulator.base_url, resources=resources)}) as daemon:

        async def logged() -> int:
            return int(await rows.connection.fetchval("SELECT count(*) FROM my_log"))

        await control.stream(per_second=60, total=400, resources=("things",))
        for _ in range(4):
            before = await logged()
            async with consumer(tmp_path, program) as running:

                async def more(before: int = before) -> bool:
                    return await logged() > before

                await daemon.until(more)
                await asyncio.sleep(dice.uniform(0.0, 0.6))
                assert running.returncode is None
        await report(program)  # the other consumer, in SQL alone, beside the first one's log
        await commit_late(daemon, rows, database, program, tmp_path)

        async def all_read() -> bool:
            await rows.connection.execute("SELECT")
            seen = await rows.connection.fetch("SELECT id FROM my_log WHERE id > 0 ORDER BY id")
            there = await rows.connection.fetch("SELECT id FROM syncd.changes ORDER BY id")
            return [row["id"] for row in seen] == [row["id"] for row in there] and await quiet(daemon)

        async with consumer(tmp_path, program):
            await daemon.until(all_read)
        assert await rows.connection.fetchval("SELECT count(*) FROM my_log") > THINGS
        # Replaying the log gives the copy: nothing is missing, and the order is that of the versions.
        found = await rows.connection.fetch(
            "SELECT r.external_id FROM syncd.records r JOIN LATERAL (SELECT new FROM my_log l "
            "WHERE l.external_id = r.external_id AND l.field = 'number' ORDER BY id DESC LIMIT 1) l ON true "
            "WHERE r.deleted_at IS NULL AND r.data -> 'number' <> l.new"
        )
        assert found == []


async def quiet(daemon: Daemon) -> bool:
    """The copy stands still: the last two runs changed nothing."""
    connection = await asyncpg.connect(daemon.database_url)
    try:
        found = await connection.fetch("SELECT added + updated + deleted AS n FROM syncd.runs ORDER BY id DESC LIMIT 2")
    finally:
        await connection.close()
    return [row["n"] for row in found] == [0, 0]


async def commit_late(daemon: Daemon, rows: Rows, database: str, program: str, folder: Path) -> None:
    """Somebody takes an id, others commit above it and are not given out, and it commits seconds later."""
    slow = await asyncpg.connect(database)
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute(
        "SELECT pg_current_xact_id(); SELECT syncd.append_changes(ARRAY[ROW('acme', nextval('syncd.changes_id_seq'), "
        "'things', 'late', 1, 'update', 'name', NULL, to_jsonb('late'::text), 'test', now(), '0')::syncd.changes])"
    )
    top = await rows.connection.fetchval("SELECT max(id) FROM syncd.changes")

    async def above() -> bool:
        return await rows.connection.fetchval("SELECT max(id) FROM syncd.changes") > top + 1

    async with consumer(folder, program):
        await daemon.until(above)
        await asyncio.sleep(0.5)
        given = await rows.connection.fetchval("SELECT max(id) FROM my_log")
        late = await slow.fetchval("SELECT id FROM syncd.changes WHERE external_id = 'late'")
        assert given < late, "nothing above an open id is given out"
        await transaction.commit()
        await slow.close()

        async def seen() -> bool:
            return bool(await rows.connection.fetchval("SELECT count(*) FROM my_log WHERE external_id = 'late'"))

        await daemon.until(seen)


async def report(database: str) -> None:
    """The version in SQL alone, three at once."""

    async def once() -> None:
        one = await asyncpg.connect(database)
        try:
            await one.execute(REPORT)
        finally:
            await one.close()

    for _ in range(3):
        await asyncio.gather(once(), once(), once())
    connection = await asyncpg.connect(database)
    try:
        position = await connection.fetchval("SELECT id FROM my_positions WHERE consumer = 'report'")
        read = await connection.fetch("SELECT id FROM my_report ORDER BY id")
        there = await connection.fetch("SELECT id FROM syncd.changes WHERE id <= $1 ORDER BY id", position)
        assert read == there
        assert read, "it has read something"
    finally:
        await connection.close()


async def test_a_reader_that_begins_with_a_copy_misses_nothing(
    tmp_path: Path, database: str, rows: Rows, plain, program: str
):
    simulator, control = plain(things=THINGS)
    async with Daemon(
        tmp_path,
        database,
        {"plain": partner(simulator.base_url, resources=only("things", every="1s", overlap="3s"))},
    ) as daemon:

        async def imported() -> bool:
            return await rows.count("acme", "things") == THINGS

        await daemon.until(imported)
        await control.stream(per_second=80, total=200, resources=("things",))

        async def changed() -> bool:
            return bool(await rows.connection.fetchval("SELECT syncd.changes_now() > 20"))

        await daemon.until(changed)
        await rows.connection.execute(START)

        async def still() -> bool:
            return await quiet(daemon)

        await daemon.until(still)
        # What a program makes of it: its copy, and each later change laid over it.
        copy = {
            row["external_id"]: (row["row_version"], row["data"])
            for row in await rows.connection.fetch(
                "SELECT external_id, row_version, data -> 'number' AS data FROM my_copy"
            )
        }
        at = await rows.connection.fetchval("SELECT id FROM my_positions WHERE consumer = 'search'")
        for change in await rows.connection.fetch("SELECT * FROM syncd.changes_after($1, 100000)", at):
            version, _ = copy.get(change["external_id"], (0, None))
            if change["row_version"] > version and change["kind"] == "delete":
                copy.pop(change["external_id"], None)
            elif change["row_version"] > version and change["field"] == "number" and change["external_id"] in copy:
                copy[change["external_id"]] = (change["row_version"], change["new"])
        truth = await rows.connection.fetch(
            "SELECT r.external_id, r.data -> 'number' AS number FROM syncd.records r JOIN my_copy USING (external_id) "
            "WHERE r.deleted_at IS NULL"
        )
        assert {row["external_id"]: row["number"] for row in truth} == {key: data for key, (_, data) in copy.items()}
