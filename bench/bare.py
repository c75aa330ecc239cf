"""What a competent person writes in an hour: fetch, parse, hash, bulk-upsert, and nothing of what makes a copy right.

No limits, retries, checkpoints, change log, validation, deletions, ownership or metrics. It speaks through the same
transport as syncd, fetches ahead while it stores, and stores on two connections. It prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import resource
import time
from typing import Any

import asyncpg
import httpx
import orjson
import uvloop
from httpx_aiohttp import AiohttpTransport

PAGE = 100
AHEAD = 4
"""Pages fetched before they are stored."""
WRITERS = 2
TABLE = (
    "CREATE TABLE IF NOT EXISTS bare (id text PRIMARY KEY, hash bytea NOT NULL, data jsonb NOT NULL, raw json NOT NULL)"
)
UPSERT = """
INSERT INTO bare (id, hash, data, raw)
SELECT id, hash, data::jsonb, raw::json
FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[]) AS page (id, hash, data, raw)
ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, data = excluded.data, raw = excluded.raw
WHERE bare.hash <> excluded.hash
"""
KNOWN = "SELECT id, hash FROM bare WHERE id IN (SELECT unnest($1::text[]))"
FIELDS = ("name", "status", "amount", "count", "updated_at")


async def fetch(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    async with client.stream("GET", url) as answer:
        assert answer.status_code == 200
        page: dict[str, Any] = orjson.loads(b"".join([chunk async for chunk in answer.aiter_raw()]))
        return page


async def fetch_by_cursor(client: httpx.AsyncClient, url: str, out: asyncio.Queue[list[Any] | None]) -> None:
    after: str | None = "0"
    while after is not None:
        page = await fetch(client, f"{url}/records?limit={PAGE}&after={after}")
        after = page["next"]
        await out.put(page["data"])


async def fetch_by_offset(client: httpx.AsyncClient, url: str, out: asyncio.Queue[list[Any] | None]) -> None:
    first = await fetch(client, f"{url}/records?limit={PAGE}&offset=0")
    await out.put(first["data"])
    offsets = iter(range(PAGE, first["total"], PAGE))

    async def work() -> None:
        for offset in offsets:
            await out.put((await fetch(client, f"{url}/records?limit={PAGE}&offset={offset}"))["data"])

    await asyncio.gather(*(work() for _ in range(AHEAD)))


async def store(connection: asyncpg.Connection, page: list[Any], ask_first: bool) -> None:
    raws = [orjson.dumps(record, option=orjson.OPT_SORT_KEYS) for record in page]
    hashes = [hashlib.sha256(raw).digest() for raw in raws]
    ids = [record["id"] for record in page]
    rows = range(len(page))
    if ask_first:
        known = dict(await connection.fetch(KNOWN, ids))
        rows = [row for row in rows if known.get(ids[row]) != hashes[row]]
        if not rows:
            return
    picked = [
        orjson.dumps({field: page[n][field] for field in FIELDS} | {"city": page[n]["address"]["city"]}).decode()
        for n in rows
    ]
    await connection.execute(
        UPSERT, [ids[n] for n in rows], [hashes[n] for n in rows], picked, [raws[n].decode() for n in rows]
    )


async def run(url: str, database: str, paging: str, ask_first: bool) -> dict[str, float]:
    """Import everything once. `ask_first` asks for the stored hashes and writes only what differs."""
    queue: asyncio.Queue[list[Any] | None] = asyncio.Queue(AHEAD)
    stored = 0

    async def write() -> None:
        nonlocal stored
        connection = await asyncpg.connect(database)
        while (page := await queue.get()) is not None:
            await store(connection, page, ask_first)
            stored += len(page)
        await connection.close()

    async with httpx.AsyncClient(transport=AiohttpTransport(), timeout=30) as client:
        connection = await asyncpg.connect(database)
        await connection.execute(TABLE)
        await connection.close()
        began, cpu = time.perf_counter(), time.process_time()
        writers = [asyncio.create_task(write()) for _ in range(WRITERS)]
        await (fetch_by_cursor if paging == "cursor" else fetch_by_offset)(client, url, queue)
        for _ in writers:
            await queue.put(None)
        await asyncio.gather(*writers)
        seconds = time.perf_counter() - began
    return {
        "records": stored,
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--paging", choices=["cursor", "offset"], default="cursor")
    parser.add_argument("--ask-first", action="store_true")
    options = parser.parse_args()
    print(json.dumps(uvloop.run(run(options.url, options.database, options.paging, options.ask_first))))
