"""When a resource runs next."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.sync.schedule import CATCH_UP_SECONDS, Schedule

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def test_an_interval_counts_from_when_the_last_run_began():
    assert Schedule(every_seconds=900).after(NOON, 0.5) == NOON + timedelta(minutes=15)


def test_jitter_only_ever_delays():
    assert Schedule(every_seconds=900, jitter_seconds=60).after(NOON, 0.5) == NOON + timedelta(minutes=15, seconds=30)


def test_a_cron_expression_is_read_in_utc():
    assert Schedule(cron="30 3 * * *").after(NOON, 0.0) == datetime(2026, 11, 22, 3, 30, tzinfo=UTC)


def test_a_resource_that_never_ran_runs_at_once():
    assert Schedule(every_seconds=900).first(None, NOON, 0.9) == NOON


def test_a_run_that_is_not_yet_due_waits_for_its_time():
    began = NOON - timedelta(minutes=5)
    assert Schedule(every_seconds=900).first(began, NOON, 0.9) == began + timedelta(minutes=15)


@given(st.integers(1, 500), st.floats(0, 1, exclude_max=True))
def test_after_downtime_there_is_one_run_within_the_spread(missed: int, chance: float):
    schedule = Schedule(every_seconds=900)
    first = schedule.first(NOON - timedelta(minutes=15 * missed + 1), NOON, chance)
    assert NOON <= first <= NOON + timedelta(seconds=CATCH_UP_SECONDS)


def test_a_short_interval_is_not_held_back_by_the_spread():
    first = Schedule(every_seconds=2).first(NOON - timedelta(hours=1), NOON, 0.999)
    assert first <= NOON + timedelta(seconds=2)


def test_a_schedule_without_a_rule_is_an_error():
    with pytest.raises(ValueError, match="interval or a cron"):
        Schedule().after(NOON, 0.0)
