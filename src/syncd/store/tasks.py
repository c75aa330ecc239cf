"""Table `tasks`: work derived from rows, and the wishes of people. Done and dropped tasks are deleted.

Every step is one conditional statement (R4): 0 rows means that somebody else has done it. Attempts rise when a task is
taken, so one that kills its process is counted too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from syncd.model import Lane
from syncd.store.database import ConflictError, Database, affected
from syncd.store.dead_letters import NewDeadLetter, insert_letter
from syncd.store.pages import tasks_json
from syncd.store.rows import NewTask

WISHES = "syncd_wishes"
"""NOTIFY channel: somebody has asked for something (a task put by hand, a control set). The payload is the integration."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task, taken."""

    integration: str
    id: int
    kind: str
    resource: str
    external_id: str | None
    parent_id: str | None
    payload: Mapping[str, Any]
    lane: Lane
    dedupe_key: str | None
    not_before: datetime | None
    expires_at: datetime | None
    attempts: int
    """This one included."""
    taken_fence: int | None
    created_at: datetime
    cause: str
    reason: str | None
    """Why it was put off, if it was."""


_COLUMNS = ", ".join(Task.__slots__)
_TAKE = f"""
UPDATE syncd.tasks t
SET state = 'taken', attempts = t.attempts + 1, taken_fence = $2, taken_at = $3
FROM (
    SELECT integration, id FROM syncd.tasks
    WHERE integration = ANY($1::text[]) AND state = 'waiting'
      AND (not_before IS NULL OR not_before <= $3) AND (expires_at IS NULL OR expires_at > $3)
      AND ($5::smallint[] IS NULL OR lane = ANY($5)) AND ($6::text[] IS NULL OR kind = ANY($6))
      AND ($7::text[] IS NULL OR integration || '/' || resource = ANY($7))
    ORDER BY lane, id
    LIMIT $4
    FOR UPDATE SKIP LOCKED
) ready
WHERE t.integration = ready.integration AND t.id = ready.id
RETURNING {", ".join(f"t.{name}" for name in Task.__slots__)}
"""


