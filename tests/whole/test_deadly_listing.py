"""A driver that dies over one record of a listing, or over the frame of its pages: it is found, and everything else lives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows
from tests.whole.deadly import registered

Found = Callable[[], Awaitable[bool]]


async def restarted(daemon: Daemon, found: Found, *, most: int) -> int:
    """Start it again as systemd does, until this is found; returns how often it died."""
    for deaths in range(most + 1):
        await daemon.start(wait=False)
        assert daemon.process is not None
        dying = asyncio.create_task(daemon.process.wait())
        while not dying.done():
            if await found():
                dying.cancel()
                return deaths
            await asyncio.sleep(0.05)
        assert dying.result() == -9, daemon.log()[-3000:]
    raise AssertionError(f"it died more than {most} times")


async def rejected(rows: Rows) -> list[Any]:
    return list(await rows.connection.fetch("SELECT * FROM syncd.rejects ORDER BY external_id"))


def deadly(base_url: str, **resources: Any) -> dict[str, Any]:
    return partner(base_url, driver="deadly", resources=resources)


async def test_the_record_is_put_aside_and_all_the_others_are_stored(tmp_path: Path, database: str, rows: Rows, plain):
    simulator, control = plain(things=450)
    ids = sorted(await control.truth_ids("things"))
    body = deadly(simulator.base_url, **only("things", every="1h"))
    env = registered(tmp_path / "site", body.pop("rest"), ids[217], at="normalize")
    other, _ = plain(things=30)
    beside = partner(
        other.base_url, integrations={"beta": body["integrations"]["acme"]}, resources=only("things", every="1h")
    )
    daemon = Daemon(tmp_path / "d", database, {"plain": body, "other": beside}, env=env)

    async def all_but_one() -> bool:
        return await rows.count("acme", "things") == 449 and bool(await rejected(rows))

    assert await restarted(daemon, all_but_one, most=6) == 5
    [reject] = await rejected(rows)
    assert (reject["external_id"], reject["fingerprint"]) == (ids[217], "killed-the-process")
    assert await rows.count("beta", "things") == 30
    await daemon.until_ready()

    async def got_through() -> bool:
        return await rows.connection.fetchval("SELECT passes FROM syncd.checkpoints WHERE integration = 'acme'") == 1

    await daemon.until(got_through)
    for _ in range(2):
        assert (await daemon.cli("reconcile", "acme/things"))[0] == 0
    assert (
        await rows.connection.fetchval(
            "SELECT count(*) FROM syncd.records WHERE integration = 'acme' AND deleted_at IS NOT NULL"
        )
        == 0
    )
    assert [each["external_id"] for each in await rejected(rows)] == [ids[217]]
    assert "killed the process three times" in (await daemon.cli("dlq", "list"))[1]
    assert await daemon.stop() == 0


async def test_a_driver_that_dies_where_no_record_is_at_hand_parks_that_resource_alone(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, _ = plain(things=40)
    body = deadly(simulator.base_url, **only("things", "flow", every="2s"))
    env = registered(tmp_path / "site", body.pop("rest"), "things", at="frame")
    daemon = Daemon(tmp_path / "d", database, {"plain": body}, env=env)

    async def parked() -> bool:
        return bool(
            await rows.connection.fetchval(
                "SELECT count(*) FROM syncd.dead_letters WHERE state = 'open' AND error_class = 'PoisonError'"
            )
        )

    assert await restarted(daemon, parked, most=6) <= 5
    await daemon.until_ready()

    async def flows() -> bool:
        return await rows.count("acme", "flow") == 40

    await daemon.until(flows)
    _, status, _ = await daemon.cli("status", "--verbose")
    assert "this resource alone is parked" in " ".join(status.split())
    assert "syncd sync acme/things" in " ".join(status.split())
    assert await rows.count("acme", "things") == 0
    assert '"event":"resource_parked"' in daemon.log()
    await asyncio.sleep(3)
    assert daemon.process is not None and daemon.process.returncode is None, "it is left alone when it is due again"
    assert await daemon.stop() == 0

    daemon = Daemon(tmp_path / "d", database, {"plain": body}, env={**env, "SYNCD_TEST_DEADLY": "nothing"})
    await daemon.start()
    assert await rows.count("acme", "things") == 0, "a restart by itself tries nothing"
    assert (await daemon.cli("sync", "acme/things"))[0] == 0
    assert await rows.count("acme", "things") == 40
    assert not await parked(), "the letter is settled by the run that went well"
    assert await daemon.stop() == 0
