"""The list of conditions: begins, holds and heals; said once each; metrics that go away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest

from syncd.conditions import Condition, Conditions
from syncd.conditions.gauges import Gauges
from syncd.explain import SEVERITIES, Explanation, Severity, State, severity_of
from syncd.testing.clock import FakeClock
from tests.cli.test_runbook import codes

DOWN = Condition(
    State.DOWN, Explanation("partner-down", "503", cause="theirs", action="wait"), "acme", "guesty", "ACME Inc"
)
SLOW = Condition(State.DEGRADED, Explanation("database-slow", "slow", action="syncd check --env"))
WAITS = Condition(State.WAITING, Explanation("rate-limited", "next call at noon"), "beta", "guesty", "beta")


class Seen:
    """What a look finds."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.found: list[Condition] = []
        self.unseen: set[str] = set()
        self.conditions = Conditions(lambda: (self.found, self.unseen), self.clock)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def said() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


async def test_it_began_when_it_was_first_seen_and_stays_so(seen: Seen):
    seen.found = [DOWN]
    began = seen.clock.now()
    assert seen.conditions.look()[0].since == began
    await seen.clock.advance(90)
    assert seen.conditions.look()[0].since == began
    seen.found = []
    assert seen.conditions.look() == []
    await seen.clock.advance(5)
    seen.found = [DOWN]
    assert seen.conditions.look()[0].since == seen.clock.now(), "another one"


async def test_beginning_and_end_are_said_once_each_with_the_same_keys(seen: Seen, said: list[Any]):
    seen.found = [DOWN]
    for _ in range(3):
        seen.conditions.look()
        await seen.clock.advance(10)
    seen.found = []
    seen.conditions.look()
    seen.conditions.look()
    assert [(line["event"], line["log_level"]) for line in said] == [
        ("condition_began", "error"),
        ("condition_ended", "info"),
    ]
    began, ended = said
    assert began["since"] == ended["since"] == "2026-01-01T12:00:00+00:00", "a text that others can read"
    assert ended.keys() - began.keys() == {"lasted_seconds"} and ended["lasted_seconds"] == 30.0
    for key in (
        "subject",
        "integration",
        "partner",
        "company",
        "resource",
        "code",
        "severity",
        "reason",
        "cause",
        "action",
    ):
        assert began[key] == ended[key], key


def test_a_wait_is_no_news(seen: Seen, said: list[Any]):
    seen.found = [WAITS]
    seen.conditions.look()
    assert {line["log_level"] for line in said} <= {"debug"}


def test_the_worst_comes_first_and_the_daemon_before_what_runs_in_it(seen: Seen):
    failing = Condition(State.DEGRADED, Explanation("partner-slow", "slow"), "acme", "guesty", "acme")
    seen.found = [WAITS, failing, SLOW, DOWN]
    assert seen.conditions.look() == sorted(seen.conditions.current, key=lambda one: one.order)
    assert [one.told.code for one in seen.conditions.current] == [
        "partner-down", "database-slow", "partner-slow", "rate-limited",
    ]  # fmt: skip
    assert [one.told.code for one in seen.conditions.daemon] == ["database-slow"]


def test_while_an_integration_is_swapped_nothing_of_it_begins_or_ends(seen: Seen, said: list[Any]):
    seen.found = [DOWN]
    seen.conditions.look()
    seen.found, seen.unseen = [], {"acme"}
    assert [one.key for one in seen.conditions.look()] == [DOWN.key]
    seen.unseen = set()
    seen.conditions.look()
    assert [line["event"] for line in said] == ["condition_began", "condition_ended"]


async def test_a_late_look_is_told_of_and_a_fault_in_one_does_not_end_the_others(said: list[Any]):
    clock, late = FakeClock(), []

    def sight() -> Any:
        raise ValueError("a fault")

    conditions = Conditions(sight, clock)
    import asyncio

    task = asyncio.ensure_future(conditions.run(late.append))
    await clock.advance(16)
    task.cancel()
    assert len(late) == 3 and max(late) == 0.0
    assert {line["event"] for line in said} == {"conditions_not_looked_at"}


def test_metrics_last_as_long_as_their_trouble(seen: Seen):
    registry, gauges = CollectorRegistry(), Gauges()
    registry.register(gauges)
    gauges.use(seen.conditions)
    seen.found = [DOWN, SLOW]
    told = generate_latest(registry).decode()
    assert (
        'syncd_condition{code="partner-down",company="ACME Inc",integration="acme",partner="guesty",resource="",'
        'severity="page",subject="integration"} 1.0' in told
    )
    assert (
        'syncd_condition_info{action="wait",cause="theirs",code="partner-down",integration="acme",reason="503"' in told
    )
    assert 'since_timestamp_seconds{code="database-slow",integration="",resource=""} 1.7672688e+09' in told
    seen.found = []
    assert "{" not in generate_latest(registry).decode()


@pytest.mark.parametrize("state", [State.WAITING, State.PAUSED, State.HEALTHY])
def test_what_waits_is_paused_or_works_never_wakes_anybody(state: State):
    assert {severity_of(code, state) for code in [*SEVERITIES, "unheard-of"]} == {Severity.NOTE}


def test_what_still_works_in_part_wakes_nobody():
    assert Severity.PAGE not in {severity_of(code, State.DEGRADED) for code in SEVERITIES}
    assert severity_of("auth-failed", State.AUTH_REQUIRED) is Severity.PAGE
    assert severity_of("limit-learned", State.DOWN) is Severity.NOTE


def test_every_code_has_a_severity():
    assert codes() <= set(SEVERITIES)
