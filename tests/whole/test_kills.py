"""kill -9 at any moment of an import: nothing lost, doubled or stale, and the cursor never ahead of the data."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from pathlib import Path

import pytest

from syncd.testing.control import Control
from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows

RECORDS = 20_000
KILLS = 30
FRESH_SEED = secrets.randbelow(10**9)


async def cursor_is_not_ahead(control: Control, rows: Rows) -> None:
    """Everything the partner lists up to the stored cursor is stored."""
    cursor = await rows.connection.fetchval("SELECT cursor FROM syncd.checkpoints WHERE resource = 'flow'")
    if cursor is None:
        return
    ids = await control.truth_ids("things")
    if cursor not in ids:
        return  # that record has been deleted since; the next kill looks again
    stored = {
        row["external_id"]
        for row in await rows.connection.fetch("SELECT external_id FROM syncd.records WHERE resource = 'flow'")
    }
    missing = [external_id for external_id in ids[: ids.index(cursor) + 1] if external_id not in stored]
    assert not missing, f"{len(missing)} records before the cursor are not stored"


@pytest.mark.timeout(420)
@pytest.mark.parametrize("seed", [20261121, FRESH_SEED], ids=["fixed", "fresh"])
async def test_thirty_kills_during_an_import_lose_double_and_age_nothing(
    seed: int, tmp_path: Path, database: str, rows: Rows, plain
):
    print(f"seed {seed}")
    dice = random.Random(seed)
    simulator, control = plain(things=RECORDS, latency=(0.02, 0.08), seed=seed % 1000)
    daemon = Daemon(tmp_path, database, {"plain": partner(simulator.base_url, resources=only("flow", every="2s"))})
    await control.stream(per_second=40, total=2000, resources=("things",))
    ready: list[float] = []
    first_commit: list[float] = []
    for kill in range(KILLS):
        before = await rows.connection.fetchval("SELECT coalesce(max(id), 0) FROM syncd.runs")
        pages = await rows.connection.fetchval("SELECT coalesce(sum(pages), 0) FROM syncd.runs")
        ready.append(await daemon.start())
        started = time.monotonic()
        moment = dice.uniform(0.0, 1.2)
        committed = None
        while time.monotonic() - started < moment or (committed is None and kill % 3 == 0):
            now = await rows.connection.fetchval("SELECT coalesce(sum(pages), 0) FROM syncd.runs")
            newer = await rows.connection.fetchval("SELECT coalesce(max(id), 0) FROM syncd.runs")
            if committed is None and (now > pages or newer > before):
                committed = time.monotonic() - started
            await asyncio.sleep(0.01)
            assert time.monotonic() - started < 60, daemon.log()[-4000:]
        if committed is not None:
            first_commit.append(ready[-1] + committed)
        await daemon.kill()
        await cursor_is_not_ahead(control, rows)
    print(f"ready: median {sorted(ready)[KILLS // 2]:.2f} s, most {max(ready):.2f} s")
    print(f"first commit after start: most {max(first_commit):.2f} s of {len(first_commit)}")
    await control.stop_stream()
    await control.behave("latency")
    await daemon.start()
    truth = await control.truth("things")

    async def converged() -> bool:
        return await rows.live("acme", "flow") == truth

    await daemon.until(converged, seconds=120, every=0.5)
    assert await daemon.stop() == 0
    doubled = await rows.connection.fetchval(
        "SELECT count(*) FROM (SELECT 1 FROM syncd.records GROUP BY integration, resource, external_id"
        " HAVING count(*) > 1) twice"
    )
    assert doubled == 0
    broken = await rows.connection.fetchval("SELECT count(*) FROM syncd.rejects")
    assert broken == 0
