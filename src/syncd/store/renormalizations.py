"""Table `renormalizations`: stored raw records read again by an adapter, in batches that commit with their cursor.

A batch changes only what is still stored as it was read (by its content hash), so whoever writes something newer meanwhile
keeps it (R7); and the cursor moves in the same transaction, under the fence of the scope (R5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from syncd import codec
from syncd.errors import OwnershipError
from syncd.store.database import Database, again_after_conflict
from syncd.store.pages import Pages
from syncd.store.rows import PageWrite
from syncd.store.tasks import WISHES
from syncd.store.trials import counted, latest


@dataclass(frozen=True, slots=True)
class Renormalization:
    """One of them, as it stands."""

    integration: str
    id: int
    resource: str
    adapter: str | None
    dry: bool
    state: str
    """waiting, running, done, failed or cancelled."""
    phase: str
    """`records`, then `rejects`."""
    cursor: str
    """The id of the last record that is done."""
    fence: int
    seen: int
    changed: int
    unchanged: int
    passed: int
    rejected: int
    healed: int
    fields: dict[str, int]
    examples: list[dict[str, Any]]
    asked_by: str
    reason: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def is_active(self) -> bool:
        return self.state in ("waiting", "running")


_COLUMNS = ", ".join(Renormalization.__slots__)


@dataclass(frozen=True, slots=True)
class StoredRaw:
    """One live record, as far as an adapter needs it."""

    external_id: str
    raw: Any
    data: Mapping[str, Any] | None
    content_hash: bytes
    adapter: str


@dataclass(frozen=True, slots=True)
class Reread:
    """What an adapter made of one record that is stored otherwise."""

    external_id: str
    known: bytes
    """The hash it is stored under."""
    content_hash: bytes
    data_json: bytes
    adapter: str


@dataclass(slots=True)
class Batch:
    """Some records in the order of their ids, done."""

    seen: int = 0
    last_id: str = ""
    changed: int = 0
    unchanged: int = 0
    passed: int = 0
    rejected: int = 0
    healed: int = 0
    fields: Mapping[str, int] | None = None
    examples: Sequence[Mapping[str, Any]] = ()


class Renormalizations:
    """Asked for, taken, and done batch by batch."""

    def __init__(self, database: Database, pages: Pages) -> None:
        self._database = database
        self._pages = pages

    @again_after_conflict
    async def ask(
        self, integration: str, resource: str, *, adapter: str | None = None, dry: bool = False, who: str = ""
    ) -> tuple[Renormalization, bool]:
        """Begin one, or join the one there is; True: this is new. One that is under way with other words is ended for it."""
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
                    return Renormalization(**dict(found)), False
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

    async def active(self, integrations: Sequence[str]) -> list[Renormalization]:
        """Those that wait or run, oldest first."""
        found = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM syncd.renormalizations WHERE integration = ANY($1::text[]) "
            "AND state IN ('waiting', 'running') ORDER BY id",
            list(integrations),
        )
        return [Renormalization(**dict(each)) for each in found]

    async def find(self, ids: Sequence[int]) -> list[Renormalization]:
        """By id, whatever became of them."""
        found = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM syncd.renormalizations WHERE id = ANY($1::bigint[]) ORDER BY integration, id",
            list(ids),
        )
        return [Renormalization(**dict(each)) for each in found]

    async def latest(self, integration: str) -> list[Renormalization]:
        """The last one of each resource."""
        found = await self._database.fetch(
            f"SELECT DISTINCT ON (resource) {_COLUMNS} FROM syncd.renormalizations WHERE integration = $1 "
            "ORDER BY resource, id DESC",
            integration,
        )
        return [Renormalization(**dict(each)) for each in found]

    async def take(self, one: Renormalization, *, scope: str, fence: int) -> Renormalization | None:
        """Work on it under this fence. None: it was stopped, has ended, or the scope is no longer ours."""
        found = await self._database.fetchrow(
            "UPDATE syncd.renormalizations SET state = 'running', fence = $3, started_at = coalesce(started_at, $4) "
            "WHERE integration = $1 AND id = $2 AND state IN ('waiting', 'running') "
            f"AND EXISTS (SELECT FROM syncd.leases l WHERE l.scope = $5 AND l.fence = $3) RETURNING {_COLUMNS}",
            one.integration,
            one.id,
            fence,
            self._database.clock.now(),
            scope,
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

    @again_after_conflict
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
        """Store a batch and move from `at` (phase, cursor) to its end, or do neither; `phase`: the next one begins.

        Raises OwnershipError where it was stopped, has moved on, or the scope is no longer ours.
        """
        now = self._database.clock.now()
        changed, unchanged, passed = batch.changed, batch.unchanged, batch.passed
        if page is not None:
            await self._pages.remember(page)
        async with self._database.transaction() as connection:
            state = await connection.fetchrow(
                "SELECT fields, examples FROM syncd.renormalizations WHERE integration = $1 AND id = $2 "
                "AND state = 'running' AND fence = $3 AND phase = $4 AND cursor = $5 FOR UPDATE",
                one.integration,
                one.id,
                fence,
                *at,
            )
            if state is None:
                raise OwnershipError(f"renormalization {one.id} of {one.integration} was stopped or has moved on")
            await connection.execute("SELECT syncd.assert_owned($1, $2)", scope, fence)
            if page is not None:
                result = await self._pages.commit_within(connection, page)
                changed += len(result.added) + len(result.updated)
            if rows:
                done = await _change(connection, one, rows, history, now)
                changed += done[0]
                unchanged += done[1]
                passed += len(rows) - sum(done)
            await connection.execute(
                "UPDATE syncd.renormalizations SET cursor = $3, phase = coalesce($4, phase), seen = seen + $5, "
                "changed = changed + $6, unchanged = unchanged + $7, passed = passed + $8, rejected = rejected + $9, "
                "healed = healed + $10, fields = $11, examples = $12, "
                "state = CASE WHEN $13 THEN 'done' ELSE state END, ended_at = CASE WHEN $13 THEN $14::timestamptz END "
                "WHERE integration = $1 AND id = $2",
                one.integration,
                one.id,
                batch.last_id,
                phase,
                batch.seen,
                changed,
                unchanged,
                passed,
                batch.rejected,
                batch.healed,
                counted(state["fields"], batch.fields or {}),
                latest(state["examples"], batch.examples),
                ended,
                now,
            )
        return Batch(batch.seen, batch.last_id, changed, unchanged, passed, batch.rejected, batch.healed, batch.fields)

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


async def _change(
    connection: asyncpg.Connection, one: Renormalization, rows: Sequence[Reread], history: bool, now: datetime
) -> tuple[int, int]:
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
        now,
    )
    return int(done[0]), int(done[1])
