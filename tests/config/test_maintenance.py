"""When a maintenance window is open: by the clock on the wall, for a fixed time, also when clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from syncd.config.maintenance import MaintenanceConfig, next_opening, opening

HOUR = timedelta(hours=1)


def window(
    cron: str = "0 2 * * SUN", lasts: str = "2h", zone: str = "Europe/Berlin", reason: str = "x"
) -> MaintenanceConfig:
    return MaintenanceConfig.model_validate({"cron": cron, "for": lasts, "time_zone": zone, "reason": reason})


def utc(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("began", "zone"),
    [
        (utc(2026, 1, 4, 1), "Europe/Berlin"),  # winter: an hour ahead of UTC
        (utc(2026, 7, 5, 0), "Europe/Berlin"),
        (utc(2026, 3, 29, 1), "Europe/Berlin"),  # two o'clock does not exist: it is three at once
        (utc(2026, 10, 25, 0), "Europe/Berlin"),  # two o'clock comes twice: the first one
        (utc(2026, 3, 8, 7), "America/New_York"),
        (utc(2026, 11, 1, 7), "America/New_York"),  # after the hour that came twice, from one to two
        (utc(2026, 4, 5, 2), "UTC"),
    ],
)
def test_it_begins_by_the_clock_on_the_wall_and_lasts_as_long_as_is_said(began: datetime, zone: str):
    found = window(zone=zone)
    second = timedelta(seconds=1)
    assert found.open_at(began - second) is None
    opened = found.open_at(began)
    assert opened is not None
    assert (opened.began_at, opened.until, opened.reason) == (began, began + 2 * HOUR, "x")
    assert found.open_at(began + 2 * HOUR - second) == opened
    assert found.open_at(began + 2 * HOUR) is None
    assert found.next_after(began - 30 * HOUR) == began
    after = found.next_after(began)
    assert after is not None
    assert timedelta(days=6, hours=22) < after - began < timedelta(days=7, hours=2)


@given(
    cron=st.sampled_from(["0 2 * * *", "30 2 * * SUN", "15 */6 * * *", "0 3 1 * *", "59 23 * * MON-FRI", "30 1 * * *"]),
    zone=st.sampled_from(
        ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/St_Johns"]
    ),
    minutes=st.integers(1, 300),
    after=st.integers(0, 3 * 365 * 24 * 3600),
)
def test_what_is_open_began_when_it_was_said_to_and_nothing_else_is(cron: str, zone: str, minutes: int, after: int):
    now, found = utc(2025, 1, 1) + timedelta(seconds=after), window(cron, f"{minutes}m", zone)
    begins = found.next_after(now)
    assert begins is not None
    assert begins > now
    second, lasts = timedelta(seconds=1), timedelta(minutes=minutes)
    opened = found.open_at(begins)
    assert opened is not None
    assert (opened.began_at, opened.until) == (begins, begins + lasts)
    assert found.open_at(begins + lasts - second) == opened
    before = found.open_at(now)
    if before is not None:
        assert before.began_at <= now < before.until
        assert found.next_after(before.began_at - second) == before.began_at
        # Between its end and the next beginning there is none.
        assert before.until <= begins
    if before is None or before.until < begins:
        assert found.open_at(begins - second) is None or before is not None


def test_windows_that_overlap_or_follow_at_once_are_one():
    found = [
        window("0 2 * * *", "2h", "UTC", "a"),
        window("30 3 * * *", "1h", "UTC", "b"),
        window("30 4 * * *", "30m", "UTC", "c"),
    ]
    for minute in (0, 100, 140, 175):
        opened = opening(found, utc(2026, 5, 1, 2) + timedelta(minutes=minute))
        assert opened is not None
        assert opened.until == utc(2026, 5, 1, 5)
    assert opening(found, utc(2026, 5, 1, 5)) is None
    assert opening([], utc(2026, 5, 1)) is None
    assert next_opening(found, utc(2026, 5, 1, 3)) == utc(2026, 5, 1, 3, 30)
    assert next_opening([], utc(2026, 5, 1)) is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"cron": "* * * * *", "for": "2m"}, "it would never end"),
        ({"cron": "0 * * * *", "for": "1h"}, "it begins again after 1h"),
        ({"cron": "0 2 * *", "for": "2h"}, "five-field"),
        ({"cron": "0 0 2 * * *", "for": "2h"}, "five-field"),
        ({"cron": "0 2 30 2 *", "for": "2h"}, "not a cron expression"),
        ({"cron": "0 2 * * *", "for": "2h", "time_zone": "Mars/Olympus"}, "no time zone"),
        ({"cron": "0 2 * * *", "for": "2h", "time_zone": "/etc/passwd"}, "no time zone"),
        ({"cron": "0 2 * * *", "for": "8d"}, "from 1m to 7d"),
        ({"cron": "0 2 * * *", "for": "5s"}, "from 1m to 7d"),
        ({"cron": "0 2 * * *"}, "required"),
    ],
)
def test_what_cannot_be_meant_is_refused(said: dict[str, Any], why: str):
    with pytest.raises(ValidationError, match=why):
        MaintenanceConfig.model_validate(said)


def test_its_sentence_names_time_zone_and_length():
    assert window().sentence == "At 02:00 on Sunday (Europe/Berlin), for 2h"
