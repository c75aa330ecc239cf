"""Evidence as plain text, to be pasted into a partner's ticket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from syncd.wording import clock_time, moment_of, plural

SHOWN = 20
"""Of each kind; `--json` has all."""


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """The text, a line each."""
    yield f"Calls to {told['partner']}, account {told['company']}"
    yield f"Written {clock_time(told['at'])}. Times are UTC by our clock; credentials (****) and persons (•••) are masked."
    yield ""
    origin = f", to {told['origin']}" if told["origin"] else ""
    yield f"We call as      {told['user_agent']}{origin}"
    for place, tier in enumerate(told["limits"]):
        used = f", {tier['used']:.0f} used now" if isinstance(tier.get("used"), int | float) else ""
        yield f"{'Our limits' if not place else '':<16}{tier['label']}{used}"
    if told["paused_until"]:
        yield f"We wait until   {clock_time(told['paused_until'])}, as we were told"
    for place, (name, value) in enumerate(told["limit_headers"].items()):
        yield f"{'You told us' if not place else '':<16}{name}: {value}"
    if told["minutes"]:
        yield ""
        yield "Calls a minute by status"
        for each in told["minutes"][-SHOWN:]:
            counts = ", ".join(f"{status}: {count:,}" for status, count in each["statuses"].items())
            yield f"  {clock_time(each['at'])[:16]}Z  {counts}"
    yield ""
    about = f" about {told['record']['resource']} {told['record']['id']}" if told["record"] else ""
    yield f"Failed calls{about}, the latest first" if told["failed"] else f"No failed call{about} is remembered."
    for one in told["failed"][:SHOWN]:
        yield ""
        yield f"  {_fine(one['at'])}  {one['method']} {one['url']}"
        number = f", request id {one['request_id']}" if one["request_id"] else ""
        yield f"    {one['outcome']} after {one['milliseconds']:,} ms, try {one['attempt']}{number}"
        if one["reason"]:
            yield f"    {one['reason']}"
        for name, value in one.get("headers", {}).items():
            yield f"    {name}: {value}"
        if one.get("body"):
            yield from _indented(one["body"])
    if told["calls"]:
        yield ""
        yield f"Latest calls{about}"
        for one in told["calls"][:SHOWN]:
            number = f"  id {one['request_id']}" if one["request_id"] else ""
            what = f"{one['outcome']:>7} {one['milliseconds']:>6,} ms  {one['method']} {one['url']}"
            yield f"  {_fine(one['at'])}  {what}{number}"
    if told["given_up"]:
        yield ""
        yield "Given up after all tries"
        for each in told["given_up"]:
            what = f"{each['method']} {each['route']}" if each["method"] else each["resource"]
            yield f"  {clock_time(each['at'])}  {what}, {plural(each['times'], 'time')}: {each['reason']}"
            for one in each["tries"]:
                yield f"    {clock_time(one['at'])}  {one['error']}"
            if each["body"]:
                yield from _indented(each["body"])
    for text in told["missing"]:
        yield ""
        yield f"Not in it: {text}."


def _indented(body: str) -> Iterator[str]:
    """What was answered, so that no line of it looks like one of ours."""
    yield from (f"    {line}" for line in body.splitlines())


def _fine(value: datetime | str) -> str:
    moment = moment_of(value)
    assert moment is not None
    return f"{clock_time(moment)[:-1]}.{moment.microsecond // 1000:03d}Z"
