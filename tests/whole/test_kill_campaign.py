"""kill -9 at random and at chosen moments while the partner changes, tells, is polled and pushed to: nothing lost or doubled.

A dozen kills by a seed that stays and a dozen by a fresh one with the suite, so that each chosen moment is met; `make soak`
has fifty by each.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncd.testing.control import Control
from syncd.testing.process import Spawned
from tests.whole.campaign import POINTS, Campaign
from tests.whole.conftest import LABELS, PLAIN, hooked, only
from tests.whole.daemon import Daemon, Rows
from tests.whole.plain import WEBHOOK_SECRET

THINGS = 1500
KEPT = 60
EVENTS_PER_SECOND = 200
FRESH_SEED = secrets.randbelow(10**9)

Plain = Callable[..., tuple[Spawned, Control]]


async def campaign(kills: int, seed: int, tmp_path: Path, database: str, rows: Rows, plain: Plain) -> None:
    print(f"seed {seed}")
    simulator, control = plain(things=THINGS, kept=KEPT, seed=seed % 1000, latency=(0.001, 0.02))
    kept = [external_id for external_id, raw in (await control.truth("things")).items() if raw.get("kept")]
    settings: dict[str, Any] = {"every": "1s", "full_every": "4s", "guard": {"share": 1.0, "records": 100_000}}
    partner = hooked(simulator.base_url, resources=only("things", "flow", **settings))
    things = {**PLAIN["resources"]["things"], "pushes": LABELS}
    partner["rest"] = {**partner["rest"], "resources": {**PLAIN["resources"], "things": things}}
    daemon = Daemon(tmp_path, database, {"plain": partner})
    try:
        await fought(daemon, control, rows, kept, kills, seed)
    finally:
        if daemon.process is not None:
            await daemon.kill()


async def fought(daemon: Daemon, control: Control, rows: Rows, kept: list[str], kills: int, seed: int) -> None:
    """All the kills, and then the books."""
    dice = random.Random(seed)
    await control.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/plain/acme", WEBHOOK_SECRET)
    await control.stream(EVENTS_PER_SECOND, resources=("things",), creations=0.08, deletions=0.06)
    # Answers that come late are overtaken by others, and of some pushes nobody hears whether they arrived.
    await control.misbehave("latency", match="GET /v1/things/{id}", min=0.1, max=0.6, share=0.1)
    await control.misbehave("drop_after", match="POST /v1/things/{id}/labels", share=0.1)
    run = Campaign(daemon, control, rows, dice, "acme")
    run.push_steadily(daemon.database_url, kept, 0.1)
    began = time.monotonic()
    points = [POINTS[number % len(POINTS)] for number in range(kills)]
    dice.shuffle(points)
    try:
        for number, point in enumerate(points):
            await run.kill_at(point)
            if number % 4 == 3:
                await control.ask("POST", "redeliver", {"count": 100})  # what came long ago comes once more, backwards
    finally:
        await run.stop_pushing()
        await control.stop_stream()
    took = time.monotonic() - began
    await control.behave()
    stats = await control.stats()
    await daemon.start()
    await run.settle(("things", "flow"), seconds=200)
    acknowledged = len(set(await control.acknowledged()))
    print(f"{kills} kills in {took:.0f} s at {run.met}, not met {run.missed}")
    changes = sum(stats["mutations"].values())
    print(f"{changes} changes ({changes / took:.0f}/s), "
          f"{acknowledged} deliveries acknowledged, {stats['webhooks']['failed']} given up by the sender, "
          f"{len(run.pushed)} pushes")  # fmt: skip
    print(
        f"ready: median {sorted(run.ready_seconds)[len(run.ready_seconds) // 2]:.2f} s, most {max(run.ready_seconds):.2f} s"
    )
    assert acknowledged > 0
    assert await run.lost() == []
    assert await run.doubled_pushes() == {}
    assert await run.broken_changes() == []
    assert await run.buried() == []
    assert (await control.stats())["violations"] == 0
    assert await daemon.stop() == 0


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [20261122, FRESH_SEED], ids=["fixed", "fresh"])
async def test_kills_at_chosen_moments_lose_nothing_acknowledged_and_double_nothing(
    seed: int, tmp_path: Path, database: str, rows: Rows, plain: Plain
):
    await campaign(12, seed, tmp_path, database, rows, plain)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [20261122, FRESH_SEED], ids=["fixed", "fresh"])
async def test_fifty_kills_of_one_seed_lose_nothing_acknowledged_and_double_nothing(
    seed: int, tmp_path: Path, database: str, rows: Rows, plain: Plain
):
    await campaign(50, seed, tmp_path, database, rows, plain)
