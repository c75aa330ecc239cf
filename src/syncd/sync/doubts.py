"""A listing that shows what its stamp calls old, long after something newer was stored: the record's own URL decides.

Stamps tell versions apart however late they come (R7), and some partners break them: a record is restored from the bin with
the stamp it had, a clock that was wrong is put right, a backup is played in. By its stamp such a record would be stale in
every listing for ever. So a complete pass has it read, and what is shown then counts (see `Pages.commit_read`). Where one
record cannot be read, the listing is all there is to go by, once what it contradicts is old enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from syncd.kit import Driver, Resource
from syncd.model import Lane
from syncd.store import NewTask, Row
from syncd.store.pages import RESTORED_AFTER
from syncd.store.records import Stamps
from syncd.sync.versions import Key

READS_LEAST = 100
"""Reads that any pass may ask for; a long one as many as it has pages. A listing that is behind its records in general must
not cost a call for each of them."""
ONLY_LISTED_AFTER = timedelta(hours=1)
"""A listing may lag; by so much none is known to."""


def readable(driver: Driver, resource: Resource, external_id: str) -> bool:
    """Does the partner show single records of this kind?"""
    return driver.one(resource, external_id) is not None or driver.many(resource, [external_id]) is not None


def doubted(
    rows: Sequence[Row], stored: Mapping[Key, Stamps], began_at: datetime, after: timedelta = RESTORED_AFTER
) -> list[Row]:
    """Of the rows a listing brought, those that contradict what was stored long before it began.

    What counts is its beginning: a later page may show what was there then.
    """
    found = []
    for row in rows:
        known = stored.get((row.resource, row.external_id))
        if known is None or row.deleted or began_at - known.fetched_at <= after:
            continue
        if known.deleted or known.content_hash != row.content_hash:
            found.append(row)
    return found


def look_at(row: Row, cause: str) -> NewTask:
    """Have it read: nobody waits for it."""
    return NewTask.fetch(row.resource, row.external_id, lane=Lane.LOW, cause=cause)
