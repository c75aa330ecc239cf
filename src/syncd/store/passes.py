"""Tables `passes` and `pass_pages`: deletion, believed slowly (R9).

A record is gone when two complete passes missed it. What was stored or fetched after a pass began was not missed by it. A
guard stops a sweep that would bury too much: `held` in the checkpoint says so until a later pass shows the records again,
or a person confirms. While something is held, the limit it was held by stays: records that a wrong listing brought in
must not make the missing ones look few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import asyncpg

from syncd.model import History, Lane
from syncd.store.database import BY_KEY, OVER_ALL, UNHURRIED_SECONDS, Database, again_after_conflict
from syncd.store.graves import bury
from syncd.store.page_call import tasks_json
from syncd.store.rows import NewTask

_JUDGE = """
WITH
last_seen AS (
    SELECT DISTINCT unnest(ids) COLLATE "C" AS id FROM syncd.pass_pages
    WHERE integration = $1 AND resource = $2 AND pass_id = $3
),
before_seen AS (
    SELECT DISTINCT unnest(ids) COLLATE "C" AS id FROM syncd.pass_pages
    WHERE integration = $1 AND resource = $2 AND pass_id = $5
),
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

_SHOWN = """
SELECT p.part, count(DISTINCT s.id) AS ids,
    (SELECT sum(q.listed) FROM syncd.pass_parts q WHERE (q.integration, q.resource, q.pass_id, q.part)
        = (p.integration, p.resource, p.pass_id, p.part)) AS listed,
    (array_agg(p.stated ORDER BY p.page))[1] AS stated
FROM syncd.checkpoints c
JOIN syncd.pass_parts p ON p.integration = c.integration AND p.resource = c.resource AND p.pass_id = c.pass_id
LEFT JOIN LATERAL unnest(p.ids) AS s(id) ON true
WHERE c.integration = $1 AND c.resource = $2 GROUP BY p.integration, p.resource, p.pass_id, p.part
ORDER BY min(p.page)
"""

_REPEATED = """
SELECT w.id FROM unnest($3::text[]) AS w(id) CROSS JOIN LATERAL (
    SELECT max(of_one.rows) AS rows FROM (
        SELECT count(*) AS rows FROM syncd.pass_parts p
        WHERE p.integration = $1 AND p.resource = $2 AND w.id = ANY (p.ids) AND p.pass_id >= (
            SELECT coalesce(max(l.id), 0) FROM syncd.passes l
            WHERE l.integration = $1 AND l.resource = $2 AND l.completed_at IS NOT NULL)
        GROUP BY p.pass_id) of_one) f
WHERE f.rows > 1
"""

_SWEPT = """
SELECT max(id) FROM syncd.passes WHERE integration = $1 AND resource = $2 AND swept_at IS NOT NULL AND id < $3
"""
_LEFT = """
WITH
last_seen AS (
    SELECT DISTINCT unnest(ids) COLLATE "C" AS id FROM syncd.pass_pages
    WHERE integration = $1 AND resource = $2 AND pass_id = $3
),
before_seen AS (
    SELECT DISTINCT unnest(ids) COLLATE "C" AS id FROM syncd.pass_pages
    WHERE integration = $1 AND resource = $2 AND pass_id = $5
)
SELECT r.external_id AS id FROM syncd.records r
LEFT JOIN last_seen l ON l.id = r.external_id
LEFT JOIN before_seen b ON b.id = r.external_id
WHERE r.integration = $1 AND r.resource = $2 AND r.deleted_at IS NULL AND r.fetched_at < $4
AND l.id IS NULL AND (b.id IS NOT NULL OR $5::bigint IS NULL)
ORDER BY r.external_id LIMIT $6
"""


@dataclass(frozen=True, slots=True)
class Guard:
    """How much one sweep may bury without asking: a share of the live records or a number, whichever is less."""

    share: float = 0.2
    records: int = 500

    def limit(self, live: int) -> int:
        return min(int(live * self.share), self.records)


@dataclass(frozen=True, slots=True)
class Part:
    """What the pass in progress has shown of one part of its listing."""

    name: str
    ids: int
    """Different records."""
    listed: int
    """Rows, repeated ones too."""
    stated: int | None
    """How many the partner said at first."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep did."""

    deleted: int = 0
    held: int = 0
    """Records missed but not touched: more than the guard allows, or an empty listing."""
    missed: int = 0
    """Live records the last complete pass did not show."""
    total: int = 0
    """Live records before the sweep."""
    reason: str = ""
    """Why something is held."""
    asked: int = 0
    """Records that are read by their ids because this pass did not show them any more."""


