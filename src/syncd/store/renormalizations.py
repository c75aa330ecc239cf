"""Table `renormalizations`: stored raw records read again by an adapter, in batches, each followed by its cursor.

A batch changes only what is still stored as it was read (by its content hash), so whoever writes something newer meanwhile
keeps it (R7), under the fence of the scope (R5). To do a batch again changes nothing, so its cursor may move after it.
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import asyncpg

from syncd import codec
from syncd.errors import OwnershipError
from syncd.model import Lane
from syncd.store.database import Database, again_after_conflict
from syncd.store.long_work import LongWorkRows
from syncd.store.page_call import tasks_json
from syncd.store.pages import Pages
from syncd.store.renormalization_rows import Batch, Renormalization, Reread, StoredRaw
from syncd.store.rows import NewTask, PageWrite
from syncd.store.tasks import WISHES
from syncd.store.trials import counted, latest

SPLIT = 200
"""Records of a batch from which on it is worth two connections."""


_COLUMNS = ", ".join(Renormalization.__slots__)
_ANEW = {
    "phase": "'records'",
    "cursor": "''",
    **dict.fromkeys(("seen", "changed", "unchanged", "passed", "rejected", "healed"), "0"),
    "fields": "'{}'",
    "examples": "'[]'",
}


class Renormalizations(LongWorkRows[Renormalization]):
    """Asked for, taken, and done batch by batch."""

    table, kind = "renormalizations", Renormalization

    def __init__(self, database: Database, pages: Pages) -> None:
        super().__init__(database)
        self._pages = pages

    @again_after_conflict
    async def ask(
        self, integration: str, resource: str, *, adapter: str | None = None, dry: bool = False, who: str = ""
    ) -> tuple[Renormalization, bool]:
        """Begin one, or join the one there is; True: this is new. One that is under way with other words is ended for it.

        One that is at the rejects goes through them again: those it has passed may be what this is asked for. It waits to be
        taken up anew, so that a batch in hand, read before this was asked, does not end it. A dry one, which has left them
        where they are, counts them from nothing.
        """
        now = self._database.clock.now()
        async with self._database.transaction() as connection:
            await connection.execute("SELECT pg_notify($1, $2)", WISHES, integration)
            found = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM syncd.renormalizations WHERE integration = $1 AND resource = $2 "
                "AND state IN ('waiting', 'running') FOR UPDATE",
                integration,
                resource,
            )
            if found is not None:
                if (found["adapter"], found["dry"]) == (adapter, dry):
                    joined = await connection.fetchrow(
                        "UPDATE syncd.renormalizations SET cursor = CASE WHEN phase = 'rejects' THEN '' ELSE cursor END, "
                        "healed = CASE WHEN dry AND phase = 'rejects' THEN 0 ELSE healed END, "
                        "state = CASE WHEN phase = 'rejects' THEN 'waiting' ELSE state END "
                        f"WHERE integration = $1 AND id = $2 RETURNING {_COLUMNS}",
                        integration,
                        found["id"],
                    )
                    return Renormalization(**dict(joined)), False
                await connection.execute(
                    "UPDATE syncd.renormalizations SET state = 'cancelled', ended_at = $3, reason = $4 "
                    "WHERE integration = $1 AND id = $2",
                    integration,
                    found["id"],
                    now,
                    f"another was begun by {who}",
                )
            made = await connection.fetchrow(
                "INSERT INTO syncd.renormalizations (integration, resource, adapter, dry, created_at, asked_by) "
                f"VALUES ($1, $2, $3, $4, $5, $6) RETURNING {_COLUMNS}",
                integration,
                resource,
                adapter,
                dry,
                now,
                who,
            )
        return Renormalization(**dict(made)), True

    async def take(
        self, one: Renormalization, *, scope: str, fence: int, reading: str | None
    ) -> Renormalization | None:
        """Work on it under this fence; where `reading` is another than what it was begun with, from its beginning.

        A `reading` of None, where nothing can read them any more, leaves it as it stands. Returns None where it was stopped,
        has ended, or the scope is no longer ours.
        """
        anew = ", ".join(
            f"{name} = CASE WHEN reading <> $6::text THEN {first} ELSE {name} END" for name, first in _ANEW.items()
        )
        found = await self._database.fetchrow(
            "UPDATE syncd.renormalizations SET state = 'running', fence = $3, started_at = coalesce(started_at, $4), "
            f"reading = coalesce($6::text, reading), {anew}, "
            "deaths = deaths + CASE WHEN state = 'running' AND fence <> $3 THEN 1 ELSE 0 END "
            "WHERE integration = $1 AND id = $2 AND state IN ('waiting', 'running') "
            f"AND EXISTS (SELECT FROM syncd.leases l WHERE l.scope = $5 AND l.fence = $3) RETURNING {_COLUMNS}",
            one.integration,
            one.id,
            fence,
            self._database.clock.now(),
            scope,
            reading,
        )
        return Renormalization(**dict(found)) if found is not None else None

    async def records(
        self, integration: str, resource: str, *, after: str, limit: int, whole: bool = True
    ) -> list[StoredRaw]:
        """Live records in the order of their ids; `whole`: with what is stored of them normalized."""
        found = await self._database.fetch(
            "SELECT external_id, raw, CASE WHEN $5 THEN data END, content_hash, adapter FROM syncd.records "
            "WHERE integration = $1 AND resource = $2 AND external_id > $3 AND deleted_at IS NULL "
            "ORDER BY external_id LIMIT $4",
            integration,
            resource,
            after,
            limit,
            whole,
        )
        return [StoredRaw(*each) for each in map(tuple, found)]

    async def rejects(
        self, integration: str, resource: str, *, after: str, limit: int
    ) -> list[tuple[str, bytes, datetime]]:
        """Rejected records in the order of their ids: id, raw, when it came last. Not those that end the process."""
        found = await self._database.fetch(
            "SELECT external_id, raw, last_at FROM syncd.rejects WHERE integration = $1 AND resource = $2 "
            "AND external_id > $3 AND fingerprint <> 'killed-the-process' ORDER BY external_id LIMIT $4",
            integration,
            resource,
            after,
            limit,
        )
        return [(each[0], each[1], each[2]) for each in found]

    async def commit(
        self,
        one: Renormalization,
        batch: Batch,
        *,
        at: tuple[str, str],
        scope: str,
        fence: int,
        rows: Sequence[Reread] = (),
        history: bool = True,
        page: PageWrite | None = None,
        phase: str | None = None,
        ended: bool = False,
    ) -> Batch:
        """Store a batch, then move from `at` (phase, cursor) to its end; `phase`: the next one begins.

        Many rows go by two connections, which is nearly twice as fast. Who dies before the cursor has moved finds them done,
        and as they should be. Raises OwnershipError where it was stopped, has moved on, or the scope is no longer ours.
        """
        half = (len(rows) + 1) // 2 if len(rows) >= SPLIT else len(rows)
        parts = [part for part in (rows[:half], rows[half:]) if part]
        done = await gather(
            *(self._change(one, part, at, scope, fence, history) for part in parts), return_exceptions=True
        )
        counts = [(0, 0)]
        for found in done:
            if isinstance(found, BaseException):
                raise found
            counts.append(found)
        changed, unchanged = (sum(each) for each in zip(*counts, strict=True))
        whole = replace(
            batch,
            changed=batch.changed + changed,
            unchanged=batch.unchanged + unchanged,
            passed=batch.passed + len(rows) - changed - unchanged,
        )
        if page is not None:
            await self._pages.remember(page)
        return await self._move(one, whole, at, scope, fence, page, phase, ended)

    @again_after_conflict
    async def _change(
        self, one: Renormalization, rows: Sequence[Reread], at: tuple[str, str], scope: str, fence: int, history: bool
    ) -> tuple[int, int]:
        """How many of these were changed, and how many were so already."""
        async with self._database.transaction() as connection:
            await connection.execute("SELECT syncd.assert_owned($1, $2)", scope, fence)
            await _standing(connection, one, at, fence)
            done = await connection.fetchrow(
                "SELECT changed, unchanged FROM syncd.renormalize($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                one.integration,
                one.resource,
                codec.storable([row.external_id for row in rows]),
                [row.known for row in rows],
                [row.content_hash for row in rows],
                [row.data_json for row in rows],
                [row.adapter for row in rows],
                history,
                f"renormalize {one.id}",
                self._database.clock.now(),
            )
        return int(done[0]), int(done[1])

    @again_after_conflict
    async def _move(
        self,
        one: Renormalization,
        batch: Batch,
        at: tuple[str, str],
        scope: str,
        fence: int,
        page: PageWrite | None,
        phase: str | None,
        ended: bool,
    ) -> Batch:
        asked: list[NewTask] = []
        healed = batch.healed  # not of those that were read: they stood aside
        async with self._database.transaction() as connection:
            known = await _standing(connection, one, at, fence, lock="FOR UPDATE")
            await connection.execute("SELECT syncd.assert_owned($1, $2)", scope, fence)
            if page is not None:
                result = await self._pages.commit_within(connection, page)
                stored = {*result.added, *result.updated}
                sound = [key for key, external_id in batch.healing.items() if external_id in stored]
                healed += len(sound)
                if batch.readable:
                    cause = f"renormalize {one.id}"
                    overtaken = [external_id for external_id in batch.healing.values() if external_id not in stored]
                    asked = [NewTask.fetch(one.resource, each, lane=Lane.LOW, cause=cause) for each in overtaken]
                await connection.execute(
                    "DELETE FROM syncd.rejects WHERE integration = $1 AND resource = $2 AND external_id = ANY($3::text[])",
                    one.integration,
                    one.resource,
                    sound,
                )
            if asked:
                now, tasks = self._database.clock.now(), tasks_json(asked, "", "")
                await connection.fetchval("SELECT syncd.put_tasks($1, $2, $3::jsonb)", one.integration, now, tasks)
            await connection.execute(
                "UPDATE syncd.renormalizations SET cursor = $3, phase = coalesce($4, phase), seen = seen + $5, "
                "changed = changed + $6, unchanged = unchanged + $7, passed = passed + $8, rejected = rejected + $9, "
                "healed = healed + $10, fields = $11, examples = $12, deaths = 0, "
                "state = CASE WHEN $13 THEN 'done' ELSE state END, ended_at = CASE WHEN $13 THEN $14::timestamptz END "
                "WHERE integration = $1 AND id = $2",
                one.integration,
                one.id,
                batch.last_id,
                phase,
                batch.seen,
                batch.changed,
                batch.unchanged,
                batch.passed,
                batch.rejected,
                healed,
                counted(known["fields"], batch.fields or {}),
                latest(known["examples"], batch.examples),
                ended,
                self._database.clock.now(),
            )
        return replace(batch, healed=healed, asked=len(asked))

    async def give_back(self, one: Renormalization, *, fence: int) -> None:
        """Nothing of it is in hand; whoever owns the scope next goes on, and nobody has died."""
        await self._database.execute(
            "UPDATE syncd.renormalizations SET state = 'waiting' "
            "WHERE integration = $1 AND id = $2 AND state = 'running' AND fence = $3",
            one.integration,
            one.id,
            fence,
        )

    async def fail(self, one: Renormalization, *, fence: int, reason: str) -> None:
        """It needs a person; asked for again, it begins anew, which costs no call."""
        await self._database.execute(
            "UPDATE syncd.renormalizations SET state = 'failed', ended_at = $4, reason = $5 "
            "WHERE integration = $1 AND id = $2 AND state = 'running' AND fence = $3",
            one.integration,
            one.id,
            fence,
            self._database.clock.now(),
            reason,
        )

    async def cancel(self, integration: str, resource: str | None, *, who: str) -> list[Renormalization]:
        """Stop those that wait or run; what is done stays."""
        found = await self._database.fetch(
            "UPDATE syncd.renormalizations SET state = 'cancelled', ended_at = $3, reason = $4 WHERE integration = $1 "
            f"AND ($2::text IS NULL OR resource = $2) AND state IN ('waiting', 'running') RETURNING {_COLUMNS}",
            integration,
            resource,
            self._database.clock.now(),
            f"stopped by {who}",
        )
        return [Renormalization(**dict(each)) for each in found]


async def _standing(
    connection: asyncpg.Connection, one: Renormalization, at: tuple[str, str], fence: int, *, lock: str = ""
) -> asyncpg.Record:
    found = await connection.fetchrow(
        "SELECT fields, examples FROM syncd.renormalizations WHERE integration = $1 AND id = $2 "
        f"AND state = 'running' AND fence = $3 AND phase = $4 AND cursor = $5 {lock}",
        one.integration,
        one.id,
        fence,
        *at,
    )
    if found is None:
        raise OwnershipError(f"renormalization {one.id} of {one.integration} was stopped or has moved on")
    return found
