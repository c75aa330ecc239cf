"""What silence is unusual, learned from the hours of the last days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from syncd.store.arrivals import Hour
from syncd.sync.rhythm import longest_usual_seconds, missing_hours, patience, tally, unusual

NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
"""A Friday afternoon."""
H = timedelta(hours=1)


def office(days: int = 7, *, per_hour: int = 20, gap: float = 300.0, weekends: bool = False) -> list[Hour]:
    """Deliveries from 8 to 18 h; the first of a day ends a night of 14 hours."""
    hours = []
    start = NOW.replace(hour=0, minute=0) - timedelta(days=days)
    for day in range(days + 1):
        morning = start + timedelta(days=day, hours=8)
        if morning.weekday() >= 5 and not weekends:
            continue
        for n in range(10):
            if morning + n * H <= NOW:
                hours.append(Hour(morning + n * H, per_hour, 50_400.0 if n == 0 else gap))
    return hours


def steady(days: int = 7, gap: float = 600.0) -> list[Hour]:
    start = NOW.replace(minute=0) - timedelta(days=days)
    return [Hour(start + n * H, 6, gap) for n in range(days * 24 + 1)]


def test_much_longer_than_the_longest_usual_gap_is_unusual():
    assert longest_usual_seconds(steady(), NOW) == 600
    assert patience(steady(), NOW)[0] == 2400
    last = NOW - timedelta(seconds=2399)
    assert unusual(steady(), last, NOW, fixed_seconds=None) is None
    why = unusual(steady(), last - timedelta(seconds=1), NOW, fixed_seconds=None)
    assert why == "usually not more than 10m pass without one"


def test_one_outage_does_not_teach_patience():
    hours = steady()
    hours[40] = Hour(hours[40].hour, 6, 40_000.0)
    assert patience(hours, NOW)[0] == 2400


def test_floors_and_ceilings_are_sane():
    assert patience(steady(gap=1.0), NOW)[0] == 900
    assert patience(steady(gap=80_000.0), NOW)[0] == 86_400
    assert patience([], NOW)[0] == 86_400
    assert patience(steady(days=1)[-3:], NOW)[0] == 86_400, "an hour of deliveries is no rhythm"


def test_what_usually_comes_in_these_hours_counts_where_nights_are_silent():
    hours = office(weekends=True)
    assert patience(hours, NOW)[0] == 86_400, "the nights teach patience"
    last = NOW.replace(hour=13, minute=50)
    assert unusual(hours, last, NOW, fixed_seconds=None) == "in these hours of the last 7 days 20 or more came"
    night = NOW.replace(hour=6, minute=30)
    assert unusual(hours, night - timedelta(hours=11), night, fixed_seconds=None) is None


def test_a_weekend_of_silence_is_usual_where_the_last_one_was_silent():
    saturday = datetime(2026, 11, 21, 15, 30, tzinfo=UTC)
    friday = saturday.replace(day=20, hour=17, minute=59)
    assert missing_hours(office(days=8), friday, saturday) is None


def test_a_configured_time_needs_no_history():
    last = NOW - timedelta(hours=2)
    assert unusual([], last, NOW, fixed_seconds=7200.0) == "webhook.silence is 2h"
    assert unusual(steady(), last, NOW, fixed_seconds=7201.0) is None


def test_deliveries_are_tallied_by_hour_with_the_gap_that_ended_in_it():
    at = NOW.replace(minute=0)
    times = [at + timedelta(seconds=s) for s in (10, 20, 3599, 3605, 9000)]
    assert tally(reversed(times), at - timedelta(seconds=90)) == {
        at: (3, pytest.approx(3579.0)),
        at + H: (1, pytest.approx(6.0)),
        at + 2 * H: (1, pytest.approx(5395.0)),
    }
    assert tally([at], None) == {at: (1, 0.0)}