class Passes:
    """Complete listings, and what they say about deletion."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seen(self, integration: str, resource: str) -> int:
        """How many different records the pass in progress has shown so far."""
        found: int = await self._database.fetchval(
            "SELECT count(DISTINCT s.id) FROM syncd.checkpoints c JOIN syncd.pass_pages p "
            "ON p.integration = c.integration AND p.resource = c.resource AND p.pass_id = c.pass_id "
            "CROSS JOIN LATERAL unnest(p.ids) AS s(id) WHERE c.integration = $1 AND c.resource = $2",
            integration,
            resource,
        )
        return found

    async def parts(self, integration: str, resource: str) -> list[Part]:
        """What the pass in progress has shown so far of each part of its listing; nothing where that is one."""
        found = await self._database.fetch(_SHOWN, integration, resource)
        return [Part(each["part"], each["ids"], each["listed"], each["stated"]) for each in found]

    async def places(self, integration: str, resource: str) -> set[str]:
        """The properties, accounts or the like that the last complete pass listed, empty ones too."""
        found = await self._database.fetch(
            "SELECT DISTINCT split_part(part, '/', 1) AS place FROM syncd.pass_parts "
            "WHERE (integration, resource, pass_id) = ($1, $2, (SELECT max(id) FROM syncd.passes "
            "WHERE integration = $1 AND resource = $2 AND completed_at IS NOT NULL))",
            integration,
            resource,
        )
        return {each["place"] for each in found}

    async def repeated(self, integration: str, resource: str, ids: Sequence[str]) -> set[str]:
        """Those that stood on several pages of this pass so far, or of the one before."""
        return {each["id"] for each in await self._database.fetch(_REPEATED, integration, resource, list(ids))}

    @again_after_conflict
    async def sweep(
        self,
        integration: str,
        resource: str,
        *,
        scope: str,
        fence: int,
        run_id: int | None = None,
        guard: Guard = Guard(),
        confirmed: bool = False,
        children: Sequence[str] = (),
        history: History | Mapping[str, History] = History.CHANGES,
        missing: str = "gone",
        over: tuple[str, date] | None = None,
    ) -> Sweep:
        """Bury what the last two complete passes both missed, or hold it. Call it after a run finished `complete`.

        `missing` says what is done with those. `kept`: nothing is buried, whatever was missed; `read`: nor is it, and what
        the pass swept last has shown and this one has not is read once, by its id.

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
            twice = len(passes) == 2
            found = await connection.fetchrow(
                _JUDGE,
                integration,
                resource,
                last["id"],
                last["started_at"],
                before["id"],
                before["started_at"],
                now,
                *since,
                timeout=UNHURRIED_SECONDS,
            )
            parts = []
            walked = (
                "SELECT EXISTS (SELECT FROM syncd.pass_parts WHERE (integration, resource, pass_id) = ($1, $2, $3))"
            )
            if (
                missing == "gone"
                and found["missed"]
                and await connection.fetchval(walked, integration, resource, last["id"])
            ):
                known = (integration, resource, last["id"], last["started_at"], now, *since)
                parts = await connection.fetch(_JUDGE_PARTS, *known, timeout=UNHURRIED_SECONDS)
            await connection.execute(BY_KEY)
            if missing != "gone":
                former = await connection.fetchval(_SWEPT, integration, resource, last["id"])
                left: list[str] = []
                if missing == "read" and found["seen"]:  # before the first sweep: whatever is stored
                    values = (integration, resource, last["id"], last["started_at"], former, guard.records)
                    await connection.execute(OVER_ALL)
                    found_left = await connection.fetch(_LEFT, *values, timeout=UNHURRIED_SECONDS)
                    await connection.execute(BY_KEY)
                    left = [each["id"] for each in found_left]
                    wanted = [_look_at(resource, one, f"pass {last['id']}") for one in left]
                    tasks = tasks_json(wanted, "", "") or b"[]"
                    await connection.execute("SELECT syncd.put_tasks($1, $2, $3::jsonb)", integration, now, tasks)
                kept = last["id"] if former is None else former
                await self._settle(connection, integration, resource, last["id"], kept, run_id, 0, now)
                return Sweep(total=found["live"], asked=len(left))
            gone = list(found["gone"] or ()) if twice else []
            reason, limit = _objection(found, len(gone), guard, held)
            of_parts, limits = _objection_to_parts(parts, guard, held)
            reason = reason or of_parts
            if reason and not confirmed:
                await self._hold(connection, integration, resource, found, reason, limit, limits, held, now)
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
            await self._settle(connection, integration, resource, last["id"], before["id"], run_id, len(died), now)
            return Sweep(deleted=len(died), missed=found["missed"], total=found["live"])

    async def _hold(
        self,
        connection: asyncpg.Connection,
        integration: str,
        resource: str,
        found: asyncpg.Record,
        reason: str,
        limit: int,
        limits: Mapping[str, int],
        held: Mapping[str, Any] | None,
        now: datetime,
    ) -> None:
        note = {
            "missed": found["missed"],
            "live": found["live"],
            "limit": limit,
            "reason": reason,
            "since": (held or {}).get("since", now.isoformat()),
            "examples": list(found["examples"] or ()),
        }
        if limits:
            note["parts"] = dict(limits)
        await connection.execute(
            "UPDATE syncd.checkpoints SET held = $3 WHERE integration = $1 AND resource = $2",
            integration,
            resource,
            note,
        )

    async def _settle(
        self,
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

    @again_after_conflict
    async def sweep_children(
        self,
        integration: str,
        resource: str,
        parent_id: str,
        seen_ids: Sequence[str],
        *,
        began_at: datetime,
        scope: str,
        fence: int,
        guard: Guard = Guard(),
        confirmed: bool = False,
        history: History | Mapping[str, History] = History.CHANGES,
        cause: str = "",
    ) -> Sweep:
        """The same for a complete listing below one parent: missed once is remembered, missed twice is buried.

        `began_at` is when the listing began. The guard counts all children of the resource that are missed at present.
        """
        now = self._database.clock.now()
        async with self._database.transaction() as connection:
            await connection.execute("SELECT syncd.assert_owned($1, $2)", scope, fence)
            rows = await connection.fetch(
                "SELECT external_id, missed_at, external_id = ANY($4::text[]) AS seen FROM syncd.records "
                "WHERE integration = $1 AND resource = $2 AND parent_id = $3 AND deleted_at IS NULL "
                "AND (fetched_at < $5 OR fetched_at > $6::timestamptz + interval '1 minute')",
                integration,
                resource,
                parent_id,
                list(seen_ids),
                began_at,
                now,
            )
            back = [each["external_id"] for each in rows if each["seen"] and each["missed_at"] is not None]
            first = [each["external_id"] for each in rows if not each["seen"] and each["missed_at"] is None]
            gone = [
                each["external_id"]
                for each in rows
                if not each["seen"] and each["missed_at"] is not None and each["missed_at"] < began_at
            ]
            if back or first:
                await connection.execute(
                    "UPDATE syncd.records SET missed_at = CASE WHEN external_id = ANY($4::text[]) THEN $5::timestamptz END "
                    "WHERE integration = $1 AND resource = $2 AND external_id = ANY($3::text[])",
                    integration,
                    resource,
                    sorted(back + first),
                    first,
                    began_at,
                )
            missed = len(first) + len(gone)
            if not missed:
                return Sweep(total=len(rows))
            await connection.execute(OVER_ALL)
            live, marked = await connection.fetchrow(
                "SELECT count(*), count(missed_at) FROM syncd.records "
                "WHERE integration = $1 AND resource = $2 AND deleted_at IS NULL",
                integration,
                resource,
            )
            await connection.execute(BY_KEY)
            if marked > guard.limit(live) and not confirmed:
                reason = f"{marked} of {live} are missed by listings below their parents"
                await connection.execute(
                    "UPDATE syncd.checkpoints SET held = $3 WHERE integration = $1 AND resource = $2",
                    integration,
                    resource,
                    {
                        "missed": marked,
                        "live": live,
                        "limit": guard.limit(live),
                        "reason": reason,
                        "since": now.isoformat(),
                        "examples": (gone or first)[:5],
                    },
                )
                return Sweep(held=missed, missed=missed, total=len(rows), reason=reason)
            died = await bury(
                connection,
                integration,
                resource,
                gone,
                fetched_at=began_at,
                now=now,
                history=history,
                cause=f"{cause}: listing below {parent_id}" if cause else f"listing below {parent_id}",
            )
            return Sweep(deleted=len(died), missed=missed, total=len(rows))


def _look_at(resource: str, external_id: str, cause: str) -> NewTask:
    return NewTask(
        kind="fetch",
        resource=resource,
        external_id=external_id,
        lane=Lane.LOW,
        dedupe_key=f"fetch:{resource}:{external_id}",
        cause=cause,
    )


def _objection(found: asyncpg.Record, gone: int, guard: Guard, held: Mapping[str, Any] | None) -> tuple[str, int]:
    """Why these deletions must not be believed (empty: they may), and the number that was allowed."""
    allowed = guard.limit(found["older"])
    if held is not None:
        allowed = min(allowed, int(held.get("limit", allowed)))
    if found["seen"] == 0 and found["live"] > 0:
        return f"the listing is empty, {found['live']} records are stored", allowed
    if found["missed"] > allowed:
        return f"{found['missed']} of {found['older']} records are missing from the listing", allowed
    twice = min(allowed, guard.limit(found["oldest"]))
    if gone > twice:
        return f"{gone} of {found['oldest']} records have been missing from two listings", twice
    return "", allowed


def _objection_to_parts(
    parts: Sequence[asyncpg.Record], guard: Guard, held: Mapping[str, Any] | None
) -> tuple[str, dict[str, int]]:
    """The same of each part of a listing that is walked in parts: what is a small share of all may be all of one property.

    The number allowed is given for each part that is objected to, or was before. One record may always be missing from a
    part that shows others: of three rooms one is closed, and the guard of the whole counts too.
    """
    former = (held or {}).get("parts", {})
    reason, limits = "", {}
    for part in parts:
        name, missed, older = part["place"], part["missed"], part["older"]
        allowed = min(max(guard.limit(older), 1), int(former.get(name, older)))
        if not missed or (part["shown"] and missed <= allowed):
            continue
        limits[name] = allowed
        if not reason:
            said = "is empty" if not part["shown"] else f"lacks {missed}"
            reason = f"the listing of {name} {said}, {part['live']} records of it are stored"
    return reason, limits
