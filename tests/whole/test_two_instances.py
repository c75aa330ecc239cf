"""Two daemons on one database: each scope has one owner at a time, and a killed owner's scopes move on at once."""

from __future__ import annotations

from pathlib import Path

from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows


def states(status: dict) -> list[str]:
    return [integration["state"] for integration in status["integrations"]]


async def test_one_instance_owns_a_scope_and_another_takes_it_over_when_the_owner_is_killed(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, control = plain(things=300)
    body = partner(simulator.base_url, resources=only("flow", every="1s"))
    one = Daemon(tmp_path / "one", database, {"plain": body})
    two = Daemon(tmp_path / "two", database, {"plain": body})
    await one.start()
    await two.start()

    async def imported() -> bool:
        return await rows.count("acme", "flow") == 300

    await one.until(imported)
    fence = await rows.connection.fetchval("SELECT fence FROM syncd.leases")
    assert states(await one.status()) == ["healthy"]
    assert states(await two.status()) == ["waiting"], "the second instance stands by"
    runs = await rows.connection.fetch("SELECT DISTINCT fence FROM syncd.runs")
    assert [run["fence"] for run in runs] == [fence]

    await one.kill()
    [added] = await control.create("things")

    async def taken_over() -> bool:
        return added in await rows.live("acme", "flow")

    await two.until(taken_over, seconds=45)
    assert await rows.connection.fetchval("SELECT fence FROM syncd.leases") > fence
    assert states(await two.status()) == ["healthy"]
    assert await two.stop() == 0


async def test_an_orderly_stop_hands_the_scope_over_at_once(tmp_path: Path, database: str, rows: Rows, plain):
    simulator, control = plain(things=100)
    body = partner(simulator.base_url, resources=only("flow", every="1s"))
    one = Daemon(tmp_path / "one", database, {"plain": body})
    two = Daemon(tmp_path / "two", database, {"plain": body})
    await one.start()
    await two.start()
    assert await one.stop() == 0
    [added] = await control.create("things")

    async def taken_over() -> bool:
        return added in await rows.live("acme", "flow")

    await two.until(taken_over, seconds=30)
    violations = (await control.stats())["violations"]
    assert violations == 0
    assert await two.stop() == 0


async def test_any_instance_takes_an_order_for_a_breaker_and_the_owner_of_the_scope_obeys(
    tmp_path: Path, database: str, plain
):
    simulator, control = plain(things=50)
    slow = {"tiers": ["2000/s"], "share": 1.0, "breaker": {"failures": 2, "cooldown": "120s"}}
    body = partner(simulator.base_url, resources=only("flow", every="1s"), limits=slow)
    one = Daemon(tmp_path / "one", database, {"plain": body})
    two = Daemon(tmp_path / "two", database, {"plain": body})
    await one.start()
    await two.start()
    try:

        async def state(of: str) -> bool:
            return states(await one.status()) == [of]

        await one.until(lambda: state("healthy"))
        code, out, _ = await two.cli("breaker", "acme", "hold", "--reason", "asked of the other one")
        assert (code, out.startswith("plain/acme held")) == (0, True)
        await one.until(lambda: state("paused"))
        assert "another instance calls for it" in (await two.cli("breaker"))[1]
        assert (await two.cli("breaker", "acme", "release"))[0] == 0
        await control.misbehave("status", status=500)
        await one.until(lambda: state("down"))
        await control.behave()
        code, out, _ = await two.cli("breaker", "acme", "reset")
        assert (code, "by the instance that calls for it" in out) == (0, True)
        await one.until(lambda: state("healthy"), seconds=40)
    finally:
        assert await two.stop() == 0
        assert await one.stop() == 0
