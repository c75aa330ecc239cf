"""What partners insist on before they take an address, a number or a domain: checked before anything is sent.

Each function returns what is wrong, in words without the value (it may be personal), or an empty text. Telephone numbers are
E.164; with the extra `[crm]` they are also looked up in the numbering plans, without it the form alone is checked.
"""

from __future__ import annotations

import re
from functools import lru_cache
from types import ModuleType
from typing import Any, Final

from syncd.kit.paths import kind

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_LOCAL: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_WORD: Final = r"[A-Za-z0-9\u0080-\U0010ffff]"
_LABEL: Final = re.compile(rf"{_WORD}(?:[A-Za-z0-9\u0080-\U0010ffff-]{{0,61}}{_WORD})?")
_LONGEST_EMAIL: Final = 254
_LONGEST_LOCAL: Final = 64
_LONGEST_DOMAIN: Final = 253


def phone_trouble(value: Any) -> str:
    """E.164: a plus sign, the country code, at most 15 digits, nothing else (`+14155551234`)."""
    if not isinstance(value, str):
        return f"expected a telephone number as text, got {kind(value)}"
    if _E164.fullmatch(value) is None:
        return "no telephone number in E.164, such as +14155551234"
    numbers = _numbers()
    if numbers is None:
        return ""
    try:
        parsed = numbers.parse(value)
    except numbers.NumberParseException:
        return "a telephone number of no country"
    return "" if numbers.is_possible_number(parsed) else "a telephone number its country has not"


@lru_cache(maxsize=1)
def _numbers() -> ModuleType | None:
    """The numbering plans, where they are installed."""
    try:
        import phonenumbers
    except ImportError:
        return None
    return phonenumbers  # type: ignore[no-any-return, unused-ignore]


def email_trouble(value: Any) -> str:
    """`local@domain` with a domain of at least two labels; quoted locals and address literals are not taken."""
    if not isinstance(value, str):
        return f"expected an e-mail address as text, got {kind(value)}"
    local, at, domain = value.rpartition("@")
    if not at or len(value) > _LONGEST_EMAIL or len(local.encode()) > _LONGEST_LOCAL or _LOCAL.fullmatch(local) is None:
        return "no e-mail address"
    return "no e-mail address: its domain is none" if domain_trouble(domain) else ""


def domain_trouble(value: Any) -> str:
    """`example.com`: labels of letters, digits and hyphens, at least two, the last one not of digits alone."""
    if not isinstance(value, str):
        return f"expected a domain as text, got {kind(value)}"
    labels = value.split(".")
    if len(value) > _LONGEST_DOMAIN or len(labels) < 2 or labels[-1].isdigit():
        return "no domain, such as example.com"
    return "" if all(_LABEL.fullmatch(label) for label in labels) else "no domain, such as example.com"


def is_card_number(value: object) -> bool:
    """More than twelve digits, spaces and dashes among them or not, that pass Luhn's check: partners refuse such text."""
    bare = re.sub(r"[ -]", "", str(value))
    if len(bare) <= 12 or not (bare.isascii() and bare.isdigit()):
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) if place % 2 else int(digit) for place, digit in enumerate(bare[::-1]))
    return sum(doubled) % 10 == 0
