"""How long a partner asks us to wait, in every dialect seen.

Seconds, spans with a unit, HTTP dates (measured against the response's own `Date`, so that no clock of ours matters),
epoch seconds and milliseconds, ISO 8601; in `Retry-After`, in reset headers absolute or relative, in the body as a figure
or in words. What makes no sense is None (the caller backs off instead); what is absurdly long is cut and flagged.

Where several say something, the one that is about this call wins: `Retry-After`, then a reset of a limit that is used up,
then the body. A reset of a limit with calls left has nothing to do with the refusal and is not waited for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from syncd.limits.moments import date, found_at, in_words, seconds_until
from syncd.limits.quotas import fields, numbers

USUAL_HEADERS: Final = (
    "retry-after-ms", "retry-after", "x-ms-retry-after-ms", "x-retry-after",
    "ratelimit-reset", "ratelimit", "x-ratelimit-reset", "x-rate-limit-reset", "x-ratelimit-reset-after",
)  # fmt: skip
USUAL_FIGURES: Final = (
    "retry_after", "retryAfter", "retry_after_seconds", "retry_after_ms", "error.retry_after", "parameters.retry_after",
)  # fmt: skip
USUAL_SENTENCES: Final = ("error", "message", "detail", "error.message", "errors.0.message")
_MOST_PARTS: Final = 16


@dataclass(frozen=True, slots=True)
class WaitDialect:
    """Where a partner writes its waits. The defaults understand what most send.

    `headers` are asked in order, then `body`: dotted paths into the parsed body (`error.retry_after`), then `words`: paths
    to sentences for people. `millis` says that bare numbers are milliseconds (those under a name that ends in `ms` always
    are; those of Retry-After never). `buffer_seconds` are added to what is asked, for a partner that rounds down; waits
    are raised to `floor_seconds` (dates have whole seconds, clocks differ) and cut to `cap_seconds`. `missing_seconds` is
    the wait of a refusal that names none; without it the caller backs off.
    """

    headers: tuple[str, ...] = USUAL_HEADERS
    body: tuple[str, ...] = USUAL_FIGURES
    words: tuple[str, ...] = USUAL_SENTENCES
    millis: bool = False
    buffer_seconds: float = 0.0
    floor_seconds: float = 0.25
    cap_seconds: float = 3600.0
    missing_seconds: float | None = None

    @classmethod
    def parse(cls, value: WaitDialect | Mapping[str, Any] | None) -> WaitDialect:
        """Read it from a driver's YAML: the same keys, one place as text or several; None is the default. ValueError."""
        if value is None:
            return DEFAULT
        if isinstance(value, WaitDialect):
            return value
        given: dict[str, Any] = {}
        for key, said in value.items():
            if key not in cls.__dataclass_fields__:
                unknown = sorted(str(name) for name in value if name not in cls.__dataclass_fields__)
                raise ValueError(f"a dialect of waits has no such key: {', '.join(unknown)}")
            given[key] = _checked(key, said)
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Wait:
    """What the partner asked for. `asked_seconds` is its own figure; `capped` says that `until` is less than that."""

    until: datetime
    asked_seconds: float
    capped: bool
    source: str
    """The header or the path in the body that said so; `missing` for the wait of a refusal that named none."""


DEFAULT: Final = WaitDialect()

Dialect = WaitDialect | Mapping[str, Any] | None


def retry_at(
    headers: Mapping[str, str], body: Any, now: datetime, dialect: Dialect = None, *, limited: bool = True
) -> datetime | None:
    """When the partner wants us back, by our clock; None if it did not say or made no sense."""
    found = read_wait(headers, body, now, dialect, limited=limited)
    return None if found is None else found.until


def read_wait(
    headers: Mapping[str, str], body: Any, now: datetime, dialect: Dialect = None, *, limited: bool = True
) -> Wait | None:
    """The same with its source and its cap. `body` is the parsed body, or anything else if there is none.

    `limited` is False for an answer that is no refusal for too many calls (a 503): then only what says "come back" counts,
    not the reset of a limit, nor the wait of a refusal that names none.
    """
    if not isinstance(dialect, WaitDialect):
        dialect = WaitDialect.parse(dialect)
    lowered = {name.lower(): value for name, value in headers.items()}
    for source, seconds in _told(lowered, body, now, dialect, limited=limited):
        if seconds is not None:
            return _wait(seconds, source, now, dialect)
    if limited and dialect.missing_seconds is not None:
        return _wait(dialect.missing_seconds, "missing", now, dialect)
    return None


