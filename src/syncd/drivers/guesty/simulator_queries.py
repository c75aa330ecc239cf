"""Guesty's filter languages: the legacy JSON array, v3's `filter[field][op]`, guests' `@` operators; and `fields`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from syncd.testing.collection import Raw, dig
from syncd.testing.dice import epoch, iso

Test = Callable[[Raw], bool]
MOMENT = re.compile(r"^\d{4}-\d\d-\d\dT")

V3_FIELDS = {
    "status": ("status", {"eq", "ne", "in", "nin"}),
    "listingId": ("listingId", {"eq", "in"}),
    "confirmationCode": ("confirmationCode", {"eq", "in"}),
    "source": ("source", {"eq", "in"}),
    "checkIn": ("checkInDateLocalized", {"eq", "gte", "gt", "lte", "lt"}),
    "checkOut": ("checkOutDateLocalized", {"eq", "gte", "gt", "lte", "lt"}),
    "createdAt": ("createdAt", {"eq", "gte", "gt", "lte", "lt"}),
}
V3_SORTS = {
    "_id": "_id",
    "checkIn": "checkInDateLocalized",
    "checkOut": "checkOutDateLocalized",
    "createdAt": "createdAt",
}
V3_PARAM = re.compile(r"^filter\[(\w+)\](?:\[(\w+)\])?(\[\])?$")
LEGACY = {"$eq", "$not", "$contains", "$notcontains", "$gt", "$gte", "$lt", "$lte", "$between", "$in"}


def comparable(value: Any) -> Any:
    """Moments in the one spelling that records use, so that text comparison is time comparison. Raises ValueError."""
    return iso(epoch(value)) if isinstance(value, str) and MOMENT.match(value) else value


def ordered(found: Any, wanted: Any, compare: Callable[[Any, Any], bool]) -> bool:
    """A comparison that is false for what cannot be compared, as the database's is."""
    try:
        return found is not None and compare(found, wanted)
    except TypeError:
        return False


def one(path: str, operator: str, wanted: Any) -> Test:
    """A test of one field. `wanted` is comparable already."""
    match operator:
        case "eq":
            return lambda raw: bool(dig(raw, path) == wanted)
        case "ne" | "not":
            return lambda raw: bool(dig(raw, path) != wanted)
        case "in":
            return lambda raw: dig(raw, path) in wanted
        case "nin":
            return lambda raw: dig(raw, path) not in wanted
        case "gt":
            return lambda raw: ordered(dig(raw, path), wanted, lambda a, b: bool(a > b))
        case "gte":
            return lambda raw: ordered(dig(raw, path), wanted, lambda a, b: bool(a >= b))
        case "lt":
            return lambda raw: ordered(dig(raw, path), wanted, lambda a, b: bool(a < b))
        case "lte":
            return lambda raw: ordered(dig(raw, path), wanted, lambda a, b: bool(a <= b))
        case "contains":
            return lambda raw: str(wanted).lower() in str(dig(raw, path) or "").lower()
        case "notcontains":
            return lambda raw: str(wanted).lower() not in str(dig(raw, path) or "").lower()
        case _:
            raise ValueError(f"unsupported operator {operator!r}")


def every(tests: list[Test]) -> Test:
    return lambda raw: all(test(raw) for test in tests)


def legacy(text: str) -> Test:
    """`[{"field", "operator", "value"}]`. Raises ValueError for anything else."""
    filters = orjson.loads(text)
    if not isinstance(filters, list):
        raise ValueError('"filters" must be an array')
    tests: list[Test] = []
    for entry in filters:
        field, operator = entry.get("field"), entry.get("operator", "$eq")
        if not field or operator not in LEGACY:
            raise ValueError(f"unsupported filter {entry!r}")
        if operator == "$between":
            tests.append(one(field, "gte", comparable(entry["from"])))
            tests.append(one(field, "lte", comparable(entry["to"])))
            continue
        value = entry.get("value")
        value = [comparable(part) for part in value] if isinstance(value, list) else comparable(value)
        tests.append(one(field, operator[1:], value))
    return every(tests)


def search(params: list[tuple[str, str]]) -> Test:
    """v3's query parameters. Raises ValueError for a field or operator that is not documented."""
    gathered: dict[tuple[str, str], list[str]] = {}
    for name, value in params:
        if not name.startswith("filter"):
            continue
        found = V3_PARAM.match(name)
        if found is None or found[1] not in V3_FIELDS:
            raise ValueError(f"unsupported filter field {name}")
        operator = found[2] or "eq"
        if operator not in V3_FIELDS[found[1]][1]:
            raise ValueError(f"unsupported operator {operator} of {found[1]}")
        many = operator in ("in", "nin") and not found[3]
        gathered.setdefault((found[1], operator), []).extend(value.split(",") if many else [value])
    tests = []
    for (field, operator), values in gathered.items():
        wanted = values if operator in ("in", "nin") else comparable(values[0])
        tests.append(one(V3_FIELDS[field][0], operator, wanted))
    return every(tests)


def guests(text: str) -> Test:
    """`{"field": {"@in": [...]}}`. Raises ValueError."""
    filters = orjson.loads(text)
    if not isinstance(filters, dict):
        raise ValueError('"filters" must be an object')
    tests: list[Test] = []
    for field, wanted in filters.items():
        for operator, value in (wanted if isinstance(wanted, dict) else {"@eq": wanted}).items():
            tests.append(one(field, operator.removeprefix("@"), value))
    return every(tests)


def projected(raw: Raw, paths: list[str], always: tuple[str, ...]) -> Raw:
    """Only the named fields (dotted ones nested) and those that always come."""
    seen: Raw = {name: raw[name] for name in always if name in raw}
    for path in paths:
        value = dig(raw, path)
        if value is None:
            continue
        head, *rest = path.split(".")
        if not rest:
            seen[head] = value
            continue
        place = seen.setdefault(head, {})
        for part in rest[:-1]:
            place = place.setdefault(part, {})
        if isinstance(place, dict):
            place[rest[-1]] = value
    return seen
