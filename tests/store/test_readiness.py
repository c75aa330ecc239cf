"""Whether a delivery would be stored is asked seldom, in time, and of nobody else's connection."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest

from syncd.clock import SystemClock
from syncd.store import readiness
from syncd.store.intake import Intake

MINE = "FROM pg_stat_activity WHERE application_name = 'syncd intake' AND datname = current_database()"
"""The server is shared with tests that run at the same time; the database is not."""


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    made: list[None] = []
    before = readiness.Scribe.look

    async def look(scribe: readiness.Scribe) -> None:
        made.append(None)
        await before(scribe)

    monkeypatch.setattr(readiness.Scribe, "look", look)
    return made


async def test_however_many_ask_the_database_is_asked_once(database: str, looks: list[None]):
    intake = Intake(database, clock=SystemClock())
    assert set(await asyncio.gather(*(intake.ready() for _ in range(50)))) == {""}
    assert set(await asyncio.gather(*(intake.ready() for _ in range(50)))) == {""}
    assert len(looks) == 1
    await intake.aclose()
    assert await intake.ready() == "this instance is stopping"


async def test_a_database_that_is_not_there_is_said(database: str):
    intake = Intake(urlsplit(database)._replace(path="/none_of_this_name").geturl(), clock=SystemClock())
    assert "none_of_this_name" in await intake.ready()
    assert not intake.up
    await intake.aclose()


async def test_a_connection_that_was_ended_is_replaced_before_anything_is_said(database: str):
    intake = Intake(database, clock=SystemClock())
    assert await intake.ready() == ""
    hand = await asyncpg.connect(database)
    await hand.execute(f"SELECT pg_terminate_backend(pid) {MINE}")
    await asyncio.sleep(readiness.FRESH_SECONDS)
    assert await intake.ready() == ""
    await hand.close()
    await intake.aclose()


async def test_a_locked_inbox_is_not_ready_and_keeps_the_connection(database: str):
    intake = Intake(database, clock=SystemClock())
    assert await intake.ready() == ""
    pids = f"SELECT array_agg(pid) {MINE}"
    hand = await asyncpg.connect(database)
    async with asyncio.timeout(10):
        while (before := await hand.fetchval(pids)) is None:
            await asyncio.sleep(0.05)
    async with hand.transaction():
        await hand.execute("LOCK TABLE syncd.inbox IN SHARE MODE")
        await asyncio.sleep(readiness.FRESH_SECONDS)
        assert "locked" in await intake.ready()
    await asyncio.sleep(readiness.FRESH_SECONDS)
    assert await intake.ready() == ""
    assert await hand.fetchval(pids) == before
    await hand.close()
    await intake.aclose()