def _wait(seconds: float, source: str, now: datetime, dialect: WaitDialect) -> Wait:
    kept = min(max(seconds + dialect.buffer_seconds, dialect.floor_seconds), dialect.cap_seconds)
    return Wait(now + timedelta(seconds=kept), seconds, seconds > dialect.cap_seconds, source)


def _told(
    headers: Mapping[str, str], body: Any, now: datetime, dialect: WaitDialect, *, limited: bool
) -> Iterator[tuple[str, float | None]]:
    """What each place says, in order: its name, and seconds or None. Names of `headers` are in lower case."""
    theirs = date(headers.get("date", "")) or now
    for name in dialect.headers:
        key = name.lower()
        value = headers.get(key)
        if value is None or (not limited and "limit" in key):
            continue
        millis = key.endswith("-ms") or (dialect.millis and key != "retry-after")
        seconds = _of_header(key, value, headers, theirs, millis=millis)
        if seconds is None and theirs is not now:  # their Date may be the value that makes no sense
            seconds = _of_header(key, value, headers, now, millis=millis)
        yield name, seconds
    for path in dialect.body:
        found = found_at(body, path)
        seconds = seconds_until(found, theirs, millis=dialect.millis or path.endswith("_ms"))
        yield path, in_words(found) if seconds is None and isinstance(found, str) else seconds
    for path in dialect.words if limited else ():
        found = found_at(body, path)
        yield path, in_words(found) if isinstance(found, str) else None


def _of_header(name: str, value: str, headers: Mapping[str, str], theirs: datetime, *, millis: bool) -> float | None:
    if name == "ratelimit":
        return _of_field(value)
    told = seconds_until(value, theirs, millis=millis)
    resets = [told]
    if told is None and "," in value:  # a header sent twice, or one figure for each policy
        resets = [seconds_until(part, theirs, millis=millis) for part in _parts(value)]
    if "limit" in name and "reset" in name:
        left = numbers(headers.get(name.replace("reset-after", "remaining").replace("reset", "remaining")))
        if len(left) == len(resets):
            resets = [reset for reset, calls in zip(resets, left, strict=True) if not calls]
        elif left and all(left):
            resets = []
    return max((seconds for seconds in resets if seconds is not None), default=None)  # of two waits the longer holds


def _of_field(value: str) -> float | None:
    """`"minute";r=0;t=31`: until the last policy that is used up comes back; if none is, the one with least left."""
    told = [one for one in fields(value) if one.reset is not None and one.reset >= 0 and math.isfinite(one.reset)]
    spent = [one.reset for one in told if one.remaining == 0 or one.remaining is None]
    if not spent and told:
        spent = [min(told, key=lambda one: one.remaining or 0.0).reset]
    return max((seconds for seconds in spent if seconds is not None), default=None)


def _parts(value: str) -> list[str]:
    """The values of a header sent more than once: an HTTP date has a comma of its own after the day's name."""
    found: list[str] = []
    for part in value.split(",")[: 2 * _MOST_PARTS]:
        if found and found[-1].strip().isalpha():
            found[-1] = f"{found[-1]},{part}"
        else:
            found.append(part)
    return [part.strip() for part in found[:_MOST_PARTS]]


def _checked(key: str, value: Any) -> Any:
    """One key's value as the class wants it. Raises ValueError in words for a person."""
    if key in ("headers", "body", "words"):
        places = (value,) if isinstance(value, str) else value
        if not isinstance(places, list | tuple) or not all(isinstance(place, str) for place in places):
            raise ValueError(f"`{key}` is one name or a list of names, not {value!r}")
        return tuple(place for place in places if place)
    if key == "millis":
        if not isinstance(value, bool):
            raise ValueError("`millis` is true or false: whether bare numbers are milliseconds")
        return value
    if key == "missing_seconds" and value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0 <= value < math.inf):
        raise ValueError(f"`{key}` is a number of seconds, not {value!r}")
    return float(value)
