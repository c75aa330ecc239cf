"""What an answer says of the limit itself: how many calls, how many are left, when they come back. Pure.

Every dialect seen is understood without being configured: `X-RateLimit-*`, `X-Rate-Limit-*` and `RateLimit-*`, with a
window's name (`-Minute`) or with quota policies (`100;w=60`), and the `RateLimit` and `RateLimit-Policy` fields of the
IETF draft in all their forms. A `LimitDialect` says what a partner does otherwise, or that it sends nothing.

It runs on every answer, so one without such headers costs a look at each name and no more; and what a hostile partner
sends ends here: no figure that is negative, infinite, absurdly large or long ever leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from syncd.limits.dialects import STANDARD, LimitDialect, Role, named
from syncd.limits.moments import date, found_at, seconds_until
from syncd.limits.quotas import Quota, fields, numbers, quotas

LARGEST: Final = 1e12
"""More calls than this are no limit but a mistake."""
LONGEST_SECONDS: Final = 366 * 86400.0
"""The longest window and the latest reset believed."""
LONGEST_VALUE: Final = 2000
"""Characters of a header's value that are looked at: more than ten policies."""
MOST_HEADERS: Final = 64
MOST: Final = 16
"""Readings of one answer."""


class Reading(NamedTuple):
    """What one answer says of one limit; None where it does not say.

    `limit` calls in `window_seconds`, of which `remaining` are left until `reset_seconds` from now (by the partner's own
    clock); `budget` names the calls it counts, where the dialect tells. `source` is the header or path that said so.
    """

    limit: float | None = None
    remaining: float | None = None
    reset_seconds: float | None = None
    window_seconds: float | None = None
    budget: str | None = None
    source: str = ""


Dialect = LimitDialect | Mapping[str, Any] | str | None
_Said = dict[Role, tuple[Any, str, bool]]
"""What was said of one limit: the value, where it stood, whether its number is in milliseconds."""


def read_limits(headers: Mapping[str, str], body: Any, now: datetime, dialect: Dialect = None) -> tuple[Reading, ...]:
    """Every limit an answer tells of. Raises for no answer, whatever is in it.

    `headers` fold case and name themselves in lower case, as ours and httpx's do.

    `body` is the parsed body, looked at only where `dialect.wants_body`. Raises ValueError for a dialect that cannot be
    read: a driver's mistake, found when it is loaded.
    """
    if not isinstance(dialect, LimitDialect):
        dialect = STANDARD if dialect is None else LimitDialect.parse(dialect)
    if dialect.silent:
        return ()
    marker = dialect.prefix or "limit"
    names = [name for name in headers if marker in name]
    if not names and not dialect.named and not dialect.in_body:
        return ()
    said: dict[tuple[str, float], _Said] = {}
    for role, name in dialect.named:
        _put(said, ("", 0.0), role, headers.get(name), name, millis=dialect.millis)
    for role, path in dialect.in_body:
        _put(said, ("", 0.0), role, found_at(body, path), path, millis=dialect.millis)
    for name in names[:MOST_HEADERS]:
        told = named(name, dialect.prefix)
        if told is not None:
            key = (told.family, told.window_seconds)
            _put(said, key, told.role, headers[name], name, millis=told.millis or dialect.millis)
    if not said:
        return ()
    theirs = date(headers.get("date", "")) or now
    found: list[Reading] = []
    for (_, window_seconds), values in said.items():
        told_window = window_seconds or _window(values, theirs) or dialect.window_seconds
        if "field" in values:
            found += _of_fields(values, told_window)
        if "field" not in values or "limit" in values or "remaining" in values:
            found += _of_figures(values, told_window, theirs)
    sound = [one for reading in found if (one := _bounded(reading, dialect.budget)) is not None]
    return tuple(sound if len(sound) < 2 else dict.fromkeys(sound))[:MOST]


def _put(
    said: dict[tuple[str, float], _Said], key: tuple[str, float], role: Role, value: Any, source: str, *, millis: bool
) -> None:
    if value is not None and not (isinstance(value, str) and len(value) > LONGEST_VALUE):
        said.setdefault(key, {}).setdefault(role, (value, source, millis))


