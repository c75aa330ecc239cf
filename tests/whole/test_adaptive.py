"""A partner that allows less than it says, and one whose clock is hours off: what the real daemon makes of their 429s."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.whole.daemon import Daemon
from tests.whole.metered import described, journal

WINDOW = 6.0


def file(base_url: str, rate: str, page_size: int = 2) -> dict[str, Any]:
    rest = {**described(8), "page_size": page_size}
    return {
        "driver": "rest",
        "base_url": base_url,
        "rest": rest,
        "limits": {"tiers": [rate], "accept_risk": True},
        "integrations": {"acme": {"credentials": {"api_key": "key-1"}}},
    }


async def told(daemon: Daemon) -> dict[str, Any]:
    """The one tier of the one scope, as `syncd status --json` tells it."""
    code, out, err = await daemon.cli("status", "--json")
    assert code in (0, 1), err
    (scope,) = orjson.loads(out)["scopes"]
    (tier,) = scope["tiers"]
    found: dict[str, Any] = {**tier, "refusals": scope["refusals"]}
    return found


@pytest.mark.timeout(240)
async def test_a_limit_tightened_without_a_word_costs_a_handful_of_429s_ever(tmp_path: Path, database: str, metering):
    simulator, control = metering(tiers=[f"100/{WINDOW:g}s"], latency=(0.05, 0.2))

    async def refused() -> int:
        return int((await control.stats())["refused_429"])

    daemon = Daemon(tmp_path, database, {"metered": file(simulator.base_url, f"100/{WINDOW:g}s")})
    await daemon.start()
    await asyncio.sleep(1.5 * WINDOW)
    assert await refused() == 0
    await control.tighten(0.1, silent=True)
    tightened_at, _ = await journal(control)

    async def learned() -> bool:
        lesson = (await told(daemon))["learned"]
        return lesson is not None and lesson["limit"] <= 20

    await daemon.until(learned, seconds=6 * WINDOW, every=1.0)
    await asyncio.sleep(3 * WINDOW)
    at_first = await refused()
    shown = await told(daemon)
    print(f"{at_first} 429s; {shown['learned']}; {shown['observed']}")
    assert 1 <= at_first <= 5
    assert shown["stated"] == 100
    assert shown["budget"] <= 20
    assert shown["learned"]["source"] == "429"
    assert "tiers:" in shown["learned"]["yaml"]
    assert daemon.log().count('"event":"limit_learned"') >= 1

    await daemon.kill()
    await daemon.start()
    await daemon.until(learned, seconds=20, every=0.5)  # what was paid for is remembered over a kill
    await asyncio.sleep(WINDOW)
    daemon.write_partner("metered", file(simulator.base_url, f"100/{WINDOW:g}s", page_size=3))
    daemon.hup()
    await asyncio.sleep(2 * WINDOW)
    assert await learned(), "and over a reload"
    now, lines = await journal(control)
    late = [line for line in lines if line.at > now - 3 * WINDOW and line.status == 200]
    print(f"{await refused()} 429s in the end, {len(late)} calls in the last three windows")
    assert await refused() <= 5
    assert len(late) >= 3 * 10 * 0.5, "what remains of the limit is used"
    assert now > tightened_at
    assert await daemon.stop() == 0
