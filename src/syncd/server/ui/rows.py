"""The integration table, worst first: what a person sees of each integration in a line or two. Pure: from the overview."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from syncd.explain import NOTHING_TO_DO
from syncd.server.ui import shown
from syncd.wording import ago, clock_time, lasting, moment_of

NO_LINE: Mapping[str, str] = {"spark": "", "marks": ""}


def row(item: Mapping[str, Any], now: datetime, line: Mapping[str, str] = NO_LINE) -> dict[str, Any]:
    """One integration. `line`: its calls of the last hour, drawn, and strokes where something was changed meanwhile."""
    why = item.get("explanation") or {}
    state = item.get("state", "down")
    limits = item.get("limits") or {}
    hour = item.get("hour") or {}
    resources = item.get("resources") or []
    good = [found for each in resources if (found := moment_of(each.get("last_success_at")))]
    coming = [found for each in resources if (found := moment_of(each.get("next_run_at")))]
    name, company = item.get("name", "?"), item.get("company") or ""
    return {
        "name": name,
        "partner": item.get("partner", ""),
        "company": company if company != name else "",
        "state": state,
        "word": shown.WORDS.get(state, state),
        "why": trouble(why, now) if why.get("reason") else None,
        "noted": state == "healthy",
        "paused": item.get("paused"),
        "pause": pause(item.get("paused"), now) if why.get("code") != "paused" else "",
        "webhooks": trouble(item["refuses"], now) if other(item.get("refuses"), why) else None,
        "enabled": item.get("enabled", True),
        "limit": fullest(limits.get("tiers") or ()),
        "breaker": breaker(limits.get("breakers") or {}),
        "p95": shown.milliseconds(hour.get("p95_ms")),
        "p99": shown.milliseconds(hour.get("p99_ms")),
        "success": shown.percent(hour.get("success"), 1),
        "calls": hour.get("calls") or 0,
        **line,
        "last": ago(max(good), now) if good else "",
        "next": in_(min(coming), now) if coming else "",
        "words": f"{name} {item.get('partner', '')} {company}".lower(),
    }


def trouble(why: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """An explanation, ready to be read."""
    action = why.get("action") or ""
    return {
        "code": why.get("code", ""),
        "reason": why.get("reason", ""),
        "cause": why.get("cause") or "",
        "since": ago(why.get("since"), now),
        "since_at": clock_time(why["since"]) if why.get("since") else "",
        "action": action,
        "idle": action.startswith(NOTHING_TO_DO),
        "pieces": shown.pieces(action),
    }


def other(refuses: Mapping[str, Any] | None, why: Mapping[str, Any]) -> bool:
    """Are deliveries refused for a reason that is not the one shown already?"""
    return bool(refuses) and refuses is not None and refuses.get("code") != why.get("code")


def pause(paused: Mapping[str, Any] | None, now: datetime) -> str:
    """That it is paused, where that is not what the state says."""
    if not paused:
        return ""
    until = moment_of(paused.get("until"))
    end = f"for another {lasting((until - now).total_seconds())}" if until else "until somebody resumes it"
    by = f" by {paused['who']}" if paused.get("who") else ""
    return f"paused {end}{by}" + (f": {paused['reason']}" if paused.get("reason") else "")


def fullest(tiers: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The limit nearest to its budget."""
    counted = [each for each in tiers if each.get("budget") and each.get("used") is not None]
    if not counted:
        return None
    most = max(counted, key=lambda each: (each["used"] / each["budget"], each.get("window_seconds") or 0.0))
    return tier(most)


def tier(each: Mapping[str, Any]) -> dict[str, Any]:
    """One limit as a bar: used, the ceiling syncd keeps below, and the partner's own."""
    used, budget = float(each.get("used") or 0.0), float(each.get("budget") or 0.0)
    stated = float(each.get("stated") or each.get("limit") or 0.0)
    return {
        **shown.gauge(used, budget, stated),
        "text": f"{used:,.0f}/{budget:,.0f}",
        "share": shown.percent(used / budget) if budget else "–",
        "label": each.get("label") or each.get("name") or "",
        "limit": each.get("limit"),
        "stated": each.get("stated"),
        "observed": each.get("observed"),
        "frees": lasting(each["frees_in_seconds"])
        if (each.get("frees_in_seconds") or 0.0) >= 1 and used >= budget
        else "",
    }


def breaker(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The worst breaker of a scope."""
    for group, told in groups.items():
        if told.get("held"):
            by = f"by {told['held'].get('who') or 'a person'}"
            return {"state": "held", "text": by, "short": by, "group": group}
    for state in ("open", "half_open"):
        for group, told in groups.items():
            if told.get("state") == state:
                seconds = told.get("retry_in_seconds") or 0.0
                text = f"next try in {lasting(seconds)}" if seconds >= 1 else "one probe goes ahead"
                short = lasting(seconds) if seconds >= 1 else ""
                return {"state": state.replace("_", "-"), "text": text, "short": short, "group": group}
    return {"state": "closed" if groups else "", "text": "", "short": "", "group": ""}


def in_(moment: datetime, now: datetime) -> str:
    seconds = (moment - now).total_seconds()
    return f"in {lasting(seconds)}" if seconds >= 1 else "now"


def fits(found: Mapping[str, Any], words: str, state: str) -> bool:
    """The filters of the table, as the script applies them too."""
    return words.lower() in found["words"] and (
        not state or found["state"] == state or (state == "troubled" and found["state"] in shown.TROUBLED)
    )
