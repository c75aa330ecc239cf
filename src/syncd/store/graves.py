"""Tombstones: records that are known to be gone, and what is known of them below their parents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import asyncpg

from syncd.model import History
from syncd.store.page_call import STORE_ROWS, columns_of, result_of
from syncd.store.rows import Row

_BURY_AT_ONCE = 20_000


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
        values = columns_of(rows[start : start + _BURY_AT_ONCE], cause, history)
        died += result_of(await connection.fetchrow(STORE_ROWS, integration, now, values, False)).deleted
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
