"""Whose turn it is in `tasks`, found at about the same cost however many wait that may not go.

What may go is looked for resource by resource and lane by lane, of each from the beginning of its own queue: a paused
resource with a hundred thousand tasks, and as many that were put off, are passed by in one step and not one by one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from syncd.model import Lane
from syncd.store.database import Database
from syncd.store.suspicion import POISON, Suspicious


@dataclass(frozen=True, slots=True)
class Task(Suspicious):
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
    def brings(self) -> str:
        """The cause of what it brings: itself, and what caused it. Of tasks that caused each other only the first cause."""
        first = _TASKS.sub("", self.cause)
        return f"task {self.id}: {first}" if first else f"task {self.id}"

    @property
    def since(self) -> datetime:
        """What was fetched after this moment answers it."""
        return self.wanted_at or self.created_at


COLUMNS = ", ".join(Task.__slots__)
_TASKS = re.compile(r"(task \d+(: |$))+")
_IN_TURN = (
    "(w.kind IN ('sync', 'reconcile') OR w.dedupe_key IS NULL OR NOT EXISTS (SELECT FROM syncd.tasks u "
    "WHERE u.integration = w.integration AND u.dedupe_key = w.dedupe_key AND u.state = 'taken'))"
)
"""No task of the same key is under way. Wishes for runs need no turn: a run never overlaps itself."""
_RESOURCES = """
CROSS JOIN LATERAL (  -- one step of the index for each resource of which anything waits
    WITH RECURSIVE next AS (
        (SELECT w.resource FROM syncd.tasks w
         WHERE w.integration = {name} AND w.state = 'waiting' ORDER BY w.resource LIMIT 1)
        UNION ALL
        SELECT (SELECT w.resource FROM syncd.tasks w
                WHERE w.integration = {name} AND w.state = 'waiting' AND w.resource > x.resource ORDER BY w.resource LIMIT 1)
        FROM next x WHERE x.resource IS NOT NULL
    )
    SELECT x.resource FROM next x WHERE x.resource IS NOT NULL
) r
"""
"""The resources of which an integration has tasks waiting."""
_QUEUE = "w.integration = {name} AND w.resource = r.resource AND w.lane = {lane} AND w.state = 'waiting'"
_FRESH = "w.not_before IS NULL"
_DUE = "w.not_before <= {now}"
_ORDER = "ORDER BY w.not_before, w.id"
"""The order of the index, of both halves: said even where any one would do, for else the planner may read whole tables."""
_AMONG = "({named}::text[] IS NULL OR {name} || '/' || r.resource = ANY({named}))"
_SOUND = f"(w.expires_at IS NULL OR w.expires_at > {{now}}) AND w.suspicion < {POISON}"


def _halves(select: str, *, name: str, lane: str, now: str, also: str, end: str) -> str:
    """Of one queue what was never put off, and what was and is due: each half in the order of the index."""
    queue = _QUEUE.format(name=name, lane=lane)
    halves = (
        f"(SELECT {select} FROM syncd.tasks w WHERE {queue} AND {half} AND {also} {end})"
        for half in (_FRESH, _DUE.format(now=now))
    )
    return " UNION ALL ".join(halves)


_LANES = f"unnest(ARRAY[{', '.join(str(int(lane)) for lane in Lane)}]::smallint[]) AS l(lane)"
_READY = f"""
SELECT i.name FROM unnest($1::text[]) AS i(name) WHERE EXISTS (
    SELECT FROM (SELECT i.name) n {_RESOURCES.format(name="n.name")} CROSS JOIN {_LANES}
    CROSS JOIN LATERAL (
        {_halves("1", name="n.name", lane="l.lane", now="$2", also=_SOUND.format(now="$2"), end=f"{_ORDER} LIMIT 1")}
    ) w
    WHERE {_AMONG.format(named="$3", name="n.name")}
)
"""
_ANY_READY = f"""
SELECT EXISTS (SELECT FROM syncd.tasks WHERE integration = $1 AND id <= $2 AND state = 'taken') OR EXISTS (
    SELECT FROM (SELECT $1::text AS name) n {_RESOURCES.format(name="n.name")} CROSS JOIN {_LANES}
    CROSS JOIN LATERAL (
        {_halves("w.id", name="n.name", lane="l.lane", now="$3", also="w.id <= $2", end=f"{_ORDER} LIMIT 1")}
    ) w
)
"""
_MAY_GO = f"{_SOUND.format(now='$3')} AND ($6::text[] IS NULL OR w.kind = ANY($6)) AND {_IN_TURN}"
LOOKED_AT = 2500
"""So many tasks of a lane are looked at for one taking, of however many queues; never fewer than one of each."""
_TAKE = f"""
WITH resources AS MATERIALIZED (
    SELECT n.name, r.resource FROM (SELECT DISTINCT q.name FROM unnest($1::text[]) AS q(name)) n
    {_RESOURCES.format(name="n.name")}
    WHERE {_AMONG.format(named="$7", name="n.name")}
), queues AS MATERIALIZED (
    SELECT q.name, q.lane, r.resource, greatest({LOOKED_AT} / count(*) OVER (PARTITION BY q.lane), 1) AS share
    FROM unnest($1::text[], $5::smallint[]) AS q(name, lane)
    JOIN resources r ON r.name = q.name
    WHERE EXISTS ({_halves("1", name="q.name", lane="q.lane", now="$3", also=_MAY_GO, end=f"{_ORDER} LIMIT 1")})
), chosen AS MATERIALIZED (
    SELECT first.integration, first.id
    FROM queues r
    CROSS JOIN LATERAL ({
    _halves(
        "w.integration, w.lane, w.id",
        name="r.name",
        lane="r.lane",
        now="$3",
        also=_MAY_GO,
        end=f"{_ORDER} LIMIT least($4, r.share)",
    )
}) first
    -- Integrations take turns: one with a thousand waiting has its first beside everybody's first.
    ORDER BY first.lane, row_number() OVER (PARTITION BY first.integration, first.lane ORDER BY first.id), first.id
    LIMIT $4
), ready AS (
    SELECT k.integration, k.id FROM chosen c JOIN syncd.tasks k ON k.integration = c.integration AND k.id = c.id
    WHERE k.state = 'waiting' FOR UPDATE OF k SKIP LOCKED
)
UPDATE syncd.tasks t
SET state = 'taken', attempts = t.attempts + 1, taken_fence = $2, taken_at = $3
FROM ready WHERE t.integration = ready.integration AND t.id = ready.id
RETURNING {", ".join(f"t.{name}" for name in Task.__slots__)}
"""


_NEWEST = (
    "(SELECT w.cause FROM syncd.tasks w WHERE w.integration = $1 AND w.resource = r.resource AND w.lane = 0 "
    "AND w.state = 'waiting' AND w.not_before IS {} ORDER BY w.not_before DESC, w.id DESC LIMIT 1000)"
)
URGENT = f"""
SELECT w.cause FROM (SELECT $1::text AS name) n {_RESOURCES.format(name="n.name")}
CROSS JOIN LATERAL ({_NEWEST.format("NULL")} UNION ALL {_NEWEST.format("NOT NULL")}) w
"""
"""Why the newest waiting tasks of the highest lane are there, some thousand of a resource."""


class Turns:
    """The looks at the tasks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ready(self, integrations: Sequence[str], *, resources: Sequence[str] | None = None) -> list[str]:
        """Those of the integrations that have a task ready to be taken; of these `integration/resource` where given."""
        found = await self._database.fetch(
            _READY,
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

    async def any_ready(self, integration: str, *, up_to: int) -> bool:
        """Is one of those up to this id taken, or ready to be?"""
        found: bool = await self._database.fetchval(_ANY_READY, integration, up_to, self._database.clock.now())
        return found


def task_of(row: asyncpg.Record) -> Task:
    values = dict(row)
    return Task(**{**values, "lane": Lane(values["lane"])})
