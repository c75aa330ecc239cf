"""Deletion, believed slowly (R9).

A record is gone when two complete passes missed it. What was stored or fetched after a pass began was not missed by it. A
guard (`guard.py`) stops a sweep that would bury too much: `held` in the checkpoint says so until a later pass shows the
records again, or a person confirms. Below one parent: `child_sweeps.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import asyncpg

from syncd.model import History, Lane
from syncd.store.database import BY_KEY, OVER_ALL, UNHURRIED_SECONDS, Database, again_after_conflict
from syncd.store.graves import bury
from syncd.store.guard import USUAL, Guard, Sweep, held_note, objection, objection_to_parts
from syncd.store.page_call import tasks_json
from syncd.store.rows import NewTask

_SEEN_LAST_AND_BEFORE = """
last_seen AS (
    SELECT DISTINCT unnest(ids) COLLATE "C" AS id FROM syncd.pass_pages
    WHERE integration = $1 AND resource = $2 AND pass_id = $3
),
before_seen AS (
    SELECT DISTINCT unnest(ids) COLLATE "C" AS id FROM syncd.pass_pages
    WHERE integration = $1 AND resource = $2 AND pass_id = $5
)"""

_JUDGE = f"""
WITH {_SEEN_LAST_AND_BEFORE},
judged AS (
    SELECT
        r.external_id,
        (r.fetched_at < $4 OR t.to_come) AND l.id IS NULL AND NOT t.over AS missed,
        (r.fetched_at < $4 AND r.fetched_at < $6 OR t.to_come) AND l.id IS NULL AND b.id IS NULL AND NOT t.over
            AS missed_twice,
        r.row_version > 1 OR r.synced_at < $4 OR t.to_come AS older,
        r.row_version > 1 OR r.synced_at < $6 OR t.to_come AS oldest
    FROM syncd.records r
    LEFT JOIN last_seen l ON l.id = r.external_id
    LEFT JOIN before_seen b ON b.id = r.external_id
    -- Stored while our clock was ahead of what it is now: older than these passes for all we know.
    CROSS JOIN LATERAL (
        SELECT r.fetched_at > $7::timestamptz + interval '1 minute' AS to_come,
            coalesce((r.data ->> $8::text) COLLATE "C" < $9::text, false) AS over) t
    WHERE r.integration = $1 AND r.resource = $2 AND r.deleted_at IS NULL
)
SELECT
    (SELECT count(*) FROM last_seen) AS seen,
    count(*) AS live,
    count(*) FILTER (WHERE older OR missed) AS older,
    count(*) FILTER (WHERE oldest OR missed_twice) AS oldest,
    count(*) FILTER (WHERE missed) AS missed,
    count(*) FILTER (WHERE missed_twice) AS missed_twice,
    (array_agg(external_id ORDER BY external_id) FILTER (WHERE missed))[1:5] AS examples,
    array_agg(external_id ORDER BY external_id) FILTER (WHERE missed_twice) AS gone
FROM judged
"""

_JUDGE_PARTS = """
WITH
last_seen AS (
    SELECT s.id COLLATE "C" AS id, min(split_part(p.part, '/', 1)) AS place
    FROM syncd.pass_parts p CROSS JOIN LATERAL unnest(p.ids) AS s(id)
    WHERE p.integration = $1 AND p.resource = $2 AND p.pass_id = $3 GROUP BY 1
),
former AS (
    SELECT DISTINCT ON (1) s.id COLLATE "C" AS id, split_part(p.part, '/', 1) AS place
    FROM syncd.pass_parts p CROSS JOIN LATERAL unnest(p.ids) AS s(id)
    WHERE p.integration = $1 AND p.resource = $2 AND p.pass_id < $3 ORDER BY 1, p.pass_id DESC
),
judged AS (
    SELECT
        coalesce(l.place, f.place) AS place,
        (r.fetched_at < $4 OR t.to_come) AND l.id IS NULL AND NOT t.over AS missed,
        r.row_version > 1 OR r.synced_at < $4 OR t.to_come AS older
    FROM syncd.records r
    LEFT JOIN last_seen l ON l.id = r.external_id
    LEFT JOIN former f ON f.id = r.external_id
    CROSS JOIN LATERAL (
        SELECT r.fetched_at > $5::timestamptz + interval '1 minute' AS to_come,
            coalesce((r.data ->> $6::text) COLLATE "C" < $7::text, false) AS over) t
    WHERE r.integration = $1 AND r.resource = $2 AND r.deleted_at IS NULL
)
SELECT j.place, count(*) AS live, count(*) FILTER (WHERE older OR missed) AS older, count(*) FILTER (WHERE missed) AS missed,
    EXISTS (SELECT FROM last_seen l WHERE l.place = j.place) AS shown
