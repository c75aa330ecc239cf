"""Bad weather for minutes: a partner that misbehaves in every way while its data changes and the daemon is killed."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from pathlib import Path

import pytest

from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows

SECONDS = float(os.environ.get("SYNCD_SOAK_SECONDS", "180"))
TROUBLES = [
    ("status", {"status": 500}),
    ("status", {"status": 503, "retry_after": "1"}),
    ("status", {"status": 429, "retry_after": "1"}),
    ("status", {"status": 502, "body": "<html>bad gateway</html>"}),
    ("html", {}),
    ("cut", {}),
    ("half_json", {}),
    ("drop_before", {}),
    ("drop_after", {}),
    ("slow_body", {"seconds": 1.0}),
    ("gzip_bomb", {}),
    ("empty", {}),
    ("missing", {"share": 0.4}),
    ("wrong_total", {"by": 50}),
    ("poison", {"how": "nul"}),
    ("poison", {"how": "missing_id"}),
    ("poison", {"how": "wrong_types"}),
    ("poison", {"how": "huge_number"}),
    ("loop", {}),
    ("skew", {"by": 600}),
]
"""What the partner does to some of its answers while it lasts; none of it is its truth."""


@pytest.mark.soak
@pytest.mark.timeout(SECONDS * 3 + 600)
async def test_after_any_weather_the_copy_is_equal_to_the_truth(tmp_path: Path, database: str, rows: Rows, plain):
    seed = int(os.environ.get("SYNCD_SOAK_SEED", secrets.randbelow(10**9)))
    print(f"SYNCD_SOAK_SEED={seed}")
    dice = random.Random(seed)
    simulator, control = plain(things=3000, latency=(0.0, 0.03), seed=seed % 1000, notes=2)
    resources = only("flow", "things", every="2s", full_every="20s")
    daemon = Daemon(tmp_path, database, {"plain": partner(simulator.base_url, resources=resources)})
    await daemon.start()
    await control.stream(per_second=20, resources=("things",))
    began = time.monotonic()
    kills = hups = 0
    while time.monotonic() - began < SECONDS:
        kind, params = dice.choice(TROUBLES)
        await control.misbehave(
            kind,
            share=dice.choice([0.05, 0.3, 1.0]) if kind != "missing" else 1.0,
            **(params if kind != "missing" else {}),
        )
        await asyncio.sleep(dice.uniform(0.5, 4.0))
        await control.behave()
        await control.misbehave("latency", min=0.0, max=0.03)
        match dice.randrange(4):
            case 0:
                await daemon.kill()
                await daemon.start()
                kills += 1
            case 1:
                daemon.hup()
                hups += 1
            case _:
                await asyncio.sleep(dice.uniform(0.0, 1.0))
    await control.stop_stream()
    await control.behave()
    truth = await control.truth("things")
    await daemon.cli("sync", "acme", "--no-wait")
    await daemon.cli("reconcile", "acme/flow", "--confirm")
    await daemon.cli("reconcile", "acme/things", "--confirm")
    await daemon.cli("reconcile", "acme", "--no-wait")

    async def converged() -> bool:
        return await rows.live("acme", "flow") == truth and await rows.live("acme", "things") == truth

    await daemon.until(converged, seconds=240, every=1.0)
    violations = (await control.stats())["violations"]
    assert await daemon.stop() == 0
    print(f"{kills} kills, {hups} reloads, {len(truth)} records equal, {violations} violations")
    assert violations == 0
