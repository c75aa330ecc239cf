"""The limits in `syncd status`: every scope once, every tier a line, when the next call may leave, and why."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from syncd.cli.output import ago, clock_time, lasting, moment_of, number, paint, plural

_RATE = re.compile(r"(\d)/(\d+)s$")
_UNITS = (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0), ("s", 1.0))
WIDE = 80
NARROW = 60
FULL = 0.9
"""From this share of the budget on a bar is painted as nearly full."""


def render(scopes: list[Mapping[str, Any]], now: datetime, *, verbose: bool, width: int) -> list[str]:
    """One block a scope; nothing where there are none. Tiers nobody uses are named in one line unless `verbose`."""
    if not scopes:
        return []
    lines = ["limits: used/budget; ┊ is the budget, the bar's end the partner's limit" if width >= NARROW else "limits"]
    for scope in scopes:
        lines += [f"  {line}" for line in _scope(scope, now, verbose=verbose, width=width - 2)]
    return lines


def _scope(scope: Mapping[str, Any], now: datetime, *, verbose: bool, width: int) -> Iterator[str]:
    shares = scope.get("integrations") or []
    shared = f" ({', '.join(shares)})" if len(shares) > 1 else ""
    if not scope.get("owned", True):
        yield f"{scope['scope']}{shared}: another instance calls for it"
        return
    yield f"{scope['scope']}{shared}: {_next_call(scope, now)}"
    tiers = scope.get("tiers") or []
    shown = [tier for tier in tiers if verbose or _is_used(tier)]
    labels = max((len(_label(tier)) for tier in shown), default=0)
    for tier in shown:
        yield f"  {_tier(tier, labels, width - 2)}"
    unused = [_label(tier) for tier in tiers if tier not in shown]
    if unused:
        yield from _listed("  unused: ", unused, width)
    yield from (f"  {line}" for line in _seats(scope.get("seats") or {}, verbose=verbose))
    for tier in tiers:
        yield from (f"  {line}" for line in _lessons(tier, now))
    for line in (*_breakers(scope, now), *_history(scope)):
        yield f"  {line}"


def _listed(head: str, labels: Sequence[str], width: int) -> list[str]:
    """Many short names in as few lines as fit, none of them torn apart."""
    whole = ", ".join(label.replace(" ", "\N{NO-BREAK SPACE}") for label in labels)
    indent = " " * (len(head) - len(head.lstrip()) + 2)
    lines = textwrap.wrap(head + whole, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _next_call(scope: Mapping[str, Any], now: datetime) -> str:
    """When the next call may leave, and what holds it."""
    told = scope.get("next_call") or {}
    moment, seconds = moment_of(told.get("at")), told.get("in_seconds", 0.0)
    why = f": {told['why']}" if told.get("why") else ""
    if seconds is None:
        text = f"next call when that ends{why}" if why else "next call after the next answer"
    elif seconds < 0.05:
        text = f"next call now{why}"
    else:
        text = f"next call in {_seconds(seconds)}{why}"
        if seconds >= 60 and moment is not None:
            text += f", at {clock_time(moment)}"
    waiting = sum((scope.get("waiting") or {}).values())
    if waiting:
        text += f"; {plural(waiting, 'call')} waiting"
    ramp = scope.get("ramp")
    if ramp:
        text += (
            f"; ramping up, {_percent(ramp['share'])} of the budget, all of it in {_seconds(ramp['ends_in_seconds'])}"
        )
    return text


def _tier(tier: Mapping[str, Any], labels: int, width: int) -> str:
    used, budget = float(tier.get("used") or 0.0), float(tier.get("budget") or 0.0)
    ceiling, stated = tier.get("limit"), tier.get("stated")
    figures = f"{used:,.0f}/{budget:,.0f}"
    share = f"{_percent(used / budget):>5}" if budget else ""
    text = f"{_label(tier):<{labels}}  "
    if width >= NARROW:
        bar = _bar(used, budget, max(float(stated or 0.0), budget), 20 if width >= WIDE - 4 else 12)
        text += f"{bar}  {figures:>11} · {share}"
    else:
        text += f"{figures} · {share.strip()}"
    if ceiling is not None:
        text += f"  ceiling {ceiling:,.0f}"
    if stated is not None and stated != ceiling:
        text += f", stated {stated:,.0f}"
    if tier.get("frees_in_seconds", 0.0) >= 1 and used >= budget and width >= NARROW:
        text += f", frees in {_seconds(tier['frees_in_seconds'])}"
    return text


def _lessons(tier: Mapping[str, Any], now: datetime) -> Iterator[str]:
    """What was learned of a tier: the figure, the line that makes it official, and what others spend."""
    lesson = tier.get("learned")
    if lesson and tier.get("observed"):
        known = ago(lesson.get("since"), now)
        yield f"{tier['observed']}" + (f" {known} ago" if known else " by its answers")
        if lesson.get("proven") and lesson.get("yaml"):
            yield f"do: {lesson['yaml']} in {lesson.get('file')}"
    if tier.get("foreign"):
        yield f"others spent about {tier['foreign']:,.0f} of {_label(tier)}"


def _breakers(scope: Mapping[str, Any], now: datetime) -> Iterator[str]:
    for group, told in (scope.get("breakers") or {}).items():
        if told.get("state") == "closed" and not told.get("held"):
            continue
        text = f"breaker{f' of {group}' if group else ''}: {str(told.get('state')).replace('_', '-')}"
        if told.get("held"):
            text += f", held by {told['held'].get('who') or 'a person'}: {told['held'].get('why')}"
        elif told.get("retry_in_seconds"):
            text += f", next try in {_seconds(told['retry_in_seconds'])}"
        yield text


def _seats(seats: Mapping[str, Any], *, verbose: bool) -> Iterator[str]:
    """Calls under way at once, and why there may be fewer than configured."""
    limit, configured = seats.get("limit"), seats.get("configured")
    if limit is None or not (verbose or seats.get("used") or limit != configured):
        return
    text = f"{seats['used']}/{limit} calls at once"
    if limit != configured and configured is not None:
        learned = seats.get("learned")
        why = f"observed about {learned}" if learned else "few until the partner is known to accept more"
        text += f", of {configured}: {why}"
    yield text


def _history(scope: Mapping[str, Any]) -> Iterator[str]:
    """What limits cost since the start of the process: time by reason, 429s, and how well the time was used."""
    labels = {str(tier.get("name")): _label(tier) for tier in scope.get("tiers") or []}
    waits = {
        labels.get(why) or written(why): seconds
        for why, seconds in (scope.get("waited_seconds") or {}).items()
        if float(seconds) >= 0.5
    }
    parts = []
    if waits:
        most = sorted(waits.items(), key=lambda pair: -pair[1])
        parts.append(
            "calls waited, added up: " + ", ".join(f"{lasting(round(seconds))} for {why}" for why, seconds in most)
        )
        if scope.get("utilisation") is not None:
            parts.append(f"{_percent(scope['utilisation'])} of the budget used meanwhile")
    if scope.get("refusals"):
        parts.append(f"429s: {number(scope['refusals'])}")
    if parts:
        yield "; ".join(parts)


def _bar(used: float, budget: float, scale: float, width: int) -> str:
    """Used of the partner's limit, with the budget marked: `████████░░░░░░┊░░░░░`."""
    if scale <= 0:
        return " " * width
    full = min(round(used / scale * width), width)
    mark = min(int(budget / scale * width), width - 1)
    cells = ["█" if at < full else "░" for at in range(width)]
    cells[mark] = "┊"
    return paint("".join(cells), "yellow" if budget and used >= FULL * budget else "green")


