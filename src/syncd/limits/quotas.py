"""The structured values of limit headers: quota policies and the IETF draft's fields. Pure; nonsense is left out.

What is read: `100`, `100;w=60, 1000;w=3600` (quota policies up to draft 07), `"burst";q=100;w=60` (`RateLimit-Policy` from
draft 08 on, where `q` was `l` at first; `qu` is the unit, `pk` a partition's key and ignored), `"burst";r=50;t=30`
(`RateLimit`), and the dictionary form of draft 07, `limit=100, remaining=50, reset=5`.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from syncd.limits.moments import NUMBER
from syncd.limits.tiers import parse_rate

MOST: Final = 16
"""Items of one value that are looked at."""
_ITEM = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*")+')
_PART = re.compile(r'(?:[^";]|"(?:[^"\\]|\\.)*")+')
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+")
_CALLS: Final = frozenset(("", "requests", "request", "calls"))


class Quota(NamedTuple):
    """One item; None where it does not say. Times in seconds."""

    name: str = ""
    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None
    window: float | None = None
    unit: str = ""

    @property
    def counts_calls(self) -> bool:
        """False for a quota of bytes or of calls at once, which is no rate of calls."""
        return self.unit in _CALLS


def quotas(value: Any) -> list[Quota]:
    """The items of a policy or of a limit's header; a body's bare number is one item."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [Quota(limit=number(value))]
    if not isinstance(value, str):
        return []
    if len(value) < 16 and value.isdecimal():  # nearly all of them
        return [Quota("", float(value))]
    if _THOUSANDS.fullmatch(value):
        value = value.replace(",", "")
    return [quota for item in _ITEM.findall(value)[:MOST] if (quota := _item(item)) is not None]


def fields(value: str) -> list[Quota]:
    """The items of the `RateLimit` field, in either form."""
    found = quotas(value)
    if found or "=" not in value:
        return [quota for quota in found if quota.remaining is not None or quota.limit is not None]
    told = {}
    for item in value.split(",")[:MOST]:
        key, _, amount = item.partition(";")[0].partition("=")
        told[key.strip().lower()] = number(amount.strip())
    if told.get("limit") is None and told.get("remaining") is None:
        return []
    return [Quota("", told.get("limit"), told.get("remaining"), told.get("reset"))]


def numbers(value: Any) -> list[float | None]:
    """The figures of `50` or, where a header has one for each policy, of `50, 900`."""
    if not isinstance(value, str):
        return [] if value is None else [number(value)]
    if "," not in value or _THOUSANDS.fullmatch(value):
        return [number(value.replace(",", ""))]
    return [number(part) for part in value.split(",")[:MOST]]


def number(value: Any) -> float | None:
    """A figure, as text or as a number; None for what is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if abs(value) < 1e18 else None
    if not isinstance(value, str):
        return None
    if len(value) < 16 and value.isdecimal():
        return float(value)
    text = value.strip().strip('"')
    return float(text) if len(text) < 40 and NUMBER.fullmatch(text) else None


def _item(text: str) -> Quota | None:
    head, *parts = [part.strip() for part in _PART.findall(text)[:MOST]] or [""]
    told: dict[str, str] = {}
    for part in parts:
        key, _, amount = part.partition("=")
        told.setdefault(key.strip().lower(), amount.strip().strip('"'))
    window = number(told.get("w"))
    if head.startswith('"') or (told.keys() & {"q", "l", "r"} and "=" not in head):
        name = head.strip('"')[:80]
        if not told and (plain := number(name)) is not None:  # a bare number somebody put in quotes
            return Quota(limit=plain)
        cap = number(told.get("q", told.get("l")))
        return Quota(name, cap, number(told.get("r")), number(told.get("t")), window, told.get("qu", "").lower())
    limit = number(head)
    if limit is not None:
        return Quota("", limit, None, None, window, told.get("qu", "").lower())
    if len(head) < 40:
        try:
            calls, seconds = parse_rate(head)
        except ValueError:
            return None
        return Quota("", float(calls), None, None, seconds)
    return None
