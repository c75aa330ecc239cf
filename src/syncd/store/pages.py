"""R1: one page, one transaction. The SQL lives in `schema/`: function syncd.store_page.

The usual page is one round trip. A page on which a record comes more than once is stored in rounds, each of which has it
at most once, so that every version is judged against the one before it. A page with a value the database cannot hold is
stored without it, and the record becomes a reject (R15).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from syncd import codec
from syncd.model import History
from syncd.store import early
from syncd.store.binary import RowColumns
from syncd.store.database import ConflictError, Database, DataRefusedError, again_after_conflict, border
from syncd.store.rows import NewTask, PageResult, PageWrite, Reject, Row

_BURY_AT_ONCE = 20_000

_PAGE = (
    "text",
    "text",
    "text",
    "bigint",
    "bigint",
    "text",
    "text",
    "boolean",
    "timestamptz",
    "timestamptz",
    "timestamptz",
    "integer",
    "integer",
    "integer",
    "float8",
    "syncd.page_rows",
    "boolean",
    "boolean",
    "text[]",
    "text[]",
    "jsonb",
    "bytea[]",
    "jsonb",
)


def _typed(kinds: tuple[str, ...]) -> str:
    return ", ".join(f"${n}::{kind}" for n, kind in enumerate(kinds, 1))


_STORE_PAGE = f"SELECT * FROM syncd.store_page({_typed(_PAGE)})"
_STORE_ROWS = (
    "SELECT added, updated, deleted, unchanged, stale "
    f"FROM syncd.store_rows({_typed(('text', 'timestamptz', 'syncd.page_rows', 'boolean'))})"
)
_COUNT_MORE = """
UPDATE syncd.runs SET added = added + $3, updated = updated + $4, deleted = deleted + $5, unchanged = unchanged + $6,
    stale = stale + $7 WHERE integration = $1 AND id = $2
"""
_CONFIRM = """
WITH found AS MATERIALIZED (
    SELECT k.place, i.fetched_at
    FROM unnest($2::text[], $3::text[], $4::bytea[], $5::timestamptz[]) AS i(resource, id, hash, fetched_at)
    CROSS JOIN LATERAL (
        SELECT r.ctid AS place FROM syncd.records r
        WHERE r.integration = $1 AND r.resource = i.resource AND r.external_id = i.id
          AND r.content_hash = i.hash AND r.deleted_at IS NULL AND r.fetched_at < i.fetched_at
        FOR UPDATE
    ) k
)
UPDATE syncd.records r SET fetched_at = f.fetched_at FROM found f WHERE r.ctid = f.place
"""
RESTORED_AFTER = timedelta(seconds=30)
"""What a record's own URL shows so long after it was stored counts, whatever the stamps say: partners restore, and mend
their clocks, without a new stamp. Sooner the answer may come from before."""
MENDED_AFTER = timedelta(minutes=10)
"""The same for a record that lives: an older stamp on other content is more often an answer out of a cache."""
_RESTORED = """
UPDATE syncd.records SET source_updated_at = NULL, source_version = NULL WHERE ctid = ANY (ARRAY(
    SELECT k.place
    FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::bytea[], $6::timestamptz[], $7::bigint[])
        AS i(resource, id, fetched_at, hash, updated_at, version)
    CROSS JOIN LATERAL (
        SELECT r.ctid AS place FROM syncd.records r
        WHERE r.integration = $1 AND r.resource = i.resource AND r.external_id = i.id
          AND CASE
              WHEN r.fetched_at > $10::timestamptz + interval '1 minute' THEN true  -- by a clock that was ahead
              WHEN r.deleted_at IS NOT NULL THEN r.fetched_at < i.fetched_at - $8::interval
              ELSE r.fetched_at < i.fetched_at - $9::interval AND r.content_hash <> i.hash
                  AND (i.updated_at < r.source_updated_at OR i.version < r.source_version)
          END
        FOR UPDATE
    ) k))
