"""How much of a table a question reads: what tells a look that costs the same however many wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from syncd.clock import SystemClock
from syncd.store import Store

WAITING = 4000
"""So many rows that may not be taken."""
FEW = 400
"""What a look may read beside what it finds."""


async def rows_read(url: str, table: str, question: Callable[[Store], Awaitable[object]]) -> int:
    """The rows of `syncd.<table>` that a question reads, by PostgreSQL's own count."""
    counted = (
        "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables "
        f"WHERE relid = 'syncd.{table}'::regclass"
    )
    # One connection: what it has counted is there for it to see once it says so.
    async with await Store.open(url, clock=SystemClock(), pool_size=1, migrate=False) as store:
        database = store._database
        await database.execute(f"VACUUM ANALYZE syncd.{table}")
        await database.fetchval("SELECT pg_stat_force_next_flush()")
        before: int = await database.fetchval(counted)
        await question(store)
        await database.fetchval("SELECT pg_stat_force_next_flush()")
        after: int = await database.fetchval(counted)
        return after - before
