"""One request on its way through a simulator, and how a handler ends it early."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web


class Call:
    """One request as handlers see it: matched, its body read, its times taken."""

    __slots__ = ("args", "arrived_at", "body", "budget", "data", "method", "query", "request", "route", "where")

    def __init__(self, request: web.Request, route: str, args: dict[str, str], budget: str, arrived_at: float) -> None:
        self.request = request
        self.method = request.method
        self.route = route
        self.where = f"{request.method} {route}"
        self.args = args
        self.budget = budget
        self.arrived_at = arrived_at
        self.query = request.query
        self.body = b""
        self.data: dict[str, Any] = {}
        """The handler's notes to `finish`: extra headers, a score."""

    def json(self) -> Any:
        """The parsed body, {} for none. Raises ValueError."""
        return orjson.loads(self.body) if self.body else {}


class Answer(Exception):  # noqa: N818 - it ends a handler early, whether well or badly
    """Raised by a handler's helper to answer at once."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response
