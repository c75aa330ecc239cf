"""One connection of a site: what it is doing, how it is shown out, and whether a delivery takes the short way.

A `Door` sits between the socket and the HTTP library's protocol and knows which phase the connection is in. Nothing on the
path of a request but a few assignments; deadlines are looked at once a second by `doors.py`, which knows all connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, cast

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.streams import StreamReader

from syncd.metrics import HTTP_CUT

if TYPE_CHECKING:
    from syncd.server.doors import Doors

TICK_SECONDS = 1.0
HEAD_BYTES = 64 * 1024
"""An unfinished head longer than this ends its connection: the library bounds the lines and their number only."""

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_LATE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Phase(Enum):
    HEADERS = "headers"
    """Open, or receiving a request whose headers are not complete yet."""
    BODY = "body"
    """Receiving a body of more than one piece; its deadline is the site's."""
    BUSY = "busy"
    """A request is with its handler, which has deadlines of its own."""
    EXPRESS = "express"
    """A delivery that came whole is being stored."""
    SENDING = "sending"
    """The answer is on its way."""
    IDLE = "idle"
    """Kept alive between requests."""
    LEAVING = "leaving"
    """Told to go; closed for good at the next look."""


SLOW = frozenset({Phase.HEADERS, Phase.BODY, Phase.SENDING})
"""Phases in which we wait for the client."""
_SETTLED = frozenset({Phase.BUSY, Phase.IDLE, Phase.LEAVING})
"""Phases at whose start nothing unfinished is held."""


