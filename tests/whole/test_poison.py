"""A task that kills the process, and tasks that only die with it: the one is found, the others go on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows
from tests.whole.deadly import registered


async def fetch(rows: Rows, *ids: str) -> None:
    """Tasks to read these things anew, as an event makes them."""
    wanted = [
        {"kind": "fetch", "resource": "things", "external_id": each, "lane": 0, "dedupe_key": f"fetch:things:{each}"}
        for each in ids
    ]
    now = datetime.now(UTC)
    await rows.connection.execute("SELECT syncd.put_tasks('acme', $1, $2::jsonb)", now, orjson.dumps(wanted).decode())
    await rows.connection.execute("SELECT pg_notify('syncd_wishes', 'acme')")


async def imported(folder: Path, database: str, rows: Rows, body: dict[str, Any], count: int) -> None:
    """A daemon that brings everything in once, and stops."""
    async with Daemon(folder, database, {"plain": body}) as first:

        async def all_there() -> bool:
            return await rows.count("acme", "things") == count

        await first.until(all_there)


async def waiting(rows: Rows) -> list[Any]:
    return list(await rows.connection.fetch("SELECT external_id, attempts, lost, suspicion, state FROM syncd.tasks"))


@pytest.mark.parametrize("at", ["record", pytest.param("classify", marks=pytest.mark.soak)])
async def test_a_task_that_kills_the_process_is_a_dead_letter_after_five_takes_and_the_others_go_on(
    at: str, tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, control = plain(things=20)
    body = partner(simulator.base_url, resources=only("things", every="1h"))
    await imported(tmp_path / "first", database, rows, body, 20)
    ids = sorted(await control.truth_ids("things"))
    deadly, others = ids[7], [each for each in ids if each != ids[7]]
    await control.update("things", others[0], {"name": "newer"})
    await fetch(rows, *ids)

    body["driver"] = "deadly"
    env = registered(tmp_path / "site", body.pop("rest"), deadly, at=at)
    daemon = Daemon(tmp_path / "d", database, {"plain": body}, env=env)
    deaths = 0
    for _ in range(8):
        await daemon.start(wait=False)
        assert daemon.process is not None
        dying = asyncio.create_task(daemon.process.wait())
        while not dying.done():
            letters = await rows.connection.fetchval("SELECT count(*) FROM syncd.dead_letters")
            if letters and not await waiting(rows):
                break
            await asyncio.sleep(0.1)
        if not dying.done():
            dying.cancel()
            break
        assert dying.result() == -9, daemon.log()[-3000:]
        deaths += 1
    assert deaths == 5
    [letter] = await rows.connection.fetch("SELECT * FROM syncd.dead_letters")
    assert letter["external_id"] == deadly
    assert letter["message"].startswith("killed the process five times")
    assert letter["attempts"] == 5
    assert (await rows.live("acme", "things"))[others[0]]["name"] == "newer", "the others were done meanwhile"

    await daemon.until_ready()
    await fetch(rows, deadly, others[1])

    async def all_gone() -> bool:
        return not await waiting(rows)

    await daemon.until(all_gone)
    skipped = await daemon.metric('syncd_tasks_total{integration="acme",result="poison"}')
    assert skipped == 1.0, "another one like it is not tried before a person has looked"
    assert await daemon.stop() == 0


@pytest.mark.parametrize("kills", [6, pytest.param(30, marks=pytest.mark.soak)])
@pytest.mark.timeout(900)
async def test_an_innocent_task_outlives_any_number_of_deaths(
    kills: int, tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, control = plain(things=5)
    body = partner(simulator.base_url, resources=only("things", every="1h"))
    await imported(tmp_path / "first", database, rows, body, 5)
    ids = sorted(await control.truth_ids("things"))
    await control.misbehave("stall", match="/things/{id}", seconds=60)
    await fetch(rows, *ids)
    daemon = Daemon(tmp_path / "d", database, {"plain": body})

    for kill in range(kills):

        async def all_taken(deaths: int = kill) -> bool:
            return [(each["state"], each["lost"]) for each in await waiting(rows)] == [("taken", deaths)] * 5

        await daemon.start(wait=False)
        await daemon.until(all_taken, every=0.02)
        await daemon.kill()
    assert {each["suspicion"] for each in await waiting(rows)} == {2}
    await control.behave("stall")
    await control.misbehave("status", match="/things/{id}", status=503, count=1)
    await control.update("things", ids[0], {"name": "newer"})
    await daemon.start()

    async def all_done() -> bool:
        return not await waiting(rows)

    await daemon.until(all_done)
    assert await rows.connection.fetchval("SELECT count(*) FROM syncd.dead_letters") == 0
    assert (await rows.live("acme", "things"))[ids[0]]["name"] == "newer"
    assert await daemon.stop() == 0
