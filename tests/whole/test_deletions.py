"""Deletion is believed slowly: empty, thinned, foreign and truncated listings delete nothing, and `status` says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows

RECORDS = 400


@pytest.fixture
async def synced(tmp_path: Path, database: str, rows: Rows, plain) -> AsyncIterator[tuple[Daemon, Any]]:
    """A daemon that has two complete passes of 400 records behind it and runs on."""
    simulator, control = plain(things=RECORDS)
    async with Daemon(
        tmp_path, database, {"plain": partner(simulator.base_url, resources=only("flow", every="1s"))}
    ) as daemon:

        async def two_passes() -> bool:
            return (await passes(rows)) >= 2

        await daemon.until(two_passes)
        yield daemon, control


async def passes(rows: Rows) -> int:
    return int(
        await rows.connection.fetchval("SELECT coalesce(sum(passes), 0) FROM syncd.checkpoints WHERE resource = 'flow'")
    )


async def pass_twice_more(daemon: Daemon, rows: Rows) -> None:
    before = await passes(rows)

    async def more() -> bool:
        return await passes(rows) >= before + 3

    await daemon.until(more)


@pytest.mark.parametrize(
    ("kind", "params"),
    [("empty", {}), ("missing", {"share": 0.4}), ("foreign", {})],
    ids=["empty", "40 % missing", "another tenant's"],
)
async def test_a_wrong_listing_deletes_nothing_and_status_names_the_way_on(
    synced: tuple[Daemon, Any], rows: Rows, kind: str, params: dict[str, Any]
):
    daemon, control = synced
    truth = await control.truth_ids("things")
    await control.misbehave(kind, match="flow", **params)
    await pass_twice_more(daemon, rows)
    live = await rows.live("acme", "flow")
    assert set(truth) <= set(live), "something was deleted"
    code, out, err = await daemon.cli("status")
    said = out + err
    assert "nothing was deleted" in said
    assert "syncd reconcile acme/flow --confirm" in said
    code, _, _ = await daemon.cli("status", "--exit-code")
    assert code == 1

    await control.behave()

    async def healed() -> bool:
        status = await daemon.status()
        return status["integrations"][0]["state"] == "healthy"

    if kind != "foreign":  # what a foreign listing brought in is really missing now, and waits for a person too
        await daemon.until(healed)
        assert set(await rows.live("acme", "flow")) == set(truth)


async def test_a_person_can_confirm_held_deletions(synced: tuple[Daemon, Any], rows: Rows):
    daemon, control = synced
    truth = await control.truth_ids("things")
    for external_id in truth[:200]:
        await control.delete("things", external_id)
    await pass_twice_more(daemon, rows)
    assert await rows.count("acme", "flow") == RECORDS
    code, out, err = await daemon.cli("reconcile", "acme/flow", "--confirm")
    assert code == 0, out + err + daemon.log()[-3000:]

    async def gone() -> bool:
        return await rows.count("acme", "flow") == 200

    await daemon.until(gone)
    kept = await rows.connection.fetchval("SELECT count(*) FROM syncd.records WHERE deleted_at IS NOT NULL")
    assert kept == 200, "deletes are tombstones"


async def test_a_truncated_page_fails_the_run_and_proves_no_absence(synced: tuple[Daemon, Any], rows: Rows):
    daemon, control = synced
    before = await passes(rows)
    await control.misbehave("cut", match="flow")

    async def troubled() -> bool:
        status = await daemon.status()
        return status["integrations"][0]["state"] in {"degraded", "down"}

    await daemon.until(troubled)
    await asyncio.sleep(2)
    assert await passes(rows) <= before + 1
    assert await rows.count("acme", "flow") == RECORDS
    await control.behave()

    async def healthy() -> bool:
        status = await daemon.status()
        return status["integrations"][0]["state"] == "healthy"

    await daemon.cli("sync", "acme/flow", "--no-wait")
    await daemon.until(healthy, seconds=90)


async def test_a_few_real_deletions_are_believed_after_the_second_pass(synced: tuple[Daemon, Any], rows: Rows):
    daemon, control = synced
    truth = await control.truth_ids("things")
    for external_id in truth[:5]:
        await control.delete("things", external_id)

    async def gone() -> bool:
        return await rows.count("acme", "flow") == RECORDS - 5

    await daemon.until(gone)
