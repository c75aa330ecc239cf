"""Intake: stored before it is said, whoever else is slow, and told in time where it cannot be said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from syncd.clock import SystemClock
from syncd.errors import StoreError
from syncd.store import intake_line as module
from syncd.store import scribe
from syncd.store.intake import Arrival, Intake, IntakeFullError
from syncd.store.scribe import Row, Scribe
from tests.whole.postgres import Cutter

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def arrival(number: int | str, *, integration: str = "acme", body: bytes = b"{}", **more: object) -> Arrival:
    found = Arrival(integration, str(number), "", "thing.updated", {"x-kind": "a"}, body, NOON)
    return found._replace(**more)


@pytest.fixture
async def intake(database: str) -> AsyncIterator[Intake]:
    opened = Intake(database, clock=SystemClock())
    yield opened
    await opened.aclose()


@pytest.fixture
async def eyes(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A look at the table from outside."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def test_a_delivery_is_a_row_when_put_returns(intake: Intake, eyes: asyncpg.Connection):
    assert await intake.put(arrival(1, route="r", body=b"\x00\xff")) is True
    row = await eyes.fetchrow("SELECT *, headers->>'x-kind' AS kind FROM syncd.inbox")
    assert (row["integration"], row["event_id"], row["route"], row["event_type"]) == ("acme", "1", "r", "thing.updated")
    assert (row["body"], row["kind"], row["received_at"], row["state"]) == (b"\x00\xff", "a", NOON, "waiting")


async def test_one_that_is_known_is_said_to_be(intake: Intake, eyes: asyncpg.Connection):
    assert await intake.put(arrival(1)) is True
    assert await intake.put(arrival(1, body=b"other")) is False
    assert await intake.put(arrival(1, integration="other")) is True
    assert await eyes.fetchval("SELECT count(*) FROM syncd.inbox") == 2


async def test_one_that_is_known_waits_for_nobody_who_is_about_to_change_it(
    intake: Intake, eyes: asyncpg.Connection, database: str
):
    for known in ("seen", "done"):
        assert await intake.put(arrival(known)) is True
    stuck = await asyncpg.connect(database)
    async with stuck.transaction():
        await stuck.execute("UPDATE syncd.inbox SET state = 'done' WHERE event_id = 'seen'")
        await stuck.execute("DELETE FROM syncd.inbox WHERE event_id = 'done'")
        known = await asyncio.gather(*(intake.put(arrival(name)) for name in ("seen", "done") for _ in range(10)))
        assert not any(known)
        assert await intake.put(arrival(1, integration="other")) is True
    await stuck.close()


async def test_one_whose_id_somebody_else_is_writing_costs_nobody_elses_delivery_more_than_its_batch(
    intake: Intake, eyes: asyncpg.Connection, database: str
):
    assert await intake.put(arrival("warm")) is True
    stuck = await asyncpg.connect(database)
    async with stuck.transaction():
        await stuck.execute(
            "INSERT INTO syncd.inbox (integration, event_id, received_at) VALUES ('acme', 'theirs', $1)", NOON
        )
        held = asyncio.create_task(intake.put(arrival("theirs")))
        await asyncio.sleep(0.1)
        for number in range(40):
            assert await intake.put(arrival(number, integration="other")) is True
            await asyncio.sleep(0.1)
        with pytest.raises(StoreError):
            await held
        assert intake.up
    await stuck.close()


async def test_of_one_brought_many_times_at_once_one_is_stored(intake: Intake, eyes: asyncpg.Connection):
    found = await asyncio.gather(*(intake.put(arrival(number % 10)) for number in range(200)))
    assert sum(found) == 10
    assert await eyes.fetchval("SELECT count(*) FROM syncd.inbox") == 10


async def test_a_crowd_shares_few_commits_and_each_hears_its_own_outcome(intake: Intake, eyes: asyncpg.Connection):
    await intake.put(arrival("warm"))
    known = {3, 500, 777}
    for number in known:
        await intake.put(arrival(number))
    before = await eyes.fetchval("SELECT count(DISTINCT xmin::text) FROM syncd.inbox")
    found = await asyncio.gather(*(intake.put(arrival(number)) for number in range(1200)))
    assert {number for number, stored in enumerate(found) if not stored} == known
    after = await eyes.fetchval("SELECT count(DISTINCT xmin::text) FROM syncd.inbox")
    assert after - before <= 4


async def test_a_value_the_database_refuses_harms_only_its_own_delivery(
    intake: Intake, eyes: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
):
    rows = module.row_of

    def spoiled(one: Arrival) -> Row:
        row = rows(one)
        return (*row[:4], "no json", *row[5:]) if one.event_id == "bad" else row

    monkeypatch.setattr(module, "row_of", spoiled)
    await intake.put(arrival("warm"))
    found = await asyncio.gather(
        *(intake.put(arrival("bad" if number == 40 else number)) for number in range(100)), return_exceptions=True
    )
    assert [outcome for outcome in found if outcome is not True] == [found[40]]
    assert isinstance(found[40], StoreError)
    assert await eyes.fetchval("SELECT count(*) FROM syncd.inbox") == 100


@pytest.mark.parametrize("event_id", ["a\x00b", "x" * 5000, "\ud800", "", "é" * 300])
async def test_no_id_is_too_odd_to_be_stored_once(intake: Intake, eyes: asyncpg.Connection, event_id: str):
    assert await intake.put(arrival(event_id)) is True
    assert await intake.put(arrival(event_id)) is False
    assert await intake.put(arrival(event_id + "other")) is True


async def test_odd_text_beside_the_id_is_no_reason_to_refuse(intake: Intake, eyes: asyncpg.Connection):
    odd = "a\x00\ud800" + "b" * 1000
    assert await intake.put(arrival(1, event_type=odd, route=odd, headers={"x": odd})) is True
    assert (await eyes.fetchval("SELECT event_type FROM syncd.inbox")).startswith("a\ufffd\ufffdbbb")


async def test_too_much_waiting_is_refused_at_once(intake: Intake, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "WAITING_BYTES", 1000)
    found = await asyncio.gather(
        *(intake.put(arrival(number, body=b"x" * 400)) for number in range(3)), return_exceptions=True
    )
    assert found[:2] == [True, True]
    assert isinstance(found[2], IntakeFullError)
    assert await intake.put(arrival("later", body=b"x" * 400)) is True  # what was stored makes room


async def test_a_database_that_is_not_there_is_told_of_at_once_and_found_when_it_comes(database: str):
    intake = Intake("postgresql://nobody@127.0.0.1:1/none", clock=SystemClock())
    with pytest.raises(StoreError):
        await intake.put(arrival(1))
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(StoreError):
            await intake.put(arrival(1))
    assert time.monotonic() - began < 1.0  # a hundred tries to connect would take longer, on a slow machine as well
    intake.use(database)
    assert await intake.put(arrival(1)) is True
    await intake.aclose()


async def come_again(intake: Intake, number: int | str, *, times: int) -> bool:
    """As a partner does that was told 503."""
    for _ in range(times - 1):
        try:
            return await intake.put(arrival(number))
        except StoreError:
            await asyncio.sleep(0.05)
    return await intake.put(arrival(number))


async def test_backends_that_were_killed_cost_a_batch_each_at_most(intake: Intake, eyes: asyncpg.Connection):
    await asyncio.gather(*(intake.put(arrival(number)) for number in range(1000)))
    await eyes.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'syncd intake' AND datname = current_database()"
    )
    await come_again(intake, "a", times=3)  # two connections were killed
    assert await intake.put(arrival("a")) is False
    assert intake.up


async def test_whoever_waits_for_a_database_that_hangs_is_told_within_four_seconds(
    intake: Intake, eyes: asyncpg.Connection
):
    await intake.put(arrival("warm"))
    async with eyes.transaction():
        await eyes.execute("LOCK TABLE syncd.inbox IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        found = await asyncio.gather(*(intake.put(arrival(number)) for number in range(50)), return_exceptions=True)
        assert all(isinstance(outcome, StoreError) for outcome in found)
        assert time.monotonic() - began < 4.9
    await come_again(intake, "later", times=400)


async def test_a_database_far_away_is_reached_all_the_same(database: str, eyes: asyncpg.Connection):
    """Connecting takes longer than is waited at first: intake learns to wait, and stays up."""
    at = urlsplit(database)
    async with Cutter(parse_qs(at.query)["host"][0] + "/.s.PGSQL.5432") as proxy:
        proxy.delay_seconds = 0.15
        intake = Intake(proxy.url(at.username or "", at.path[1:]), clock=SystemClock())
        await come_again(intake, "first", times=400)
        crowd = await asyncio.gather(*(intake.put(arrival(number)) for number in range(20)), return_exceptions=True)
        assert crowd == [True] * 20
        assert intake.up
        await intake.aclose()


async def test_closing_ends_though_the_database_hangs(intake: Intake, eyes: asyncpg.Connection):
    await intake.put(arrival("warm"))
    async with eyes.transaction():
        await eyes.execute("LOCK TABLE syncd.inbox IN ACCESS EXCLUSIVE MODE")
        waiting = asyncio.gather(*(intake.put(arrival(number)) for number in range(5)), return_exceptions=True)
        await asyncio.sleep(0.05)
        await asyncio.wait_for(intake.aclose(), 10)
        assert all(isinstance(outcome, StoreError) for outcome in await asyncio.wait_for(waiting, 10))
        with pytest.raises(StoreError):
            await intake.put(arrival("late"))


async def test_whoever_goes_away_while_waiting_takes_nothing_with_him(intake: Intake, eyes: asyncpg.Connection):
    await intake.put(arrival("warm"))
    putting = [asyncio.create_task(intake.put(arrival(number))) for number in range(20)]
    await asyncio.sleep(0)
    for one in putting[::2]:
        one.cancel()
    found = await asyncio.gather(*putting, return_exceptions=True)
    assert found[1::2] == [True] * 10
    assert await intake.put(arrival(100)) is True
    assert intake.waiting == 0


async def test_other_instances_are_told_of_arrivals(intake: Intake, eyes: asyncpg.Connection):
    heard: asyncio.Queue[str] = asyncio.Queue()
    await eyes.add_listener("syncd_inbox", lambda *said: heard.put_nowait(said[-1]))
    await intake.put(arrival(1))
    for name in ("acme", "acme", "shop"):
        intake.tell(name)
    assert {await asyncio.wait_for(heard.get(), 10), await asyncio.wait_for(heard.get(), 10)} == {"acme", "shop"}
    await asyncio.sleep(0.2)
    intake.tell("late")
    assert await asyncio.wait_for(heard.get(), 10) == "late"


async def test_an_acknowledged_delivery_is_on_disk_even_where_the_server_is_told_not_to_hurry(database: str):
    scribe = await Scribe.open(database, clock=SystemClock())  # the tests' server has synchronous_commit off
    assert await scribe._connection.fetchval("SHOW synchronous_commit") == "on"
    scribe.cut()


async def test_what_the_server_is_told_later_does_not_reach_an_open_connection(database: str, eyes: asyncpg.Connection):
    name = await eyes.fetchval("SELECT current_database()")
    await eyes.execute(f"ALTER DATABASE {name} SET synchronous_commit = 'local'")
    scribe = await Scribe.open(database, clock=SystemClock())
    try:
        rows = await scribe._connection.fetch(
            "SELECT setting, source FROM pg_settings WHERE name = 'synchronous_commit'"
        )
        # Set by the session: a configuration that is read anew, in which it may be off, has no say in it.
        assert [tuple(row) for row in rows] == [("local", "session")]
    finally:
        scribe.cut()


async def test_a_standby_is_not_written_to(database: str, eyes: asyncpg.Connection):
    name = await eyes.fetchval("SELECT current_database()")
    await eyes.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(StoreError, match="read-only"):
        await Scribe.open(database, clock=SystemClock())


async def test_what_is_known_already_is_looked_up_by_the_whole_key_however_empty_the_inbox_was_at_first(database: str):
    """By the integration alone each delivery would cost as much as there are rows: planned once, while there were none."""
    connection = await asyncpg.connect(database, server_settings=scribe._SETTINGS)
    types = ", ".join(["NULL::text[]"] * 5 + ["NULL::bytea[]", "NULL::timestamptz[]"])
    await connection.execute(f"PREPARE stored AS {scribe._STORE_UNKNOWN}")
    plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE stored({types})"))
    await connection.close()
    assert "using inbox_pkey" in plan
    assert "Index Cond: ((integration = n.i) AND (event_id" in plan
