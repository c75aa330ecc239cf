"""What is said of credentials before they become a trouble: one is old, one ends soon and nothing renews it. Pure."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final, NamedTuple

from syncd.credentials.rows import Row
from syncd.explain import Explanation, State
from syncd.wording import clock_time, lasting

DAY: Final = 86_400.0
SOON_SECONDS: Final = 7 * DAY
NOW_SECONDS: Final = DAY
PRESSING: Final = 4 / 3
"""So many times the age that is worth knowing, and it is something to be done."""


class Reminder(NamedTuple):
    """Of one integration."""

    integration: str
    partner: str
    state: State
    told: Explanation


def reminders(rows: Iterable[Row], remind_after: Callable[[str], float], now: datetime) -> Iterator[Reminder]:
    """At most one of each kind for an integration: the most pressing, and how many others there are."""
    by_integration: dict[str, list[Row]] = {}
    for row in rows:
        by_integration.setdefault(row.integration, []).append(row)
    for integration, own in by_integration.items():
        after = remind_after(integration)
        old = [row for row in own if ages(row) and (row.age_seconds or 0.0) >= after]
        if old and math.isfinite(after):
            yield _old(max(old, key=lambda row: row.age_seconds or 0.0), len(old) - 1, after)
        ending = [row for row in own if ends(row) and (row.expires_at - now).total_seconds() < SOON_SECONDS]  # type: ignore[operator]
        if ending:
            yield _ending(min(ending, key=lambda row: row.expires_at or now), len(ending) - 1, now)


def ages(row: Row) -> bool:
    """Is it one that a person replaces, and is its age known?"""
    return row.source != "database" and row.age_seconds is not None and " before" not in row.name


def ends(row: Row) -> bool:
    """Does it end, and does nothing renew it by itself?"""
    return row.expires_at is not None and not row.renews


def _old(row: Row, others: int, after: float) -> Reminder:
    age = row.age_seconds or 0.0
    pressing = age >= after * PRESSING
    told = Explanation(
        "credential-old",
        f"its {row.name} dates from {'long ago' if row.set_at is None else f'{row.set_at:%Y-%m-%d}'} ({row.age_by})"
        f"{_besides(others, 'is old too', 'are old too')}",
        since=row.set_at,
        cause=f"nobody has replaced it for longer than {lasting(after)}",
        action=_replacing(row),
    )
    return Reminder(row.integration, row.partner, State.DEGRADED if pressing else State.HEALTHY, told)


def _ending(row: Row, others: int, now: datetime) -> Reminder:
    assert row.expires_at is not None
    left = (row.expires_at - now).total_seconds()
    when = f"ends in {lasting(left)}" if left > 0 else f"ended {lasting(-left)} ago"
    told = Explanation(
        "credential-expires",
        f"its {row.name} {when}, at {clock_time(row.expires_at)}{_besides(others, 'ends soon', 'end soon')}",
        cause="nothing renews it by itself",
        action=_replacing(row),
    )
    return Reminder(row.integration, row.partner, State.DEGRADED, told)


def _besides(others: int, one: str, many: str) -> str:
    return "" if not others else f"; {others} more {one if others == 1 else many}"


def _replacing(row: Row) -> str:
    """What to run, as it is where this one is kept."""
    new = "get a new one from the partner"
    match row.source:
        case "database":
            return f"syncd credential login {row.integration}"
        case "file":
            return f"{new}, then: syncd credential rotate {row.integration} {shlex.quote(row.name)} < new.txt"
        case "literal":
            return f"{new}, write it into the file of {row.partner}, then: syncd reload --wait"
        case _:
            return f"{new}, put it where {row.kept} comes from, then: systemctl restart syncd"
