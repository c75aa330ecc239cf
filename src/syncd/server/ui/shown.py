"""How figures look on the page: numbers as text, bars and lines as the numbers that SVG wants. Pure."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import orjson

from syncd.wording import ago, clock_time, lasting, number, plural

WORDS: Final[Mapping[str, str]] = {
    "down": "down",
    "auth_required": "auth required",
    "degraded": "degraded",
    "waiting": "waiting",
    "paused": "paused",
    "healthy": "healthy",
}
"""The states, worst first."""
TROUBLED: Final = frozenset({"down", "auth_required", "degraded"})
NEAR: Final = 0.9
"""From this share of a budget on a bar is shown as nearly full."""
_COMMAND: Final = re.compile(r"(\bsyncd [a-z][^,;]*[^,;\s])")
SPARK_WIDTH, SPARK_HEIGHT, SPARK_POINTS = 96, 20, 32


def percent(share: float | None, digits: int = 0) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def milliseconds(value: float | None) -> str:
    """`640 ms`, `1.2 s`; a dash for nothing."""
    if value is None:
        return "–"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s" if value < 100_000 else lasting(value / 1000)


def gauge(used: float, budget: float, scale: float) -> dict[str, Any]:
    """A bar of a hundred units: how full, and where the ceiling is marked."""
    whole = max(scale, budget, used) or 1.0
    return {
        "full": round(100 * used / whole, 1),
        "mark": round(100 * budget / whole, 1) if budget else None,
        "near": bool(budget) and used >= NEAR * budget,
    }


def spark(values: Sequence[float | None]) -> str:
    """The path of a little line, of at most `SPARK_POINTS` steps; empty where nothing happened."""
    known = [value or 0.0 for value in values]
    size = -(-len(known) // SPARK_POINTS)
    steps = [max(known[at : at + size]) for at in range(0, len(known), size or 1)]
    top = max(steps, default=0.0)
    if not top:
        return ""
    high = (SPARK_HEIGHT - 2) / top
    return "M" + "L".join(
        [f"{x}{SPARK_HEIGHT - 1 - high * each:.0f}" for x, each in zip(_across(len(steps)), steps, strict=True)]
    )


@cache  # of as many lengths as a line has steps
def _across(steps: int) -> Sequence[str]:
    wide = SPARK_WIDTH / max(steps - 1, 1)
    return [f"{at * wide:.0f}," for at in range(steps)]


def strokes(times: Sequence[float], moments: Iterable[float]) -> str:
    """The path of upright strokes across a little line, where something was changed. All in Unix seconds."""
    if len(times) < 2:
        return ""
    wide = SPARK_WIDTH / (len(times) - 1)
    places = {round(bisect_left(times, at) * wide) for at in moments if times[0] <= at <= times[-1]}
    return "".join(f"M{x},0V{SPARK_HEIGHT}" for x in sorted(places))


def pretty(value: Any) -> str:
    """JSON as people read it."""
    return orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode()


def compact(value: Any, most: int = 60) -> str:
    """JSON on one line, cut."""
    text = orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z).decode()
    return text if len(text) <= most else text[: most - 1] + "…"


def pieces(action: str) -> list[tuple[bool, str]]:
    """An action as words and commands, in turn: a command can be pasted into a shell."""
    return [(bool(at % 2), text) for at, text in enumerate(_COMMAND.split(action)) if text.strip()]


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "ago": ago,
    "at": clock_time,
    "compact": compact,
    "lasting": lasting,
    "ms": milliseconds,
    "number": number,
    "percent": percent,
    "plural": plural,
    "pretty": pretty,
    "word": lambda state: WORDS.get(state, str(state).replace("_", " ")),
}
