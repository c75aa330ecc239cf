"""Derived work: one call's worth of `tasks` rows, done and finished.

A batch holds tasks of one integration, kind and resource. Records wanted by id are read many at a time where the partner
allows; a listing below a parent is read to its end. Every outcome is written to the row: done, later, dropped or buried.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from syncd.errors import GoneError
from syncd.kit import Item, Response
from syncd.model import Lane
from syncd.store import PageWrite, Task
from syncd.sync.account import Account
from syncd.sync.decide import Bury, Done, Drop, Later, RetryPolicy, decide
from syncd.sync.listing import Listing, below
from syncd.sync.plan import ResourcePlan
from syncd.sync.pull import observed_at

log = structlog.get_logger()


class Worker:
    """Does batches of tasks of one integration."""

    def __init__(self, account: Account, policy: RetryPolicy) -> None:
        self._account = account
        self._policy = policy

    async def run(self, tasks: Sequence[Task]) -> None:
        """Do the batch; whatever happens, every task of it gets an outcome."""
        kind = tasks[0].kind
        now = self._account.clock.now()
        fresh = [task for task in tasks if task.expires_at is None or task.expires_at > now]
        if len(fresh) < len(tasks):
            stale = [task for task in tasks if task not in fresh]
            await self._account.store.tasks.drop(stale, "expired before its turn")
        if not fresh:
            return
        plan = self._account.plans.get(fresh[0].resource)
        if plan is None:
            await self._account.store.tasks.drop(fresh, "the resource is no longer configured")
            return
        try:
            if kind == "fetch":
                await self._fetch(plan, fresh)
            elif kind == "children":
                for task in fresh:
                    await self._children(plan, task)
            else:
                await self._account.store.tasks.drop(fresh, f"unknown kind of work: {kind}")
        except Exception as error:
            await self._ended_badly(fresh, error)
        self._account.moved()

    async def _ended_badly(self, tasks: Sequence[Task], error: Exception) -> None:
        account = self._account
        account.health.task_failed(tasks[0].resource, error, account.clock.now())
        for task in tasks:
            outcome = decide(error, task.attempts, account.clock.now(), self._policy, account.clock.random())
            match outcome:
                case Later(at=at, counts=counts):
                    await account.store.tasks.later([task], at, counts=counts, reason=str(error))
                case Done():
                    await account.store.tasks.done([task])
                case Drop(why=why):
                    await account.store.tasks.drop([task], why)
                case Bury():
                    log.warning(
                        "task_buried",
                        partner=account.partner,
                        integration=account.name,
                        resource=task.resource,
                        record_id=task.external_id or task.parent_id,
                        attempt=task.attempts,
                        reason=str(error),
                    )
                    await account.store.tasks.bury([task], error)

    async def _fetch(self, plan: ResourcePlan, tasks: Sequence[Task]) -> None:
        account, resource = self._account, plan.resource
        ids = list(dict.fromkeys(task.external_id for task in tasks if task.external_id))
        request = account.driver.many(resource, ids) if len(ids) > 1 else None
        if request is None:
            for task in tasks:
                await self._fetch_one(plan, task)
            return
        response = await account.session.call(request, lane=tasks[0].lane)
        items = account.driver.items(resource, response)
        await self._take(plan, response, items, None)
        found = {
            account.driver.identify(resource, item.raw).external_id for item in items if item.raw is not None
        }
        await account.store.tasks.done([task for task in tasks if task.external_id in found])
        for task in tasks:
            if task.external_id not in found:
                # Not among the answers to a question by id: its own URL says whether it is gone.
                await self._fetch_one(plan, task)

    async def _fetch_one(self, plan: ResourcePlan, task: Task) -> None:
        account, resource = self._account, plan.resource
        assert task.external_id is not None
        request = account.driver.one(resource, task.external_id)
        if request is None:
            await account.store.tasks.drop([task], "the partner has no way to read one record; the next pass will")
            return
        try:
            response = await account.session.call(request, lane=task.lane)
        except GoneError:
            await account.store.pages.delete(
                account.name,
                plan.name,
                [task.external_id],
                partner=account.partner,
                scope=account.scope,
                fence=account.fence,
                fetched_at=account.clock.now(),
                cause=f"task {task.id}: gone at the partner",
            )
            await account.store.tasks.done([task])
            return
        raw = account.driver.record(resource, response)
        await self._take(plan, response, [Item(plan.name, raw)], None)
        await account.store.tasks.done([task])

    async def _children(self, plan: ResourcePlan, task: Task) -> None:
        """List below one parent, page by page, then let what it no longer has be missed (R9)."""
        account, child = self._account, plan.resource
        assert task.parent_id is not None
        listing: Listing = below(account.driver, child, task.parent_id)
        step = await listing.first()
        seen: list[str] = []
        while step is not None:
            try:
                response = await account.session.call(step.request, lane=task.lane)
            except GoneError:
                break
            items = account.driver.items(child, response)
            seen += await self._take(plan, response, items, task.parent_id)
            step = await listing.after(step, response)
        await account.store.tasks.done([task])

    async def _take(
        self, plan: ResourcePlan, response: Response, items: list[Item], parent_id: str | None
    ) -> list[str]:
        """Store what an answer outside a run brought; returns the ids seen."""
        account = self._account
        requested_at = response.requested_at or account.clock.now()
        page = await account.processor.read(
            plan.name,
            items,
            fetched_at=requested_at,
            observed_at=observed_at(response, requested_at),
            cause="task",
            rejected=await account.store.rejects.ids(account.name),
            parent_id=parent_id,
        )
        result = await account.commit(
            PageWrite(
                partner=account.partner,
                integration=account.name,
                resource=plan.name,
                scope=account.scope,
                fence=account.fence,
                run_id=None,
                rows=page.rows,
                rejects=page.rejects,
                healed=page.healed,
                tasks=page.tasks,
            )
        )
        account.count(plan.name, page, result)
        return page.seen


def batches(tasks: Sequence[Task], most: dict[str, int]) -> list[list[Task]]:
    """Group tasks into calls: same integration, kind, resource and lane; `most` says how many ids a call may name."""
    grouped: dict[tuple[str, str, str, Lane], list[Task]] = {}
    for task in tasks:
        grouped.setdefault((task.integration, task.kind, task.resource, task.lane), []).append(task)
    made: list[list[Task]] = []
    for (integration, kind, resource, _), group in grouped.items():
        size = most.get(f"{integration}/{resource}", 1) if kind == "fetch" else 1
        made += [group[at : at + size] for at in range(0, len(group), size)]
    return made

