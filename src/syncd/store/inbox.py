"""Table `inbox`, from where intake leaves it: deliveries are taken in batches, and a batch ends in one transaction.

Which deliveries are in hand says one row of `inbox_batches` (R4: it counts what died with a process), so that taking costs
nothing a delivery; their state stays `waiting` until they are finished. Nobody else can take them: of an integration one
batch is in hand under a fence, and who holds another fence may finish nothing.
What people ask of deliveries is in `received.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from syncd import codec
from syncd.model import History
from syncd.store.burying import NewDeadLetter, insert_letter
from syncd.store.database import Database, again_after_conflict
from syncd.store.graves import bury_rows
from syncd.store.page_call import tasks_json
from syncd.store.pages import Pages
from syncd.store.received import Kept
from syncd.store.rows import NewTask, PageResult, PageWrite, Row


class Taken(NamedTuple):
    """One delivery in hand."""

    id: int
    event_id: str
    route: str
    event_type: str | None
    headers: dict[str, str]
    body: bytes | None
    received_at: datetime
    attempts: int
    """Earlier ones."""
    lost: int


class Fate(NamedTuple):
    """What became of one delivery."""

    id: int
    state: str
    reason: str | None = None
    resource: str | None = None
    external_id: str | None = None
    later: datetime | None = None
    """Of one put off (state `waiting`): not to be taken before."""


@dataclass(slots=True)
class Finish:
    """The end of a batch: all of it is committed, or nothing."""

    integration: str
    scope: str
    fence: int
    fates: Sequence[Fate]
    page: PageWrite | None = None
    """Records the deliveries brought whole."""
    graves: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    """Tombstones by resource."""
    children: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By resource: those listed below it, whose records go with their parent."""
    tasks: Sequence[NewTask] = ()
    letters: Sequence[NewDeadLetter] = ()
    types: Mapping[str, tuple[bool, int]] = field(default_factory=dict)
    """Event type -> is it known, and how many came."""
    told: Sequence[str] = ()
    """The resource of each event, empty where it is none of ours."""
    told_at: datetime | None = None
    history: History | Mapping[str, History] = History.CHANGES
    forgets: Sequence[int] = ()
    """Deliveries whose bodies must not be kept."""


_TAKE = """
WITH ready AS MATERIALIZED (
    SELECT i.id, i.event_id, i.route, i.event_type, i.headers, i.body, i.received_at, i.attempts, i.lost, i.turn, i.put_off
    FROM (
        (SELECT w.*, false AS put_off, row_number() OVER (ORDER BY w.not_before, w.id) AS turn
         FROM syncd.inbox w WHERE {which} AND w.not_before IS NULL ORDER BY w.not_before, w.id LIMIT $5)
        UNION ALL
        (SELECT w.*, true AS put_off, row_number() OVER (ORDER BY w.not_before, w.id) AS turn
         FROM syncd.inbox w WHERE {which} AND w.not_before <= $4 ORDER BY w.not_before, w.id LIMIT $5)
    ) i
    WHERE EXISTS (SELECT FROM syncd.leases l WHERE l.scope = $2 AND l.fence = $3)
    ORDER BY i.turn, i.put_off <> $7
    LIMIT $5
), chosen AS (
    SELECT w.* FROM (
        SELECT r.*, sum(octet_length(r.body)) OVER (ORDER BY r.turn, r.put_off <> $7 ROWS UNBOUNDED PRECEDING)
               - octet_length(r.body) AS before
        FROM ready r
    ) w
    WHERE coalesce(w.before, 0) < $6
), batch AS (
    INSERT INTO syncd.inbox_batches (integration, fence, ids, taken_at)
    SELECT $1, $3, array_agg(c.id ORDER BY c.id), $4 FROM chosen c HAVING count(*) > 0
)
SELECT id, event_id, route, event_type, headers, body, received_at, attempts, lost FROM chosen ORDER BY id
"""
"""What was put off and what never was take turns, so that neither waits for the end of the other."""
_WAITS = "w.integration = $1 AND w.state = 'waiting' AND w.lost"
_TAKE_SOUND = _TAKE.format(which=f"{_WAITS} = 0")
_TAKE_SUSPECT = _TAKE.format(which=f"{_WAITS} > 0")
_FIRST = (
    "EXISTS (SELECT FROM (SELECT FROM syncd.inbox i WHERE i.integration = n.name AND i.state = 'waiting' "
    "AND i.not_before {} ORDER BY i.not_before, i.id LIMIT 1) f)"
)
"""One step of the index; without the order the planner may read the whole table."""
_READY = (
    f"SELECT n.name FROM unnest($1::text[]) AS n(name) WHERE {_FIRST.format('IS NULL')} OR {_FIRST.format('<= $2')}"
)
_FREE = """
WITH batches AS (
    DELETE FROM syncd.inbox_batches b WHERE b.integration = $1 AND ($4 OR b.fence <> $3)
    AND EXISTS (SELECT FROM syncd.leases l WHERE l.scope = $2 AND l.fence = $3)
    RETURNING b.ids
)
UPDATE syncd.inbox SET lost = lost + 1, attempts = attempts + 1
WHERE integration = $1 AND state = 'waiting' AND id = ANY(ARRAY(SELECT unnest(b.ids) FROM batches b))
"""
_FINISH = (
    "SELECT syncd.finish_events($1, $2, $3, $4, $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[], "
    "$10::timestamptz[], $11::text[], $12::boolean[], $13::bigint[], $14::text[], $15, $16::jsonb)"
)


