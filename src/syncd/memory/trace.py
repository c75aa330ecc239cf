"""Where memory goes, by Python's own tracemalloc: begun by a person, for a bounded time, and ended by itself."""

from __future__ import annotations

import asyncio
import sysconfig
import tracemalloc
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import structlog
from anyio import to_thread

import syncd
from syncd.clock import Clock
from syncd.errors import AskedWrongError
from syncd.server.desk_memory import MOST_TOP

log = structlog.get_logger()

_LIBRARY = sysconfig.get_path("stdlib") + "/"
_HERE = str(Path(syncd.__file__).parent.parent) + "/"


@dataclass(slots=True)
class _Running:
    who: str
    began_at: datetime
    ends_at: datetime
    ends: float
    """The same as the monotonic clock says it."""
    frames: int
    before: tracemalloc.Snapshot
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Trace:
    """Of one process; one at a time. `run` ends what nobody ended and never returns by itself."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: _Running | None = None
        self._begun = asyncio.Event()
        self._last: dict[str, Any] | None = None
        self._looking = anyio.Lock()

    def standing(self) -> dict[str, Any] | None:
        """The one that is under way; None: there is none."""
        now = self._running
        return (
            None
            if now is None
            else {"who": now.who, "began_at": now.began_at, "ends_at": now.ends_at, "frames": now.frames}
        )

    @property
    def last(self) -> dict[str, Any] | None:
        """What the last one found."""
        return self._last

    async def start(self, *, who: str, seconds: float, frames: int) -> dict[str, Any]:
        """Begin. From here on every piece of memory that Python hands out is noted: the process is slower, and larger."""
        async with self._looking:
            if self._running is not None:
                raise AskedWrongError(
                    f"{self._running.who} is tracing already, until {self._running.ends_at:%H:%M:%S} UTC",
                    hint="wait for it, or end it: syncd memory --stop",
                )
            tracemalloc.start(frames)
            try:
                before = await to_thread.run_sync(tracemalloc.take_snapshot)
            except BaseException:
                tracemalloc.stop()  # nobody would end what nobody knows of
                raise
            now, ends = self._clock.now(), self._clock.monotonic() + seconds
            self._running = _Running(who, now, now + timedelta(seconds=seconds), ends, frames, before)
            log.warning(
                "memory_trace_started", who=who, seconds=seconds, frames=frames, reason="slower until it has ended"
            )
            self._begun.set()
            return self.standing() or {}

    async def snapshot(self, top: int) -> dict[str, Any]:
        """What has come since it began, largest first, while it goes on. Without one: what the last one found."""
        async with self._looking:
            running = self._running
            if running is None:
                if self._last is None:
                    raise AskedWrongError("nothing is being traced", hint="begin: syncd memory --trace 60s")
                return {**self._last, "places": self._last["places"][:top]}
            snapshot = await to_thread.run_sync(tracemalloc.take_snapshot)
            return await to_thread.run_sync(lambda: self._told(running, snapshot, top))

    async def stop(self, *, why: str = "asked") -> dict[str, Any] | None:
        """End it. None: there was none."""
        async with self._looking:
            running = self._running
            if running is None:
                return None
            try:
                snapshot = await to_thread.run_sync(tracemalloc.take_snapshot)
            finally:  # it ends, even where there is no memory left to see what it found
                tracemalloc.stop()
                self._running = None
                running.ended.set()
            self._last = await to_thread.run_sync(lambda: self._told(running, snapshot, MOST_TOP))
            log.info("memory_trace_ended", who=running.who, reason=why, grown_bytes=self._last["grown_bytes"])
            return self._last

    async def run(self) -> None:
        """End each when its time is over."""
        while True:
            await self._begun.wait()
            self._begun.clear()
            running = self._running
            if running is None:
                continue
            await self._until(running)
            if self._running is not running:
                continue
            try:
                await self.stop(why="its time is over")
            except Exception as error:  # it has ended; the daemon goes on
                log.warning("memory_trace_ended", who=running.who, reason=f"nothing could be found out: {error!r}")

    async def _until(self, running: _Running) -> None:
        try:
            async with self._clock.timeout(max(running.ends - self._clock.monotonic(), 0.0)):
                await running.ended.wait()
        except TimeoutError:
            return

    def _told(self, running: _Running, snapshot: tracemalloc.Snapshot, top: int) -> dict[str, Any]:
        own = (tracemalloc.Filter(False, tracemalloc.__file__), tracemalloc.Filter(False, "<frozen *"))
        now, before = snapshot.filter_traces(own), running.before.filter_traces(own)
        found = now.compare_to(before, "traceback" if running.frames > 1 else "lineno")
        places = sorted(found, key=lambda one: one.size_diff, reverse=True)[:top]
        return {
            "who": running.who,
            "began_at": running.began_at,
            "at": self._clock.now(),
            "frames": running.frames,
            "grown_bytes": sum(one.size_diff for one in found),
            "places": [
                {
                    "bytes": one.size_diff,
                    "count": one.count_diff,
                    "held_bytes": one.size,
                    "at": [_place(frame) for frame in reversed(one.traceback)],
                }
                for one in places
                if one.size_diff > 0
            ],
        }


def _place(frame: tracemalloc.Frame) -> str:
    """A line of code, without where on this machine it lies."""
    name = frame.filename.removeprefix(_HERE).removeprefix(_LIBRARY)
    if "site-packages/" in name:
        name = name.rpartition("site-packages/")[2]
    return f"{name}:{frame.lineno}"
