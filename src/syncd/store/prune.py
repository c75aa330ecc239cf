"""Retention: old rows go in small batches, so that no statement holds anything for long.

Nothing unprocessed is ever pruned, and keys outlive payloads: an inbox row first loses its body, and goes later, so the
same event stays known as seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from syncd.store.database import Database


@dataclass(frozen=True, slots=True)
class Retention:
    """How long each table keeps what is over and done with."""

    changes: timedelta = timedelta(days=90)
    runs: timedelta = timedelta(days=30)
    inbox_bodies: timedelta = timedelta(days=7)
    inbox_keys: timedelta = timedelta(days=30)
    outbox: timedelta = timedelta(days=30)
    rejects: timedelta = timedelta(days=90)
    dead_letters: timedelta = timedelta(days=30)
    """Of those replayed or discarded; open ones stay."""
    tombstones: timedelta = timedelta(days=90)
    audit_log: timedelta = timedelta(days=400)


_FORGET_BODIES = """
UPDATE syncd.inbox SET body = NULL, headers = '{}' WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM syncd.inbox
    WHERE finished_at < $1 AND state IN ('done', 'dropped') AND body IS NOT NULL LIMIT $2 FOR UPDATE SKIP LOCKED))
"""

_FORGET_TOMBSTONES = """
WITH gone AS ({delete} RETURNING integration, resource),
counted AS (
    UPDATE syncd.record_counts c SET buried = c.buried - g.number
    FROM (SELECT integration, resource, count(*) AS number FROM gone GROUP BY integration, resource) g
    WHERE c.integration = g.integration AND c.resource = g.resource
)
SELECT FROM gone
"""

_RULES: tuple[tuple[str, str, str], ...] = (
    # field of Retention, table, what may go
    ("changes", "changes", "changed_at < $1"),
    (
        "runs",
        "runs",
        "ended_at < $1 AND id < (SELECT max(n.id) FROM syncd.runs n WHERE n.integration = t.integration "
        "AND n.resource = t.resource)",
    ),
    ("runs", "backfills", "ended_at < $1 AND state NOT IN ('waiting', 'running')"),
    ("inbox_keys", "inbox", "finished_at < $1 AND state IN ('done', 'dropped')"),
    ("outbox", "outbox", "finished_at < $1 AND state IN ('done', 'dropped')"),
    ("rejects", "rejects", "last_at < $1"),
    ("dead_letters", "dead_letters", "settled_at < $1 AND state <> 'open'"),
    ("dead_letters", "replays", "ended_at < $1"),
    ("tombstones", "records", "deleted_at < $1"),
    ("audit_log", "audit_log", "at < $1"),
)


class Prune:
    """The nightly broom. When it runs is the engine's business."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, retention: Retention, *, batch: int = 1000, pause_seconds: float = 0.05) -> dict[str, int]:
        """Remove what is older than its retention; returns rows removed by table (`inbox_bodies`: emptied)."""
        now = self._database.clock.now()
        removed = {
            "inbox_bodies": await self._repeat(_FORGET_BODIES, now - retention.inbox_bodies, batch, pause_seconds)
        }
        for field, table, rule in _RULES:
            sql = (
                f"DELETE FROM syncd.{table} WHERE ctid = ANY(ARRAY("
                f"SELECT t.ctid FROM syncd.{table} t WHERE {rule} LIMIT $2 FOR UPDATE SKIP LOCKED))"
            )
            if table == "records":
                sql = _FORGET_TOMBSTONES.format(delete=sql)
            removed[table] = await self._repeat(sql, now - getattr(retention, field), batch, pause_seconds)
        removed["passes"] = await self._passes()
        return removed

    async def _repeat(self, sql: str, before: object, batch: int, pause_seconds: float) -> int:
        total = 0
        while True:
            count = await self._database.execute(sql, before, batch)
            total += count
            if count < batch:
                return total
            await self._database.clock.sleep(pause_seconds)

    async def _passes(self) -> int:
        """Passes older than the last two complete ones, and not in progress, can prove nothing any more."""
        keep = (
            "SELECT p.integration, p.resource, p.id FROM syncd.passes p WHERE p.id < ("
            "SELECT min(l.id) FROM (SELECT id FROM syncd.passes WHERE integration = p.integration "
            "AND resource = p.resource AND completed_at IS NOT NULL ORDER BY id DESC LIMIT 2) l) "
            "AND NOT EXISTS (SELECT FROM syncd.checkpoints c WHERE c.integration = p.integration "
            "AND c.resource = p.resource AND c.pass_id = p.id)"
        )
        await self._database.execute(
            f"DELETE FROM syncd.pass_pages g USING ({keep}) o "
            "WHERE g.integration = o.integration AND g.resource = o.resource AND g.pass_id = o.id"
        )
        return await self._database.execute(
            f"DELETE FROM syncd.passes g USING ({keep}) o "
            "WHERE g.integration = o.integration AND g.resource = o.resource AND g.id = o.id"
        )
