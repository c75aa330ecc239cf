"""From what a partner sends to what syncd stores: each function takes one JSON value and returns a sound one or raises.

All raise PayloadError with what was expected and what kind of thing came, never the value: it may be personal. Results
are plain JSON (moments become ISO text in UTC), so a normalized record can be stored as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

from syncd.errors import PayloadError
from syncd.kit.paths import kind

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INT64 = 2**63
_MORE_THAN_MICRO = re.compile(r"(\.\d{6})\d+")
_NAMED_ZONE = re.compile(r"(?:\[[^\[\]]*\])+$")
"""What RFC 9557 lets stand behind a moment: [Europe/London]."""
_LONGEST_NUMBER = 400
"""Digits of a number written as text that we are willing to read."""


def _unfit(expected: str, value: Any, hint: str = "") -> PayloadError:
    return PayloadError(f"expected {expected}, got {kind(value)}", hint=hint)


def text(value: Any) -> str:
    """Text; numbers and booleans become their JSON spelling."""
    if type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise _unfit("text", value)


def integer(value: Any) -> int:
    """A whole number within 64 bits; text and `12.0` are taken, `12.5` is not."""
    number: int
    if type(value) is int:
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str):
        try:
            number = int(value) if len(value) < 40 else _INT64
        except ValueError:
            exact = _decimal(value, "a whole number")
            if exact.adjusted() > 20 or exact != exact.to_integral_value():
                raise _unfit("a whole number", value) from None
            number = int(exact)
    else:
        raise _unfit("a whole number", value)
    if not -_INT64 <= number < _INT64:
        raise PayloadError("expected a whole number of at most 64 bits, got a larger one")
    return number


def _decimal(value: Any, expected: str = "a number") -> Decimal:
    try:
        if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
            exact = Decimal(value.strip())
        elif isinstance(value, int | float) and not isinstance(value, bool):
            exact = Decimal(repr(value))
        else:
            raise _unfit(expected, value)
    except InvalidOperation:
        raise _unfit(expected, value) from None
    if not exact.is_finite() or abs(exact.adjusted()) > _LONGEST_NUMBER:
        raise _unfit(f"{expected} within reason", value)
    return exact


def number(value: Any) -> int | float | str:
    """A number. Text is taken; digits a float would lose are kept by leaving the number as text."""
    if type(value) is int:
        return value
    if type(value) is float and isfinite(value):
        return value
    exact = _decimal(value)
    if exact == exact.to_integral_value() and abs(exact) < _INT64:
        return int(exact)
    near = float(exact)
    return near if Decimal(repr(near)) == exact else format(exact, "f")


def decimal(value: Any) -> str:
    """A number as text with every digit the partner sent: for money."""
    return format(_decimal(value), "f")


_TRUE = frozenset({"true", "yes", "y", "on", "1", "t"})
_FALSE = frozenset({"false", "no", "n", "off", "0", "f"})


def boolean(value: Any) -> bool:
    """True or false; 1 and 0, "true" and "false", "yes" and "no" are taken."""
    if type(value) is bool:
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        lower = value.strip().lower()
        if lower in _TRUE:
            return True
        if lower in _FALSE:
            return False
    raise _unfit("true or false", value)


def moment(value: Any, zone: tzinfo | None = None) -> datetime:
    """ISO 8601 text as an aware UTC datetime. Digits beyond microseconds are cut.

    A moment without an offset is refused unless `zone` says how to read it: guessing a zone moves records in time.
    """
    if type(value) is not str:
        hint = "for a number say `as: epoch` or `as: epoch_ms`" if isinstance(value, int | float) else ""
        raise _unfit("a moment in ISO 8601", value, hint)
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        try:  # 3.11 and later take three or six digits; some partners send seven or nine
            found = datetime.fromisoformat(_MORE_THAN_MICRO.sub(r"\1", _NAMED_ZONE.sub("", value.strip()), count=1))
        except ValueError:
            raise _unfit("a moment in ISO 8601", value) from None
    if found.tzinfo is UTC:
        return found
    if found.tzinfo is None:
        if zone is None:
            raise PayloadError(
                "expected a moment with its offset, got one without", hint="say which with `zone: UTC` on this field"
            )
        found = found.replace(tzinfo=zone)
    return _in_utc(found)


def _in_utc(found: datetime) -> datetime:
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise PayloadError("expected a moment between the years 1 and 9999") from None


def epoch_moment(value: Any, per_second: int = 1) -> datetime:
    """Seconds (or thousandths, by `per_second`) since 1970 as an aware UTC datetime; text with a number is taken."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _unfit("seconds since 1970", value)
    try:
        if isinstance(value, int):
            whole, rest = divmod(value, per_second)
            return EPOCH + timedelta(seconds=whole, microseconds=rest * 1_000_000 // per_second)
        micros = _decimal(value, "seconds since 1970") * 1_000_000 / per_second
        return EPOCH + timedelta(microseconds=int(micros))
    except OverflowError:
        raise PayloadError("expected seconds since 1970, got a number beyond the year 9999") from None


def epoch_ms_moment(value: Any) -> datetime:
    """Milliseconds since 1970 as an aware UTC datetime."""
    return epoch_moment(value, 1000)


def mail_moment(value: Any, zone: tzinfo | None = None) -> datetime:
    """A date as mail and HTTP write it (`Mon, 16 Aug 2010 03:45:01 +0000`) as an aware UTC datetime."""
    if not isinstance(value, str):
        raise _unfit("a date as in mail headers", value)
    try:
        found = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError):
        raise _unfit("a date as in mail headers", value) from None
    return _in_utc(found.replace(tzinfo=zone or UTC) if found.tzinfo is None else found)


