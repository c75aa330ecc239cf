"""Places in a body: reading them is `kit.paths`; here they are written, for samples that are to say something else."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final, cast

from syncd.errors import AskedWrongError
from syncd.kit.paths import MISSING, getter, steps

_MILLISECONDS_FROM: Final = 10**12
_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d{1,4})\]")


def moment_like(found: Any, now: datetime) -> Any:
    """`now`, written as what stands there is."""
    if isinstance(found, str):
        return now.astimezone(UTC).isoformat().replace("+00:00", "Z")
    seconds = now.timestamp()
    return int(seconds * 1000) if isinstance(found, int) and found >= _MILLISECONDS_FROM else int(seconds)


def instead(value: Any, old: str, new: str) -> Any:
    """The same with one text in place of another, wherever it is a whole value; a number that reads so stays a number."""
    if isinstance(value, dict):
        return {key: instead(each, old, new) for key, each in value.items()}
    if isinstance(value, list):
        return [instead(each, old, new) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and str(value) == old:
        return int(new) if new.isascii() and new.isdecimal() else new
    return new if value == old and isinstance(value, str) else value


def has(body: dict[str, Any], place: str, plain: Sequence[str]) -> bool:
    return place in plain and getter(place)(body) is not MISSING


def put_one(body: dict[str, Any], place: str, value: Any) -> None:
    """Set the first alternative that is there, else the first that is a plain path."""
    plain = [each.strip() for each in place.split("||") if steps(each.strip())]
    there = [each for each in plain if getter(each)(body) is not MISSING]
    for each in there or plain[:1]:
        put(body, each, value)


def put(body: Any, path: str, value: Any) -> None:
    """Set a value at `data.rooms[0].name`, making objects on the way. Raises AskedWrongError where there is no such."""
    way = [match[1] if match[1] is not None else int(match[2]) for match in _STEP.finditer(path)]
    if not way or "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in way).lstrip(".") != path:
        raise AskedWrongError(f"{path!r} is no place in a body", hint="for example data.status, or rooms[0].name")
    try:
        for step, after in pairwise(way):
            if isinstance(step, str) and body.get(step) is None:
                body[step] = [] if isinstance(after, int) else {}
            body = body[step]
        if isinstance(body, list) and way[-1] == len(body):
            body.append(value)
        elif isinstance(body, list if isinstance(way[-1], int) else dict):
            cast(Any, body)[way[-1]] = value
        else:
            raise TypeError
    except (TypeError, IndexError, KeyError, AttributeError):
        raise AskedWrongError(f"there is no place {path!r} in this body", hint="see it with --dry-run") from None


def setting(text: str) -> tuple[str, Any]:
    """`path=value`, the value as JSON where it is such, else as text. Raises AskedWrongError."""
    path, sign, value = text.partition("=")
    if not sign or not path:
        raise AskedWrongError(f"{text!r} is not PATH=VALUE", hint="for example --set data.status=canceled")
    try:
        return path, json.loads(value)
    except ValueError:
        return path, value
