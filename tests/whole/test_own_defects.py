"""Defects of drivers, planted in a running daemon: each is named and clear within a minute, and no worker is lost."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows
from tests.whole.deadly import packaged
from tests.whole.surfaces import conditions

WITHIN_SECONDS = 60.0


async def turns(daemon: Daemon, integration: str, code: str, there: bool) -> float:
    """Seconds until it is said, or no longer."""
    began = time.monotonic()
    while time.monotonic() - began < 2 * WITHIN_SECONDS:
        try:
            if ((integration, code) in await conditions(daemon)) is there:
                return time.monotonic() - began
        except (OSError, TimeoutError):
            pass  # a daemon that is late is late with its answers too
        await asyncio.sleep(0.5)
    raise AssertionError(f"{code} was not {'said' if there else 'over'}: {daemon.log()[-3000:]}")


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_driver_that_keeps_the_loop_and_one_that_cancels_itself_are_named_and_cost_no_worker(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, _ = plain(things=300)
    body = partner(simulator.base_url, driver="defective", resources=only("things", every="2s", strategy="full"))
    env = packaged(tmp_path / "site", "defective", "tests.whole.defective:Defective", body.pop("rest"))
    defects = tmp_path / "defects"
    defects.mkdir()
    found: dict[str, tuple[float, float]] = {}
    env = {**env, "SYNCD_TEST_DEFECTS": str(defects)}
    async with Daemon(tmp_path / "d", database, {"plain": body}, env=env) as daemon:
        for defect, integration, code in (("blocks", "", "loop-late"), ("ends", "acme", "internal-error")):
            (defects / defect).touch()
            named = await turns(daemon, integration, code, there=True)
            (defects / defect).unlink()
            found[code] = named, await turns(daemon, integration, code, there=False)
        workers = (await daemon.status())["workers"]
        assert workers["alive"] == workers["total"]
        assert ("", "workers-dead") not in await conditions(daemon)
    print(found)
    assert all(seconds < WITHIN_SECONDS for pair in found.values() for seconds in pair), found
    assert await rows.count("acme", "things") == 300, "a listing that was cut off was never a whole one"
