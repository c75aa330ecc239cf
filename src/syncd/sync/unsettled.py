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


async def ask_for_looks(account: Account, plan: ResourcePlan, *, complete: bool) -> None:
    """Looks at what is unsettled and that none waits for: it was stored before the resource was looked at, or was switched
    off while its look was due. After a complete pass, and once for each configuration that came into force."""
    rules = plan.resource.unsettled
    if rules is None or not (complete or plan.name not in account.looked_for):
        return
    # A truth is spelled otherwise in what is stored.
    values = [*rules.values, *(value.lower() for value in rules.values if value in ("True", "False"))]
    ids = await account.store.records.waiting(
        account.name, plan.name, field=rules.field, values=values, key=_key(plan.resource, "")
    )
    now = account.clock.now()
    if ids:
        await account.store.tasks.put(account.name, *(_task(plan.resource, one, now, "unsettled", 0) for one in ids))
    account.looked_for.add(plan.name)


def _key(resource: Resource, external_id: str) -> str:
    return f"{LOOK}:{resource.name}:{external_id}"


def _task(resource: Resource, external_id: str, at: datetime, cause: str, looks: int) -> NewTask:
    assert resource.unsettled is not None
    return NewTask(
        kind=LOOK,
        resource=resource.name,
        external_id=external_id,
        payload={"looks": looks},
        lane=Lane.NORMAL,
        dedupe_key=_key(resource, external_id),
        not_before=at + timedelta(seconds=resource.unsettled.wait_seconds(looks)),
        cause=cause,
    )
