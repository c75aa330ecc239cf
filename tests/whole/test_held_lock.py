"""Somebody holds a lock on a table of ours for longer than a lease lasts: none is lost, nobody else works meanwhile, and what
waited is done once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import asyncpg
import pytest

from syncd.clock import SystemClock
from syncd.store import Store
from tests.whole.conftest import hooked, only
from tests.whole.daemon import Daemon, Rows
from tests.whole.plain import KEY, WEBHOOK_SECRET

HELD_SECONDS = 90.0


@pytest.mark.soak
@pytest.mark.timeout(400)
async def test_a_lock_held_for_longer_than_a_lease_lasts_loses_none(tmp_path: Path, database: str, rows: Rows, plain):
    simulator, control = plain(things=60)
    integration = {"credentials": {"api_key": KEY}, "webhook": {"secrets": [WEBHOOK_SECRET]}}
    body = hooked(simulator.base_url, resources=only("things")) | {"integrations": {"acme": integration}}
    async with Daemon(tmp_path, database, {"plain": body}) as daemon:
        await control.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/plain/acme", WEBHOOK_SECRET)
        await control.stream(2.0, resources=("things",), creations=0.0, deletions=0.0)
        await asyncio.sleep(5)
        before = await rows.connection.fetch("SELECT scope, owner, fence FROM syncd.leases ORDER BY 1")
        hand = await asyncpg.connect(database, server_settings={"application_name": "psql"})
        await hand.execute("BEGIN; LOCK TABLE syncd.tasks IN SHARE MODE")
        got, least, until = 0, float("inf"), time.monotonic() + HELD_SECONDS
        async with await Store.open(database, clock=SystemClock(), migrate=False) as rival:
            while time.monotonic() < until:
                for scope in before:
                    got += await rival.leases.acquire(scope["scope"], "rival:1:x", 30.0) is not None
                left = await rows.connection.fetchval(
                    "SELECT extract(epoch FROM min(expires_at) - clock_timestamp()) FROM syncd.leases"
                )
                least = min(least, float(left))
                await asyncio.sleep(1)
        await hand.close()
        print(f"the least that was left of a lease: {least:.1f} s")
        assert got == 0, "a lease was lost"
        assert least > 10, "they were renewed in time"
        assert await rows.connection.fetch("SELECT scope, owner, fence FROM syncd.leases ORDER BY 1") == before
        assert "scope_l" not in daemon.log(), "scope_lost, scope_lease_expired"
        await control.stop_stream()

        async def same() -> bool:
            return await rows.live("acme", "things") == await control.truth("things")

        await daemon.until(same, seconds=60)
        assert await rows.connection.fetchval("SELECT count(*) FROM syncd.dead_letters") == 0
