"""How large the tables are, for who looks at an installation from afar. Estimates where counting would read it all."""

from __future__ import annotations

from typing import Any

from syncd.store.database import Database

_TABLES = """
SELECT c.relname AS name, c.reltuples::bigint AS rows_about, pg_total_relation_size(c.oid) AS bytes,
    pg_indexes_size(c.oid) AS index_bytes, coalesce(s.n_dead_tup, 0) AS dead_rows,
    greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed_at, greatest(s.last_analyze, s.last_autoanalyze) AS analyzed_at
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE n.nspname = 'syncd' AND c.relkind IN ('r', 'p') ORDER BY 3 DESC
"""


async def table_sizes(database: Database) -> dict[str, Any]:
    """The server's version, and syncd's tables, the largest first."""
    tables = [dict(each) for each in await database.fetch(_TABLES)]
    return {"server": await database.fetchval("SELECT version()"), "tables": tables}
