"""How deliveries usually come, and whether a silence is an unusual one. Pure arithmetic over the hours of the last days."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from statistics import median

from syncd.config.units import format_duration
from syncd.store.arrivals import Hour

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TIMES = 4
"""So many times the longest usual time without a delivery is much longer than usual."""
LEAST_SECONDS = 900.0
MOST_SECONDS = 86_400.0
"""The limits of what may be called unusual; the latter where little is known."""
KNOWN = 10
"""So many deliveries, over a day at least, make a rhythm."""
DAYS = 7
SAME_HOURS_DAYS = 3
SAME_HOURS_LEAST = 3
"""At least so many deliveries in the same hours of each day of the week past make none today an unusual thing."""
SAME_HOURS_MOST = 12


def tally(times: Iterable[datetime], before: datetime | None) -> dict[datetime, tuple[int, float]]:
    """By hour: how many of these came, and the longest time without one that ended in it. `before`: the one before them."""
    found: dict[datetime, tuple[int, float]] = {}
    last = before
    for at in sorted(times):
        hour = hour_of(at)
        count, longest = found.get(hour, (0, 0.0))
        gap = (at - last).total_seconds() if last is not None else 0.0
        found[hour] = (count + 1, max(longest, gap))
        last = at if last is None else max(last, at)
    return found


def hour_of(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def longest_usual_seconds(hours: Sequence[Hour], now: datetime) -> float | None:
    """The longest time without a delivery on an ordinary day; None where too little is known."""
    if not hours or sum(hour.deliveries for hour in hours) < KNOWN or now - hours[0].hour < DAY:
        return None
    longest: dict[date, float] = {}
    for hour in hours:
        if now - hour.hour <= DAYS * DAY:
            day = hour.hour.date()
            longest[day] = max(longest.get(day, 0.0), hour.longest_seconds)
    return median(longest.values()) if longest else None


def patience(hours: Sequence[Hour], now: datetime) -> tuple[float, str]:
    """Seconds of silence that are no longer usual, and why, as a part of a sentence."""
    usual = longest_usual_seconds(hours, now)
    if usual is None:
        return MOST_SECONDS, "little is known of how often it sends"
    seconds = min(max(usual * TIMES, LEAST_SECONDS), MOST_SECONDS)
    return seconds, f"usually not more than {format_duration(max(round(usual), 1))} pass without one"


def missing_hours(hours: Sequence[Hour], last_at: datetime, now: datetime) -> str | None:
    """What usually comes in the whole hours that were silent; None where that is nothing to go by.

    On every day of the week past, as far as is known, and on three at least, something came in them.
    """
    first = hour_of(last_at) + HOUR
    length = min(int((hour_of(now) - first) / HOUR), SAME_HOURS_MOST)
    if length < 1 or not hours:
        return None
    counts = {hour.hour: hour.deliveries for hour in hours}
    begin = hour_of(now) - length * HOUR
    seen = []
    for day in range(1, DAYS + 1):
        start = begin - day * DAY
        if start < hours[0].hour:
            break
        seen.append(sum(counts.get(start + n * HOUR, 0) for n in range(length)))
    if len(seen) < SAME_HOURS_DAYS or min(seen) < SAME_HOURS_LEAST:
        return None
    return f"in these hours of the last {len(seen)} days {min(seen)} or more came"


def unusual(hours: Sequence[Hour], last_at: datetime, now: datetime, *, fixed_seconds: float | None) -> str | None:
    """Why the silence since `last_at` is unusual, as a part of a sentence; None: it is not."""
    silent = (now - last_at).total_seconds()
    if fixed_seconds is not None:
        return f"webhook.silence is {format_duration(fixed_seconds)}" if silent >= fixed_seconds else None
    seconds, why = patience(hours, now)
    if silent >= seconds:
        return why
    return missing_hours(hours, last_at, now) if silent >= LEAST_SECONDS else None
