"""Where a partner writes its limits: the names of its headers, or places in its body.

The default knows the names that are in common use. A driver's `limits.headers` narrows them to one family, adds what its
names do not tell (a window, a budget), names other places, or says that there is nothing to read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final, Literal

from syncd.config.units import parse_duration

Role = Literal["limit", "remaining", "used", "reset", "window", "policy", "field"]

_ROLES: Final[dict[str, Role]] = {
    "limit": "limit", "max": "limit",
    "remaining": "remaining", "left": "remaining", "available": "remaining",
    "used": "used", "consumed": "used",
    "reset": "reset", "resets": "reset",
    "window": "window", "interval": "window", "period": "window", "duration": "window",
    "policy": "policy",
}  # fmt: skip
_WINDOWS: Final = {
    "second": 1.0, "sec": 1.0, "secondly": 1.0,
    "minute": 60.0, "min": 60.0, "minutely": 60.0,
    "hour": 3600.0, "hourly": 3600.0,
    "day": 86400.0, "daily": 86400.0,
    "week": 604800.0, "weekly": 604800.0,
    "month": 2592000.0, "monthly": 2592000.0,
}  # fmt: skip
_NOISE: Final = frozenset(
    ("after", "at", "in", "time", "per", "requests", "request", "calls", "count", "seconds", "secs")
)
_MILLIS: Final = frozenset(("ms", "millis", "milliseconds"))
_NUMBERED: Final = re.compile(r"([0-9]{1,5})(s|m|min|h|d)")
_UNIT_SECONDS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_STANDARD: Final = re.compile(r"(x-rate-?limit|rate-?limit)(?:-(.+))?")
_HEADER: Final = "header:"
_PLACES: Final = ("limit", "remaining", "used", "reset")
_KEYS: Final = ("prefix", "window", "budget", "millis", *_PLACES)
LONGEST_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class LimitDialect:
    """How to read what an answer says of the limit. The default understands the standard families.

    `prefix` narrows the headers to those that begin so; `window_seconds` is the window of names that tell none; `budget`
    names the calls these figures count; `millis` says that a bare reset is in milliseconds. `named` are further headers
    and `in_body` places in the body, each with its role. `silent`: the partner sends nothing of the kind.
    """

    prefix: str = ""
    window_seconds: float | None = None
    budget: str | None = None
    millis: bool = False
    named: tuple[tuple[Role, str], ...] = ()
    in_body: tuple[tuple[Role, str], ...] = ()
    silent: bool = False

    @property
    def marker(self) -> str:
        """What stands in the name of each header worth a look, in lower case."""
        return self.prefix or "limit"

    @property
    def wants_body(self) -> bool:
        """Whether a body has to be parsed for it."""
        return bool(self.in_body)

    @classmethod
    def parse(cls, value: LimitDialect | Mapping[str, Any] | str | None) -> LimitDialect:
        """Read a driver's `limits.headers`: a prefix, `none`, or a mapping. Raises ValueError in words for a person."""
        if value is None:
            return STANDARD
        if isinstance(value, LimitDialect):
            return value
        if isinstance(value, str):
            return SILENT if value.strip().lower() == "none" else cls(prefix=_prefix(value))
        if unknown := sorted(str(key) for key in value if key not in _KEYS):
            near = get_close_matches(unknown[0], _KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"use {', '.join(_KEYS)}"
            raise ValueError(f"there is no key {unknown[0]!r} here: {hint}")
        window, millis, budget = value.get("window"), value.get("millis", False), value.get("budget")
        if not isinstance(millis, bool):
            raise ValueError("`millis` is true or false: whether a bare reset is in milliseconds")
        if budget is not None and not isinstance(budget, str):
            raise ValueError("`budget` is the name of a tier's budget, such as read")
        places = [(role, _place(role, value[role])) for role in _PLACES if value.get(role) is not None]
        return cls(
            prefix=_prefix(value["prefix"]) if value.get("prefix") is not None else "",
            window_seconds=None if window is None else _window(window),
            budget=budget,
            millis=millis,
            named=tuple((role, name) for role, (kind, name) in places if kind == "header"),  # type: ignore[misc]
            in_body=tuple((role, name) for role, (kind, name) in places if kind == "body"),  # type: ignore[misc]
        )


STANDARD: Final = LimitDialect()
SILENT: Final = LimitDialect(silent=True)


@dataclass(frozen=True, slots=True)
class Named:
    """What a header's name tells. `window_seconds` is 0 where it tells none."""

    family: str
    window_seconds: float
    role: Role
    millis: bool


@lru_cache(maxsize=512)
def named(name: str, prefix: str) -> Named | None:
    """Read a header's name in lower case; None for one that is not about a limit of calls."""
    if len(name) > LONGEST_NAME:
        return None
    if prefix:
        rest = name.removeprefix(prefix)
        if len(rest) == len(name) or (rest and not rest.startswith("-") and not prefix.endswith("-")):
            return None
        family, rest = prefix, rest.strip("-")
    else:
        found = _STANDARD.fullmatch(name)
        if found is None:
            return None
        family, rest = found[1], found[2] or ""
    if not rest:
        return Named(family, 0.0, "field", False)
    role: Role | None = None
    window, millis = 0.0, False
    for word in rest.split("-"):
        if word in _ROLES:
            role = _ROLES[word] if role is None or role == "limit" else role
        elif word in _WINDOWS:
            window = _WINDOWS[word]
        elif word in _MILLIS:
            millis = True
        elif (numbered := _NUMBERED.fullmatch(word)) is not None:
            window = int(numbered[1]) * _UNIT_SECONDS[numbered[2]]
        elif word not in _NOISE:
            return None  # a limit of something else: tokens, bytes, mails
    return None if role is None else Named(family, window, role, millis)


def _prefix(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,47}", value.strip()):
        raise ValueError(
            f"{value!r} begins no header's name: write what all of them begin with, such as x-ratelimit, or none"
        )
    return value.strip().lower()


def _window(value: Any) -> float:
    try:
        seconds = parse_duration(value) if isinstance(value, str) else 0.0
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise ValueError(f"`window` is a time such as 60s, 1h or 24h, not {value!r}")
    return seconds


def _place(role: str, value: Any) -> tuple[str, str]:
    """Where one figure stands: `header:NAME`, or a dotted path into the body."""
    if isinstance(value, str) and value.startswith(_HEADER) and value.removeprefix(_HEADER).strip():
        return "header", value.removeprefix(_HEADER).strip().lower()
    if isinstance(value, str) and re.fullmatch(r"[^\s.]+(?:\.[^\s.]+)*", value) and not value.startswith(_HEADER):
        return "body", value
    raise ValueError(f"`{role}` is header:NAME or a dotted path into the body, such as quota.left, not {value!r}")