def fullest(view: Mapping[str, Any]) -> str:
    """The limit nearest to its budget in a few words: `450/600 · 75 % of 600/min`; empty where nothing is counted."""
    tiers = [tier for tier in view.get("tiers") or [] if tier.get("budget") and tier.get("used") is not None]
    if not tiers:
        return ""
    tier = max(tiers, key=lambda one: (one["used"] / one["budget"], one.get("window_seconds") or 0.0))
    return f"{tier['used']:,.0f}/{tier['budget']:,.0f} · {_percent(tier['used'] / tier['budget'])} of {_label(tier)}"


def _is_used(tier: Mapping[str, Any]) -> bool:
    return bool(tier.get("used") or tier.get("learned") or tier.get("foreign"))


def _label(tier: Mapping[str, Any]) -> str:
    return str(tier.get("label") or written(str(tier.get("name") or "limit")))


def written(name: str) -> str:
    """A limit's stable name, `token 5/86400s`, as people write it: `token 5/d`. Anything else as it is.

    The daemon labels the limits it has now; a wait may be for one it had before a reload. (The same words as
    `syncd.sync.scope.rate`, which a command that must start at once cannot afford to import.)
    """
    rate = _RATE.search(name)
    if rate is None:
        return name
    seconds = float(rate[2])
    for unit, length in _UNITS:
        count = seconds / length
        if count == 1 or (count >= 1 and count == int(count) and (unit != "min" or count > 2)):
            return f"{name[: rate.start(2)]}{'' if count == 1 else int(count)}{unit}"
    return name


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _seconds(seconds: float) -> str:
    """A short wait to the tenth, a long one in whole units."""
    return f"{seconds:.1f}s" if seconds < 10 else lasting(seconds)
