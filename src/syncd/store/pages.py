"""R1: one page, one transaction. The SQL lives in `schema/`: function syncd.store_page.

The usual page is one round trip. A page on which a record comes more than once is stored in rounds, each of which has it
at most once, so that every version is judged against the one before it. A page with a value the database cannot hold is
stored without it, and the record becomes a reject (R15).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta

import asyncpg

from syncd import codec, spans
from syncd.model import History
from syncd.store import early, erasing
from syncd.store.binary import RowColumns
from syncd.store.database import ConflictError, Database, DataRefusedError, again_after_conflict, border
from syncd.store.graves import bury
from syncd.store.page_call import STORE_PAGE, STORE_ROWS, columns_of, result_of, rounds_of, tasks_json, values_of
from syncd.store.rows import PageResult, PageWrite, Reject, Row

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
_ACKNOWLEDGE = """
SELECT syncd.push($1, $2, $3, $5::jsonb || jsonb_build_object('ids', to_jsonb(array_agg(i.id ORDER BY i.place))), cause => $6)
FROM unnest($4::text[]) WITH ORDINALITY AS i(id, place)
WHERE NOT EXISTS (
    SELECT FROM syncd.outbox o
    WHERE o.integration = $1 AND o.resource = $2 AND o.operation = $3 AND o.state IN ('waiting', 'taken', 'unknown')
      AND o.payload -> 'queue' IS NOT DISTINCT FROM $5::jsonb -> 'queue' AND o.payload -> 'ids' ? i.id
)
HAVING count(*) > 0
"""
"""One push for all that no push under way acknowledges already: a queue shows a message until its acknowledgement arrives."""
_PARTS = """
INSERT INTO syncd.pass_parts (integration, resource, pass_id, part, listed, stated, ids)
SELECT c.integration, c.resource, c.pass_id, $3, $4, $5, $6
FROM syncd.checkpoints c WHERE c.integration = $1 AND c.resource = $2 AND c.pass_id IS NOT NULL
"""
RESTORED_AFTER = timedelta(seconds=30)
"""What a record's own URL shows so long after it was stored counts, whatever the stamps say: partners restore, and mend
their clocks, without a new stamp. Sooner the answer may come from before."""
MENDED_AFTER = timedelta(minutes=10)
"""The same for a record that lives: an older stamp on other content is more often an answer out of a cache."""
_SPAN = {"db.system.name": "postgresql", "db.operation.name": "INSERT", "db.collection.name": "syncd.records"}
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
        if (
            not before.done()
            and not page.acknowledges
            and not page.parts
            and early.fits(page, earlier)
            and not erasing.wanted(page.rows)
        ):
            try:
                with _traced(page):
                    return await self._early(page, before)
            except (ConflictError, DataRefusedError):
                pass  # not as new, or not as sound, as it looked: the ordinary way finds out
        await asyncio.wait({before})
        before.result()
        return await self.commit(page)

    async def _early(self, page: PageWrite, before: asyncio.Future[PageResult]) -> PageResult:
        now = self._database.clock.now()
        rows = columns_of(page.rows, page.cause, page.history)
        async with self._database.transaction() as connection:
            await connection.execute(early.INSERT, page.integration, now, rows)
            await early.turn(self._database, before)
            listed = RowColumns(ids=rows.ids, seen=page.seen_ids)
            return result_of(await connection.fetchrow(STORE_PAGE, *values_of(page, listed, now, True, early=True)))

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
        with _traced(page) as span:
            result = await self._commit_read(page)
            span.set("syncd.written", len(result.added) + len(result.updated))
            return result

    async def _commit_read(self, page: PageWrite) -> PageResult:
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
        with _traced(page) as span:
            result = await self._stored(page, listing=listing)
            span.set("syncd.written", len(result.added) + len(result.updated))
            return result

    async def _stored(self, page: PageWrite, *, listing: bool) -> PageResult:
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
        first, *rounds = rounds_of(page.rows)
        if not rounds and not page.acknowledges and not page.parts and not erasing.wanted(page.rows):
            columns = columns_of(first, page.cause, page.history, page.seen_ids)
            found = await self._database.fetchrow(STORE_PAGE, *values_of(page, columns, now, listing))
            return result_of(found)
        async with self._database.transaction() as connection:
            return await self._rounds_within(connection, page, listing=listing)

    async def _rounds_within(self, connection: asyncpg.Connection, page: PageWrite, *, listing: bool) -> PageResult:
        now = self._database.clock.now()
        first, *rounds = rounds_of(page.rows)
        forgotten = await erasing.left(connection, page.integration, page.rows)
        # The page's own statement goes first: it checks that we may write at all.
        columns = columns_of(first, page.cause, page.history, page.seen_ids)
        result = result_of(await connection.fetchrow(STORE_PAGE, *values_of(page, columns, now, listing)))
        before = {*result.added, *result.updated}
        for rows in rounds:
            values = columns_of(rows, page.cause, page.history)
            extra = result_of(await connection.fetchrow(STORE_ROWS, page.integration, now, values, False))
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
        if page.parts:
            shown = [
                (
                    page.integration,
                    page.resource,
                    one.part,
                    one.listed,
                    _bigint(one.stated),
                    codec.storable(list(one.ids)),
                )
                for one in page.parts
            ]
            await connection.executemany(_PARTS, shown)
        for acknowledge in page.acknowledges:
            await connection.execute(
                _ACKNOWLEDGE,
                page.integration,
                page.resource,
                acknowledge.kind,
                list(acknowledge.ids),
                dict(acknowledge.data),
                page.cause,
            )
        await erasing.erase(connection, page.integration, forgotten)
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
        acknowledges = [one.without(refused) for one in page.acknowledges]
        return replace(page, rows=kept, rejects=rejects, seen_ids=seen, acknowledges=acknowledges), refused


def _traced(page: PageWrite) -> AbstractContextManager[spans.Span]:
    return spans.span("INSERT syncd.records", "client", {**_SPAN, "db.operation.batch.size": len(page.rows)})


async def remember_partner(database: Database, integration: str, partner: str) -> None:
    """Say which partner an integration belongs to; the typed views ask for it."""
    await database.execute(
        "INSERT INTO syncd.integrations AS i (integration, partner) VALUES ($1, $2) "
        "ON CONFLICT (integration) DO UPDATE SET partner = excluded.partner WHERE i.partner <> excluded.partner",
        integration,
        partner,
    )


def _bigint(number: int | None) -> int | None:
    """A number that a partner stated, as the database can hold it."""
    return None if number is None else max(min(number, 2**62), 0)