class Inbox(Kept):
    """Deliveries between intake and what they cause, for who works on them."""

    def __init__(self, database: Database, pages: Pages) -> None:
        super().__init__(database)
        self._pages = pages

    async def ready(self, integrations: Sequence[str]) -> list[str]:
        """Those of the integrations that have a delivery waiting which may be taken now."""
        found = await self._database.fetch(
            _READY,
            list(integrations),
            self._database.clock.now(),
        )
        return [each[0] for each in found]

    async def take(
        self,
        integration: str,
        *,
        scope: str,
        fence: int,
        limit: int,
        size: int,
        suspect: bool = False,
        put_off_first: bool = False,
    ) -> list[Taken]:
        """Take the oldest waiting deliveries, of so many bytes together; nothing where the scope is not ours.

        Of those that were put off and those that never were the first of each go by turns.
        `suspect`: of those that were in hand when a process died, which everybody else passes over.
        Raises ConflictError while another batch of this integration is in hand under this fence.
        """
        found = await self._database.fetch(
            _TAKE_SUSPECT if suspect else _TAKE_SOUND,
            integration,
            scope,
            fence,
            self._database.clock.now(),
            limit,
            size,
            put_off_first,
        )
        return [Taken(*each) for each in found]

    async def give_back(self, integration: str, *, fence: int) -> bool:
        """What is in hand goes back untouched. False where nothing is."""
        sql = "DELETE FROM syncd.inbox_batches WHERE integration = $1 AND fence = $2"
        return await self._database.execute(sql, integration, fence) > 0

    async def free(self, integration: str, *, scope: str, fence: int, first: bool = False) -> int:
        """What was in hand under another fence is free again, each known to have been lost once more.

        Another one, not an older one: each scope counts its own, and the integration may have been of another scope then.
        `first`: of what is in hand under our own fence we know nothing, so it is free as well. Nothing is where the scope is
        not ours any more.
        """
        return await self._database.execute(_FREE, integration, scope, fence, first)

    @again_after_conflict
    async def _finish(self, work: Finish) -> None:
        await self._database.execute(_FINISH, *self._values(work))

    async def finish(self, work: Finish) -> PageResult:
        """End a batch in one transaction: its rows, the records and tombstones they brought, the work they cause.

        Raises OwnershipError when scope or batch are no longer ours: nothing was written.
        """
        if work.page is None and not work.graves and not work.letters and not work.forgets:
            await self._finish(work)
            return PageResult()
        if work.page is not None:
            await self._pages.remember(work.page)
        return await self._finish_with(work)

    @again_after_conflict
    async def _finish_with(self, work: Finish) -> PageResult:
        async with self._database.transaction() as connection:
            result = PageResult()
            if work.page is not None:
                result = await self._pages.commit_within(connection, work.page)
            await self._rest(connection, work, result)
        return result

    async def _rest(self, connection: asyncpg.Connection, work: Finish, result: PageResult) -> None:
        now = self._database.clock.now()
        for resource, rows in sorted(work.graves.items()):
            result.deleted += await bury_rows(
                connection,
                work.integration,
                rows,
                now=now,
                children=work.children.get(resource, ()),
                history=work.history,
                cause="webhook",
            )
        await connection.execute(_FINISH, *self._values(work))
        if work.forgets:
            await connection.execute(
                "UPDATE syncd.inbox SET body = NULL WHERE integration = $1 AND id = ANY($2::bigint[])",
                work.integration,
                list(work.forgets),
            )
        for letter in work.letters:
            await insert_letter(connection, letter, now)

    def _values(self, work: Finish) -> list[Any]:
        ids, states, reasons, resources, externals, later = zip(*work.fates, strict=True)
        types = list(work.types)
        return [
            work.integration,
            work.scope,
            work.fence,
            self._database.clock.now(),
            ids,
            states,
            codec.storable(list(reasons)),
            codec.storable(list(resources)),
            codec.storable(list(externals)),
            later,
            codec.storable(types),
            [work.types[name][0] for name in types],
            [work.types[name][1] for name in types],
            sorted(work.told),
            work.told_at,
            tasks_json(work.tasks, "", "webhook"),
        ]
