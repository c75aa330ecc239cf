"""Looks at records that are in a state no list of changes shows: a task each, which makes the next one until it is left."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from syncd.kit import Item, Resource
from syncd.model import Lane
from syncd.store import NewTask, Task
from syncd.sync.plan import ResourcePlan

if TYPE_CHECKING:
    from syncd.sync.account import Account

LOOK: Final = "look"
"""Kind of such a task. It is not answered by a listing that read the record meanwhile: that it is still so is no end."""


def look_at(resource: Resource, external_id: str, data: Mapping[str, Any], at: datetime, cause: str) -> NewTask | None:
    """The first look at a record stored with these fields, read at that moment; None where there is nothing to wait for."""
    if resource.unsettled is None or not resource.unsettled.holds(data):
        return None
    return _task(resource, external_id, at, cause, 0)


async def still_so(account: Account, plan: ResourcePlan, task: Task) -> bool:
    """Is the record stored as unsettled? What webhooks or a listing have settled needs no look."""
    assert task.external_id is not None
    stored = await account.store.records.get(account.name, plan.name, task.external_id)
    rules = plan.resource.unsettled
    return rules is not None and stored is not None and stored.deleted_at is None and rules.holds(stored.data)


async def look_again(account: Account, plan: ResourcePlan, task: Task, item: Item) -> None:
    """The next look, where this one showed the record as it was."""
    rules = plan.resource.unsettled
    if rules is None or item.raw is None or task.external_id is None:
        return
    if rules.holds(account.driver.fields(plan.resource, item.raw, plan.adapter)):
        looks = int(task.payload.get("looks", 0)) + 1
        await account.store.tasks.put(
            account.name, _task(plan.resource, task.external_id, account.clock.now(), task.cause, looks)
        )


def _task(resource: Resource, external_id: str, at: datetime, cause: str, looks: int) -> NewTask:
    assert resource.unsettled is not None
    return NewTask(
        kind=LOOK,
        resource=resource.name,
        external_id=external_id,
        payload={"looks": looks},
        lane=Lane.NORMAL,
        dedupe_key=f"{LOOK}:{resource.name}:{external_id}",
        not_before=at + timedelta(seconds=resource.unsettled.wait_seconds(looks)),
        cause=cause,
    )
