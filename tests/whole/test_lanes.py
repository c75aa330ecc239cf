"""Lanes and fairness, with the real daemon and partners that count: what is urgent does not wait for a backfill.

A wait is measured from the moment the row was written (a trigger in the database notes it) to the arrival of the call in
the partner's own journal.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from syncd.model import Lane
from syncd.store import NewTask, Store
from tests.whole.daemon import Daemon, Rows
from tests.whole.metered import NOTE_TASKS, described, journal, waits

LISTS = 12
"""More than the partner has workers: eight."""


def metered(base_url: str, limits: dict[str, Any], keys: dict[str, str], **more: Any) -> dict[str, Any]:
    """A partner file; `keys`: integration to key."""
    return {
        "driver": "rest",
        "base_url": base_url,
        "rest": described(LISTS),
        "limits": {"accept_risk": True, **limits},
        "integrations": {name: {"credentials": {"api_key": key}} for name, key in keys.items()},
        **more,
    }


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("limit", "window", "times"), [(60, 24.0, 4), pytest.param(14, 12.0, 2, marks=pytest.mark.soak)]
)
async def test_one_urgent_record_waits_for_no_backfill(
    tmp_path: Path, database: str, rows: Rows, store: Store, metering, limit: int, window: float, times: int
):
    """Two thirds as often as the reserve of the high lane, a tenth, would allow."""
    await rows.connection.execute(NOTE_TASKS)
    simulator, control = metering(tiers=[f"{limit}/{window:g}s"], latency=(0.05, 0.5))
    body = metered(simulator.base_url, {"tiers": [f"{limit}/{window:g}s"]}, {"acme": "key-1"})
    async with Daemon(tmp_path, database, {"metered": body}) as daemon:
        await asyncio.sleep(window / 4)
        asked = 0
        for _ in range(times):
            await asyncio.sleep(1.5 * window / max(limit // 10, 1))
            # As the command asks; and as the follow-up of a webhook will.
            if asked % 2:
                status, _ = await daemon.post(
                    "sync", {"integration": "acme", "resource": "l0", "id": f"l0-7{asked:05}"}
                )
                assert status < 300
            else:
                await store.tasks.put(
                    "acme",
                    NewTask("fetch", "l1", external_id=f"l1-7{asked:05}", lane=Lane.HIGH, dedupe_key=f"test:{asked}"),
                )
            asked += 1
        await asyncio.sleep(4.0)
        found = await waits(rows, control)
        stats = await control.stats()
    print(f"{limit}/{window:g}s", sorted(round(wait, 3) for wait in found.values()), stats["violations"])
    assert stats["violations"] == 0
    assert len(found) == asked
    assert max(found.values()) <= 2.0


@pytest.mark.timeout(200)
async def test_integrations_of_one_scope_share_it_evenly_and_lend_what_lies_idle(
    tmp_path: Path, database: str, metering
):
    limit, window = 50, 6.0
    simulator, control = metering(tiers=[f"{limit}/{window:g}s"], latency=(0.05, 0.5))
    body = metered(simulator.base_url, {"tiers": [f"{limit}/{window:g}s"]}, {"many": "key-1", "few": "key-2"})
    for integration in body["integrations"].values():
        integration["scope"] = "shared"
    few = body["integrations"]["few"]
    few["resources"] = {f"l{number}": {"enabled": False} for number in range(6, LISTS)}
    async with Daemon(tmp_path, database, {"metered": body}):
        await asyncio.sleep(5 * window + 5.0)
        now, lines = await journal(control)
        stats = await control.stats()
    # The first window belongs to the start: whoever came first had it to himself.
    settled = [line for line in lines if lines[0].at + window <= line.at]
    shares = Counter(line.key for line in settled)
    took = sum(line.seconds or 0.0 for line in settled) / len(settled)
    used = len(settled) / (now - lines[0].at - window) * window / limit
    print(dict(shares), f"used {used:.1%} of {window / (window + took):.1%}")
    assert stats["violations"] == 0
    assert abs(shares["key-1"] - shares["key-2"]) <= 0.1 * max(shares.values())
    # Nothing urgent and nothing unhurried was asked for: what is kept for those is lent, but for the one slot.
    assert used >= 0.9 * (limit - 1) / limit * window / (window + took)


@pytest.mark.timeout(120)
async def test_a_reload_waits_for_no_limit(tmp_path: Path, database: str, rows: Rows, metering):
    simulator, control = metering(tiers=["6/90s"], latency=(0.02, 0.05))
    body = metered(simulator.base_url, {"tiers": ["6/90s"]}, {"acme": "key-1"})
    async with Daemon(tmp_path, database, {"metered": body}) as daemon:

        async def all_wait() -> bool:
            return int((await control.stats())["calls"]) >= 5

        await daemon.until(all_wait)
        body["rest"]["page_size"] = 3
        daemon.write_partner("metered", body)
        began = asyncio.get_running_loop().time()
        daemon.hup()

        async def reloaded() -> bool:
            return '"event":"config_reloaded"' in daemon.log()

        await daemon.until(reloaded, seconds=30)
        took = asyncio.get_running_loop().time() - began
        cut = await rows.connection.fetchval("SELECT count(*) FROM syncd.runs WHERE outcome = 'cut'")
        stats = await control.stats()
        stopping = asyncio.get_running_loop().time()
        await daemon.stop()
        print(f"reload {took:.2f} s, stop {asyncio.get_running_loop().time() - stopping:.2f} s, {cut} runs cut")
    assert cut == 8, "the runs were cut between two pages, not failed"
    assert took < 8.0, "the calls that waited a minute yet were not waited for"
    assert stats["violations"] == 0