"""
_HISTORY = {History.OFF: 0, History.CHANGES: 1, History.FULL: 2}


class Pages:
    """Table `records` and all that is written together with it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._partners: dict[str, str] = {}

    async def commit(self, page: PageWrite) -> PageResult:
        """Store a page of a listing and move the checkpoint to its end, or do neither.

        Raises OwnershipError when cursor, run or fence are no longer as the page was read with: nothing was written.
        """
        return await self._store(page, listing=True)

    async def commit_behind(
        self, page: PageWrite, earlier: PageWrite, before: asyncio.Future[PageResult]
    ) -> PageResult:
        """`commit`, for the page that follows one whose commit is under way. See early.py. Raises what that one raised."""
        if not before.done() and early.fits(page, earlier):
            try:
                return await self._early(page, before)
            except (ConflictError, DataRefusedError):
                pass  # not as new, or not as sound, as it looked: the ordinary way finds out
        await asyncio.wait({before})
        before.result()
        return await self.commit(page)

    async def _early(self, page: PageWrite, before: asyncio.Future[PageResult]) -> PageResult:
        now = self._database.clock.now()
        rows = _columns(page.rows, page.cause, page.history)
        async with self._database.transaction() as connection:
            await connection.execute(early.INSERT, page.integration, now, rows)
            await early.turn(self._database, before)
            listed = RowColumns(ids=rows.ids, seen=page.seen_ids)
            return _result(await connection.fetchrow(_STORE_PAGE, *_values(page, listed, now, True, early=True)))

    async def commit_one(self, page: PageWrite) -> PageResult:
        """Store records outside a listing (task results, webhooks). The fence is checked, no cursor moves."""
        return await self._store(page, listing=False)

    async def remember(self, page: PageWrite) -> None:
        """Say whose page it is; before `commit_within`, which cannot."""
        await self._remember(page.integration, page.partner)

    async def commit_within(self, connection: asyncpg.Connection, page: PageWrite) -> PageResult:
        """`commit_one` inside a transaction of the caller's, for records that are stored with the row that brought them.

        Raises OwnershipError, ConflictError: then the whole transaction is to be given up.
        """
        try:
            with border():
                async with connection.transaction():
                    return await self._rounds_within(connection, page, listing=False)
        except DataRefusedError:
            sound, refused = await self._without_refused(page)
            with border():
                result = await self._rounds_within(connection, sound, listing=False)
            result.refused = refused
            return result

    @again_after_conflict
    async def commit_read(self, page: PageWrite) -> PageResult:
        """`commit_one` for records that were asked for one by one; hand in those that seem unchanged too.

        What turns out to be as it is stored was so when this was asked: an older answer that is still under way, and shows
        the content in between, must not take its place. And what its own URL still, or again, shows long enough after
        something newer was stored is so, though its own stamp be older: see RESTORED_AFTER and MENDED_AFTER.
        """
        await self.remember(page)
        rows = [row for row in page.rows if not row.deleted]
        async with self._database.transaction() as connection:
            if rows:
                await connection.execute(
                    _RESTORED,
                    page.integration,
                    [row.resource for row in rows],
                    codec.storable([row.external_id for row in rows]),
                    [row.fetched_at for row in rows],
                    [row.content_hash for row in rows],
                    [row.source_updated_at for row in rows],
                    [row.source_version for row in rows],
                    RESTORED_AFTER,
                    MENDED_AFTER,
                    self._database.clock.now(),
                )
            result = await self.commit_within(connection, page)
            if rows:
                await connection.execute(
                    _CONFIRM,
                    page.integration,
                    [row.resource for row in rows],
                    codec.storable([row.external_id for row in rows]),
                    [row.content_hash for row in rows],
                    [row.fetched_at for row in rows],
                )
        return result

    @again_after_conflict
    async def delete(
        self,
        integration: str,
        resource: str,
        ids: Sequence[str],
        *,
        scope: str,
        fence: int,
        fetched_at: datetime,
        partner: str | None = None,
        children: Sequence[str] = (),
        run_id: int | None = None,
        cause: str = "gone",
        history: History | Mapping[str, History] = History.CHANGES,
    ) -> PageResult:
        """Bury records the partner says are gone (404 on their own URL, a delete event), as of `fetched_at`.

        A record stored by a later request stays. `children` are resources whose records go with their parent. An id never
        seen before gets a tombstone, so that an older version still under way does not bring it to life.
        """
        now = self._database.clock.now()
        result = PageResult()
        if partner is not None:
            await self._remember(integration, partner)
        async with self._database.transaction() as connection:
            await connection.execute("SELECT syncd.assert_owned($1, $2)", scope, fence)
            result.deleted = await bury(
                connection,
                integration,
                resource,
                ids,
                fetched_at=fetched_at,
                now=now,
                children=children,
                history=history,
                cause=cause,
            )
            if run_id is not None:
                await connection.execute(
                    "UPDATE syncd.runs SET deleted = deleted + $3 WHERE integration = $1 AND id = $2",
                    integration,
                    run_id,
                    len(result.deleted),
                )
        return result

    async def _store(self, page: PageWrite, *, listing: bool) -> PageResult:
        await self._remember(page.integration, page.partner)
        try:
            return await self._try(page, listing=listing)
        except DataRefusedError:
            sound, refused = await self._without_refused(page)
            result = await self._try(sound, listing=listing)
            result.refused = refused
            return result

    async def _remember(self, integration: str, partner: str) -> None:
        if self._partners.get(integration) != partner:
            await remember_partner(self._database, integration, partner)
            self._partners[integration] = partner

    @again_after_conflict
    async def _try(self, page: PageWrite, *, listing: bool) -> PageResult:
        now = self._database.clock.now()
        first, *rounds = _rounds(page.rows)
        if not rounds:
            columns = _columns(first, page.cause, page.history, page.seen_ids)
            found = await self._database.fetchrow(_STORE_PAGE, *_values(page, columns, now, listing))
            return _result(found)
        async with self._database.transaction() as connection:
            return await self._rounds_within(connection, page, listing=listing)

    async def _rounds_within(self, connection: asyncpg.Connection, page: PageWrite, *, listing: bool) -> PageResult:
        now = self._database.clock.now()
        first, *rounds = _rounds(page.rows)
        # The page's own statement goes first: it checks that we may write at all.
        columns = _columns(first, page.cause, page.history, page.seen_ids)
        result = _result(await connection.fetchrow(_STORE_PAGE, *_values(page, columns, now, listing)))
        before = {*result.added, *result.updated}
        for rows in rounds:
            values = _columns(rows, page.cause, page.history)
            extra = _result(await connection.fetchrow(_STORE_ROWS, page.integration, now, values, False))
            if page.run_id is not None:
                await connection.execute(
                    _COUNT_MORE,
                    page.integration,
                    page.run_id,
                    len(extra.added),
                    len(extra.updated),
                    len(extra.deleted),
                    extra.unchanged,
                    extra.stale,
                )
            result.include(extra)
        news = {*result.added, *result.updated} - before
        if tasks := [task for task in page.tasks if task.parent_id in news]:
            wanted = tasks_json(tasks, page.resource, page.cause)
            await connection.execute("SELECT syncd.put_tasks($1, $2, $3::jsonb)", page.integration, now, wanted)
        return result

    async def _without_refused(self, page: PageWrite) -> tuple[PageWrite, list[str]]:
        """The page without the rows that the database cannot hold; they become rejects. Rare, so it may be slow."""
        kept: list[Row] = []
        rejects = list(page.rejects)
        refused = []
        async with self._database.connection() as connection:
            for row in page.rows:
                try:
                    with border():
                        await connection.execute(
                            "SELECT $1::jsonb, $2::json, $3::text, $4::bigint, $5::text",
                            row.data_json,
                            row.raw_json,
                            row.external_id,
                            row.source_version,
                            row.parent_id,
                        )
                except (DataRefusedError, asyncpg.DataError, ValueError) as error:
                    refused.append(row.external_id)
                    rejects.append(
                        Reject(
                            row.raw_json,
                            f"the database cannot hold it: {error}",
                            codec.storable(row.external_id),
                            row.resource,
                            "database-refused",
                            row.adapter,
                        )
                    )
                else:
                    kept.append(row)
        seen = codec.storable(list(page.seen_ids)) if page.seen_ids is not None else None
        return replace(page, rows=kept, rejects=rejects, seen_ids=seen), refused


