"""All connections of one site: slow clients are shown out, and a crowd cannot lock others out.

The HTTP library bounds sizes but not time: a client that sends one byte of its headers a minute holds a connection as
long as it likes, and so does one that never reads its answer. Each connection therefore passes through a `Door` (`door.py`),
which is looked at once a second. No timer a connection. Deliveries that came whole are taken from there the short way
(`express.py`).

The body's deadline is not here: the site reads bodies itself, under a timeout (`guard.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from syncd.clock import Clock
from syncd.metrics import BOUND, HTTP_CONNECTIONS, HTTP_CUT
from syncd.server.door import SLOW, TICK_SECONDS, Door, Phase
from syncd.server.express import Express

BODIES_BYTES = 64 * 1024 * 1024
"""Bytes of unfinished requests a site holds; beyond, whoever has been sending his for longest goes."""
_YOUNG_SECONDS = 1.0  # a connection this new is not suspected of being slow


class Doors:
    """All connections of one site, at most `most` of them."""

    def __init__(
        self, site: str, *, clock: Clock, most: int, header_seconds: float, send_seconds: float,
        keep_alive_seconds: float = 75.0, express: Express | None = None,
    ) -> None:  # fmt: skip
        self.site = site
        self.clock = clock
        self.most = most
        self.header_seconds = header_seconds
        self.send_seconds = send_seconds
        self.keep_alive_seconds = keep_alive_seconds
        self.express = express
        self.held = 0
        """Bytes of all unfinished requests."""
        self._open: set[Door] = set()
        self._by_inner: dict[object, Door] = {}
        self._gauge = HTTP_CONNECTIONS.labels(site)
        BOUND.labels(f"{site}_unfinished_bodies_bytes").set(BODIES_BYTES)

    def __len__(self) -> int:
        return len(self._open)

    def factory(self, make: Callable[[], web.RequestHandler]) -> Callable[[], Door]:
        """A protocol factory for the listening socket, round the library's own."""
        return lambda: Door(self, make())

    def of(self, request: web.BaseRequest) -> Door | None:
        return self._by_inner.get(request.protocol)

    def enter(self, door: Door, inner: object) -> bool:
        """False: no room. A full site first lets go of what serves nobody: slow connections, then kept-alive ones. A partner
        that keeps one alive has been honest so far; who takes a second for a head has not."""
        now = self.clock.monotonic()
        door.since = now
        if len(self._open) >= self.most and not self._make_room(now):
            HTTP_CUT.labels(self.site, "full").inc()
            return False
        self._open.add(door)
        self._by_inner[inner] = door
        self._gauge.set(len(self._open))
        return True

    def hold(self, size: int) -> None:
        """More of some request came."""
        self.held += size
        while self.held > BODIES_BYTES:
            slowest = min((door for door in self._open if door.unfinished), key=lambda door: door.since, default=None)
            if slowest is None:
                return
            HTTP_CUT.labels(self.site, "bodies").inc()
            slowest.cut()

    def leave(self, door: Door, inner: object | None) -> None:
        self._open.discard(door)
        if inner is not None:
            self._by_inner.pop(inner, None)
        self._gauge.set(len(self._open))

    def _make_room(self, now: float) -> bool:
        slow: Door | None = None
        idle: Door | None = None
        for door in self._open:
            if door.phase is Phase.IDLE or (door.phase is Phase.SENDING and not door.unread):
                if idle is None or door.since < idle.since:
                    idle = door
            elif door.phase in SLOW and (slow is None or door.since < slow.since):
                slow = door
        if slow is not None and now - slow.since < _YOUNG_SECONDS:
            slow = None
        for oldest in (slow, idle):
            if oldest is not None:
                self._open.discard(oldest)  # its place is free now; the socket follows within this turn of the loop
                HTTP_CUT.labels(self.site, "made_room").inc()
                oldest.cut()
                return True
        return False

    async def settle(self, seconds: float) -> None:
        """Wait, so long at most, until every express delivery has its answer; no further one is taken that way."""
        self.express = None
        end = self.clock.monotonic() + seconds
        while any(door.phase is Phase.EXPRESS for door in self._open) and self.clock.monotonic() < end:
            await self.clock.sleep(0.02)

    async def watch(self) -> None:
        """Look at every connection once a second, for ever."""
        while True:
            await self.clock.sleep(TICK_SECONDS)
            now = self.clock.monotonic()
            for door in list(self._open):
                door.look(now)
