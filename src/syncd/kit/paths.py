"""Where a value sits inside a partner's JSON: `address.full`, `stay[0].unitId`, or any JMESPath expression.

A plain dotted path becomes a closure over dictionary look-ups, many times as fast as JMESPath; whatever is not plain goes
to JMESPath, whose syntax contains the plain one. Compiled once, called for each record.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError


class Missing:
    """The type of `MISSING`: the key is not there at all, which for a sparse answer means "not told"."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing()

_NUMBERS: Final = frozenset({int, float})
"""Zero is true in JMESPath."""

Getter = Callable[[Any], Any]
"""Takes the parsed JSON and returns what sits at the path, or MISSING. Never raises for any shape of input."""

_STEP = re.compile(r"(?:^|\.)([A-Za-z_$@][\w$@:-]*)|\[(\d{1,6})\]")


def steps(path: str) -> list[str | int] | None:
    """The keys and indexes of a plain path; None when the path is not plain."""
    found: list[str | int] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None or (at == 0 and path[0] == "."):
            return None
        found.append(match[1] if match[1] is not None else int(match[2]))
        at = match.end()
    return None if "@" in found else found


def only_key(path: str) -> str | None:
    """The key where the path is nothing but one, at the top of what it leads into."""
    plain = steps(path)
    return plain[0] if plain is not None and len(plain) == 1 and isinstance(plain[0], str) else None


@lru_cache(maxsize=4096)
def getter(path: str) -> Getter:
    """Compile a path; the empty one (and `@`) is the whole value. Raises ValueError for what is no path at all."""
    if path in {"", "@"}:
        return lambda value: value
    plain = steps(path)
    if plain is None:
        either = [one.strip() for one in path.split("||")]
        if len(either) > 1 and all(one and steps(one) for one in either):
            return _first([getter(one) for one in either])
        return _jmespath(path)
    if len(plain) == 1 and isinstance(plain[0], str):
        return _one_key(plain[0])
    if len(plain) == 2 and isinstance(plain[0], str) and isinstance(plain[1], str):
        return _two_keys(plain[0], plain[1])
    return _many(tuple(plain))


def _one_key(key: str) -> Getter:
    def get(value: Any) -> Any:
        try:
            return value.get(key, MISSING)
        except AttributeError:
            return MISSING

    return get


def _two_keys(first: str, second: str) -> Getter:
    def get(value: Any) -> Any:
        try:
            return value[first].get(second, MISSING)
        except (AttributeError, KeyError, TypeError, IndexError):
            return MISSING

    return get


def _many(plain: tuple[str | int, ...]) -> Getter:
    def get(value: Any) -> Any:
        try:
            for step in plain:
                if type(step) is int and type(value) is not list:
                    return MISSING  # a text has indexes too
                value = value[step]
        except (KeyError, TypeError, IndexError):
            return MISSING
        return value

    return get


def _first(getters: list[Getter]) -> Getter:
    """`a || b`: the first that JMESPath calls true, which 0 is; else whatever the last one says."""

    def get(value: Any) -> Any:
        found: Any = MISSING
        for one in getters:
            found = one(value)
            if found or (type(found) in _NUMBERS):
                return found
        return MISSING if found is None else found

    return get


def _jmespath(path: str) -> Getter:
    try:
        compiled = jmespath.compile(path)
    except JMESPathError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"not a path: {path!r} ({reason})") from None
    search = compiled.search

    def get(value: Any) -> Any:
        try:
            found = search(value)
        except JMESPathError:  # a function met a type it cannot work on: for us there is nothing there
            return MISSING
        return MISSING if found is None else found  # JMESPath cannot tell null from absent

    return get


def put(body: dict[str, Any], path: str, value: Any) -> None:
    """Set `value` at a dotted path, in place, making the objects on the way. Keys are split at dots only."""
    *way, last = path.split(".")
    for key in way:
        inner = body.get(key)
        if not isinstance(inner, dict):
            inner = {}
            body[key] = inner
        body = inner
    body[last] = value


def kind(value: Any) -> str:
    """What a person calls the JSON type of a value. Used in messages, which never show the value itself."""
    if value is MISSING:
        return "nothing"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a number"
    if isinstance(value, str):
        return "text" if value else "empty text"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else type(value).__name__
