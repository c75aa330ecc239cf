"""Intake's writers and its waiting room, with connections that do as the test says. Time is the fake clock's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime

import pytest

from syncd.errors import StoreError
from syncd.store import scribes as module
from syncd.store.intake import Arrival, Intake, IntakeFullError
from syncd.store.scribe import Row
from syncd.testing.clock import FakeClock

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def arrival(number: int, *, integration: str = "acme", size: int = 2) -> Arrival:
    return Arrival(integration, str(number), "", "", {}, bytes(size), NOON)


def offered(intake: Intake, arrival: Arrival) -> list[bool | str]:
    """Have it stored; what is said of it, once it is."""
    said: list[bool | str] = []
    intake.offer(arrival, said.append)
    return said


class Line:
    """One connection to `Server`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.up = True
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def store(self, rows: Sequence[Row]) -> list[bool | str]:
        if self.server.hangs:
            await self.gone
            raise StoreError("the connection is gone")
        await self.server.clock.sleep(0.01)
        return [True] * len(rows)

    async def tell(self, names: Iterable[str]) -> None:
        if self.server.faults:
            raise self.server.faults.pop()
        self.server.told += sorted(names)

    def cut(self) -> None:
        self.up = False
        if not self.gone.done():
            self.gone.set_result(None)


class Server:
    """Stands in for PostgreSQL and for `Scribe`, which opens connections to it."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.lines: list[Line] = []
        self.hangs = False
        self.open_seconds = 0.0
        self.faults: list[Exception] = []
        """What the next tries to tell come to."""
        self.told: list[str] = []

    async def open(self, url: str, *, clock: FakeClock, seconds: float) -> Line:
        if self.open_seconds:
            await clock.sleep(min(self.open_seconds, seconds))
            if self.open_seconds > seconds:
                raise StoreError("not reached in time")
        self.lines.append(Line(self))
        return self.lines[-1]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server(clock)
    monkeypatch.setattr(module, "Scribe", made)
    return made


@pytest.fixture
async def intake(clock: FakeClock, server: Server) -> AsyncIterator[Intake]:
    opened = Intake("x", clock=clock)
    yield opened
    closing = asyncio.create_task(opened.aclose())
    await clock.advance(3.0)
    await closing


@pytest.mark.parametrize("size", [0, 1_000_000])
async def test_one_integration_cannot_fill_the_room_of_the_others(intake: Intake, server: Server, size: int):
    server.open_seconds = 1e9
    count = 0
    with pytest.raises(IntakeFullError):
        while True:
            offered(intake, arrival(count, size=size))
            count += 1
    assert count >= (5_000 if not size else 33)
    for number in range(count // 5):
        offered(intake, arrival(number, integration="other", size=size))
    with pytest.raises(IntakeFullError):
        offered(intake, arrival(count, size=size))


async def test_a_share_is_given_back_with_every_outcome(intake: Intake, clock: FakeClock):
    for number in range(30):
        offered(intake, arrival(number, size=1_000_000))
    await clock.advance(1.0)
    assert intake.waiting == 0
    for number in range(30):
        offered(intake, arrival(number, size=1_000_000))
    assert {(share.rows, share.size) for share in intake._room.shares.values()} == {(30, 30_000_000)}


async def test_what_was_answered_late_keeps_no_memory(intake: Intake, server: Server, clock: FakeClock):
    """While both writers connect, whoever waited too long is told so, and his body is let go of."""
    server.open_seconds = 8.0
    intake._scribes.patience = 8.0
    late = [offered(intake, arrival(number, size=1_000_000)) for number in range(20)]
    await clock.advance(3.0)
    fresh = offered(intake, arrival(100))
    await clock.advance(1.0)
    assert [len(one) for one in late] == [1] * 20
    assert all(isinstance(one[0], str) for one in late)
    assert fresh == []
    assert [entry.row[1] for entry in intake._line] == ["100"]


@pytest.mark.parametrize("fault", [StoreError("gone"), ValueError("a fault of ours")])
async def test_what_other_instances_are_owed_is_told_without_waiting_for_a_delivery(
    intake: Intake, server: Server, clock: FakeClock, fault: Exception
):
    offered(intake, arrival(1))
    await clock.advance(1.0)
    server.faults = [fault, fault]
    for _ in range(4):  # both writers meet the fault and live on
        intake.tell("acme")
        await clock.advance(1.0)
    assert "acme" in server.told
    assert intake._untold == set()
    assert not any(task.done() for task in intake._tasks)


async def test_of_what_is_owed_while_the_database_is_away_nothing_is_lost_and_nobody_wakes(
    intake: Intake, server: Server, clock: FakeClock
):
    offered(intake, arrival(1))
    await clock.advance(1.0)
    intake._lose(StoreError("away"))
    server.open_seconds = 1e9
    for line in server.lines:
        line.cut()
    intake.tell("acme")
    await clock.advance(60.0)
    assert clock.sleepers <= 1  # who looks for the database
    server.open_seconds = 0.0
    await clock.advance(10.0)
    assert server.told == ["acme"]


async def test_connections_that_a_router_forgot_overnight_cost_one_outage(
    intake: Intake, server: Server, clock: FakeClock
):
    for number in range(1_000):  # a batch for each writer
        offered(intake, arrival(number))
    await clock.advance(1.0)
    old = list(server.lines)
    assert len(old) == 2
    server.hangs = True
    lost = offered(intake, arrival(5_000))
    await clock.advance(3.7)
    assert isinstance(lost[0], str)
    assert [line.up for line in old] == [False, False]
    server.hangs = False
    await clock.advance(1.0)
    again = [offered(intake, arrival(number)) for number in range(6_000, 7_000)]
    await clock.advance(1.0)
    assert again == [[True]] * 1_000
    assert intake._scribes._held == {line for line in server.lines if line.up}


async def test_a_few_share_the_next_commit_instead_of_having_one_of_their_own(
    intake: Intake, server: Server, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    """Beside a batch under way another one begins only where it is worth it; who is alone, and who waited, goes at once."""
    batches: list[int] = []
    real = Line.store

    async def counted(self: Line, rows: Sequence[Row]) -> list[bool | str]:
        batches.append(len(rows))
        return await real(self, rows)

    monkeypatch.setattr(Line, "store", counted)
    said = [offered(intake, arrival(number)) for number in range(40)]
    await clock.advance(0.005)
    said += [offered(intake, arrival(number)) for number in range(40, 59)]
    await clock.advance(0.0)
    assert batches == [40], "19 are fewer than half"
    await clock.advance(0.006)
    assert batches == [40, 19], "the first is done"
    said += [offered(intake, arrival(number)) for number in range(59, 69)]
    await clock.advance(0.0)
    assert batches == [40, 19, 10], "10 are half of 19"
    await clock.advance(1.0)
    assert said == [[True]] * 69

    server.hangs = True
    stuck = [offered(intake, arrival(number)) for number in range(100, 140)]
    await clock.advance(0.0)
    server.hangs = False
    one = offered(intake, arrival(200))
    await clock.advance(0.3)
    assert one == [True], "a connection that hangs holds nobody else up"
    assert stuck == [[]] * 40
