"""The process and its machine: a loop that is late, workers that ended, disks."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from anyio import to_thread

from syncd import own_troubles
from syncd.clock import Clock
from syncd.conditions.hold import Hold
from syncd.conditions.own import Trouble, together
from syncd.explain import State
from syncd.supervisor import Supervisor

LATE_SECONDS: Final = 1.0
LATE_BEGIN_SECONDS, LATE_END_SECONDS = 10.0, 20.0
DEAD_SECONDS: Final = 15.0
"""Workers that a runner starts again at once are no news."""
FREE_SHARE, FREE_BYTES = 0.02, 2**30
"""Less left of a disk than this share of it, or than so much, whichever is less: it is full."""
WELL: Final = 1.5
"""Times as much has to be free before it is well again."""
LOOK_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 5.0
"""A disk that does not say so soon how full it is, is asked again once it has."""


class LoopWatch:
    """Fed with how late the list of conditions is looked at: the loop is as late with everything."""

    def __init__(self, clock: Clock, stuck: Callable[[], Collection[str]]) -> None:
        """`stuck`: parts of the process that make no progress."""
        self._stuck = stuck
        self._late = 0.0
        self._worst = 0.0
        self._since: datetime | None = None
        self._hold = Hold(clock, LATE_BEGIN_SECONDS, LATE_END_SECONDS)

    def beat(self, late: float) -> None:
        """The latest look came so many seconds too late."""
        late = max(late, 0.0)
        self._since = self._hold.look(late > LATE_SECONDS)
        self._worst = late if self._since is None and late <= LATE_SECONDS else max(self._worst, late)

    def trouble(self) -> Trouble | None:
        stuck = "event loop" in self._stuck()
        if self._since is None and not stuck:
            return None
        told = own_troubles.loop_late(self._worst, stuck, self._since)
        return Trouble(State.DOWN if stuck else State.DEGRADED, told)


class WorkerWatch:
    """Looks whether every partner has the coroutines it should have."""

    def __init__(self, supervisor: Callable[[], Supervisor | None], clock: Clock) -> None:
        self._supervisor = supervisor
        self._hold = Hold(clock, DEAD_SECONDS, 0.0)

    def trouble(self) -> Trouble | None:
        supervisor = self._supervisor()
        pools = [one.runner.pool for one in supervisor.running.values()] if supervisor is not None else []
        dead = {pool.partner: (pool.alive, pool.seats) for pool in pools if pool.alive < pool.seats}
        since = self._hold.look(bool(dead))
        if since is None:
            return None
        none_left = any(alive == 0 for alive, _ in dead.values())
        return Trouble(State.DOWN if none_left else State.DEGRADED, own_troubles.workers_dead(dead, since))


class DiskWatch:
    """Asks how much is left of the disks our directories lie on: in a thread, for a share of another machine may hang."""

    def __init__(self, directories: Callable[[], dict[str, Path]], clock: Clock) -> None:
        """`directories`: by what they are called, those that are written to."""
        self._directories = directories
        self._clock = clock
        self._full: dict[str, tuple[Path, int, int]] = {}
        self._asked: set[Path] = set()
        """Those that have not answered yet."""
        self._spaces: dict[Path, tuple[int, int] | None] = {}
        """What each told last."""

    async def run(self) -> None:
        while True:
            await self.look()
            await self._clock.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        full: dict[str, tuple[Path, int, int]] = {}
        for what, path in self._directories().items():
            if path not in self._asked:  # each question that hangs holds a thread: one is enough
                await self._ask(path)
            found = self._spaces.get(path)
            if found is not None and found[0] < least(found[1]) * (WELL if what in self._full else 1.0):
                full[what] = (path, *found)
        self._full = full

    async def _ask(self, path: Path) -> None:
        """Not for long, so that one share that hangs hides no other disk. What it told last is believed meanwhile."""
        self._asked.add(path)

        def ask() -> None:
            try:
                self._spaces[path] = _space(path)
            finally:
                self._asked.discard(path)

        with suppress(TimeoutError):
            async with self._clock.timeout(ANSWER_SECONDS):
                await to_thread.run_sync(ask, abandon_on_cancel=True)

    def trouble(self) -> Trouble | None:
        return together(
            [
                Trouble(State.DEGRADED, own_troubles.disk_full(what, str(path), free, size))
                for what, (path, free, size) in self._full.items()
            ]
        )


def least(size: int) -> int:
    """Bytes that have to be free on a disk of this size."""
    return int(min(size * FREE_SHARE, FREE_BYTES))


def _space(path: Path) -> tuple[int, int] | None:
    """Bytes free for us and size of the disk; None where that cannot be found out."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