async def bury(
    connection: asyncpg.Connection,
    integration: str,
    resource: str,
    ids: Sequence[str],
    *,
    fetched_at: datetime,
    now: datetime,
    children: Sequence[str] = (),
    history: History | Mapping[str, History] = History.CHANGES,
    cause: str,
) -> list[str]:
    """Tombstones for these ids, and for the children of those that were alive; returns all ids that died.

    Evidence older than what is stored is overruled by it, as for any other row (R7).
    """
    rows = [tombstone(resource, each, fetched_at) for each in sorted(ids)]
    return await bury_rows(
        connection, integration, rows, now=now, children=children, history=history, cause=cause, fetched_at=fetched_at
    )


async def bury_rows(
    connection: asyncpg.Connection,
    integration: str,
    rows: Sequence[Row],
    *,
    now: datetime,
    children: Sequence[str] = (),
    history: History | Mapping[str, History] = History.CHANGES,
    cause: str,
    fetched_at: datetime | None = None,
) -> list[str]:
    """`bury` for tombstones of one resource that are made already, each id at most once.

    The children's evidence is as of `fetched_at`; None: as of the latest of the rows.
    """
    died: list[str] = []
    for start in range(0, len(rows), _BURY_AT_ONCE):
        values = _columns(rows[start : start + _BURY_AT_ONCE], cause, history)
        died += _result(await connection.fetchrow(_STORE_ROWS, integration, now, values, False)).deleted
    if died:
        fetched_at = fetched_at or max(row.fetched_at for row in rows)
        for child in children:
            below = await connection.fetch(
                "SELECT external_id FROM syncd.records WHERE integration = $1 AND resource = $2 "
                "AND parent_id = ANY($3::text[]) AND deleted_at IS NULL",
                integration,
                child,
                died,
            )
            died += await bury(
                connection,
                integration,
                child,
                [each["external_id"] for each in below],
                fetched_at=fetched_at,
                now=now,
                history=history,
                cause=f"{cause}: parent",
            )
    return died


