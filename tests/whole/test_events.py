"""Deliveries at the real daemon: what a storm costs, what a held answer may not undo, and what kills it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from syncd.testing.control import Control
from tests.whole.conftest import hooked, only
from tests.whole.daemon import Daemon, Rows
from tests.whole.deadly import registered
from tests.whole.plain import WEBHOOK_SECRET


async def reads(control: Control) -> int:
    """Records the partner was asked for by their ids."""
    return len(await control.arrivals("/v1/things/{id}"))


async def subscribed(daemon: Daemon, control: Control, rows: Rows, count: int) -> list[str]:
    """All is there and the partner tells of what changes; the ids of its things."""

    async def all_there() -> bool:
        return await rows.count("acme", "things") == count

    await daemon.until(all_there)
    await control.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/plain/acme", WEBHOOK_SECRET)
    return await control.truth_ids("things")


@pytest.mark.timeout(120)
async def test_a_storm_of_events_costs_few_reads_and_ends_in_the_truth(
    tmp_path: Path, database: str, rows: Rows, plain: Any
):
    simulator, control = plain(things=6)
    body = hooked(simulator.base_url, resources=only("things", every="1h"))
    async with Daemon(tmp_path, database, {"plain": body}) as daemon:
        ids = await subscribed(daemon, control, rows, 6)
        for _ in range(10):
            await asyncio.gather(*(control.update("things", one) for one in ids))

        async def same() -> bool:
            return await rows.live("acme", "things") == await control.truth("things")

        await daemon.until(same, seconds=60)
        told = await rows.connection.fetchval("SELECT count(*) FROM syncd.inbox WHERE state = 'done'")
        assert told == 60
        assert await reads(control) <= 18, "each of the six changed ten times"
        assert await letters(rows) == 0


@pytest.mark.timeout(120)
async def test_answers_that_are_held_back_undo_nothing_that_came_after_them(
    tmp_path: Path, database: str, rows: Rows, plain: Any
):
    """A poll's page and a read by id that began before a change arrive after the read that the change's event caused."""
    simulator, control = plain(things=10)
    body = hooked(simulator.base_url, resources=only("things", every="1h"))
    async with Daemon(tmp_path, database, {"plain": body}) as daemon:
        polled, read_ = sorted(await subscribed(daemon, control, rows, 10))[:2]
        versions = {one: await version(rows, one) for one in (polled, read_)}

        await control.misbehave("slow_body", match="/v1/things/{id}", seconds=2.0, count=1)
        await control.update("things", read_, {"name": "first"})
        await daemon.until(lambda: asked(control, 1))
        await control.update("things", read_, {"name": "second"})

        await control.misbehave("slow_body", match="GET /v1/things", seconds=4.0, count=1)
        before = len(await control.arrivals("GET /v1/things")) - await reads(control)
        assert (await daemon.post("sync", {"integration": "acme", "resource": "things"}))[0] in (200, 202)

        async def poll_began() -> bool:
            return len(await control.arrivals("GET /v1/things")) - await reads(control) > before

        await daemon.until(poll_began)
        await control.update("things", polled, {"name": "changed under the poll"})

        async def fresh() -> bool:
            rows_now = await rows.live("acme", "things")
            return rows_now[polled]["name"] == "changed under the poll" and rows_now[read_]["name"] == "second"

        await daemon.until(fresh)

        async def poll_ended() -> bool:
            return bool(await rows.connection.fetchval("SELECT count(*) = 2 FROM syncd.runs WHERE outcome = 'done'"))

        await daemon.until(poll_ended)
        assert await rows.live("acme", "things") == await control.truth("things")
        assert await version(rows, polled) == versions[polled] + 1, "written once: the page that came late was older"


@pytest.mark.timeout(180)
async def test_a_delivery_that_kills_the_process_is_a_dead_letter_after_five_takes_and_the_others_are_worked_on(
    tmp_path: Path, database: str, rows: Rows, plain: Any
):
    simulator, control = plain(things=10)
    body = hooked(simulator.base_url, resources=only("things", every="1h"))
    async with Daemon(tmp_path / "first", database, {"plain": body}) as daemon:
        ids = sorted(await subscribed(daemon, control, rows, 10))
        assert (await daemon.post("pause", {"integration": "acme", "reason": "until all came"}))[0] == 200
        await asyncio.gather(*(control.update("things", one, {"name": "told"}) for one in ids))

        async def all_came() -> bool:
            return int(await rows.connection.fetchval("SELECT count(*) FROM syncd.inbox")) == 10

        await daemon.until(all_came)
    await rows.connection.execute("DELETE FROM syncd.controls")

    deadly, deaths = ids[4], 0
    env = registered(tmp_path / "site", body.pop("rest"), deadly, at="events")
    daemon = Daemon(tmp_path / "d", database, {"plain": {**body, "driver": "deadly"}}, env=env)
    for _ in range(8):
        await daemon.start(wait=False)
        assert daemon.process is not None
        while daemon.process.returncode is None and not await letters(rows):
            await asyncio.sleep(0.05)
        if daemon.process.returncode is None:
            break
        deaths += 1
    try:
        assert deaths == 5
        await daemon.until_ready()

        async def worked_off() -> bool:
            return not await rows.connection.fetchval("SELECT count(*) FROM syncd.inbox WHERE state = 'waiting'")

        await daemon.until(worked_off)
        states = await rows.connection.fetch("SELECT external_id, state, lost FROM syncd.inbox ORDER BY id")
        assert sorted(row["state"] for row in states) == ["buried"] + ["done"] * 9
        told = await rows.connection.fetch("SELECT origin, error_class FROM syncd.dead_letters")
        assert [tuple(row) for row in told] == [("inbox", "PoisonError")]

        async def others_read() -> bool:
            live = await rows.live("acme", "things")
            return all(live[one]["name"] == "told" for one in ids if one != deadly)

        await daemon.until(others_read)
    finally:
        await daemon.stop()


async def version(rows: Rows, external_id: str) -> int:
    sql = (
        "SELECT row_version FROM syncd.records WHERE integration = 'acme' AND resource = 'things' AND external_id = $1"
    )
    return int(await rows.connection.fetchval(sql, external_id))


async def asked(control: Control, count: int) -> bool:
    return await reads(control) >= count


async def letters(rows: Rows) -> int:
    return int(await rows.connection.fetchval("SELECT count(*) FROM syncd.dead_letters"))
