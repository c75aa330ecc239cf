"""The daemon's own conditions: what begins them, what they hold through, what heals them."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from syncd import own_troubles
from syncd.conditions import process
from syncd.conditions.database import DatabaseWatch
from syncd.conditions.hold import Hold
from syncd.conditions.own import Own, Trouble
from syncd.conditions.process import DiskWatch, LoopWatch, WorkerWatch
from syncd.explain import Explanation, State
from syncd.server.ports import ReloadReport
from syncd.store.vitals import Vitals
from syncd.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_what_is_wrong_for_a_moment_is_not_said_and_what_is_well_for_a_moment_has_not_healed(clock: FakeClock):
    hold, began = Hold(clock, 10, 20), clock.now()
    told = []
    for wrong in [True, False, *[True] * 4, False, True, *[False] * 6]:
        told.append(hold.look(wrong) is not None)
        await clock.advance(5)
    assert told == [*[False] * 4, *[True] * 8, False, False]
    assert hold.look(True) is None
    assert began < clock.now()


async def test_since_is_when_it_went_wrong_and_not_when_it_was_believed(clock: FakeClock):
    hold, began = Hold(clock, 10, 0), clock.now()
    hold.look(True)
    await clock.advance(12)
    assert hold.look(True) == began


def statement(seconds: float, query: str = "SELECT 1", error: BaseException | None = None) -> Any:
    return SimpleNamespace(elapsed=seconds, query=query, exception=error)


class Refused(Exception):
    """What PostgreSQL says without room."""

    sqlstate = "53100"


class Watched:
    """A database that answers as it is told to."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.vitals = Vitals(clock)
        self.why = ""
        self.watch = DatabaseWatch(lambda: SimpleNamespace(vitals=self.vitals), lambda: self.why, clock)  # type: ignore[arg-type, return-value]

    async def seconds(self, count: int, each: float) -> Any:
        """So many seconds with two statements in each; returns what is said of slowness in the end."""
        found = None
        for _ in range(count):
            self.vitals.heard(statement(each))
            self.vitals.heard(statement(each))
            found = self.watch.slow()
            await self.clock.advance(1)
        return found


async def test_slow_statements_are_said_within_a_minute_and_healed_after_they_are_quick_again(clock: FakeClock):
    database = Watched(clock)
    assert await database.seconds(60, 0.004) is None
    assert await database.seconds(8, 0.9) is None, "not for a hiccup"
    found = await database.seconds(45, 0.9)
    assert found.told.code == "database-slow" and found.told.action == "syncd check --env"
    assert "900 ms" in found.told.reason and "usually" in found.told.reason
    assert await database.seconds(10, 0.004) is not None, "not yet"
    assert await database.seconds(50, 0.004) is None


async def test_one_heavy_statement_among_many_says_nothing(clock: FakeClock):
    database = Watched(clock)
    for _ in range(90):
        for seconds in (0.004, 0.004, 3.0):
            database.vitals.heard(statement(seconds))
        assert database.watch.slow() is None
        await clock.advance(1)


async def test_a_database_that_is_away_is_down_and_not_slow_and_back_at_once(clock: FakeClock):
    database = Watched(clock)
    database.why = "the database at /run/pg/.s.PGSQL.5432, database syncd cannot be reached: refused"
    assert database.watch.down() is None
    await clock.advance(8)
    assert database.watch.down() is None, "a server that is started anew is no news"
    await clock.advance(3)
    found = database.watch.down()
    assert found is not None and found.told.code == "database-down"
    assert "/run/pg" in found.told.cause and "/run/pg" not in found.told.reason, "the reason is told to everybody"
    assert database.watch.slow() is None and database.watch.full() is None
    database.why = ""
    assert database.watch.down() is None


async def test_no_room_left_is_said_at_once_and_over_when_the_same_statement_goes_through(clock: FakeClock):
    database = Watched(clock)
    database.vitals.heard(statement(0.01, "INSERT INTO syncd.records", Refused("could not extend file: No space left")))
    found = database.watch.full()
    assert found is not None and found.told.code == "disk-full"
    database.vitals.heard(statement(0.01, "SELECT 1"))
    await clock.advance(60)
    assert database.watch.full() is not None, "what is only read proves nothing"
    database.vitals.heard(statement(0.01, "INSERT INTO syncd.records"))
    assert database.watch.full() is None


async def test_a_disk_that_was_tried_and_has_room_is_full_no_longer(clock: FakeClock):
    database = Watched(clock)
    database.vitals.heard(statement(0.01, "INSERT INTO syncd.records", Refused("could not extend file: No space left")))
    assert database.watch.full() is not None
    database.vitals.has_room()
    assert database.watch.full() is None