async def remember_partner(database: Database, integration: str, partner: str) -> None:
    """Say which partner an integration belongs to; the typed views ask for it."""
    await database.execute(
        "INSERT INTO syncd.integrations AS i (integration, partner) VALUES ($1, $2) "
        "ON CONFLICT (integration) DO UPDATE SET partner = excluded.partner WHERE i.partner <> excluded.partner",
        integration,
        partner,
    )


def tombstone(
    resource: str, external_id: str, fetched_at: datetime, *, updated_at: datetime | None = None, cause: str = ""
) -> Row:
    """Evidence that a record is gone; `updated_at` is when it went, by the partner's clock."""
    return Row(
        external_id,
        resource,
        b"{}",
        b"{}",
        b"",
        fetched_at,
        source_updated_at=updated_at,
        deleted=True,
        cause=cause,
    )


def _rounds(rows: Sequence[Row]) -> list[list[Row]]:
    """Split rows so that no key comes twice in one part, keeping the order of each key's versions. Never empty."""
    if len({row[:2] for row in rows}) == len(rows):  # id and resource
        return [list(rows)]
    rounds: list[list[Row]] = []
    times: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row.resource, row.external_id)
        turn = times[key] = times.get(key, -1) + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(row)
    return rounds


def _columns(
    rows: Sequence[Row], cause: str, history: History | Mapping[str, History], seen: Sequence[str] | None = None
) -> RowColumns:
    """The rows as the database wants them."""
    if not rows:
        return RowColumns(seen=seen)
    (
        ids,
        resources,
        datas,
        raws,
        hashes,
        fetches,
        versions,
        updates,
        parents,
        adapters,
        deletes,
        sparses,
        causes,
        observeds,
    ) = zip(*rows, strict=True)
    return RowColumns(
        ids,
        _shared(resources),
        datas,
        raws,
        hashes,
        _optional(versions),
        _optional(updates),
        _shared(fetches),
        _optional(parents),
        _shared(adapters),
        _shared([each or cause for each in causes] if "" in causes else causes),
        _flags(deletes),
        _flags(sparses),
        _flags(observeds),
        _histories(history, rows),
        seen,
    )


def _shared(values: Sequence[Any]) -> Sequence[Any]:
    return values[:1] if values.count(values[0]) == len(values) else values


def _optional(values: Sequence[Any]) -> Sequence[Any] | None:
    return None if values.count(None) == len(values) else values


def _flags(values: Sequence[bool]) -> Sequence[bool] | None:
    return values if True in values else None


def _histories(history: History | Mapping[str, History], rows: Sequence[Row]) -> Sequence[int]:
    if isinstance(history, History):
        return [_HISTORY[history]]
    return _shared([_HISTORY[history.get(row.resource, History.CHANGES)] for row in rows])


def _values(page: PageWrite, rows: RowColumns, now: datetime, listing: bool, *, early: bool = False) -> list[Any]:
    """The arguments of syncd.store_page."""
    return [
        page.integration,
        page.resource,
        page.scope,
        page.fence,
        page.run_id,
        page.cursor_read,
        page.cursor_next,
        page.last if listing else None,
        page.newest_at,
        page.ceiling_at,
        now,
        page.pages,
        page.unchanged,
        page.calls,
        page.waited_seconds,
        rows,
        page.fresh and not early,
        early,
        [resource for resource, _ in page.healed] or None,
        [external_id for _, external_id in page.healed] or None,
        *_rejects(page),
        tasks_json(page.tasks, page.resource, page.cause),
    ]


def _rejects(page: PageWrite) -> tuple[bytes | None, list[bytes] | None]:
    if not page.rejects:
        return None, None
    described = [
        {
            "resource": each.resource or page.resource,
            "external_id": each.key,
            "reason": each.reason,
            "fingerprint": each.fingerprint or each.reason[:200],
            "adapter": each.adapter,
            "cause": each.cause or page.cause,
        }
        for each in page.rejects
    ]
    return codec.dumps_storable(described), [each.raw for each in page.rejects]


def tasks_json(tasks: Sequence[NewTask], resource: str, cause: str) -> bytes | None:
    """The argument of syncd.put_tasks."""
    return codec.dumps_storable([each.as_json(resource, cause) for each in tasks]) if tasks else None


def _result(found: asyncpg.Record | None) -> PageResult:
    if found is None:
        raise RuntimeError("syncd.store_page returned nothing")
    return PageResult(found["added"], found["updated"], found["deleted"], found["unchanged"], found["stale"])
