from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from syncd.store import Store

from .parts import Desk


@pytest.fixture
async def desk(store: Store) -> Desk:
    """An integration that owns its scope."""
    return await Desk.open(store)


@pytest.fixture
async def database(database: str) -> AsyncIterator[str]:
    """Everybody's database, and a look at its end: the counts kept up on the way are those of the records."""
    yield database
    connection = await asyncpg.connect(database, timeout=20)
    try:
        if await connection.fetchval("SELECT to_regclass('syncd.records')") is None:
            return
        counted = await connection.fetch(
            "SELECT integration, resource, count(*) FILTER (WHERE deleted_at IS NULL), count(deleted_at) FROM syncd.records "
            "GROUP BY 1, 2 ORDER BY 1, 2"
        )
        kept = await connection.fetch(
            "SELECT integration, resource, live, buried FROM syncd.record_counts WHERE live <> 0 OR buried <> 0 ORDER BY 1, 2"
        )
    finally:
        await connection.close()
    assert list(map(tuple, kept)) == list(map(tuple, counted))