class Door(asyncio.Protocol):
    """One connection."""

    __slots__ = ("_body", "_doors", "_held", "_inner", "_ordinary", "_over", "_refused", "_transport", "phase", "since",
                 "unfinished")  # fmt: skip

    def __init__(self, doors: Doors, inner: web.RequestHandler) -> None:
        self._doors = doors
        self._inner: web.RequestHandler | None = inner
        self._transport: asyncio.Transport | None = None
        self._ordinary = doors.express is None
        """Everything goes to the library's protocol: once it was given a byte, it is given all."""
        self._body: StreamReader | None = None
        """What the request under way is read from."""
        self._held = b""
        """What came while an express delivery was under way."""
        self._over = False
        """The client sends nothing more, and waits for its answer."""
        self._refused = False
        """What still comes is the rest of a body nobody wants; the library lets it fall and closes."""
        self.unfinished = 0
        """Bytes of a request that is not whole yet."""
        self.phase = Phase.HEADERS
        self.since = 0.0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        assert self._inner is not None
        if not self._doors.enter(self, self._inner):
            self._inner = None
            self._transport.write(_BUSY)
            self._transport.close()
            return
        self._inner.connection_made(transport)
        if not self._ordinary:
            # The library counts its patience from here until its first request, and the short way's requests are none to
            # it: it would close the busiest connection in the middle of a delivery. Until it has one, we look after it.
            self._inner.keep_alive(True)

    def data_received(self, data: bytes) -> None:
        if self._inner is None:
            return
        if not self._ordinary and self.phase is not Phase.LEAVING:
            if self.phase is Phase.EXPRESS:
                self._hold(data)
                return
            before, self.phase = self.phase, Phase.EXPRESS
            if self._taken(data):
                return
            self.phase = before
            self._ordinary = True
        if self.phase is not Phase.LEAVING and not self._refused:
            if self.phase is Phase.IDLE or self.phase is Phase.SENDING:
                self.turn(Phase.HEADERS)
            self.unfinished += len(data)
            self._doors.hold(len(data))
        if self._inner is not None:
            self._inner.data_received(data)
            if self.phase is Phase.BODY:
                self._look_at_body()
        if self.unfinished > HEAD_BYTES and self.phase is Phase.HEADERS:
            _soon(self._look_at_head)

    def _look_at_head(self) -> None:
        if self.phase is Phase.HEADERS and self.unfinished > HEAD_BYTES:
            HTTP_CUT.labels(self._doors.site, "large_head").inc()
            self.cut()

    def _look_at_body(self) -> None:
        """Tell who reads a body that what came last cannot be a part of it. The library lines that up as if it were the next
        request, whose turn comes when this body is complete: never."""
        body = self._body
        if body is None or body.is_eof() or body.exception() is not None:
            return
        if getattr(self._inner, "_messages", None):
            body.set_exception(BadHttpMessage("the rest of the body cannot be read"))

    def _taken(self, data: bytes) -> bool:
        express, transport = self._doors.express, self._transport
        if express is None or transport is None or transport.get_write_buffer_size():
            return False  # who does not read the last answer gets the next one from the library, which waits
        return express.take(data, self._answer)

    def _answer(self, answer: bytes) -> None:
        """An express delivery's answer is there."""
        transport = self._transport
        if transport is None or self.phase is not Phase.EXPRESS:
            return
        transport.write(answer)
        self.turn(Phase.SENDING)
        if self._held:
            held, self._held = self._held, b""
            transport.resume_reading()
            self.data_received(held)
        elif self._over:
            transport.close()

    def _hold(self, data: bytes) -> None:
        if not self._held and self._transport is not None:
            self._transport.pause_reading()
        self._held += data

    def eof_received(self) -> bool:
        """The client may close its side and still read: what it asked for is answered, then the connection ends."""
        if self._inner is None or self.phase is Phase.LEAVING:
            return False
        self._over = True
        if self.phase is not Phase.EXPRESS:
            _soon(self._end)
        return True

    def _end(self) -> None:
        if self.phase is Phase.BUSY and self._inner is not None:
            self._inner.close()  # once it has answered
        elif self.phase is not Phase.EXPRESS and self._transport is not None and not self.unread:
            self._transport.close()  # else whoever is answering sees to it, or the next look

    def connection_lost(self, exc: BaseException | None) -> None:
        self.turn(Phase.LEAVING)
        self._doors.leave(self, self._inner)
        inner, self._inner, self._transport = self._inner, None, None
        if inner is not None:
            inner.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    # What the site and the watch call.

    def turn(self, phase: Phase) -> None:
        if self.unfinished and phase in _SETTLED:
            self._doors.held -= self.unfinished
            self.unfinished = 0
        self.phase = phase
        self.since = self._doors.clock.monotonic()

    def read(self, body: StreamReader) -> None:
        """The body of a request is being read, and not all there."""
        self._body = body
        self.turn(Phase.BODY)
        self._look_at_body()

    def refuse(self) -> None:
        """The request is answered before its body is read, and is the last one."""
        self._refused = True
        self.turn(Phase.BUSY)

    def look(self, now: float) -> None:
        """Show it out if it has been too long in a phase that has a deadline."""
        transport = self._transport
        if transport is None:
            return
        age = now - self.since
        if self.phase is Phase.HEADERS and age >= self._doors.header_seconds:
            HTTP_CUT.labels(self._doors.site, "slow_headers").inc()
            self.turn(Phase.LEAVING)
            transport.write(_LATE)
            transport.close()
        elif self.phase is Phase.SENDING:
            if self.unread:
                if age >= self._doors.send_seconds:
                    HTTP_CUT.labels(self._doors.site, "slow_reader").inc()
                    self.cut()
            elif self._over:
                transport.close()
            else:
                # What came while the last one was answered may be half a head, and has the time of one.
                self.turn(Phase.HEADERS if self.unfinished else Phase.IDLE)
        elif self.phase is Phase.IDLE and age >= self._doors.keep_alive_seconds and not self._ordinary:
            transport.close()  # the library sees to its own
        elif self.phase is Phase.LEAVING and age >= TICK_SECONDS:
            self.cut()

    @property
    def unread(self) -> int:
        """Bytes of the answer the client has not taken."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def cut(self) -> None:
        """Close at once, whatever was still to be written."""
        self.turn(Phase.LEAVING)
        if self._transport is not None:
            self._transport.abort()


def _soon(look: Callable[[], None], turns: int = 3) -> None:
    """Look when a request that is whole by now is with its handler: the library takes two turns of the loop for that."""
    asyncio.get_running_loop().call_soon(partial(_soon, look, turns - 1) if turns > 1 else look)