async def test_two_full_disks_are_one_trouble_that_names_both_and_neither_hides_the_end_of_the_other(clock: FakeClock):
    own, database = Own(clock), Watched(clock)
    there: list[Trouble] = [Trouble(State.DEGRADED, own_troubles.disk_full("state directory", "/var", 1, 10))]
    own.ask(database.watch.full, lambda: there[0] if there else None)
    database.vitals.heard(statement(0.01, "INSERT INTO syncd.records", Refused("could not extend file: No space left")))
    [found] = own.conditions()
    assert found.state is State.DOWN and found.told.code == "disk-full"
    assert "disk of the database" in found.told.reason and "disk of the state directory" in found.told.reason
    assert "could not extend" in found.told.cause and "/var" in found.told.cause
    database.vitals.has_room()
    [found] = own.conditions()
    assert found.state is State.DEGRADED and "database" not in found.told.reason
    there.clear()
    assert list(own.conditions()) == []


class Locked(Exception):
    """What PostgreSQL says when a lock was not to be had."""

    sqlstate = "55P03"
    context = 'while updating tuple (0,1) in relation "tasks"'


async def test_a_table_somebody_else_has_locked_is_a_stuck_queue_and_over_when_it_is_written_again(clock: FakeClock):
    database = Watched(clock)
    database.vitals.heard(statement(20.0, "SELECT syncd.finish($1)", Locked()))
    found = database.watch.locked()
    assert found is not None and found.told.code == "queue-stuck" and "tasks" in found.told.reason
    assert found.told.action == "syncd check --env", "it names who holds the lock"
    database.vitals.heard(statement(0.01, "SELECT * FROM syncd.tasks"))
    assert database.watch.locked() is not None, "what is only read proves nothing"
    database.vitals.heard(statement(0.01, "UPDATE syncd.tasks SET state = 'done'"))
    assert database.watch.locked() is None


async def test_a_lock_that_no_statement_has_met_for_a_while_is_gone(clock: FakeClock):
    database = Watched(clock)
    database.vitals.heard(statement(20.0, "INSERT INTO syncd.inbox VALUES ($1)", Locked()))
    assert database.watch.locked() is not None
    await clock.advance(31)
    database.vitals.look()
    assert database.watch.locked() is None


async def test_intake_that_finds_no_room_is_a_full_disk_and_no_database_that_is_away(clock: FakeClock):
    database = Watched(clock)
    database.why = "deliveries cannot be stored now: could not extend file: No space left on device (53100)"
    await clock.advance(10)
    assert database.watch.down() is None
    assert database.watch.full() is not None


def report(**changes: Any) -> ReloadReport:
    return ReloadReport(ok=False, **changes)


async def test_a_reload_that_failed_names_the_first_problem_until_one_succeeds(clock: FakeClock):
    own = Own(clock)
    began = clock.now()
    own.reloaded(report(kept={"guesty": ["partners/guesty.yaml:7:3: unknown key", "and another"]}))
    await clock.advance(60)
    own.reloaded(report(kept={"guesty": ["partners/guesty.yaml:9:3: another mistake\n  9 | evry: 1m\n    | ^"]}))
    [found] = own.conditions()
    told = found.told
    assert (told.code, told.since, told.action) == ("reload-failed", began, "syncd check")
    assert told.cause == "partners/guesty.yaml:9:3: another mistake" and "guesty runs on" in told.reason
    assert "partners/" not in told.reason
    own.reloaded(report(problems=["syncd.yaml:1:1: it is empty", "more"]))
    [found] = own.conditions()
    assert found.told.cause == "syncd.yaml:1:1: it is empty (and 1 more)" and "everything runs on" in found.told.reason
    own.reloaded(report(kept={"acme": ["partners/acme.yaml: x"], "guesty": ["y"]}, idle=["acme"]))
    [found] = own.conditions()
    assert found.told.reason.endswith("whole: guesty runs on with the settings of before, and acme does not run")
    own.reloaded(report(kept={"acme": ["partners/acme.yaml: x"]}, idle=["acme"]))
    [found] = own.conditions()
    assert found.told.reason.endswith("whole: acme does not run"), "nobody knows settings of before of it"
    own.reloaded(ReloadReport(ok=True))
    assert list(own.conditions()) == []


def test_rows_that_retention_left_are_said_until_it_has_come_to_its_end(clock: FakeClock):
    own = Own(clock)
    own.pruned({"inbox": "a statement ran too long", "runs": "a statement ran too long"})
    [found] = own.conditions()
    assert found.told.code == "old-rows-stay" and "inbox and runs" in found.told.reason
    assert found.told.cause == "a statement ran too long"
    own.pruned({})
    assert list(own.conditions()) == []