class Tasks:
    """Work that waits in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, integration: str, *tasks: NewTask, cause: str = "") -> int:
        """Add tasks and wake whoever owns the integration; returns how many rows were made or made more urgent."""
        now = self._database.clock.now()
        async with self._database.transaction() as connection:
            made: int = await connection.fetchval(
                "SELECT syncd.put_tasks($1, $2, $3::jsonb)", integration, now, tasks_json(tasks, "", cause) or b"[]"
            )
            await connection.execute("SELECT pg_notify($1, $2)", WISHES, integration)
        return made

    async def wish(self, integration: str, *tasks: NewTask, cause: str = "") -> list[int]:
        """`put` for tasks that somebody watches: the ids of the rows that stand for them, in their order.

        Each needs a `dedupe_key`; a wish that waits already stands for an equal one.
        """
        now = self._database.clock.now()
        keys = [task.dedupe_key for task in tasks]
        async with self._database.transaction() as connection:
            await connection.fetchval(
                "SELECT syncd.put_tasks($1, $2, $3::jsonb)", integration, now, tasks_json(tasks, "", cause) or b"[]"
            )
            found = await connection.fetch(
                "SELECT dedupe_key, id FROM syncd.tasks "
                "WHERE integration = $1 AND state = 'waiting' AND dedupe_key = ANY($2::text[])",
                integration,
                keys,
            )
            await connection.execute("SELECT pg_notify($1, $2)", WISHES, integration)
        ids = {each["dedupe_key"]: each["id"] for each in found}
        return [ids[key] for key in keys if key in ids]

    async def find(self, ids: Sequence[int]) -> list[Task]:
        """Tasks by id, waiting or taken."""
        if not ids:
            return []
        found = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM syncd.tasks WHERE id = ANY($1::bigint[])",
            list(ids),
        )
        return [_task(each) for each in found]

    async def ready(self, integrations: Sequence[str], *, resources: Sequence[str] | None = None) -> list[str]:
        """Those of the integrations that have a task ready to be taken; of these `integration/resource` where given."""
        found = await self._database.fetch(
            "SELECT i.name FROM unnest($1::text[]) AS i(name) WHERE EXISTS (SELECT FROM syncd.tasks t "
            "WHERE t.integration = i.name AND t.state = 'waiting' AND (t.not_before IS NULL OR t.not_before <= $2) "
            "AND (t.expires_at IS NULL OR t.expires_at > $2) "
            "AND ($3::text[] IS NULL OR t.integration || '/' || t.resource = ANY($3)))",
            list(integrations),
            self._database.clock.now(),
            list(resources) if resources is not None else None,
        )
        return [each["name"] for each in found]

    async def take(
        self,
        integrations: str | Sequence[str],
        *,
        fence: int,
        limit: int,
        lanes: Sequence[Lane] | None = None,
        kinds: Sequence[str] | None = None,
        resources: Sequence[str] | None = None,
    ) -> list[Task]:
        """Take ready tasks, most urgent first, oldest first within a lane. Expired ones are left for `expire`.

        `resources` names those that may be taken as `integration/resource`; None: all.
        """
        found = await self._database.fetch(
            _TAKE,
            [integrations] if isinstance(integrations, str) else list(integrations),
            fence,
            self._database.clock.now(),
            limit,
            list(map(int, lanes)) if lanes is not None else None,
            list(kinds) if kinds is not None else None,
            list(resources) if resources is not None else None,
        )
        return sorted((_task(each) for each in found), key=lambda task: (task.lane, task.id))

    async def expire(self, integrations: str | Sequence[str]) -> int:
        """Drop waiting tasks whose time is over; returns how many."""
        return await self._database.execute(
            "DELETE FROM syncd.tasks WHERE integration = ANY($1::text[]) AND state = 'waiting' AND expires_at <= $2",
            [integrations] if isinstance(integrations, str) else list(integrations),
            self._database.clock.now(),
        )

    async def done(self, task: Task) -> bool:
        """It is done, or dropped: gone. False when it was no longer ours."""
        return (
            await self._database.execute(
                "DELETE FROM syncd.tasks WHERE integration = $1 AND id = $2 AND state = 'taken' AND taken_fence = $3",
                task.integration,
                task.id,
                task.taken_fence,
            )
            == 1
        )

    drop = done

    async def later(self, task: Task, at: datetime | None, *, counts: bool = True, reason: str = "") -> bool:
        """Put it back, not before `at`. `counts=False` takes the attempt back.

        Where an equal task (same dedupe key) has come to wait meanwhile, that one stands for both. False when the task was
        no longer ours.
        """
        key = (task.integration, task.id, task.taken_fence)
        try:
            if await self._database.execute(
                "UPDATE syncd.tasks t SET state = 'waiting', not_before = $4, attempts = attempts - $5, reason = $6, "
                "taken_fence = NULL, taken_at = NULL "
                "WHERE integration = $1 AND id = $2 AND state = 'taken' AND taken_fence = $3 AND NOT EXISTS ("
                "SELECT FROM syncd.tasks w WHERE w.integration = $1 AND w.dedupe_key = t.dedupe_key AND w.state = 'waiting')",
                *key,
                at,
                0 if counts else 1,
                reason or None,
            ):
                return True
        except ConflictError:
            pass  # an equal one came to wait in this very moment
        return await self.done(task)

    async def give_back(self, task: Task) -> bool:
        """Put it back untouched: shutdown cut it short."""
        return await self.later(task, task.not_before, counts=False, reason=task.reason or "")

    async def bury(self, task: Task, letter: NewDeadLetter) -> bool:
        """Move it to the dead letters. False, and no letter, when the task was no longer ours."""
        now = self._database.clock.now()
        async with self._database.transaction() as connection:
            tag = await connection.execute(
                "DELETE FROM syncd.tasks WHERE integration = $1 AND id = $2 AND state = 'taken' AND taken_fence = $3",
                task.integration,
                task.id,
                task.taken_fence,
            )
            if affected(tag) == 0:
                return False
            await insert_letter(connection, letter, now)
        return True

    async def free(self, integrations: str | Sequence[str], *, fence: int) -> int:
        """At boot: what was taken under an older fence is free again. Their attempts stay counted."""
        names = [integrations] if isinstance(integrations, str) else list(integrations)
        async with self._database.transaction() as connection:
            await connection.execute(
                "DELETE FROM syncd.tasks t WHERE integration = ANY($1::text[]) AND state = 'taken' AND taken_fence < $2 "
                "AND EXISTS (SELECT FROM syncd.tasks o WHERE o.integration = t.integration AND o.dedupe_key = t.dedupe_key "
                "AND (o.state = 'waiting' OR (o.id > t.id AND o.taken_fence < $2)))",
                names,
                fence,
            )
            tag = await connection.execute(
                "UPDATE syncd.tasks SET state = 'waiting', taken_fence = NULL, taken_at = NULL "
                "WHERE integration = ANY($1::text[]) AND state = 'taken' AND taken_fence < $2",
                names,
                fence,
            )
        return affected(tag)

    async def next_at(self, integrations: str | Sequence[str]) -> datetime | None:
        """When the next waiting task becomes ready; a time in the past where one is ready now; None without any."""
        names = [integrations] if isinstance(integrations, str) else list(integrations)
        found: datetime | None = await self._database.fetchval(
            "SELECT min(coalesce(not_before, created_at)) FROM syncd.tasks "
            "WHERE integration = ANY($1::text[]) AND state = 'waiting'",
            names,
        )
        return found

    async def counts(self, integration: str | None = None) -> list[dict[str, Any]]:
        """Waiting and taken tasks by integration, kind and lane, with the age's beginning (`oldest_at`)."""
        found = await self._database.fetch(
            "SELECT integration, kind, lane, state, count(*) AS count, min(created_at) AS oldest_at FROM syncd.tasks "
            "WHERE $1::text IS NULL OR integration = $1 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
            integration,
        )
        return [dict(each) for each in found]

    async def list(self, integration: str, *, limit: int = 100) -> list[Task]:
        """Waiting and taken ones, oldest first."""
        found = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM syncd.tasks WHERE integration = $1 ORDER BY id LIMIT $2",
            integration,
            limit,
        )
        return [_task(each) for each in found]


def _task(row: asyncpg.Record) -> Task:
    values = dict(row)
    return Task(**{**values, "lane": Lane(values["lane"])})
