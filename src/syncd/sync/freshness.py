"""Which tasks are answered already: the record was read, or stored by somebody else, after the task was last asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta

from syncd.clock import Clock
from syncd.store import Store, Task
from syncd.sync.plan import ResourcePlan

REMEMBERED = 10_000
"""Records whose last reading is remembered (R12): one that brought no news left no trace in the row."""

SETTLED = timedelta(seconds=5)
"""A listing may be a moment behind what the partner has just told of; so may another instance's clock."""


JUMP_SECONDS = 0.5
"""A wall clock that is off by more than this has been set: what was remembered by it is forgotten."""
UNNOTICED = timedelta(seconds=2 * JUMP_SECONDS)
"""By so much it may have been set back between two moments without being noticed."""


class Freshness:
    """What one integration's tasks are compared with. Times are those at which requests began, never their answers."""

    def __init__(self, store: Store, integration: str, clock: Clock) -> None:
        self._store = store
        self._integration = integration
        self._clock = clock
        self._offset = self._ahead()
        self._asked: OrderedDict[tuple[str, str], datetime] = OrderedDict()

    def asked(self, task: Task, at: datetime) -> None:
        """The record was read by a request that began then."""
        self._heed_jumps()
        if task.external_id is None:
            return
        key = (task.resource, task.external_id)
        self._asked[key] = at
        self._asked.move_to_end(key)
        if len(self._asked) > REMEMBERED:
            self._asked.popitem(last=False)

    def read_since(self, resource: str, external_id: str, at: datetime) -> bool:
        """Was the record read by a request that began after this moment?"""
        self._heed_jumps()
        asked = self._asked.get((resource, external_id))
        return asked is not None and asked > at + UNNOTICED

    async def answered(self, plan: ResourcePlan, tasks: Sequence[Task]) -> set[int]:
        """Ids of the tasks that another reading would tell nothing new."""
        self._heed_jumps()
        now = self._clock.now()
        ids = list({task.external_id for task in tasks if task.external_id is not None})
        # A stored row may be a partial view, of a resource where such are usual: it answers nobody who wants all of it.
        stored = {} if plan.resource.sparse else await self._store.records.fetched(self._integration, plan.name, ids)
        found = set()
        for task in tasks:
            if task.external_id is None:
                continue
            brought, asked = stored.get(task.external_id), self._asked.get((task.resource, task.external_id))
            if brought is not None and brought > now:
                brought = None  # stored before the clock was set back: nobody knows what came first
            if (brought is not None and brought > task.since + SETTLED) or (
                asked is not None and asked > task.since + UNNOTICED
            ):
                found.add(task.id)
        return found

    def _ahead(self) -> float:
        """How far the wall clock is ahead of the monotonic one."""
        return self._clock.now().timestamp() - self._clock.monotonic()

    def _heed_jumps(self) -> None:
        ahead = self._ahead()
        if abs(ahead - self._offset) > JUMP_SECONDS:
            self._asked.clear()
            self._offset = ahead