def _of_fields(said: _Said, window_seconds: float | None) -> list[Reading]:
    """`RateLimit: "burst";r=50;t=30` beside `RateLimit-Policy: "burst";q=100;w=60`, joined by name."""
    value, source, _ = said["field"]
    policies = quotas(said["policy"][0]) if "policy" in said else []
    now = fields(value) if isinstance(value, str) else []
    made: list[Reading] = []
    for one in now:
        policy = next((each for each in policies if each.name == one.name), None)
        if policy is None or not one.name:  # an item without a name is told by its size, or is the only one there is
            alike = [each for each in policies if each.limit == one.limit]
            policy = alike[0] if alike else policies[0] if len(policies) == len(now) == 1 else Quota()
        policies = [each for each in policies if each is not policy]
        if one.counts_calls and policy.counts_calls:
            limit = policy.limit if one.limit is None else one.limit
            made.append(
                Reading(limit, one.remaining, one.reset, policy.window or one.window or window_seconds,
                        source=_called(source, one.name))
            )  # fmt: skip
    return made + _of_policies(policies, said, source)


def _of_figures(said: _Said, window_seconds: float | None, theirs: datetime) -> list[Reading]:
    """One header (or place) for each figure, of which each may hold one for every policy."""
    source = next(iter(said.values()))[1]
    policies = [one for one in _items(said, "policy") if one.limit is not None] if "field" not in said else []
    rows = _items(said, "limit") or policies[:1] or [Quota()]
    left, used, resets = _figures(said, "remaining"), _figures(said, "used"), _resets(said, theirs)
    apart = len(rows) > 1 and len(rows) == len(left)  # `1, 15000` beside `1, 14320`: each has its own
    if not apart:
        further = [one for one in (*rows[1:], *policies) if one.window is not None]
        twin = next((one for one in further if one.limit == rows[0].limit), None)
        # In `100, 100;w=60, 1000;w=3600` the first says which of the others is the one counted.
        rows = [twin] if rows[0].window is None and twin is not None else rows[:1]
        policies = [one for one in further if one is not rows[0] and one is not twin]
    made: list[Reading] = []
    for at, row in enumerate(rows):
        window = row.window
        if window is None and apart and len(policies) == len(rows):
            window = policies[at].window
        remaining = left[at] if at < len(left) else None
        if remaining is None and at < len(used) and used[at] is not None and row.limit is not None:
            remaining = max(row.limit - (used[at] or 0.0), 0.0)
        if row.counts_calls:
            reset = resets[at] if at < len(resets) else None
            made.append(Reading(row.limit, remaining, reset, window or window_seconds, source=source))
    return made if apart else made + _of_policies(policies, said, source)


def _of_policies(policies: list[Quota], said: _Said, source: str) -> list[Reading]:
    """Limits of which the answer only says that they are."""
    source = said["policy"][1] if "policy" in said else source
    return [
        Reading(one.limit, None, None, one.window, source=_called(source, one.name))
        for one in policies
        if one.counts_calls
    ]


def _items(said: _Said, role: Role) -> list[Quota]:
    return quotas(said[role][0]) if role in said else []


def _figures(said: _Said, role: Role) -> list[float | None]:
    return numbers(said[role][0]) if role in said else []


def _resets(said: _Said, theirs: datetime) -> list[float | None]:
    if "reset" not in said:
        return []
    value, _, millis = said["reset"]
    whole = seconds_until(value, theirs, millis=millis)
    if whole is not None or not isinstance(value, str) or "," not in value:
        return [whole]
    return [seconds_until(part, theirs, millis=millis) for part in value.split(",")[:MOST]]


def _window(said: _Said, theirs: datetime) -> float | None:
    """The window where a header of its own tells it."""
    if "window" not in said:
        return None
    value, _, millis = said["window"]
    return seconds_until(value, theirs, millis=millis)


def _called(source: str, name: str) -> str:
    return f'{source} "{name}"' if name else source


def _bounded(reading: Reading, budget: str | None) -> Reading | None:
    """The same without what cannot be, or None if nothing of use is left."""
    limit, remaining = _within(reading.limit, 1.0, LARGEST), _within(reading.remaining, 0.0, LARGEST)
    if limit is None and remaining is None:
        return None
    if limit is not None and remaining is not None and remaining > limit:
        remaining = limit
    reset = _within(reading.reset_seconds, 0.0, LONGEST_SECONDS)
    window = _within(reading.window_seconds, 0.001, LONGEST_SECONDS)
    if (limit, remaining, reset, window, budget) == reading[:5]:
        return reading
    return Reading(limit, remaining, reset, window, budget, reading.source)


def _within(value: float | None, least: float, most: float) -> float | None:
    return value if value is not None and least <= value <= most else None
