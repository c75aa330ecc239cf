"""How long a partner asks us to wait, in every dialect seen.

Seconds, HTTP dates (measured against the response's own `Date`, so that no clock of ours matters), epoch seconds and
milliseconds, ISO 8601; in `Retry-After`, in reset headers absolute or relative, in the body. What makes no sense is None
(the caller backs off instead); what is absurdly long is cut and flagged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

_EPOCH_SECONDS = 1e9
"""A bare number from here on is a moment (2001 in epoch seconds), below it a duration (31 years in seconds)."""
_EPOCH_MILLIS = 1e11
_EPOCH_MICROS = 1e14
_PAST_SECONDS = 300.0
"""A moment so far in the past at most is a clock's difference and means "now"; further back it is nonsense."""
_PART = re.compile(r";\s*t\s*=\s*([0-9]+(?:\.[0-9]+)?)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class WaitDialect:
    """Where a partner writes its waits. The defaults understand what most send.

    `headers` are asked in order, `body` is a dotted path into the parsed body (`error.retry_after`); `millis` says that
    its bare numbers are milliseconds. Waits are raised to `floor_seconds` (dates have whole seconds, clocks differ) and
    cut to `cap_seconds`.
    """

    headers: tuple[str, ...] = (
        "retry-after", "ratelimit-reset", "ratelimit", "x-ratelimit-reset", "x-rate-limit-reset",
        "x-ratelimit-reset-after", "x-retry-after",
    )  # fmt: skip
    body: str = ""
    millis: bool = False
    floor_seconds: float = 0.25
    cap_seconds: float = 3600.0

    @classmethod
    def parse(cls, value: WaitDialect | Mapping[str, Any] | None) -> WaitDialect:
        """Read it from a driver's YAML: the same keys; None is the default. Raises ValueError."""
        if isinstance(value, WaitDialect):
            return value
        given = dict(value or {})
        if isinstance(headers := given.get("headers"), list | tuple | str):
            given["headers"] = (headers,) if isinstance(headers, str) else tuple(headers)
        try:
            return cls(**given)
        except TypeError:
            unknown = sorted(set(given) - set(cls.__dataclass_fields__))
            raise ValueError(f"a dialect of waits has no such key: {', '.join(unknown)}") from None


@dataclass(frozen=True, slots=True)
class Wait:
    """What the partner asked for. `asked_seconds` is its own figure; `capped` says that `until` is less than that."""

    until: datetime
    asked_seconds: float
    capped: bool
    source: str
    """The header or the path in the body that said so."""


DEFAULT = WaitDialect()


Dialect = WaitDialect | Mapping[str, Any] | None


def retry_at(headers: Mapping[str, str], body: Any, now: datetime, dialect: Dialect = None) -> datetime | None:
    """When the partner wants us back, by our clock; None if it did not say or made no sense."""
    found = read_wait(headers, body, now, dialect)
    return None if found is None else found.until


def read_wait(headers: Mapping[str, str], body: Any, now: datetime, dialect: Dialect = None) -> Wait | None:
    """The same with its source and its cap. `body` is the parsed body, or anything else if there is none."""
    dialect = DEFAULT if dialect is None else WaitDialect.parse(dialect)
    lowered = {name.lower(): value for name, value in headers.items()}
    theirs = _date(lowered.get("date", "")) or now
    for source, value, millis in _sources(lowered, body, dialect):
        seconds = _seconds(value, theirs, millis=millis)
        if seconds is None and theirs is not now:
            seconds = _seconds(value, now, millis=millis)  # their Date may be the value that makes no sense
        if seconds is None:
            continue
        kept = min(max(seconds, dialect.floor_seconds), dialect.cap_seconds)
        return Wait(now + timedelta(seconds=kept), seconds, seconds > dialect.cap_seconds, source)
    return None


def _sources(headers: Mapping[str, str], body: Any, dialect: WaitDialect) -> Iterator[tuple[str, Any, bool]]:
    for name in dialect.headers:
        value = headers.get(name.lower())
        if value is not None:
            yield name, value, dialect.millis and name.lower() != "retry-after"
    if dialect.body:
        found = body
        for part in dialect.body.split("."):
            if isinstance(found, Mapping):
                found = found.get(part)
            elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
                found = found[int(part)]
            else:
                return
        yield dialect.body, found, dialect.millis


def _seconds(value: Any, theirs: datetime, *, millis: bool) -> float | None:
    """Seconds from the partner's now, 0 for a moment just past, None for nonsense."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _number(float(value) if abs(value) < 1e18 else math.inf, theirs, millis=millis)
    if not isinstance(value, str) or len(value) > 200:
        return None
    text = value.strip().strip('"')
    at = _date(text)
    if at is not None:
        return _until(at, theirs)
    if _NUMBER.fullmatch(text):
        return _number(float(text), theirs, millis=millis)
    parts = [float(found) for found in _PART.findall(text)]  # RateLimit: "minute";r=0;t=30
    if not parts and "," in text:  # a header sent twice: the longer wait counts
        parts = [float(part) for part in map(str.strip, text.split(",")) if _NUMBER.fullmatch(part)]
    known = [seconds for part in parts if (seconds := _number(part, theirs, millis=millis)) is not None]
    return max(known, default=None)


def _number(value: float, theirs: datetime, *, millis: bool) -> float | None:
    if not math.isfinite(value) or value < 0 or value >= _EPOCH_MICROS:
        return None
    if value >= _EPOCH_MILLIS:
        return _until(datetime.fromtimestamp(value / 1000, UTC), theirs)
    if value >= _EPOCH_SECONDS:
        return _until(datetime.fromtimestamp(value, UTC), theirs)
    return value / 1000 if millis else value


def _until(at: datetime, theirs: datetime) -> float | None:
    seconds = (at - theirs).total_seconds()
    return None if seconds < -_PAST_SECONDS else max(seconds, 0.0)


def _date(text: str) -> datetime | None:
    """An HTTP date or ISO 8601; without a zone it is UTC."""
    if not any(mark in text for mark in ":-"):
        return None
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            found = parse(text)
        except (TypeError, ValueError, OverflowError, IndexError):
            continue
        try:
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (OverflowError, ValueError):  # year 1 or 9999 with a zone
            return None
    return None
