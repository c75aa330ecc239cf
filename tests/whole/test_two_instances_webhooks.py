"""Two daemons on one database: any of them takes deliveries, and whoever owns the scope by then works on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.whole.conftest import hooked, only
from tests.whole.daemon import Daemon, Rows
from tests.whole.plain import WEBHOOK_SECRET


@pytest.mark.timeout(180)
async def test_deliveries_to_the_one_that_owns_nothing_reach_the_owner_and_after_its_death_the_other(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, control = plain(things=30)
    body = hooked(simulator.base_url, resources=only("things", every="12h", jitter="0s"))
    owner = Daemon(tmp_path / "one", database, {"plain": body})
    other = Daemon(tmp_path / "two", database, {"plain": body})
    await owner.start()

    async def imported() -> bool:
        return await rows.count("acme", "things") == 30

    await owner.until(imported)
    await other.start()
    pages = await rows.connection.fetchval("SELECT sum(pages) FROM syncd.runs")
    await control.webhooks(f"http://127.0.0.1:{other.port}/webhooks/plain/acme", WEBHOOK_SECRET)
    things = await control.truth_ids("things")

    async def same() -> bool:
        return await rows.live("acme", "things") == await control.truth("things")

    for thing in things[:5]:
        await control.update("things", thing, {"name": "Told to the one that owns nothing"})
    await other.until(same, seconds=20)
    fences = await rows.connection.fetchval("SELECT fence FROM syncd.leases WHERE scope = 'plain/acme'")

    await owner.kill()
    for thing in things[5:10]:
        await control.update("things", thing, {"name": "Told while nobody owned it"})
    await control.delete("things", things[11])
    await other.until(same, seconds=45)
    assert await rows.connection.fetchval("SELECT fence FROM syncd.leases WHERE scope = 'plain/acme'") > fences

    # The dead one comes back and owns nothing; what the other hands it is not needed, and nothing is done twice.
    await owner.start()
    await control.ask("DELETE", "webhooks")
    await control.webhooks(f"http://127.0.0.1:{owner.port}/webhooks/plain/acme", WEBHOOK_SECRET)
    await control.ask("POST", "redeliver", {"count": 11})
    await control.update("things", things[12], {"name": "Told to the one that came back"})
    await owner.until(same, seconds=20)

    async def all_told() -> bool:
        return len(await control.acknowledged()) >= 23

    await owner.until(all_told, seconds=20)
    assert await rows.connection.fetchval("SELECT count(*) FROM syncd.inbox") == 12, "a duplicate is known to both"
    assert await rows.connection.fetchval("SELECT sum(pages) FROM syncd.runs") == pages, (
        "a poll did the work of a webhook"
    )
    assert await rows.connection.fetchval("SELECT count(*) FROM syncd.dead_letters") == 0
    assert await other.stop() == 0
    assert await owner.stop() == 0
