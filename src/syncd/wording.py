"""How figures are written for people, the same on every surface: durations, moments, counts. Pure; imports nothing."""

from __future__ import annotations

from datetime import UTC, datetime


def ago(moment: datetime | str | None, now: datetime) -> str:
    """`4m`, `2h 10m`; empty for nothing."""
    found = moment_of(moment)
    return "" if found is None else lasting((now - found).total_seconds())


def lasting(seconds: float) -> str:
    """A duration in at most two units, for reading at a glance."""
    left = max(int(seconds), 0)
    if left < 60:
        return f"{left}s"
    for name, unit, lower, lower_unit in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if left >= unit:
            rest = left % unit // lower_unit
            return f"{left // unit}{name}" + (f" {rest}{lower}" if rest else "")
    return f"{left}s"


def moment_of(value: datetime | str | None) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    found = datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def clock_time(value: datetime | str | None) -> str:
    """`2026-11-21 22:44:25Z`; a dash for nothing."""
    found = moment_of(value)
    return "-" if found is None else found.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:,}"


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
