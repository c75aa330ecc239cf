"""How much waits in the tables that work is taken from: `inbox`, `tasks` by lane, `outbox`.

Each count reads one partial index that holds unfinished rows alone, so what is over and done with costs nothing however
much of it is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from syncd.model import Lane
from syncd.store.database import Database

INBOX = "inbox"
OUTBOX = "outbox"


def queue_of(lane: Lane) -> str:
    """The name a lane's tasks go by in status and metrics."""
    return f"tasks {lane.name.lower()}"


@dataclass(frozen=True, slots=True)
class Depth:
    """What one integration has in one queue."""

    queue: str
    integration: str
    waiting: int
    """Those put off until later are among them."""
    under_way: int
    """Taken into memory, begun or not."""
    oldest_at: datetime | None
    """When the oldest of all came."""
    due: int = 0
    """Of those waiting, whose time has come."""


_DUE = "count(*) FILTER (WHERE not_before IS NULL OR not_before <= now())"
_DEPTHS = f"""
SELECT 'inbox' AS queue, d.integration, 0::smallint AS lane, d.waiting - d.taken AS waiting, d.taken AS under_way,
       (SELECT i.received_at FROM syncd.inbox i
        WHERE i.integration = d.integration AND i.id = d.first AND i.state IN ('waiting', 'taken')) AS oldest_at,
       greatest(d.due - d.taken, 0) AS due
FROM (
    SELECT c.integration, c.waiting, c.first, c.due,
           least(c.waiting, coalesce((SELECT sum(cardinality(b.ids)) FROM syncd.inbox_batches b
                                      WHERE b.integration = c.integration), 0)) AS taken
    FROM (
        SELECT integration, count(*) AS waiting, min(id) AS first, {_DUE} AS due FROM syncd.inbox
        WHERE state IN ('waiting', 'taken') GROUP BY integration
    ) c
) d
UNION ALL
SELECT 'outbox', d.integration, 0::smallint, d.waiting, d.taken,
       (SELECT o.created_at FROM syncd.outbox o
        WHERE o.integration = d.integration AND o.id = d.first AND o.state IN ('waiting', 'taken', 'unknown')), d.due
FROM (
    SELECT integration, count(*) FILTER (WHERE state <> 'taken') AS waiting, count(*) FILTER (WHERE state = 'taken') AS taken,
           min(id) AS first, count(*) FILTER (
               WHERE is_first AND state <> 'taken' AND (not_before IS NULL OR not_before <= now())) AS due
    FROM (
        SELECT integration, id, state, not_before,  -- of one record's pushes only the oldest may go
               row_number() OVER (PARTITION BY integration, resource, record_key ORDER BY id) = 1 AS is_first
        FROM syncd.outbox WHERE state IN ('waiting', 'taken', 'unknown')
    ) one GROUP BY integration
) d
UNION ALL
SELECT 'tasks', d.integration, d.lane, d.waiting, 0,
       (SELECT t.created_at FROM syncd.tasks t WHERE t.integration = d.integration AND t.id = d.first), d.due
FROM (
    SELECT integration, lane, count(*) AS waiting, min(id) AS first, {_DUE} AS due FROM syncd.tasks
    WHERE state = 'waiting' AND kind <> 'look' GROUP BY integration, lane  -- a look is for a later time, and no backlog
) d
UNION ALL
SELECT 'tasks', integration, lane, 0, count(*), min(created_at), 0 FROM syncd.tasks
WHERE state = 'taken' AND kind NOT IN ('sync', 'reconcile')  -- a wish is under way for as long as its run
GROUP BY integration, lane
"""


class Queues:
    """What waits, and since when."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def depths(self) -> list[Depth]:
        """Every queue in which anything is, by integration."""
        found: dict[tuple[str, str], Depth] = {}
        for queue, integration, lane, waiting, under_way, oldest_at, due in await self._database.fetch(_DEPTHS):
            name = queue_of(Lane(lane)) if queue == "tasks" else queue
            before = found.get((name, integration))
            if before is not None:
                waiting, under_way, due = waiting + before.waiting, under_way + before.under_way, due + before.due
                oldest_at = min((at for at in (oldest_at, before.oldest_at) if at is not None), default=None)
            found[name, integration] = Depth(name, integration, waiting, under_way, oldest_at, due)
        return list(found.values())
