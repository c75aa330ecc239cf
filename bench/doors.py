"""`python -m bench.doors KIND`: a server that takes deliveries, in a process of its own; prints its port on one line.

* `null`: an aiohttp handler that reads the body and does nothing
* `syncd`: the daemon's own public site, receivers and intake, and nothing beside them
* `single`: what one writes first: the null handler with the same check of the signature and one insert a request
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
from datetime import UTC, datetime

import asyncpg
import orjson
import uvloop
from aiohttp import web

from bench.hammer import KEY, SECRET
from syncd.clock import SystemClock
from syncd.config import ServerConfig
from syncd.config.units import parse_address
from syncd.kit import Receiver, RestDriver, Secret, signatures
from syncd.kit.reading import parse
from syncd.server.app import Site
from syncd.server.express import Express
from syncd.server.webhooks import Webhooks
from syncd.store.intake import Intake

HOOKS = {"verify": "standard", "event_id": "header:webhook-id", "type": "type"}
NO_CAP = 1e9
POOL = 16


async def null(_: str) -> int:
    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=202)

    return await _plain(take)


async def single(database: str) -> int:
    pool = await asyncpg.create_pool(database, min_size=POOL, max_size=POOL)

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        headers, now = request.headers, datetime.now(UTC)
        name, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp")
        seal = headers.get("webhook-signature")
        if signatures.standard(body, name, stamp, seal, [KEY], now.timestamp()) is not signatures.Verdict.FITS:
            return web.Response(status=401)
        await pool.execute(
            "INSERT INTO syncd.inbox (integration, event_id, event_type, body, received_at) VALUES ($1, $2, $3, $4, $5) "
            "ON CONFLICT DO NOTHING",
            "bench_one", name, orjson.loads(body)["type"], body, now,
        )  # fmt: skip
        return web.Response(status=202)

    return await _plain(take)


async def syncd(database: str) -> int:
    clock = SystemClock()
    driver = RestDriver(parse({"name": "bench", "webhooks": HOOKS}))
    receivers = {("bench", "bench_one"): Receiver("bench", "bench_one", driver, [Secret(SECRET)], per_second=NO_CAP)}
    webhooks = Webhooks(lambda: receivers, Intake(database, clock=clock), clock=clock)
    config = ServerConfig()
    site = Site(
        "public", parse_address("127.0.0.1:0"), webhooks.routes(),
        clock=clock, config=config, connections=config.max_connections, body_bytes=config.body_bytes,
        express=Express(webhooks.begin, clock=clock, body_bytes=config.body_bytes),
    )  # fmt: skip
    await site.open()
    _kept.append(asyncio.create_task(site.doors.watch()))
    return site.address.port or 0


_kept: list[object] = []


async def _plain(handler: object) -> int:
    app = web.Application()
    app.router.add_post("/webhooks/{partner}/{integration}", handler)  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    _kept.extend((runner, site))
    return int(runner.addresses[0][1])


KINDS = {"null": null, "single": single, "syncd": syncd}


async def serve(kind: str, database: str) -> None:
    port = await KINDS[kind](database)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)  # as the daemon does
    print(port, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.doors", description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--database", default=os.environ.get("BENCH_DATABASE", ""))
    options = parser.parse_args()
    uvloop.run(serve(options.kind, options.database))


if __name__ == "__main__":
    main()