async def test_what_lasts_keeps_its_words_for_a_while_though_its_figures_change(clock: FakeClock):
    own, figures, states = Own(clock), iter(range(100)), [State.DEGRADED]
    own.ask(lambda: Trouble(states[0], Explanation("queue-stuck", f"{next(figures)} waiting")))
    told = []
    for seconds in (5, 5, 290, 5, 5):
        told += [one.told.reason for one in own.conditions()]
        await clock.advance(seconds)
    assert told == ["0 waiting"] * 3 + ["3 waiting"] * 2
    states[0] = State.DOWN
    assert [(one.state, one.told.reason) for one in own.conditions()] == [(State.DOWN, "5 waiting")]


def test_a_fault_in_one_look_costs_no_other(clock: FakeClock):
    own = Own(clock)

    def broken() -> Any:
        raise ValueError("a fault")

    own.ask(broken)
    own.pruned({"inbox": "why"})
    assert [one.told.code for one in own.conditions()] == ["old-rows-stay"]


async def test_a_loop_that_stays_late_is_said_with_what_tells_who_keeps_it(clock: FakeClock):
    stuck: list[str] = []
    loop = LoopWatch(clock, lambda: stuck)
    loop.beat(3.0)
    assert loop.trouble() is None
    for _ in range(6):
        await clock.advance(2)
        loop.beat(1.5)
    found = loop.trouble()
    assert found is not None and found.told.code == "loop-late" and "3 s" in found.told.reason
    for _ in range(12):
        await clock.advance(2)
        loop.beat(0.0)
    assert loop.trouble() is None
    stuck.append("event loop")
    assert (found := loop.trouble()) is not None and found.told.action == "systemctl restart syncd"


async def test_workers_that_end_are_said_unless_they_are_started_again_at_once(clock: FakeClock):
    pool = SimpleNamespace(partner="guesty", alive=0, seats=8)
    running = {"guesty": SimpleNamespace(runner=SimpleNamespace(pool=pool))}
    watch = WorkerWatch(lambda: SimpleNamespace(running=running), clock)  # type: ignore[arg-type, return-value]
    assert watch.trouble() is None
    await clock.advance(20)
    found = watch.trouble()
    assert found is not None and found.told.code == "workers-dead" and "0 of 8 of guesty" in found.told.reason
    pool.alive = 8
    assert watch.trouble() is None


async def test_a_disk_is_full_below_its_least_and_well_again_with_half_as_much_more(
    clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    size = 10 * 2**30
    free = [process.least(size) - 1]
    monkeypatch.setattr(process, "_space", lambda path: (free[0], size))
    watch = DiskWatch(lambda: {"state directory": tmp_path}, clock)
    await watch.look()
    found = watch.trouble()
    assert found is not None and found.told.code == "disk-full" and found.told.cause.endswith(str(tmp_path))
    assert str(tmp_path) not in found.told.reason + found.told.action, "those are read by everybody"
    free[0] = process.least(size) + 1
    await watch.look()
    assert watch.trouble() is not None
    free[0] = 2 * process.least(size)
    await watch.look()
    assert watch.trouble() is None
    assert process.least(size) == int(size * 0.02) and process.least(2**50) == 2**30


async def test_a_directory_that_is_not_there_is_no_trouble(clock: FakeClock, tmp_path: Path):
    watch = DiskWatch(lambda: {"media": tmp_path / "none"}, clock)
    await watch.look()
    assert watch.trouble() is None


async def test_a_share_that_hangs_hides_no_other_disk_and_holds_one_thread(
    clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    hanging, asked = threading.Event(), []

    def space(path: Path) -> tuple[int, int]:
        asked.append(path.name)
        if path.name == "share":
            hanging.wait(20)
        return 10, 1_000

    monkeypatch.setattr(process, "_space", space)
    watch = DiskWatch(lambda: {"media": tmp_path / "share", "state directory": tmp_path / "state"}, clock)
    try:
        for _ in range(3):
            looking = asyncio.ensure_future(watch.look())
            while not looking.done():
                await asyncio.sleep(0.01)
                await clock.advance(1)
        found = watch.trouble()
        assert found is not None and "state directory" in found.told.reason
        assert asked.count("share") == 1
    finally:
        hanging.set()


async def test_another_trouble_of_the_same_part_has_its_own_words(clock: FakeClock):
    own, full = Own(clock), "media"
    own.ask(lambda: Trouble(State.DEGRADED, own_troubles.disk_full(full, f"/srv/{full}", 1, 1_000)))
    assert "disk of the media" in next(one.told.reason for one in own.conditions())
    full = "state"
    assert "disk of the state" in next(one.told.reason for one in own.conditions()), "the other one has room again"
