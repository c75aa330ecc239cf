"""What the gate of a scope says, as Explanations: told to wait, a limit used up, a limit learned, ramping up.

Pure: everything is read from the gate's `view()`. Reasons name moments, not countdowns, so the same trouble keeps the same
words; the time comes first, since narrow screens cut the end.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from syncd.explain import NOTHING_TO_DO, Explanation
from syncd.limits.adaptive import rate_text
from syncd.sync import outage

LONG_SECONDS = 2.0
"""A wait for one of our own limits is worth telling from this length on; shorter ones are pacing."""


def rate(limit: float, window_seconds: float) -> str:
    """A limit as people write it: `10/s`, `120/min`, `300/120s`, `10000/30d`."""
    return f"{limit:.10g}/{rate_text(1, window_seconds).partition('/')[2]}"


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


def is_proven(lesson: Mapping[str, Any]) -> bool:
    """Is it known where the limit really is, or was it only slowed down for because of a 429 that proves nothing?"""
    return lesson["source"] == "headers" or lesson.get("broke_at") is not None


def observed(tier: Mapping[str, Any]) -> str:
    """`stated 600/min, observed about 500/min`; empty where nothing was learned."""
    lesson = tier.get("learned")
    if not lesson:
        return ""
    window = float(tier["window_seconds"])
    seen = rate(float(f"{float(lesson.get('broke_at') or lesson['limit']):.3g}"), window)
    stated = rate(float(tier["stated"]), window)
    return (
        f"stated {stated}, observed about {seen}" if is_proven(lesson) else f"slowed to {seen} of {stated} after a 429"
    )


def rate_limited(view: Mapping[str, Any], now: datetime) -> Explanation | None:
    """The partner said: not before then."""
    until = view.get("paused_until")
    if not isinstance(until, datetime) or until <= now:
        return None
    why = str(view.get("pause_reason") or "the partner answered 429")
    return Explanation(
        "rate-limited",
        f"next call at {clock(until, now)}: {why}",
        cause="syncd waits as it was told",
        action=NOTHING_TO_DO,
    )


def used_up(view: Mapping[str, Any], now: datetime, *, wanted: bool = False) -> Explanation | None:
    """Calls wait (or work was put off: `wanted`), and our own count lets none of them go for a while."""
    upcoming = view.get("next_call") or {}
    seconds = float(upcoming.get("in_seconds") or 0.0)
    wanted = wanted or sum((view.get("waiting") or {}).values()) > 0
    if not wanted or view.get("in_flight") or seconds < LONG_SECONDS:
        return None
    told = _held_by(str(upcoming.get("why") or ""), view) or "the limit is used up"
    for tier in view.get("tiers", []):
        if tier["name"] == upcoming.get("why"):
            told = f"{tier['used']:,.0f}/{tier['budget']:,.0f} of {label(tier)} used"
    return Explanation(
        "rate-limited",
        f"next call at {clock(now + timedelta(seconds=seconds), now)}: {told}",
        cause="syncd keeps within what the partner allows",
        action=NOTHING_TO_DO,
    )


def limit_learned(view: Mapping[str, Any]) -> Explanation | None:
    """The partner allows less than its file says: goes on by itself, and has a line that makes it official."""
    learned = [tier for tier in view.get("tiers", []) if tier.get("learned")]
    for tier in sorted(learned, key=lambda one: not is_proven(one["learned"])):
        lesson = tier["learned"]
        if not is_proven(lesson):
            return Explanation(
                "limit-slowed",
                observed(tier),
                since=lesson.get("since"),
                cause="too little had been spent to tell where the limit is; it grows back by itself",
                action=NOTHING_TO_DO,
            )
        headers = lesson["source"] == "headers"
        return Explanation(
            "limit-learned",
            observed(tier),
            since=lesson.get("since"),
            cause="its answers state a lower limit" if headers else "it answered 429 to fewer calls than it states",
            action=f"{lesson['yaml']} in {file_of(str(view.get('scope', '')))}",
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
        f"ramping up after an outage, whole budget by {clock(whole_at, now)}",
        cause="a partner that just came back is not to be met with all that waited",
        action=NOTHING_TO_DO,
    )


def remarks(view: Mapping[str, Any], now: datetime) -> Iterator[Explanation]:
    """What is worth saying of a scope that works."""
    for told in (ramping(view, now), limit_learned(view)):
        if told is not None:
            yield told


def as_json(
    view: Mapping[str, Any],
    now: datetime,
    *,
    integrations: Sequence[str],
    owned: bool,
    needs: Collection[Sequence[str]] = (),
) -> dict[str, Any]:
    """One scope as `syncd status --json` shows it: the gate's view, in people's terms, for who shares it.

    `needs` are the endpoint groups of each resource of all who share it.
    """
    file = file_of(str(view["scope"]))
    return {
        **view,
        "partner": str(view["scope"]).partition("/")[0],
        "integrations": list(integrations),
        "owned": owned,
        "next_call": next_call(view, now, needs) if owned else None,
        "tiers": [
            {
                **tier,
                "label": label(tier),
                "observed": observed(tier) or None,
                "learned": {**tier["learned"], "proven": is_proven(tier["learned"]), "file": file}
                if tier.get("learned")
                else None,
            }
            for tier in view.get("tiers", [])
        ],
    }


def next_call(view: Mapping[str, Any], now: datetime, needs: Collection[Sequence[str]] = ()) -> dict[str, Any]:
    """When a scheduled read may leave at the soonest, and what holds it: `at`, `in_seconds`, `why` ("" for now).

    `needs` are the endpoint groups each resource needs. No time is known while an answer, or a person, has to come first:
    then `at` and `in_seconds` are None.
    """
    told = view.get("next_call") or {}
    seconds, why = told.get("in_seconds", 0.0), _held_by(str(told.get("why") or ""), view)
    group, blocked = _bar(view, needs or [("",)], now)
    hold = blocked.get("held") if blocked is not None else None
    where = f" on {group}" if group else ""
    if hold:
        until = hold.get("until")
        seconds = (until - now).total_seconds() if isinstance(until, datetime) else None
        why = outage.hold_words(hold, now)
    elif blocked is not None and blocked["state"] == "half_open":
        why = why or f"one call finds out whether the partner is back{where}"
    elif blocked is not None and float(blocked.get("retry_in_seconds") or 0.0) >= (seconds or 0.0):
        seconds, why = float(blocked.get("retry_in_seconds") or 0.0), f"the partner does not answer{where}"
    return {"at": None if seconds is None else now + timedelta(seconds=seconds), "in_seconds": seconds, "why": why}


def _bar(
    view: Mapping[str, Any], needs: Collection[Sequence[str]], now: datetime
) -> tuple[str, Mapping[str, Any] | None]:
    """The endpoint group whose breaker or hold keeps every resource from calling, and what the gate says of it.

    None where one of them may call. Of each resource it is the group that comes back last, and of all these the first.
    """
    bars: list[tuple[float, str, Mapping[str, Any]]] = []
    for groups in needs:
        found = [(_back_in(told, now), group, told) for group in groups if (told := outage.blocked(view, group))]
        if not found:
            return "", None
        bars.append(max(found, key=lambda one: one[0]))
    _, group, told = min(bars, key=lambda one: one[0])
    return group, told


def _back_in(told: Mapping[str, Any], now: datetime) -> float:
    """Seconds until a group that is blocked may be called again, as far as that is known."""
    hold = told.get("held")
    if not hold:
        return float(told.get("retry_in_seconds") or 0.0)
    until = hold.get("until")
    return (until - now).total_seconds() if isinstance(until, datetime) else math.inf


def _held_by(why: str, view: Mapping[str, Any]) -> str:
    """The gate's word for what holds a call, in a person's."""
    if why == "concurrency":
        seats = view.get("seats") or {}
        if seats.get("doubted"):
            return f"calls of a process that was killed may still hold {seats['doubted']} of {seats.get('limit')} seats"
        return f"all {seats.get('limit')} seats are taken"
    for tier in view.get("tiers", []):
        if tier["name"] == why:
            short = tier["used"] < tier["budget"]  # a call of this lane waits while there is room for more urgent ones
            return f"{label(tier)} has only its reserve left" if short else f"{label(tier)} is full"
    return why


def clock(moment: datetime, now: datetime) -> str:
    """A moment as people say it, with its date where it is not today's."""
    return f"{moment:%H:%M:%S} UTC" if moment.date() == now.date() else f"{moment:%Y-%m-%d %H:%M} UTC"
