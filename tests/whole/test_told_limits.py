"""Others spend from the same limit, and the partner says so: the real daemon keeps out of their way, in each dialect."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from syncd.testing.control import Control
from tests.whole.daemon import Daemon
from tests.whole.metered import described, journal
from tests.whole.warm import spawn

WINDOW, LIMIT = 4.0, 40
DIALECTS = {
    "draft": None,
    "epoch": {"window": "4s"},
    "body": {
        "limit": "quota.cap",
        "remaining": "quota.left",
        "reset": "quota.again_ms",
        "millis": True,
        "window": "4s",
    },
}
"""What the description says of each; the IETF's fields need no word."""


def file(base_url: str, headers: Any) -> dict[str, Any]:
    return {
        "driver": "rest",
        "base_url": base_url,
        "rest": {**described(4), "limits": {"share": 1.0, "headers": headers}},
        "limits": {"tiers": [f"{LIMIT}/{WINDOW:g}s"], "accept_risk": True},
        "integrations": {"acme": {"credentials": {"api_key": "key-1"}}},
    }


async def others(url: str, until: asyncio.Event) -> None:
    """Another application of the account: half of the limit, evenly."""
    async with aiohttp.ClientSession(headers={"X-Api-Key": "key-of-others"}) as session:
        while not until.is_set():
            async with session.get(f"{url}/v1/me") as answer:
                await answer.read()
            await asyncio.sleep(2 * WINDOW / LIMIT)


@pytest.mark.parametrize(
    "dialect", ["draft", *(pytest.param(name, marks=pytest.mark.soak) for name in ("epoch", "body"))]
)
async def test_what_others_spend_is_seen_and_left_to_them(dialect: str, tmp_path: Path, database: str) -> None:
    simulator = spawn("tests.whole.telling", dialect=dialect, tiers=[f"{LIMIT}/{WINDOW:g}s"], latency=(0.02, 0.1))
    daemon = Daemon(tmp_path, database, {"told": file(simulator.base_url, DIALECTS[dialect])})
    enough = asyncio.Event()
    try:
        await daemon.start()
        await asyncio.sleep(WINDOW)
        spending = asyncio.ensure_future(others(simulator.url, enough))

        async def seen() -> bool:
            code, out, err = await daemon.cli("status", "--json")
            assert code in (0, 1), err
            (tier,) = orjson.loads(out)["scopes"][0]["tiers"]
            return bool(tier["stated"] == LIMIT and tier["foreign"] >= LIMIT / 5)

        await daemon.until(seen, seconds=8 * WINDOW, every=0.5)
        await asyncio.sleep(2 * WINDOW)
        enough.set()
        await spending
        _, lines = await journal(Control(simulator.url))
        ours = [line for line in lines if line.key == "key-1"]
        assert sum(line.status == 429 for line in ours) <= 5, "the moment before it was told may cost some"
        assert len(ours) >= LIMIT, "what the others leave is used"
        assert await daemon.stop() == 0
    finally:
        enough.set()
        await daemon.stop()
        simulator.stop()
