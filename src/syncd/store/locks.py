"""Who else holds locks that keep rows of ours from being written: sessions in the database that are not syncd's."""

from __future__ import annotations

from dataclasses import dataclass

from syncd.store.database import Database

LEAST_SECONDS = 5.0
"""Shorter ones are what others do all day."""
_HOLDERS = f"""
SELECT a.pid, coalesce(a.usename, '?') AS usename, coalesce(nullif(a.application_name, ''), 'a program') AS program,
       a.state = 'idle in transaction' AS is_idle, extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds,
       array_agg(DISTINCT c.relname::text ORDER BY c.relname::text) AS tables
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p')
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'syncd'
JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.granted
  AND l.mode <> 'AccessShareLock' AND a.application_name NOT LIKE 'syncd%' AND a.backend_type = 'client backend'
  AND a.xact_start < clock_timestamp() - interval '{LEAST_SECONDS:g} seconds'
GROUP BY 1, 2, 3, 4, 5 ORDER BY seconds DESC
"""


@dataclass(frozen=True, slots=True)
class Holder:
    """One session."""

    pid: int
    usename: str
    """The role it came as."""
    program: str
    is_idle: bool
    """Its transaction is open, and nothing is done in it."""
    seconds: float
    """For so long its transaction has been open."""
    tables: list[str]


async def holders(database: Database) -> list[Holder]:
    """Those whose transaction is open for a while, the oldest first. Raises StoreError."""
    return [Holder(**dict(row)) for row in await database.fetch(_HOLDERS)]
