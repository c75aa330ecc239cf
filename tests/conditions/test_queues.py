"""A queue is stuck when something in it could be done and is not; waiting is no trouble, whatever for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from syncd.conditions.queues import MANY, QueueWatch
from syncd.errors import AuthError
from syncd.explain import Explanation
from syncd.sync.flow import Flow
from syncd.sync.health import Health
from syncd.testing.clock import FakeClock


class Stage:
    """One partner with one integration, whose inbox holds what it is told."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.due: dict[str, dict[str, int]] = {"inbox": {"acme": 3}}
        self.taken = 0
        self.health = Health("acme")
        self.view: dict[str, Any] = {"tiers": [], "breakers": {}, "ramp": None}
        self.held = True
        self.account: Any = SimpleNamespace(
            name="acme", health=self.health, flow=Flow(), gate=SimpleNamespace(view=lambda: self.view),
            clock=self.clock, all_needs=[("",)],
            may_call=lambda: self.held and self.health.auth_retry_at is None,
        )  # fmt: skip
        self.pool: Any = SimpleNamespace(
            partner="plain", held=0, seats=4, moved_at=self.clock.monotonic(), waiting=0, stuck=lambda after: False
        )
        runner: Any = SimpleNamespace(pool=self.pool, paused={}, accounts={"acme": self.account})
        self.paused = runner.paused
        running: Any = SimpleNamespace(running={"plain": SimpleNamespace(runner=runner)})
        self.overdue, self.away = 0.0, ""
        depths: Any = SimpleNamespace(
            due=lambda: self.due, under_way=lambda queue: self.taken, overdue_seconds=lambda: self.overdue
        )
        self.watch = QueueWatch(depths, lambda: running, self.clock, cannot_store=lambda: self.away)

    async def seconds(self, count: int, *, leaving: int = 0) -> Explanation | None:
        """What is said after so many seconds, in each of which so many leave the inbox."""
        found = None
        for _ in range(count):
            self.account.flow.ended["inbox"] += leaving
            found = self.watch.trouble()
            await self.clock.advance(1)
        return found.told if found is not None else None


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_work_that_nobody_takes_is_said_within_a_minute_and_heals_with_the_first_that_leaves(stage: Stage):
    assert await stage.seconds(20) is None
    told = await stage.seconds(5)
    assert told is not None and told.code == "queue-stuck"
    assert told.reason.startswith("3 waiting in inbox could be done") and told.action == "systemctl restart syncd"
    assert await stage.seconds(1, leaving=1) is None


async def test_a_queue_that_flows_however_slowly_is_not_stuck(stage: Stage):
    for _ in range(10):
        assert await stage.seconds(19) is None
        assert await stage.seconds(1, leaving=1) is None


async def test_what_was_empty_until_now_has_not_waited(stage: Stage):
    stage.due = {"inbox": {}}
    assert await stage.seconds(200) is None
    stage.due = {"inbox": {"acme": 1}}
    assert await stage.seconds(19) is None


def paused(stage: Stage) -> None:
    stage.paused["acme"] = object()


def partly_paused(stage: Stage) -> None:
    stage.paused["acme/things"] = object()


def refused(stage: Stage) -> None:
    stage.health.failed("things", AuthError("401"), stage.clock.now())


def limited(stage: Stage) -> None:
    known = stage.health.of("things")
    known.limited_until, known.limited_by = stage.clock.now().replace(year=2030), "429"


def broken(stage: Stage) -> None:
    stage.view["breakers"] = {"": {"state": "open", "retry_in_seconds": 30, "errors": []}}


def elsewhere(stage: Stage) -> None:
    stage.held = False


def busy(stage: Stage) -> None:
    stage.pool.held = 4


@pytest.mark.parametrize(
    "held", [paused, partly_paused, refused, limited, broken, elsewhere], ids=lambda one: one.__name__
)
async def test_what_waits_for_something_is_not_stuck(stage: Stage, held: Any):
    held(stage)
    stage.due = {"inbox": {"acme": 2 * MANY}}
    assert await stage.seconds(300) is None


async def test_what_waits_for_a_seat_is_stuck_only_where_those_who_have_them_make_no_progress(stage: Stage):
    stage.taken, stage.pool.held = 4, 4
    for _ in range(30):
        stage.pool.moved_at = stage.clock.monotonic()
        assert await stage.seconds(10) is None
    told = await stage.seconds(100)
    assert told is not None and told.code == "queue-stuck"


async def test_a_long_queue_of_which_nothing_leaves_is_stuck_whoever_is_at_it(stage: Stage):
    stage.due = {"inbox": {"acme": MANY + 1}}
    stage.taken = 1
    for _ in range(5):
        stage.pool.moved_at = stage.clock.monotonic()
        told = await stage.seconds(10)
    assert told is not None and f"{MANY + 1:,} waiting" in told.reason


async def test_what_was_taken_into_memory_and_finds_no_hand_there_is_stuck_too(stage: Stage):
    stage.due = {}
    stage.pool.stuck, stage.pool.waiting = (lambda after: True), 7
    told = await stage.seconds(1)
    assert told is not None and "7 waiting in the pool of plain" in told.reason


async def test_while_the_database_is_away_no_queue_is_called_stuck_and_later_by_what_was_seen_since(stage: Stage):
    stage.away = "connection refused"
    stage.pool.stuck = lambda after: True
    assert await stage.seconds(60) is None
    stage.away, stage.pool.stuck = "", lambda after: False
    assert await stage.seconds(20) is None, "what waited for the database has had no time yet"
    assert await stage.seconds(5) is not None


async def test_a_count_that_is_long_overdue_says_nothing(stage: Stage):
    stage.overdue = 30.0
    assert await stage.seconds(60) is None
    stage.overdue = 0.0
    assert await stage.seconds(25) is not None
