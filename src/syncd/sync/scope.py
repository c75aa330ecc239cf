"""What the gate of a scope says, as Explanations: told to wait, a limit used up, a limit learned, ramping up.

Pure: everything is read from the gate's `view()`. Reasons name moments, not countdowns, so the same trouble keeps the same
words; the time comes first, since narrow screens cut the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from syncd.explain import NOTHING_TO_DO, Explanation
from syncd.sync import outage

LONG_SECONDS = 2.0
"""A wait for one of our own limits is worth telling from this length on; shorter ones are pacing."""

_UNITS = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "d"}


def rate(limit: float, window_seconds: float) -> str:
    """A limit as people write it: `10/s`, `120/min`, `300/120s`."""
    unit = _UNITS.get(window_seconds)
    return f"{limit:g}/{unit}" if unit is not None else f"{limit:g}/{window_seconds:g}s"


def label(tier: Mapping[str, Any]) -> str:
    """A tier's name for people: `120/min`, `token 5/d`; its written limit, whatever was learned since."""
    counts, _, name = str(tier.get("name", "")).rpartition(" ")
    written, window = tier.get("configured") or tier.get("limit"), tier.get("window_seconds")
    if written and window:
        name = rate(float(written), float(window))
    return f"{counts} {name}" if counts else name


def file_of(scope: str) -> str:
    """The file a scope's limits are written in, below the configuration's directory."""
    return f"partners/{scope.partition('/')[0]}.yaml"


def observed(tier: Mapping[str, Any]) -> str:
    """`stated 600/min, observed about 500/min`; empty where nothing was learned."""
    lesson = tier.get("learned")
    if not lesson:
        return ""
    window = float(tier["window_seconds"])
    seen = float(lesson.get("broke_at") or lesson["limit"])
    return f"stated {rate(float(tier['stated']), window)}, observed about {rate(float(f'{seen:.3g}'), window)}"


def rate_limited(view: Mapping[str, Any], now: datetime) -> Explanation | None:
    """The partner said: not before then."""
    until = view.get("paused_until")
    if not isinstance(until, datetime) or until <= now:
        return None
    why = str(view.get("pause_reason") or "the partner answered 429")
    return Explanation(
        "rate-limited", f"next call at {clock(until)}: {why}", cause="syncd waits as it was told", action=NOTHING_TO_DO
    )


def used_up(view: Mapping[str, Any], now: datetime) -> Explanation | None:
    """Calls wait, and our own count lets none of them go for a while."""
    upcoming = view.get("next_call") or {}
    seconds = float(upcoming.get("in_seconds") or 0.0)
    if not sum((view.get("waiting") or {}).values()) or view.get("in_flight") or seconds < LONG_SECONDS:
        return None
    full = [tier for tier in view.get("tiers", []) if tier["frees_in_seconds"] > 0 and tier["used"] > 0]
    told = f"{upcoming.get('why') or 'limit'}"
    if full:
        tier = max(full, key=lambda one: one["frees_in_seconds"])
        told = f"{tier['used']:,.0f}/{tier['budget']:,.0f} of {label(tier)} used"
    return Explanation(
        "rate-limited",
        f"next call at {clock(now + timedelta(seconds=seconds))}: {told}",
        cause="syncd keeps within what the partner allows",
        action=NOTHING_TO_DO,
    )


def limit_learned(view: Mapping[str, Any], now: datetime) -> Explanation | None:
    """The partner allows less than its file says: goes on by itself, and has a line that makes it official."""
    for tier in view.get("tiers", []):
        lesson = tier.get("learned")
        if lesson:
            headers = lesson.get("source") == "headers"
            return Explanation(
                "limit-learned",
                observed(tier),
                since=since(lesson, now),
                cause="its answers state a lower limit" if headers else "it answered 429 to fewer calls than it states",
                action=f"{lesson['yaml']} in {file_of(str(view.get('scope', '')))}"
                if lesson.get("yaml")
                else NOTHING_TO_DO,
            )
    return None


def ramping(view: Mapping[str, Any], now: datetime) -> Explanation | None:
    """Back after an outage: not all at once."""
    ramp = view.get("ramp")
    if not ramp:
        return None
    whole_at = now + timedelta(seconds=float(ramp["ends_in_seconds"]))
    return Explanation(
        "ramping",
        f"back after an outage: calls grow to the whole budget by {clock(whole_at)}",
        cause="a partner that just came back is not to be met with all that waited",
        action=NOTHING_TO_DO,
    )


def remarks(view: Mapping[str, Any], now: datetime) -> Iterator[Explanation]:
    """What is worth saying of a scope that works."""
    for told in (ramping(view, now), limit_learned(view, now)):
        if told is not None:
            yield told


def as_json(
    view: Mapping[str, Any], now: datetime, *, integrations: Sequence[str], owned: bool, rate_limited: int
) -> dict[str, Any]:
    """One scope as `syncd status --json` shows it: the gate's view, in people's terms, for who shares it."""
    file = file_of(str(view["scope"]))
    return {
        **view,
        "partner": str(view["scope"]).partition("/")[0],
        "integrations": list(integrations),
        "owned": owned,
        "next_call": next_call(view, now) if owned else None,
        "rate_limited": rate_limited,
        "tiers": [
            {
                **tier,
                "label": label(tier),
                "observed": observed(tier) or None,
                "learned": {**tier["learned"], "since": since(tier["learned"], now), "file": file}
                if tier.get("learned")
                else None,
            }
            for tier in view.get("tiers", [])
        ],
    }


def next_call(view: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """When a scheduled read may leave at the soonest, and what holds it: `at`, `in_seconds`, `why` ("" for now)."""
    told = view.get("next_call") or {}
    seconds, why = float(told.get("in_seconds") or 0.0), str(told.get("why") or "")
    until = view.get("paused_until")
    if isinstance(until, datetime) and until > now:
        seconds, why = max(seconds, (until - now).total_seconds()), "paused"
    for breaker in dict(view.get("breakers") or {}).values():
        if breaker.get("state") == "open" and float(breaker.get("retry_in_seconds") or 0.0) >= seconds:
            seconds, why = float(breaker.get("retry_in_seconds") or 0.0), "breaker"
    return {
        "at": now + timedelta(seconds=seconds),
        "in_seconds": seconds,
        "why": _held_by(why, view, now) if seconds > 0 or why else "",
    }


def _held_by(why: str, view: Mapping[str, Any], now: datetime) -> str:
    """The gate's word for what holds a call, in a person's."""
    if why == "paused":
        return f"paused: {view.get('pause_reason') or 'the partner answered 429'}"
    if why == "breaker":
        return outage.hold_words(view["held"], now) if view.get("held") else "the partner does not answer"
    seats = view.get("seats") or {}
    if why in ("concurrency", "seats"):
        return f"all {seats.get('limit')} seats are taken"
    if why in ("ramp", "ramping"):
        return "ramping up after an outage"
    for tier in view.get("tiers", []):
        if tier["name"] == why:
            return f"{label(tier)} is full"
    return why


def since(lesson: Mapping[str, Any], now: datetime) -> datetime | None:
    """When it was learned."""
    known = lesson.get("since")
    if isinstance(known, datetime):
        return known
    ago = lesson.get("since_seconds")
    return None if ago is None else now - timedelta(seconds=float(ago))


def clock(moment: datetime) -> str:
    """A moment of today for people; with its date where it is not today's business."""
    return f"{moment:%H:%M:%S} UTC"
