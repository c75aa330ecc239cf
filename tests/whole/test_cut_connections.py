"""Database connections cut at random while events are worked on and pushes sent: nothing stays taken, all of it is done."""

from __future__ import annotations

import asyncio
import random
import secrets
from pathlib import Path

import orjson
import pytest

from tests.whole.conftest import LABELS, PLAIN, hooked, only
from tests.whole.daemon import Daemon, Rows
from tests.whole.plain import WEBHOOK_SECRET

FRESH_SEED = secrets.randbelow(10**9)
CUTS = 24


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [FRESH_SEED], ids=["fresh"])
async def test_what_was_under_way_when_connections_broke_is_done_all_the_same(
    seed: int, tmp_path: Path, database: str, rows: Rows, plain
):
    print(f"seed {seed}")
    dice = random.Random(seed)
    simulator, control = plain(things=CUTS, kept=CUTS, latency=(0.01, 0.05))
    body = hooked(simulator.base_url, resources=only("things", every="12h", jitter="0s"))
    things = {**PLAIN["resources"]["things"], "pushes": LABELS}
    body["rest"] = {**body["rest"], "resources": {**PLAIN["resources"], "things": things}}
    async with Daemon(tmp_path, database, {"plain": body}) as daemon:

        async def same() -> bool:
            return await rows.live("acme", "things") == await control.truth("things")

        await daemon.until(same)
        await control.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/plain/acme", WEBHOOK_SECRET)
        ids = await control.truth_ids("things")
        for number in range(CUTS):
            await control.update("things", ids[number], {"name": f"change {number}"})
            if number % 4 == 0:
                await rows.connection.execute(
                    "SELECT syncd.push('acme', 'things', $1, $2::jsonb, external_id => $3)",
                    dice.choice(("label", "tag")),
                    orjson.dumps({"label": f"label {number}"}).decode(),
                    dice.choice(ids),
                )
            if number % 8 == 3:
                await daemon.post("sync", {"integration": "acme", "resource": "things"})  # 503 where it met a cut
            await asyncio.sleep(dice.uniform(0.0, 0.15))
            await rows.connection.execute(
                "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY random() LIMIT $1) chosen",
                dice.choice((1, 1, 2, 20)),
            )

        async def nothing_open() -> bool:
            inbox = "SELECT count(*) FROM syncd.inbox WHERE state NOT IN ('done', 'dropped')"
            outbox = "SELECT count(*) FROM syncd.outbox WHERE state <> 'done'"
            tasks = "SELECT count(*) FROM syncd.tasks"
            return [await rows.connection.fetchval(sql) for sql in (inbox, outbox, tasks)] == [0, 0, 0]

        try:
            await daemon.until(same, seconds=90, every=0.5)
            await daemon.until(nothing_open, seconds=90, every=0.5)
        except AssertionError:
            for sql in (
                "SELECT id, kind, external_id, state, taken_fence, taken_at, not_before, attempts, reason FROM syncd.tasks",
                "SELECT id, state, taken_fence, attempts, reason FROM syncd.outbox WHERE state <> 'done'",
                "SELECT id, state, attempts, lost, reason FROM syncd.inbox WHERE state NOT IN ('done', 'dropped')",
                "SELECT scope, fence FROM syncd.leases",
            ):
                print(sql)
                for row in await rows.connection.fetch(sql):
                    print("   ", dict(row))
            raise
        put_on = await control.do("labels")
        assert put_on == {f"label {number}": 1 for number in range(0, CUTS, 4)}
        assert await rows.connection.fetchval("SELECT count(*) FROM syncd.dead_letters") == 0
