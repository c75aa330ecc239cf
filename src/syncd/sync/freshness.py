"""Which tasks are answered already: the record was read, or stored by somebody else, after the task was last asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta

from syncd.store import Store, Task
from syncd.sync.plan import ResourcePlan

REMEMBERED = 10_000
"""Records whose last reading is remembered (R12): one that brought no news left no trace in the row."""

SETTLED = timedelta(seconds=5)
"""A listing may be a moment behind what the partner has just told of; so may another instance's clock."""


class Freshness:
    """What one integration's tasks are compared with. Times are those at which requests began, never their answers."""

    def __init__(self, store: Store, integration: str) -> None:
        self._store = store
        self._integration = integration
        self._asked: OrderedDict[tuple[str, str], datetime] = OrderedDict()

    def asked(self, task: Task, at: datetime) -> None:
        """The record was read by a request that began then."""
        if task.external_id is None:
            return
        key = (task.resource, task.external_id)
        self._asked[key] = at
        self._asked.move_to_end(key)
        if len(self._asked) > REMEMBERED:
            self._asked.popitem(last=False)

    def read_since(self, resource: str, external_id: str, at: datetime) -> bool:
        """Was the record read by a request that began after this moment?"""
        asked = self._asked.get((resource, external_id))
        return asked is not None and asked > at

    async def answered(self, plan: ResourcePlan, tasks: Sequence[Task]) -> set[int]:
        """Ids of the tasks that another reading would tell nothing new."""
        ids = list({task.external_id for task in tasks if task.external_id is not None})
        # A stored row may be a partial view, of a resource where such are usual: it answers nobody who wants all of it.
        stored = {} if plan.resource.sparse else await self._store.records.fetched(self._integration, plan.name, ids)
        found = set()
        for task in tasks:
            if task.external_id is None:
                continue
            brought, asked = stored.get(task.external_id), self._asked.get((task.resource, task.external_id))
            if (brought is not None and brought > task.since + SETTLED) or (asked is not None and asked > task.since):
                found.add(task.id)
        return found
