"""A daemon's long-lived connection dies on its side only: nothing stops, nobody else takes over, and it has a new one."""

from __future__ import annotations

from pathlib import Path

from tests.store.half_open import HalfOpen
from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows

SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'syncd wire' AND datname = current_database()"
)


async def test_a_wire_the_server_takes_for_alive_stops_no_scope(tmp_path: Path, database: str, rows: Rows, plain):
    simulator, control = plain(things=50)
    body = partner(simulator.base_url, resources=only("flow", every="1s"))
    async with HalfOpen(database) as way:
        one = Daemon(tmp_path / "one", way.url, {"plain": body})
        two = Daemon(tmp_path / "two", database, {"plain": body})
        await one.start()

        async def imported() -> bool:
            return await rows.count("acme", "flow") == 50

        await one.until(imported)
        await two.start()
        lease = await rows.connection.fetchrow("SELECT owner, fence FROM syncd.leases")
        for renewal in (False, True):
            assert way.cut_wires() == 1
            cut_at = await rows.connection.fetchval("SELECT clock_timestamp()")
            [added] = await control.create("things")

            async def synced_and_proven(added: str = added, cut_at: object = cut_at, renewal: bool = renewal) -> bool:
                done = await rows.connection.fetchval(
                    "SELECT proven_in IS NOT NULL AND (renewed_at > $1 OR NOT $2) FROM syncd.leases", cut_at, renewal
                )
                return done and added in await rows.live("acme", "flow")

            await one.until(synced_and_proven, seconds=30)
        assert await rows.connection.fetchrow("SELECT owner, fence FROM syncd.leases") == lease
        assert await rows.connection.fetchval(SESSIONS) == 2, "old ones were ended"
        assert (await control.stats())["violations"] == 0
        assert await one.stop() == 0
        assert await two.stop() == 0
