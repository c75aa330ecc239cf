"""The nightly prune over a large inbox and a long feed: how long, and how long the longest statement.

`python -m bench.retention [ROWS]`: so many deliveries that came evenly over 31 days, payloads older than 8 days forgotten,
and as many changes of 91 days. That is what a night finds: a day's payloads, a day's keys and a day's changes are due.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from syncd.clock import SystemClock
from syncd.store import Retention, Store, embedded
from syncd.store.database import Database

_INBOX = """
INSERT INTO syncd.inbox
    (integration, event_id, event_type, headers, body, state, received_at, finished_at, attempts, resource, external_id)
SELECT 'acme', md5(n::text), 'x', '{}', CASE WHEN age < 8 THEN convert_to(repeat('x', 800), 'UTF8') END, 'done',
       now() - make_interval(secs => 86400 * age), now() - make_interval(secs => 86400 * age), 1, 'things', 'p' || n
FROM (SELECT n, 31.0 * ($1::bigint - n) / $1::bigint AS age FROM generate_series($2::bigint, least($2 + 249999, $1)) n) d
"""
_CHANGES = """
INSERT INTO syncd.changes (integration, resource, external_id, row_version, kind, field, old, new, cause, changed_at, bound)
SELECT 'acme', 'things', 'p' || n, 2, 'update', 'name', '"old"', '"new"', 'page',
       now() - make_interval(secs => 86400 * age), '1'
FROM (SELECT n, 91.0 * ($1::bigint - n) / $1::bigint AS age FROM generate_series($2::bigint, least($2 + 249999, $1)) n) d
"""


class Timed:
    """Every statement of a database, with what it took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __enter__(self) -> Timed:
        self._asked = {name: getattr(Database, name) for name in ("execute", "fetchrow")}
        for name, asked in self._asked.items():
            setattr(Database, name, self._timing(asked))
        return self

    def __exit__(self, *_: object) -> None:
        for name, asked in self._asked.items():
            setattr(Database, name, asked)

    def _timing(self, asked: Any) -> Any:
        async def timing(database: Database, sql: str, *values: Any) -> Any:
            began = time.perf_counter()
            try:
                return await asked(database, sql, *values)
            finally:
                self.seconds.append(time.perf_counter() - began)

        return timing


async def main(url: str, rows: int, prune: Callable[[Store], Any] = lambda store: store.prune) -> None:
    async with await Store.open(url, clock=SystemClock(), pool_size=2) as store:
        for sql in (_INBOX, _CHANGES):
            for first in range(1, rows + 1, 250_000):
                await store._database.execute(sql, rows, first)
        await store._database.execute("ANALYZE")
        kept = Retention()
        for number, night in enumerate(("the first night", "the second night")):
            day = timedelta(days=number)  # what a day later would be due
            with Timed() as timed:
                began = time.perf_counter()
                done = await prune(store).run(
                    replace(
                        kept,
                        inbox_bodies=kept.inbox_bodies - day,
                        inbox_keys=kept.inbox_keys - day,
                        changes=kept.changes - day,
                    ),
                    pause_seconds=0,
                )
                seconds = time.perf_counter() - began
            removed = getattr(done, "removed", done)
            longest = max(timed.seconds) * 1000
            print(
                f"{night}: {seconds:.2f} s in {len(timed.seconds)} statements, the longest {longest:.0f} ms;", end=" "
            )
            print({name: count for name, count in removed.items() if count}, flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="syncd-bench-") as folder:
        Path(folder).chmod(0o755)
        with embedded.start(Path(folder), settings=embedded.DURABLE) as server:
            asyncio.run(main(server.url, int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
