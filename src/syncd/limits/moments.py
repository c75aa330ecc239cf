"""Moments and spans of time as partners write them in headers and bodies. Pure; what makes no sense is None.

HTTP dates in all three forms of RFC 9110 (5.6.7) and ISO 8601; epoch seconds and milliseconds; bare numbers; spans with a
unit (`30s`, `6m0s`, `2 minutes`) and, in a sentence for people, "retry in 37 seconds". A moment is measured against the
partner's own clock (`theirs`: the answer's `Date`), so that no difference between the clocks matters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final

EPOCH_SECONDS: Final = 1e9
"""A bare number from here on is a moment (2001 in epoch seconds), below it a span (31 years in seconds)."""
_EPOCH_MILLIS: Final = 1e11
_EPOCH_MICROS: Final = 1e14
PAST_SECONDS: Final = 300.0
"""A moment so far in the past at most is a clock's difference and means "now"; further back it is nonsense."""
LONGEST: Final = 200
"""Characters of a value that is looked at; nobody writes a moment in more."""
_LONGEST_SENTENCE: Final = 1000

NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_UNITS: Final = {"ms": 0.001, "m": 60.0, "s": 1.0, "h": 3600.0, "d": 86400.0}
_UNIT = r"(milliseconds?|msecs?|ms|minutes?|mins?|m|seconds?|secs?|s|hours?|hrs?|h|days?|d)"
_AMOUNT = r"([0-9]{1,12}(?:\.[0-9]{1,12})?)"
_SPAN_PART = re.compile(
    _AMOUNT + r"\s?" + _UNIT + r"(?![a-z])\s?|" + _AMOUNT + r"\s?(ms|[smhd])(?=[0-9])", re.IGNORECASE
)
_SENTENCE = re.compile(
    r"\b(?:retry|again|wait|available|resets?|back)\b[^.;0-9]{0,30}([0-9][0-9.]{0,12}\s?[a-z]+(?:\s?[0-9][0-9.]{0,12}\s?[a-z]+)*)",
    re.IGNORECASE,
)
_ZONE = re.compile(r"[0-9]\s+\(?([A-Za-z]{1,5})\)?$")
_ZONES: Final = frozenset(
    ("GMT", "UTC", "UT", "Z", "AST", "ADT", "EST", "EDT", "CST", "CDT", "MST", "MDT", "PST", "PDT", "AM", "PM")
)
"""Zone names RFC 5322 gives a meaning (and "AM", which no date reads). Others are ambiguous: IST is three zones."""


@lru_cache(maxsize=256)  # all answers of one second carry the same Date
def date(text: str) -> datetime | None:
    """An HTTP date or ISO 8601; without a zone it is UTC. None for anything else, an unknown zone's name included."""
    if len(text) > LONGEST or not (":" in text or "-" in text) or text.count(",") > 1:  # two dates are no date
        return None
    zone = _ZONE.search(text)
    if zone is not None and zone[1].upper() not in _ZONES:
        return None
    text = text.replace(":60 ", ":59 ")  # RFC 9110 allows a leap second
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


def span(text: str) -> float | None:
    """Seconds of `30s`, `6m0s`, `250 ms`, `2 minutes`; None for anything else."""
    at, total = 0, 0.0
    while at < len(text):
        part = _SPAN_PART.match(text, at)
        if part is None:
            return None
        total += _seconds_of(part[1] or part[3], part[2] or part[4])
        at = part.end()
    return total if at else None


def in_words(sentence: str) -> float | None:
    """Seconds named in a sentence for people: "Please retry in 37 seconds". None where it names none."""
    found = _SENTENCE.search(sentence[:_LONGEST_SENTENCE])
    return None if found is None else span(found[1])


def seconds_until(value: Any, theirs: datetime, *, millis: bool = False) -> float | None:
    """Seconds from the partner's now to what `value` says; 0 for a moment just past; None for nonsense.

    `millis` says that a bare number is in milliseconds.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return from_number(float(value) if abs(value) < 1e18 else math.inf, theirs, millis=millis)
    if not isinstance(value, str) or len(value) > LONGEST:
        return None
    text = value.strip().strip('"').strip()
    if NUMBER.fullmatch(text):
        return from_number(float(text), theirs, millis=millis)
    at = date(text)
    return span(text) if at is None else _until(at, theirs)


def from_number(value: float, theirs: datetime, *, millis: bool = False) -> float | None:
    """A bare number: a span, or from `EPOCH_SECONDS` on a moment."""
    if not math.isfinite(value) or value < 0 or value >= _EPOCH_MICROS:
        return None
    if value >= _EPOCH_MILLIS:
        return _until(datetime.fromtimestamp(value / 1000, UTC), theirs)
    if value >= EPOCH_SECONDS:
        return _until(datetime.fromtimestamp(value, UTC), theirs)
    return value / 1000 if millis else value


def found_at(body: Any, path: str) -> Any:
    """What a parsed body has at a dotted path (`error.details.0.wait`); None where it has nothing."""
    for part in path.split("."):
        if isinstance(body, Mapping):
            body = body.get(part)
        elif isinstance(body, list) and part.isdecimal() and len(part) < 6 and int(part) < len(body):
            body = body[int(part)]
        else:
            return None
    return body


def _until(at: datetime, theirs: datetime) -> float | None:
    seconds = (at - theirs).total_seconds()
    return None if seconds < -PAST_SECONDS else max(seconds, 0.0)


def _seconds_of(amount: str, unit: str) -> float:
    unit = unit.lower()
    scale = _UNITS["ms"] if unit.startswith(("ms", "milli")) else _UNITS[unit[0]]
    return float(amount) * scale
