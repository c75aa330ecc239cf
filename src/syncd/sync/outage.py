"""What breakers and holds mean for an integration, in words: since when, why, and the exact command.

Pure: everything is read from the gate's `view()`. Reasons name moments, not countdowns, so the same trouble keeps the same
words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from syncd.explain import NOTHING_TO_DO, Explanation

HELD = "breaker-held"
OPEN = "breaker-open"
_A_DAY = timedelta(hours=20)


def blocked(view: Mapping[str, Any], group: str) -> Mapping[str, Any] | None:
    """What the gate says of a group for which calls do not go freely; None where they do."""
    breakers: Mapping[str, Mapping[str, Any]] = view.get("breakers") or {}
    known = breakers.get(group) or {}
    if view.get("held"):
        return {**known, "state": "open", "held": view["held"]}
    return known if known.get("state") in ("open", "half_open") or known.get("held") else None


def explain(integration: str, view: Mapping[str, Any], group: str, now: datetime) -> Explanation | None:
    """Why calls of this endpoint group do not go, or None if they do."""
    told = blocked(view, group)
    if told is None:
        return None
    where = f" on {group}" if group else ""
    hold = told.get("held")
    if hold:
        whole = bool(view.get("held"))
        return Explanation(
            HELD,
            ("calls are" if whole or not group else f"calls to {group} are") + f" {hold_words(hold, now)}",
            since=hold.get("since"),
            cause="a person holds them back; what is stored stays readable, webhooks are stored too",
            action=f"syncd breaker {integration} release" + (f" --group {group}" if group and not whole else ""),
        )
    if told["state"] == "half_open":
        reason = f"one call finds out whether the partner is back{where}"
    else:
        at = now + timedelta(seconds=max(float(told.get("retry_in_seconds") or 0.0), 0.0))
        reason = f"next try at {at:%H:%M:%S} UTC: the partner does not answer{where}"
    return Explanation(
        OPEN,
        reason,
        since=told.get("since"),
        cause=last_error(told) or "timeouts, refused connections or 5xx in a row",
        action=f"{NOTHING_TO_DO}, it is tried again by itself; now: syncd breaker {integration} reset"
        + (f" --group {group}" if group else ""),
    )


def worst(integration: str, view: Mapping[str, Any], groups: Iterable[str], now: datetime) -> Explanation | None:
    """Of these groups: what a person has to know first. An outage comes before a hold, which somebody chose."""
    told = [one for group in groups if (one := explain(integration, view, group, now)) is not None]
    return next((one for one in told if one.code == OPEN), told[0] if told else None)


def waits(view: Mapping[str, Any], groups: Iterable[str], now: datetime) -> tuple[str, datetime | None] | None:
    """What work that needs these groups waits for, and until when if that is known; None where it may go."""
    for group in groups:
        told = blocked(view, group)
        if told is not None and told.get("held"):
            return hold_words(told["held"], now), told["held"].get("until")
        if told is not None:
            return "the breaker is open", now + timedelta(seconds=told.get("retry_in_seconds") or 0.0)
    return None


def last_error(told: Mapping[str, Any]) -> str:
    """The newest error a breaker remembers."""
    errors = told.get("errors") or []
    return str(errors[-1]["error"]) if errors else ""


def hold_words(hold: Mapping[str, Any], now: datetime) -> str:
    """`held by ann until 14:00:00 UTC: they asked`."""
    by = f" by {hold['who']}" if hold.get("who") else ""
    until = hold.get("until")
    end = ""
    if isinstance(until, datetime):
        end = f" until {until:%Y-%m-%d %H:%M} UTC" if until - now > _A_DAY else f" until {until:%H:%M:%S} UTC"
    return f"held{by}{end}: {hold.get('why') or 'no reason given'}"
