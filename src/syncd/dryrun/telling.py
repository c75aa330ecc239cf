"""Which values in a partner's answer may say whom it is about. Pure; errs on the side of scrubbing.

What is left alone: numbers that name nothing, yes and no, moments, and words of a fixed set (`confirmed`, `EUR`). Of all
other texts each is replaced.
"""

# ruff: noqa: SIM905 - lists of words read better as one text

from __future__ import annotations

import re
from enum import StrEnum


class Kind(StrEnum):
    """How a value has to be replaced."""

    OPAQUE = "opaque"
    """An id, a token, a cursor: the same characters of each class in the same places."""
    MAIL = "mail"
    PHONE = "phone"
    DAY = "day"
    LINK = "link"
    PROSE = "prose"
    NUMBER = "number"
    """A number as a number: digits for digits."""
    PLACE = "place"
    """Degrees of latitude or longitude: only what stands before the point stays."""


MAIL = re.compile(r"[A-Za-z0-9._%+'-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
PHONE = re.compile(r"(?<![\w.:/-])\+?\(?\d[\d ()./-]{6,}\d(?![\w:/-])")
_PATH = re.compile(r"/[\w.~%!$&'()*+,;=:@-]+(?:/[\w.~%!$&'()*+,;=:@-]*)*(?:\?\S*)?\Z")
_VERSION = re.compile(r"[vV]?\d[\w.-]{0,30}\Z")
LINK = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://\S+")
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?\s?(?:Z|UTC|[+-]\d\d(?::?\d\d)?)?(?:\[[\w/+-]+\])?)?\Z"
    r"|\d\d:\d\d(?::\d\d)?\Z"
)
_MAIL_DATE = re.compile(r"[A-Z][a-z]{2}, \d\d? [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \S+\Z")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,9})?%?\Z")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_HEX = re.compile(r"[0-9a-fA-F]{12,}\Z")
_MIXED = re.compile(r"(?=.*\d)[A-Za-z0-9_.~+/=:-]{8,}\Z")
_WORD = re.compile(r"[a-z][a-z0-9]*(?:[_.:-][a-z0-9]+)*\Z|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*\Z")
_FIXED_VALUE = re.compile(r"[A-Za-z][A-Za-z0-9_ /+.-]{0,40}\Z")

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_ID = frozenset(
    "id ids uuid guid uid gid code codes number ref reference key token secret cursor hash etag signature sid slug "
    "password after before next prev previous continuation confirmation serial vin iban bic account card pan".split()
)  # fmt: skip
_PERSON = frozenset(
    "name names nickname first last middle full surname given family display company organisation organization employer "
    "guest host owner author user username login contact customer client tenant member assignee creator person people "
    "street address addresses line line1 line2 city town suburb zip zipcode postal postcode county neighbourhood "
    "neighborhood building apartment floor note notes comment comments remark remarks message messages description title "
    "subject text body content summary label value bio about headline wifi door passport licence license tax vat ssn "
    "nationality gender birthplace signature avatar photo picture image".split()
)  # fmt: skip
_FIXED = frozenset(
    "status state type kind category currency country language locale timezone zone tz source channel platform object "
    "unit event mode method level priority role color colour frequency interval method policy stage reason visibility "
    "format version mime direction".split()
)  # fmt: skip
_BIRTH = frozenset("birth birthday birthdate dob".split())
_PHONES = frozenset("phone phones telephone tel mobile cell fax msisdn whatsapp sms".split())
_MAILS = frozenset("email emails mail".split())
_DEGREES = frozenset(
    "lat lng lon long latitude longitude latlng latlon latlong lnglat lonlat coord coords coordinate coordinates geo gps "
    "geolocation geopoint".split()
)  # fmt: skip
LEAST_DIGITS = 4
"""A number of fewer digits names nobody."""


def parts_of(name: str) -> list[str]:
    """The words in a key: `guestFirst_name` has guest, first and name."""
    return [part.lower() for part in _PARTS.findall(name)]


def text_kind(name: str, value: str) -> Kind | None:
    """How a text under this key has to be replaced; None: it may stay."""
    words = parts_of(name)
    last = words[-1] if words else ""
    known = set(words)
    if not value.strip() or value.strip() in {"-", "?"}:
        return None
    if MAIL.fullmatch(value):
        return Kind.MAIL
    if known & _PHONES and any(one.isdigit() for one in value):
        return Kind.PHONE
    if _MOMENT.match(value) or _MAIL_DATE.match(value):
        return Kind.DAY if known & _BIRTH else None
    if LINK.match(value) or _PATH.match(value):
        return Kind.LINK
    if last == "version" and _VERSION.match(value):
        return None
    if _UUID.match(value) or (_HEX.match(value) and not value.isdigit()):
        return Kind.OPAQUE
    if _NUMBER.match(value):
        if known & _DEGREES and "." in value:
            return Kind.PLACE
        digits = sum(one.isdigit() for one in value)
        named = bool(known & (_ID | _PERSON | _DEGREES)) or (value[0] == "0" and digits > 1)
        return Kind.OPAQUE if named and digits >= LEAST_DIGITS and value.lstrip("-").isdigit() else None
    if last in _FIXED and _FIXED_VALUE.match(value) and not _MIXED.match(value):
        return None
    if last in _ID:
        return None if _WORD.match(value) and not any(one.isdigit() for one in value) else Kind.OPAQUE
    if known & (_PERSON | _MAILS | _PHONES):
        return Kind.PROSE
    if _WORD.match(value) and not (_MIXED.match(value) and sum(one.isdigit() for one in value) > 2):
        return None
    if PHONE.fullmatch(value):
        return Kind.PHONE
    return Kind.OPAQUE if _MIXED.match(value) else Kind.PROSE


def number_kind(name: str, value: float) -> Kind | None:
    """How a number under this key has to be replaced; None: it may stay."""
    words = set(parts_of(name))
    if words & _DEGREES and value != int(value):
        return Kind.PLACE
    if isinstance(value, int) and words & (_ID | _PHONES | _DEGREES) and len(str(abs(value))) >= LEAST_DIGITS:
        return Kind.NUMBER
    return None


def key_kind(key: str) -> Kind | None:
    """A mapping's key that is a value itself: an id or a mail address."""
    if MAIL.fullmatch(key):
        return Kind.MAIL
    return Kind.OPAQUE if _UUID.match(key) or (_HEX.match(key) and len(key) >= 16) else None