def iso(found: datetime) -> str:
    """How syncd writes a moment in normalized data: UTC, `Z`, microseconds only where there are some."""
    # orjson spells a moment in a third of the time that isoformat() takes, and this runs for every moment stored.
    return orjson.dumps(found if found.tzinfo is UTC else found.astimezone(UTC), option=orjson.OPT_UTC_Z)[1:-1].decode()


def timestamp(value: Any, zone: tzinfo | None = None) -> str:
    """ISO 8601 text, brought to UTC."""
    found = moment(value, zone)
    # Most partners write what we would write. The punctuation and the length tell: 2026-02-01T08:00:00Z.
    return value if len(value) == 20 and value[4::3] == "--T::Z" else iso(found)


def epoch(value: Any) -> str:
    """Seconds since 1970, as ISO text."""
    return iso(epoch_moment(value))


def epoch_ms(value: Any) -> str:
    """Milliseconds since 1970, as ISO text."""
    return iso(epoch_ms_moment(value))


def mail_date(value: Any, zone: tzinfo | None = None) -> str:
    """A mail or HTTP date, as ISO text."""
    return iso(mail_moment(value, zone))


def day(value: Any) -> str:
    """A calendar date, `YYYY-MM-DD`; of a moment the date as written is taken, in no time zone."""
    if isinstance(value, str):
        try:
            return date.fromisoformat(value[:10] if len(value) > 10 and value[10] in "T " else value).isoformat()
        except ValueError:
            pass
    raise _unfit("a date (YYYY-MM-DD)", value)


def json(value: Any) -> Any:
    """Anything, as it came."""
    return value


def listing(value: Any) -> list[Any]:
    """A list; anything else is refused."""
    if isinstance(value, list):
        return value
    raise _unfit("a list", value)


def mapping(value: Any) -> dict[str, Any]:
    """An object; anything else is refused."""
    if isinstance(value, dict):
        return value
    raise _unfit("an object", value)


def values(value: Any) -> list[Any]:
    """A list; of an object its values, for partners that key by id what others list."""
    return list(value.values()) if isinstance(value, dict) else listing(value)


def keyed(value: Any) -> dict[str, Any]:
    """An object; an empty list is an empty one, as PHP writes it."""
    return {} if value == [] else mapping(value)


Coercion = Callable[[Any], Any]

COERCIONS: Final[dict[str, Coercion]] = {
    "text": text,
    "integer": integer,
    "number": number,
    "decimal": decimal,
    "boolean": boolean,
    "timestamp": timestamp,
    "epoch": epoch,
    "epoch_ms": epoch_ms,
    "mail_date": mail_date,
    "date": day,
    "json": json,
    "list": listing,
    "object": mapping,
    "values": values,
    "map": keyed,
}
"""By the word that follows `as:`."""

SQL_TYPES: Final[dict[str, str]] = {
    "text": "text",
    "integer": "bigint",
    "number": "numeric",
    "decimal": "numeric",
    "boolean": "boolean",
    "timestamp": "timestamptz",
    "epoch": "timestamptz",
    "epoch_ms": "timestamptz",
    "mail_date": "timestamptz",
    "date": "date",
    "json": "jsonb",
    "list": "jsonb",
    "object": "jsonb",
    "values": "jsonb",
    "map": "jsonb",
}
"""The column of the typed view for each `as:`; a field without one is shown as text."""

MOMENTS: Final[dict[str, Callable[[Any], datetime]]] = {
    "timestamp": moment,
    "epoch": epoch_moment,
    "epoch_ms": epoch_ms_moment,
    "mail_date": mail_moment,
}
"""The `as:` words that name a moment, giving a datetime."""

_ZONED: Final[dict[str, Callable[[Any, tzinfo | None], Any]]] = {"timestamp": timestamp, "mail_date": mail_date}
_ZONED_MOMENTS: Final[dict[str, Callable[[Any, tzinfo | None], datetime]]] = {
    "timestamp": moment,
    "mail_date": mail_moment,
}


def zone_named(name: str) -> tzinfo:
    """An IANA zone by name. Raises ValueError for an unknown one."""
    if name.upper() in {"UTC", "Z"}:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone: {name!r}") from None


def coercion(word: str, zone: str | None = None) -> Coercion:
    """The function for `as: word`; with a zone for moments without an offset."""
    if zone is None or word not in _ZONED:
        return COERCIONS[word]
    zoned, where = _ZONED[word], zone_named(zone)
    return lambda value: zoned(value, where)


def moment_coercion(word: str, zone: str | None = None) -> Callable[[Any], datetime]:
    """The function that makes a datetime for `as: word`."""
    if zone is None or word not in _ZONED_MOMENTS:
        return MOMENTS[word]
    zoned, where = _ZONED_MOMENTS[word], zone_named(zone)
    return lambda value: zoned(value, where)
