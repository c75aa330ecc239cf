"""`/ui/events`: what changed on the page, as it happens. One rendering serves all; listeners are few, and end with their
session and with the process."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import orjson
from aiohttp import web

from syncd import metrics
from syncd.clock import Clock
from syncd.server.answers import refusal
from syncd.server.ui.front import Board, Front
from syncd.server.ui.sessions import Sessions
from syncd.server.ui.sources import Sources
from syncd.server.ui.visit import USUAL, Visit

MOST_LISTENERS: Final = 24
WRITE_SECONDS: Final = 20.0
"""Who does not take an event within this is let go."""
RETRY_MILLISECONDS: Final = 3_000


class Live:
    """The stream."""

    def __init__(self, front: Front, sources: Sources, sessions: Sessions, clock: Clock) -> None:
        self._front = front
        self._sources = sources
        self._sessions = sessions
        self._clock = clock
        self._listeners = 0
        metrics.BOUND.labels("page_listeners").set(MOST_LISTENERS)

    async def stream(self, visit: Visit) -> web.StreamResponse:
        """Events named `board`: title, state, and the parts that are otherwise than those of board `since`. With `parts=no`
        without parts: of another page than the first."""
        if self._listeners >= MOST_LISTENERS or self._sources.stopping.is_set():
            busy = refusal(503, "busy", "too many listen already, or the daemon stops", "the page refreshes itself")
            busy.headers["Retry-After"] = "5"
            return busy
        self._listeners += 1
        try:
            return await self._send(visit)
        finally:
            self._listeners -= 1

    async def _send(self, visit: Visit) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(visit.request)
        wanted = visit.asked("parts") != "no"
        had = self._front.earlier(visit.asked("since"))
        every = visit.every or USUAL
        text = f"retry: {RETRY_MILLISECONDS}\n\n"
        try:
            while self._goes_on(visit):
                board = await self._front.board()
                text += f"event: board\nid: {board.id}\ndata: {_told(board, had if wanted else None)}\n\n"
                had = board.parts
                await self._write(response, text)
                text = ""
                await self._pause(visit, response, every)
            await response.write(b"event: bye\ndata: {}\n\n")
            await response.write_eof()
        except (ConnectionError, TimeoutError):
            if visit.request.transport is not None:
                visit.request.transport.abort()
        return response

    def _goes_on(self, visit: Visit) -> bool:
        return not self._sources.stopping.is_set() and self._sessions.lasts(visit.session)

    async def _pause(self, visit: Visit, response: web.StreamResponse, seconds: int) -> None:
        """Wait, with a beat each second: of a browser that is gone only a write tells, and its place is wanted."""
        for second in range(seconds):
            if not self._goes_on(visit):
                return
            if second:
                await self._write(response, ":\n\n")
            with suppress(TimeoutError):
                async with self._clock.timeout(1.0):
                    await self._sources.stopping.wait()
                return

    async def _write(self, response: web.StreamResponse, text: str) -> None:
        async with self._clock.timeout(WRITE_SECONDS):
            await response.write(text.encode())


def _told(board: Board, had: Mapping[str, str] | None) -> str:
    told: dict[str, object] = {"id": board.id, "state": board.state, "title": board.title, "at": board.at}
    if had is not None:
        told["order"] = [f"row:{each['name']}" for each in board.rows]
        told["parts"] = {name: text for name, text in board.parts.items() if had.get(name) != text}
    return orjson.dumps(told, option=orjson.OPT_UTC_Z).decode()