FROM judged j WHERE j.place <> '' GROUP BY j.place ORDER BY j.place COLLATE "C"
"""
"""Of each property, account or the like: a record that the last pass did not show belongs where one before it showed it."""

_UNHEARD = """
WITH former AS (
    SELECT p.part, p.ids, p.pass_id, max(p.pass_id) OVER (PARTITION BY split_part(p.part, '/', 1)) AS newest
    FROM syncd.pass_parts p
    WHERE p.integration = $1 AND p.resource = $2 AND p.pass_id < $3 AND split_part(p.part, '/', 1) = ANY ($4::text[])
      AND NOT EXISTS (SELECT FROM syncd.pass_parts h WHERE (h.integration, h.resource, h.pass_id) = ($1, $2, $3)
                      AND split_part(h.part, '/', 1) = split_part(p.part, '/', 1))
), kept AS (
    INSERT INTO syncd.pass_parts (integration, resource, pass_id, part, listed, ids)
    SELECT $1, $2, $3, f.part, -1, f.ids FROM former f WHERE f.pass_id = f.newest RETURNING ids
)
INSERT INTO syncd.pass_pages (integration, resource, pass_id, ids) SELECT $1, $2, $3, k.ids FROM kept k
"""
"""What the pass was refused to list is taken to be as it was listed last; `listed` says that it was not, by -1."""

_HEARD = """
SELECT DISTINCT split_part(part, '/', 1) AS place FROM syncd.pass_parts
WHERE integration = $1 AND resource = $2 AND pass_id = $3 AND listed >= 0
"""
_UNPLACED = """
WITH placed AS (
    SELECT DISTINCT s.id COLLATE "C" AS id FROM syncd.pass_parts p CROSS JOIN LATERAL unnest(p.ids) AS s(id)
    WHERE p.integration = $1 AND p.resource = $2 AND p.pass_id <= $3 AND p.listed >= 0
      AND split_part(p.part, '/', 1) <> ALL ($4::text[])
)
INSERT INTO syncd.pass_pages (integration, resource, pass_id, ids)
SELECT $1, $2, $3, array_agg(r.external_id) FROM syncd.records r LEFT JOIN placed p ON p.id = r.external_id
WHERE r.integration = $1 AND r.resource = $2 AND r.deleted_at IS NULL AND p.id IS NULL HAVING count(*) > 0
"""
"""Nor is anything missed that no listing of a place that was heard has ever shown: it may be of one that was not, and have
come by a delivery, a read or a push since that was listed last."""

_SWEPT = """
SELECT max(id) FROM syncd.passes WHERE integration = $1 AND resource = $2 AND swept_at IS NOT NULL AND id < $3
"""
_LEFT = f"""
WITH {_SEEN_LAST_AND_BEFORE}
SELECT r.external_id AS id FROM syncd.records r
LEFT JOIN last_seen l ON l.id = r.external_id
LEFT JOIN before_seen b ON b.id = r.external_id
WHERE r.integration = $1 AND r.resource = $2 AND r.deleted_at IS NULL AND r.fetched_at < $4
AND l.id IS NULL AND (b.id IS NOT NULL OR $5::bigint IS NULL)
ORDER BY r.external_id LIMIT $6
"""


class Sweeps:
    """What complete listings say about deletion."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @again_after_conflict
    async def sweep(
        self,
        integration: str,
        resource: str,
        *,
        scope: str,
        fence: int,
        run_id: int | None = None,
        guard: Guard = USUAL,
        confirmed: bool = False,
        children: Sequence[str] = (),
        history: History | Mapping[str, History] = History.CHANGES,
        missing: str = "gone",
        over: tuple[str, date] | None = None,
        places: Collection[str] = (),
    ) -> Sweep:
        """Bury what the last two complete passes both missed, or hold it. Call it after a run finished `complete`.

        `missing` says what is done with those. `kept`: nothing is buried, whatever was missed; `read`: nor is it, and what
        the pass swept last has shown and this one has not is read once, by its id.

        `places` are the properties, accounts or the like that the listing is walked for: while it lacks one of these, because
        the partner refused to list it, only what another one has shown before can be missed.

        `over`: a field with a record's last day, and the first day that the listing shows; what ended sooner is not missed.

        `children` are resources whose records go with their parents; `run_id` is the run that the deletions count for.
        `confirmed` is a person's word that the guard may be passed. Raises OwnershipError.
        """
        now = self._database.clock.now()
        since = (None, None) if over is None else (over[0], over[1].isoformat())
        async with self._database.transaction() as connection:
            await connection.execute(OVER_ALL)
            await connection.execute("SELECT syncd.assert_owned($1, $2)", scope, fence)
            held = await connection.fetchval(
                "SELECT held FROM syncd.checkpoints WHERE integration = $1 AND resource = $2 FOR UPDATE",
                integration,
                resource,
            )
            passes = await connection.fetch(
                "SELECT id, started_at FROM syncd.passes WHERE integration = $1 AND resource = $2 "
                "AND completed_at IS NOT NULL ORDER BY id DESC LIMIT 2",
                integration,
                resource,
            )
            if not passes:
                return Sweep()
            last, before = passes[0], passes[-1]
            # The one before too: it has no sweep of its own where the process ended between the two.
            for one in reversed(passes) if places else ():
                heard = await connection.fetch(_HEARD, integration, resource, one["id"])
                if lacking := sorted({*places} - {each["place"] for each in heard}):
                    for taken_as_shown in (_UNHEARD, _UNPLACED):
                        of_pass = (integration, resource, one["id"], lacking)
                        await connection.execute(taken_as_shown, *of_pass, timeout=UNHURRIED_SECONDS)
            of_last = (integration, resource, last["id"], last["started_at"])
            found = await connection.fetchrow(
                _JUDGE, *of_last, before["id"], before["started_at"], now, *since, timeout=UNHURRIED_SECONDS
            )
            if missing != "gone":
                await connection.execute(BY_KEY)
                swept = await connection.fetchval(_SWEPT, integration, resource, last["id"])
                asked = 0
                if missing == "read" and found["seen"]:  # before the first sweep: whatever is stored
                    asked = await _read_left(connection, *of_last, swept, guard.records, now)
                kept = last["id"] if swept is None else swept
                await _settle(connection, integration, resource, last["id"], kept, run_id, 0, now)
                return Sweep(total=found["live"], asked=asked)
            parts = await _parts(connection, *of_last, now, *since) if found["missed"] else []
            await connection.execute(BY_KEY)
            gone = list(found["gone"] or ()) if len(passes) == 2 else []
            reason, limit = objection(found, len(gone), guard, held)
            of_parts, limits = objection_to_parts(parts, guard, held)
            reason = reason or of_parts
            if reason and not confirmed:
                since_when = (held or {}).get("since", now.isoformat())
                note = held_note(found["missed"], found["live"], limit, reason, since_when, found["examples"] or ())
                await hold(connection, integration, resource, {**note, "parts": limits} if limits else note)
                return Sweep(held=found["missed"], missed=found["missed"], total=found["live"], reason=reason)
            died = await bury(
                connection,
                integration,
                resource,
                gone,
                fetched_at=last["started_at"],
                now=now,
                children=children,
                history=history,
                cause=f"pass {last['id']}",
            )
            await _settle(connection, integration, resource, last["id"], before["id"], run_id, len(died), now)
            return Sweep(deleted=len(died), missed=found["missed"], total=found["live"])


