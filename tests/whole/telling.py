"""The metered partner, telling in one of the dialects what is left of its limit, and with others who spend of it.

Option `dialect`: `draft` (the IETF's fields), `epoch` (one limit, with a reset in epoch seconds by a clock that is two hours
off), `body` (figures in the answer itself), `none`.
"""

from __future__ import annotations

import math
from typing import Any

from aiohttp import web

from syncd.testing.base import Call, Simulator
from tests.whole.metered import Metered

OFF = 7200.0
"""Seconds by which the clock of `epoch` is ahead."""


class Telling(Metered):
    def defaults(self) -> dict[str, Any]:
        return {**super().defaults(), "dialect": "none"}

    def _left(self) -> tuple[int, int, float, float]:
        """Limit, calls left, seconds until one comes back at the latest, window."""
        tier, now = self.enforcer.tiers[0], self.clock.monotonic()
        left = self.enforcer.book(tier, "").left(now)
        reset = tier.window_seconds - (now % tier.window_seconds if tier.kind == "fixed" else 0.0)
        return int(tier.limit), int(left), reset, tier.window_seconds

    def finish(self, response: web.StreamResponse, call: Call) -> None:
        super().finish(response, call)
        limit, left, reset, window = self._left()
        said = response.headers
        match self.options["dialect"]:
            case "draft":
                said["RateLimit-Policy"] = f'"day";q=100000;w=86400, "burst";q={limit};w={window:.0f}'
                said["RateLimit"] = f'"burst";r={left};t={math.ceil(reset)}'
            case "epoch":
                said["Date"] = self.date(OFF)
                said["X-RateLimit-Limit"], said["X-RateLimit-Remaining"] = str(limit), str(left)
                said["X-RateLimit-Reset"] = str(math.ceil(self.now() + OFF + reset))

    def pages(self, call: Call) -> web.Response:
        response = super().pages(call)
        if self.options["dialect"] != "body":
            return response
        limit, left, reset, _ = self._left()
        quota = f'{{"quota": {{"cap": {limit}, "left": {left}, "again_ms": {reset * 1000:.0f}}}, '
        return web.Response(body=quota.encode() + bytes(response.body)[1:], content_type="application/json")  # type: ignore[arg-type]


def create(**options: Any) -> Simulator:
    """The simulator, as every simulator module makes it."""
    return Telling(**options)
