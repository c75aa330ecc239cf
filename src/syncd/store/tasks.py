"""Table `tasks`: work derived from rows, and the wishes of people. Done and dropped tasks are deleted.

Every step is one conditional statement (R4): 0 rows means that somebody else has done it. Attempts rise when a task is
taken, so one that kills its process is counted too. While one task of a dedupe key is under way the next one of it waits,
so a record's work is done in order.
What becomes of tasks that were taken when the process died is in `losses.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from syncd import codec
from syncd.model import Lane
from syncd.store.database import ConflictError, Database, affected
from syncd.store.dead_letters import NewDeadLetter, insert_letter
from syncd.store.pages import tasks_json
from syncd.store.rows import NewTask

SUSPECT = 2
"""From this suspicion on a task may be what ends the process."""
POISON = 5
"""At this suspicion it is taken no more."""
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
    lost: int = 0
    """Takes that ended with the process."""
    suspicion: int = 0
    wanted_at: datetime | None = None
    """When it was last asked for."""
    letter_id: int | None = None
    """The dead letter it was returned from by a replay."""
    history: Sequence[Mapping[str, Any]] = ()
    """Failed attempts, for the letter it may become: `{"attempt", "at", "error"}`, the first and the latest."""

    @property
    def suspect(self) -> bool:
        """Were earlier takes lost with the process? Then it goes alone, and says so before it is handled."""
        return self.suspicion >= SUSPECT

    @property
    def tries(self) -> int:
        """Attempts that were tried to the end, this one included: what patience is measured by."""
        return max(self.attempts - self.lost, 1)

    @property
    def since(self) -> datetime:
        """What was fetched after this moment answers it."""
        return self.wanted_at or self.created_at


COLUMNS = ", ".join(Task.__slots__)
_IN_TURN = (
    "(w.kind IN ('sync', 'reconcile') OR w.dedupe_key IS NULL OR NOT EXISTS (SELECT FROM syncd.tasks u "
    "WHERE u.integration = w.integration AND u.dedupe_key = w.dedupe_key AND u.state = 'taken'))"
)
"""No task of the same key is under way. Wishes for runs need no turn: a run never overlaps itself."""
_TAKE = f"""
UPDATE syncd.tasks t
SET state = 'taken', attempts = t.attempts + 1, taken_fence = $2, taken_at = $3
FROM (
    SELECT first.integration, first.id
    FROM unnest($1::text[], $5::smallint[]) AS q(name, lane)
    CROSS JOIN LATERAL (  -- each from the beginning of its own queue: the length of none matters
        SELECT w.integration, w.lane, w.id FROM syncd.tasks w
        WHERE w.integration = q.name AND w.lane = q.lane AND w.state = 'waiting'
          AND (w.not_before IS NULL OR w.not_before <= $3) AND (w.expires_at IS NULL OR w.expires_at > $3)
          AND ($6::text[] IS NULL OR w.kind = ANY($6))
          AND ($7::text[] IS NULL OR w.integration || '/' || w.resource = ANY($7))
          AND w.suspicion < {POISON} AND {_IN_TURN}
        ORDER BY w.id
        LIMIT $4
        FOR UPDATE SKIP LOCKED
    ) first
    -- Integrations take turns: one with a thousand waiting has its first beside everybody's first.
    ORDER BY first.lane, row_number() OVER (PARTITION BY first.integration, first.lane ORDER BY first.id), first.id
    LIMIT $4
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

    async def ready(self, integrations: Sequence[str], *, resources: Sequence[str] | None = None) -> list[str]:
        """Those of the integrations that have a task ready to be taken; of these `integration/resource` where given."""
        found = await self._database.fetch(
            "SELECT i.name FROM unnest($1::text[]) AS i(name) WHERE EXISTS (SELECT FROM syncd.tasks t "
            "WHERE t.integration = i.name AND t.state = 'waiting' AND (t.not_before IS NULL OR t.not_before <= $2) "
            "AND (t.expires_at IS NULL OR t.expires_at > $2) "
            f"AND t.suspicion < {POISON} "
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
        without: Collection[tuple[str, Lane]] = (),
    ) -> list[Task]:
        """Take ready tasks, most urgent first; within a lane integrations take turns, and of each the oldest goes first.

        Expired ones are left for `expire`. `resources` names those that may be taken as `integration/resource`; None: all.
        `without`: lanes of integrations that are left alone.
        """
        names = [integrations] if isinstance(integrations, str) else integrations
        among = [
            (name, lane) for name in names for lane in (Lane if lanes is None else lanes) if (name, lane) not in without
        ]
        if not among:
            return []
        found = await self._database.fetch(
            _TAKE,
            [name for name, _ in among],
            fence,
            self._database.clock.now(),
            limit,
            [int(lane) for _, lane in among],
            list(kinds) if kinds is not None else None,
            list(resources) if resources is not None else None,
        )
        return sorted((task_of(each) for each in found), key=lambda task: (task.lane, task.id))

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

    async def any_ready(self, integration: str, *, up_to: int) -> bool:
        """Is one of those up to this id taken, or ready to be?"""
        found: bool = await self._database.fetchval(
            "SELECT EXISTS (SELECT FROM syncd.tasks WHERE integration = $1 AND id <= $2 "
            "AND (state = 'taken' OR not_before IS NULL OR not_before <= $3))",
            integration,
            up_to,
            self._database.clock.now(),
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
            f"SELECT {COLUMNS} FROM syncd.tasks WHERE integration = $1 ORDER BY id LIMIT $2",
            integration,
            limit,
        )
        return [task_of(each) for each in found]


def task_of(row: asyncpg.Record) -> Task:
    values = dict(row)
    return Task(**{**values, "lane": Lane(values["lane"])})