async def _parts(
    connection: asyncpg.Connection,
    integration: str,
    resource: str,
    last: int,
    began_at: datetime,
    now: datetime,
    *since: str | None,
) -> list[asyncpg.Record]:
    """The same judgement of each part of a listing that is walked in parts; nothing of any other."""
    walked = "SELECT EXISTS (SELECT FROM syncd.pass_parts WHERE (integration, resource, pass_id) = ($1, $2, $3))"
    if not await connection.fetchval(walked, integration, resource, last):
        return []
    found: list[asyncpg.Record] = await connection.fetch(
        _JUDGE_PARTS, integration, resource, last, began_at, now, *since, timeout=UNHURRIED_SECONDS
    )
    return found


async def _read_left(
    connection: asyncpg.Connection,
    integration: str,
    resource: str,
    last: int,
    began_at: datetime,
    swept: int | None,
    most: int,
    now: datetime,
) -> int:
    """Have those read by their ids that this pass does not show any more; how many."""
    await connection.execute(OVER_ALL)
    found = await connection.fetch(_LEFT, integration, resource, last, began_at, swept, most, timeout=UNHURRIED_SECONDS)
    await connection.execute(BY_KEY)
    asked = [NewTask.fetch(resource, each["id"], lane=Lane.LOW, cause=f"pass {last}") for each in found]
    tasks = tasks_json(asked, "", "") or b"[]"
    await connection.execute("SELECT syncd.put_tasks($1, $2, $3::jsonb)", integration, now, tasks)
    return len(found)


async def hold(connection: asyncpg.Connection, integration: str, resource: str, note: Mapping[str, Any]) -> None:
    """Keep what a sweep would have buried, and say why."""
    await connection.execute(
        "UPDATE syncd.checkpoints SET held = $3 WHERE integration = $1 AND resource = $2", integration, resource, note
    )


async def _settle(
    connection: asyncpg.Connection,
    integration: str,
    resource: str,
    last: int,
    before: int,
    run_id: int | None,
    deleted: int,
    now: datetime,
) -> None:
    """Note the sweep, and forget passes that no later sweep can need."""
    await connection.execute(
        "UPDATE syncd.checkpoints SET held = NULL WHERE integration = $1 AND resource = $2 AND held IS NOT NULL",
        integration,
        resource,
    )
    await connection.execute(
        "UPDATE syncd.passes SET swept_at = $4 WHERE integration = $1 AND resource = $2 AND id = $3",
        integration,
        resource,
        last,
        now,
    )
    if run_id is not None and deleted:
        await connection.execute(
            "UPDATE syncd.runs SET deleted = deleted + $3 WHERE integration = $1 AND id = $2",
            integration,
            run_id,
            deleted,
        )
    for table, column in (("pass_pages", "pass_id"), ("pass_parts", "pass_id"), ("passes", "id")):
        await connection.execute(
            f"DELETE FROM syncd.{table} WHERE integration = $1 AND resource = $2 AND {column} < $3",
            integration,
            resource,
            before,
        )
