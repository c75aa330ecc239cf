"""How often whoever signs in may be wrong: counted by where it comes from, so that nobody can lock out somebody else."""

from __future__ import annotations

import ipaddress
from typing import Final

from aiohttp import web

from syncd.clock import Clock
from syncd.server.address import is_loopback

TRIES: Final = 10
TRY_SECONDS: Final = 60.0
"""So many wrong tokens are looked at in so long, from each place."""
MOST_PLACES: Final = 1_000
"""Remembered; then those that were wrong longest ago are forgotten. What guards the page is the token's length, not this."""


class Tries:
    """Wrong tokens of late, by place."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wrong: dict[str, list[float]] = {}
        """The place that was wrong last stands last."""

    def may(self, place: str) -> bool:
        """Is what comes from there looked at?"""
        return len(self._lately(place)) < TRIES

    def wrong(self, place: str) -> None:
        """A wrong token came from there."""
        lately = self._lately(place)
        self._wrong.pop(place, None)
        self._wrong[place] = [*lately, self._clock.monotonic()]
        while len(self._wrong) > MOST_PLACES:
            del self._wrong[next(iter(self._wrong))]

    def _lately(self, place: str) -> list[float]:
        now = self._clock.monotonic()
        return [at for at in self._wrong.get(place, ()) if now - at < TRY_SECONDS]


def place_of(request: web.Request) -> str:
    """Where a request comes from. Of a proxy on this machine it is what the proxy says, last in `X-Forwarded-For`; an
    IPv6 network of 64 bits is one place, for one machine has all of its addresses."""
    peer = request.remote or ""
    named = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    if named and (not peer or is_loopback(peer)):
        peer = named
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return ""
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
