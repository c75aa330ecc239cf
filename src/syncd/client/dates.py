"""Dates that are only known when a call leaves: `{today}`, `{today-30d}`, `{today+365d}` in a path, a parameter or a body.

A driver has no clock, and the call it names is rebuilt from what is stored, maybe days later: so the date is filled in
here, in UTC, for calls that say so (`Request.dated`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from syncd.model import Request

TODAY: Final = re.compile(r"\{today(?:([+-])(\d{1,5})d)?\}")
"""A day by its distance from today, in UTC."""


def dated(request: Request, now: datetime) -> Request:
    """The same call with the days it means."""

    def day(match: re.Match[str]) -> str:
        days = int(match[2] or 0) * (-1 if match[1] == "-" else 1)
        return (now.astimezone(UTC) + timedelta(days=days)).date().isoformat()

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return TODAY.sub(day, value)
        if isinstance(value, dict):
            return {name: fill(inner) for name, inner in value.items()}
        return [fill(inner) for inner in value] if isinstance(value, list) else value

    params = request.params
    filled = tuple((name, fill(value)) for name, value in params) if isinstance(params, tuple) else fill(dict(params))
    return replace(request, path=fill(request.path), params=filled, json=fill(request.json), dated=False)
