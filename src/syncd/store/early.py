"""A page whose predecessor is still being committed: its rows go in meanwhile, on another connection.

Commits of a run follow each other, since each moves the cursor from where the one before left it (R1). Most of a commit's
work is putting rows in, though, and that needs no order as long as the rows are new and the pages have none in common. So
the second page's transaction begins early and waits, with its rows in place and nothing else done, for the first page's
commit. Then it checks fence and cursor like any other, or leaves nothing behind.

Holding rows while waiting for another transaction could close a circle of waiting that the database cannot see. So the wait
is short: whoever waits in vain rolls back and stores the page the ordinary way.
"""

from __future__ import annotations

import asyncio

from syncd.model import History
from syncd.store.database import ConflictError, Database
from syncd.store.page_call import MOST_ROWS
from syncd.store.rows import PageResult, PageWrite

PATIENCE_SECONDS = 5.0

INSERT = """
INSERT INTO syncd.records (
    integration, resource, external_id, source_version, source_updated_at, fetched_at, synced_at, content_hash, sparse_hash,
    adapter, cause, parent_id, data, raw)
SELECT
    $1, i.resource, i.id, i.version, i.updated_at, i.fetched_at, $2, i.hash, CASE WHEN i.sparse THEN i.hash END,
    i.adapter, i.cause, i.parent_id, i.data, i.raw
FROM syncd.unpacked($3::syncd.page_rows) i
"""
"""Fails where one of the records is known: then the page is not for here."""


def fits(page: PageWrite, earlier: PageWrite) -> bool:
    """May the page's rows go in before the earlier page is committed?"""
    history = page.history if isinstance(page.history, History) else page.history.get(page.resource, History.CHANGES)
    if (
        not page.fresh or history is History.FULL or len(page.rows) > MOST_ROWS
    ):  # the feed of changes has an order of its own
        return False
    ids = {row.external_id for row in page.rows if row.resource == page.resource and not row.deleted}
    return len(ids) == len(page.rows) > 0 and ids.isdisjoint(row.external_id for row in earlier.rows)


async def turn(database: Database, before: asyncio.Future[PageResult]) -> None:
    """Wait for the earlier commit. Raises its error, and ConflictError when it takes so long that we may be in its way."""
    try:
        async with database.clock.timeout(PATIENCE_SECONDS):
            await asyncio.wait({before})
    except TimeoutError:
        raise ConflictError("the page before was not committed in time") from None
    before.result()
