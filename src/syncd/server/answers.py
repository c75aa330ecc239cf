"""JSON answers, written the same way everywhere: a schema name first, RFC 3339 times in UTC, no caching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

SIGNS: Mapping[str, str] = {"Server": "syncd", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
"""Headers of every answer of both sites."""
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE


def body(value: Any) -> bytes:
    """Dataclasses, enums and aware datetimes are written as one expects; anything unknown as its text."""
    return orjson.dumps(value, default=str, option=_OPTIONS)


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=body(value), status=status, content_type="application/json", headers=headers)


def refusal(status: int, code: str, message: str, hint: str = "", *, close: bool = False) -> web.Response:
    """An error as the command line expects it: what failed, why, what to run."""
    response = answer(
        {"schema": "syncd.error/1", "error": {"code": code, "message": message, "hint": hint}}, status=status
    )
    if close:
        response.force_close()
    return response
