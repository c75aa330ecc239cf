"""Table `backfills`: a time range of a resource that is read again beside its schedule, page by page.

Its cursor moves in the transaction that stores the page (R1), and only as long as the fence of the scope still holds and
nobody has stopped it meanwhile; the checkpoint of the resource is not touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.store.database import OVER_ALL, Database, again_after_conflict
from syncd.store.long_work import LongWorkRows
from syncd.store.page_call import tasks_json
from syncd.store.pages import Pages
from syncd.store.rows import NewTask, PageResult, PageWrite
from syncd.store.tasks import WISHES

ACTIVE = ("waiting", "running")


@dataclass(frozen=True, slots=True)
class Backfill:
    """One of them, as it stands."""

    integration: str
    id: int
    resource: str
    since: datetime
    until: datetime
    state: str
    """waiting, running, done, failed or cancelled."""
    cursor: str | None
    fence: int
    expected_calls: int | None
    pages: int
    seen: int
    added: int
    updated: int
    deleted: int
    unchanged: int
    stale: int
    rejected: int
    tasks: int
    calls: int
    waited_seconds: float
    attempts: int
    """Failures in a row."""
    not_before: datetime | None
    reached_at: datetime | None
    """The newest change it has shown so far."""
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    asked_by: str
    reason: str | None
    """Why it waits, or failed."""

    @property
    def key(self) -> tuple[str, str]:
        return self.integration, self.resource

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE


_COLUMNS = ", ".join(Backfill.__slots__)


class Backfills(LongWorkRows[Backfill]):
    """Ranges read again."""

    table, kind = "backfills", Backfill

    def __init__(self, database: Database, pages: Pages) -> None:
        super().__init__(database)
        self._pages = pages

    @again_after_conflict
    async def ask(
        self,
        integration: str,
        resource: str,
        since: datetime,
        until: datetime,
        *,
        who: str = "",
        expected_calls: int | None = None,
    ) -> tuple[Backfill, bool]:
        """Begin one, or go on with the one there is; True: this is new.

        One that runs or waits stands for any other of its resource. One of the same range that failed or was cancelled goes
        on at its cursor.
        """
        now = self._database.clock.now()
        async with self._database.transaction() as connection:
            await connection.execute("SELECT pg_notify($1, $2)", WISHES, integration)
            found = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM syncd.backfills WHERE integration = $1 AND resource = $2 "
                "AND state IN ('waiting', 'running') FOR UPDATE",
                integration,
                resource,
            )
            if found is not None:
                return Backfill(**dict(found)), False
            found = await connection.fetchrow(
                "UPDATE syncd.backfills SET state = 'waiting', attempts = 0, not_before = NULL, reason = NULL, "
                "ended_at = NULL WHERE integration = $1 AND id = (SELECT max(id) FROM syncd.backfills WHERE integration = $1 "
                "AND resource = $2) AND since = $3 AND until = $4 AND state IN ('failed', 'cancelled') AND pages > 0 "
                f"RETURNING {_COLUMNS}",
                integration,
                resource,
                since,
                until,
            )
            if found is not None:
                return Backfill(**dict(found)), False
            found = await connection.fetchrow(
                "INSERT INTO syncd.backfills (integration, resource, since, until, expected_calls, created_at, asked_by) "
                f"VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {_COLUMNS}",
                integration,
                resource,
                since,
                until,
                expected_calls,
                now,
                who,
            )
        return Backfill(**dict(found)), True

    async def take(self, backfill: Backfill, *, scope: str, fence: int) -> Backfill | None:
        """Work on it under this fence of this scope; as it stands now.

        None: it was stopped, has ended, waits for a moment to come, or the scope is no longer ours. The fence it was taken
        with before says nothing: an integration may have moved to a scope whose fences count lower.
        """
        now = self._database.clock.now()
        found = await self._database.fetchrow(
            "UPDATE syncd.backfills SET state = 'running', fence = $3, started_at = coalesce(started_at, $4) "
            "WHERE integration = $1 AND id = $2 AND state IN ('waiting', 'running') "
            "AND EXISTS (SELECT FROM syncd.leases l WHERE l.scope = $5 AND l.fence = $3) "
            f"AND (not_before IS NULL OR not_before <= $4) RETURNING {_COLUMNS}",
            backfill.integration,
            backfill.id,
            fence,
            now,
            scope,
        )
        return Backfill(**dict(found)) if found is not None else None

    @again_after_conflict
    async def commit(
        self,
        backfill: Backfill,
        page: PageWrite,
        *,
        seen: int,
        children: Sequence[NewTask] = (),
        reached_at: datetime | None = None,
    ) -> PageResult:
        """Store a page and move the backfill to its end, or do neither. `children` are listed whether or not their parents
        have changed.

        Raises OwnershipError when cursor or fence are no longer as the page was read with, or when it was stopped.
        """
        await self._pages.remember(page)
        async with self._database.transaction() as connection:
            result = await self._pages.commit_within(connection, page)
            if children:
                await connection.execute(
                    "SELECT syncd.put_tasks($1, $2, $3::jsonb)",
                    page.integration,
                    self._database.clock.now(),
                    tasks_json(children, page.resource, page.cause),
                )
            await connection.execute(
                "SELECT syncd.advance_backfill($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb)",
                backfill.integration,
                backfill.id,
                page.scope,
                page.fence,
                page.cursor_read,
                page.cursor_next,
                page.last,
                self._database.clock.now(),
                _counts(page, result, seen, len(children), reached_at),
            )
        return result

    async def later(
        self, backfill: Backfill, at: datetime, *, fence: int, counts: bool, reason: str, calls: int = 0
    ) -> None:
        """Not before then. Whoever stopped it meanwhile is not overruled."""
        await self._database.execute(
            "UPDATE syncd.backfills SET not_before = $4, attempts = attempts + $5, reason = $6, calls = calls + $7 "
            "WHERE integration = $1 AND id = $2 AND state = 'running' AND fence = $3",
            backfill.integration,
            backfill.id,
            fence,
            at,
            int(counts),
            reason,
            calls,
        )

    async def restart(self, backfill: Backfill, *, fence: int) -> None:
        """Forget the cursor: the partner no longer takes it."""
        await self._database.execute(
            "UPDATE syncd.backfills SET cursor = NULL "
            "WHERE integration = $1 AND id = $2 AND state = 'running' AND fence = $3",
            backfill.integration,
            backfill.id,
            fence,
        )

    async def fail(self, backfill: Backfill, *, fence: int, reason: str, calls: int = 0, restart: bool = False) -> None:
        """It needs a person; the same command goes on at its cursor (`restart`: from the start)."""
        await self._database.execute(
            "UPDATE syncd.backfills SET state = 'failed', ended_at = $4, reason = $5, calls = calls + $6, "
            "cursor = CASE WHEN $7 THEN NULL ELSE cursor END "
            "WHERE integration = $1 AND id = $2 AND state = 'running' AND fence = $3",
            backfill.integration,
            backfill.id,
            fence,
            self._database.clock.now(),
            reason,
            calls,
            restart,
        )

    async def cancel(self, integration: str, resource: str | None, *, who: str) -> list[Backfill]:
        """Stop those that wait or run, and give up those that failed; what is stored stays. Returns what is left of them."""
        found = await self._database.fetch(
            "UPDATE syncd.backfills SET state = 'cancelled', ended_at = $3, reason = $4 "
            "WHERE integration = $1 AND ($2::text IS NULL OR resource = $2) "
            f"AND state IN ('waiting', 'running', 'failed') RETURNING {_COLUMNS}",
            integration,
            resource,
            self._database.clock.now(),
            f"stopped by {who}",
        )
        return [Backfill(**dict(each)) for each in found]

    async def within(self, integration: str, resource: str, since: datetime, until: datetime) -> int:
        """Live records whose last change at the partner, as far as is stored, lies in the range."""
        async with self._database.transaction() as connection:
            await connection.execute(OVER_ALL)
            found: int = await connection.fetchval(
                "SELECT count(*) FROM syncd.records WHERE integration = $1 AND resource = $2 AND deleted_at IS NULL "
                "AND source_updated_at >= $3 AND source_updated_at < $4",
                integration,
                resource,
                since,
                until,
            )
        return found


def _counts(
    page: PageWrite, result: PageResult, seen: int, tasks: int, reached_at: datetime | None
) -> Mapping[str, Any]:
    return {
        "pages": page.pages,
        "seen": seen,
        "added": len(result.added),
        "updated": len(result.updated),
        "deleted": len(result.deleted),
        "unchanged": page.unchanged + result.unchanged,
        "stale": result.stale,
        "rejected": len(page.rejects) + len(result.refused),
        "tasks": tasks,
        "calls": page.calls,
        "waited_seconds": page.waited_seconds,
        "reached_at": reached_at.isoformat() if reached_at is not None else None,
    }
