"""Table `tasks`: work derived from rows, and the wishes of people. Done and dropped tasks are deleted.

Every step is one conditional statement (R4): 0 rows means that somebody else has done it. Attempts rise when a task is
taken, so one that kills its process is counted too. While one task of a dedupe key is under way the next one of it waits,
so a record's work is done in order.
Whose turn it is is found in `task_turns.py`; what becomes of tasks that were taken when the process died is in `losses.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from syncd import codec
from syncd.store.burying import NewDeadLetter, insert_letter
from syncd.store.database import ConflictError, affected
from syncd.store.page_call import tasks_json
from syncd.store.rows import NewTask
from syncd.store.task_turns import COLUMNS, Task, Turns, task_of

WISHES = "syncd_wishes"
"""NOTIFY channel: somebody has asked for something (a task put by hand, a control set). The payload is the integration."""


class Tasks(Turns):
    """Work that waits in the database."""

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
            f"SELECT {COLUMNS} FROM syncd.tasks WHERE id = ANY($1::bigint[])",
            list(ids),
        )
        return [task_of(each) for each in found]

    async def keyed(self, integration: str, dedupe_key: str) -> Task | None:
        """The task with this key: the one under way, else the one that waits."""
        one = f"SELECT {COLUMNS} FROM syncd.tasks WHERE integration = $1 AND dedupe_key = $2 AND state"
        found = await self._database.fetchrow(
            f"({one} = 'taken' ORDER BY id LIMIT 1) UNION ALL ({one} = 'waiting' LIMIT 1) LIMIT 1",
            integration,
            dedupe_key,
        )
        return task_of(found) if found is not None else None

    async def expire(self, integration: str, *, limit: int = 5000) -> int:
        """Drop waiting tasks whose time is over, at most so many; returns how many."""
        return await self._database.execute(
            "DELETE FROM syncd.tasks WHERE integration = $1 AND state = 'waiting' AND id = ANY(ARRAY("
            "SELECT id FROM syncd.tasks WHERE integration = $1 AND state = 'waiting' AND expires_at <= $2 "
            "ORDER BY expires_at LIMIT $3 FOR UPDATE SKIP LOCKED))",
            integration,
            self._database.clock.now(),
            limit,
        )

    async def newest(self, integration: str) -> int | None:
        """The id of the task that came last, of those waiting or taken."""
        found: int | None = await self._database.fetchval(
            "SELECT id FROM syncd.tasks WHERE integration = $1 ORDER BY id DESC LIMIT 1", integration
        )
        return found

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
                "suspicion = $7, taken_fence = NULL, taken_at = NULL, "
                "history = CASE WHEN $5 = 0 THEN syncd.with_attempt(history, attempts, $8, $6) ELSE history END "
                "WHERE integration = $1 AND id = $2 AND state = 'taken' AND taken_fence = $3 AND NOT EXISTS ("
                "SELECT FROM syncd.tasks w WHERE w.integration = $1 AND w.dedupe_key = t.dedupe_key AND w.state = 'waiting')",
                *key,
                at,
                0 if counts else 1,
                codec.storable(reason) or None,
                task.suspicion,
                self._database.clock.now(),
            ):
                return True
        except ConflictError:
            pass  # an equal one came to wait in this very moment
        if task.suspicion or task.letter_id is not None:
            await self._database.execute(
                "UPDATE syncd.tasks SET suspicion = greatest(suspicion, $3), letter_id = coalesce(letter_id, $4) "
                "WHERE integration = $1 AND dedupe_key = $2 AND state = 'waiting'",
                task.integration,
                task.dedupe_key,
                task.suspicion,
                task.letter_id,
            )
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
            f"SELECT {COLUMNS} FROM syncd.tasks WHERE integration = $1 ORDER BY id LIMIT $2",
            integration,
            limit,
        )
        return [task_of(each) for each in found]
