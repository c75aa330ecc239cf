"""A process that owns a scope until it is killed: `python owner.py URL SCOPE OWNER`. Says its fence, then waits."""

from __future__ import annotations

import asyncio
import sys

from syncd.clock import SystemClock
from syncd.store import Store


async def main(url: str, scope: str, owner: str) -> None:
    store = await Store.open(url, clock=SystemClock(), pool_size=1, migrate=False)
    fence = None
    while fence is None:
        fence = await store.leases.acquire(scope, owner, 3600)
    print(fence, flush=True)
    await asyncio.sleep(3600)


asyncio.run(main(*sys.argv[1:]))
