"""Tasks that may be what ends the process: handled one at a time, each saying so in its row before and after.

A process that dies while a suspect's answer is in the driver's hands was killed by it; one that dies while it waits for a
limit, or for the partner, was not. An innocent task thus outlives any number of deaths, and a guilty one three more.

Only that counts, and as briefly as can be: whoever kills the process whenever a task is taken, or a page is stored, would
else find an innocent one at it each time. So neither making the request nor the commit is part of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from weakref import WeakValueDictionary

import anyio

from syncd.client import Judging
from syncd.errors import PoisonError, StoreError
from syncd.store import Store, Task

LEAVE_SECONDS = 3.0
_TIMES = {1: "once", 2: "twice", 3: "three times", 4: "four times", 5: "five times"}
_turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
"""One for the process, whatever partners run in it: two suspects handled at once could both be the one."""


def turn_of(store: Store) -> asyncio.Lock:
    """What whoever handles a suspect holds meanwhile."""
    return _turns.setdefault(id(store), asyncio.Lock())


class Suspects:
    """What a worker asks before it hands something to the driver."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turn = turn_of(store)

    def judging(self, task: Task) -> Judging | None:
        """What goes round all that is done with an answer to this task; None for one nobody suspects."""
        return (lambda: self._handled(task)) if task.suspect else None

    @asynccontextmanager
    async def handled(self, task: Task) -> AsyncIterator[None]:
        """Round whatever the driver does for this task. Raises OwnershipError when a suspect is no longer ours."""
        if not task.suspect:
            yield
            return
        async with self._handled(task):
            yield

    @asynccontextmanager
    async def _handled(self, task: Task) -> AsyncIterator[None]:
        async with self._turn:
            await self._store.losses.handles(task, now=True)
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(LEAVE_SECONDS), suppress(StoreError):
                    await self._store.losses.handles(task, now=False)  # whatever outcome is written says it too


def poison(task: Task) -> PoisonError:
    """What to say of a task that is not tried again."""
    times = _TIMES.get(min(task.lost, 5), "five times")
    of = f"the {task.kind} of a record of {task.resource}" if task.resource else f"the {task.kind}"
    return PoisonError(
        f"killed the process {times}: {of} ends it whenever it is handled",
        hint="mend the driver, or take the record out at the partner, then replay it",
    )
