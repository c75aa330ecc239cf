"""Derived work: one call's worth of `tasks` rows, done and finished.

A batch holds tasks of one integration, kind and resource. Records wanted by id are read many at a time where the partner
allows; a listing below a parent is read to its end. Every outcome is written to the row: done, later, dropped or buried.
What is not worth doing any more, because its time is over or newer data is stored, costs no call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from syncd.client.evidence import witnessed
from syncd.errors import GoneError
from syncd.kit.unsettled import has_some
from syncd.model import Lane
from syncd.store import Task
from syncd.sync.account import Account
from syncd.sync.decide import RetryPolicy
from syncd.sync.gone import believe, believe_below
from syncd.sync.listing import below, needs_fields
from syncd.sync.media import MediaFetcher
from syncd.sync.plan import ResourcePlan
from syncd.sync.suspects import Suspects
from syncd.sync.task_outcomes import TaskOutcomes, blames_one
from syncd.sync.task_pages import TaskPages
from syncd.sync.unsettled import LOOK, look_again, still_so

SPLIT_CALLS = 16
"""Enough to find one bad id among a hundred."""


@dataclass(slots=True)
class _Search:
    """For the records that a whole batch was refused for."""

    left: int = SPLIT_CALLS
    """So many further calls may be spent on halves."""
    sound: bool = False
    """Some of the batch were read: not all of it is refused."""


class Worker:
    """Does batches of tasks of one integration."""

    def __init__(self, account: Account, policy: RetryPolicy) -> None:
        self._account = account
        self._outcomes = TaskOutcomes(account, policy)
        self._pages = TaskPages(account)
        self._suspects = Suspects(account.store)

    async def run(self, tasks: Sequence[Task]) -> None:
        """Do the batch; whatever happens, every task of it gets an outcome."""
        await self._run(tasks, _Search())

    async def _run(self, tasks: Sequence[Task], search: _Search) -> None:
        plan = self._account.plans.get(tasks[0].resource)
        try:
            wanted = await self._worth(plan, tasks)
            if plan is None or not wanted:
                pass
            elif wanted[0].kind == "fetch":
                await self._fetch(plan, wanted)
                search.sound = True
            elif wanted[0].kind == LOOK:
                for task in wanted:
                    await self._look(plan, task)
            elif wanted[0].kind == "media":
                for task in wanted:
                    await self._media(plan, task)
            else:
                for task in wanted:
                    await self._children(plan, task)
        except Exception as error:
            for part in self._parts(plan, tasks, error, search):
                await self._run(part, search)
                tasks = ()
            if tasks:
                await self._outcomes.ended_badly(tasks, error)
        self._account.moved()

    def _parts(
        self, plan: ResourcePlan | None, tasks: Sequence[Task], error: Exception, search: _Search
    ) -> list[Sequence[Task]]:
        """How a batch is asked for once more where one record of it may be what is wrong: that must not bury its neighbours.

        By halves, until it is found; where that costs too much each by itself, unless everything was refused so far. None:
        it is not asked for again now.
        """
        if len(tasks) < 2 or not blames_one(error):
            return []
        if search.left > 1:
            search.left -= 2
            half = len(tasks) // 2
            return [tasks[:half], tasks[half:]]
        return [[task] for task in tasks] if search.sound or self._missing(plan, tasks[0], error) else []

    def _missing(self, plan: ResourcePlan | None, task: Task, error: Exception) -> bool:
        """Is the call for many ids not to be had, where the partner has one for each?"""
        if plan is None or not isinstance(error, GoneError) or task.external_id is None:
            return False
        return self._account.driver.one(plan.resource, task.external_id) is not None

    async def _worth(self, plan: ResourcePlan | None, tasks: Sequence[Task]) -> list[Task]:
        """Those still worth doing; the others are dropped and counted. A batch may have waited long for its turn."""
        now = self._account.clock.now()
        answered = (
            await self._account.freshness.answered(plan, tasks)
            if plan is not None and tasks[0].kind == "fetch"
            else set()
        )
        wanted = []
        for task in tasks:
            if plan is None:
                await self._outcomes.skip(
                    task, "unconfigured"
                )  # the resource is not synced any more: its work means nothing
            elif task.expires_at is not None and task.expires_at <= now:
                await self._outcomes.skip(task, "expired")
            elif task.id in answered:
                await self._outcomes.skip(task, "stale")
            else:
                wanted.append(task)
        return wanted if plan is None else await self._due(plan, wanted)

    async def _due(self, plan: ResourcePlan, tasks: list[Task]) -> list[Task]:
        """Those that coalescing lets go now; the others wait for what comes meanwhile. Who shares a call costs none."""
        coalescing = self._account.coalescing
        waits = {
            task.id: coalescing.wait_seconds(plan.name, task.external_id or task.parent_id or "")
            for task in tasks
            if task.payload.get("events") and task.kind in ("fetch", "children")
        }
        if plan.resource.many is not None and any(not waits.get(task.id) for task in tasks):
            return tasks
        for task in tasks:
            if wait := waits.get(task.id):
                at = self._account.clock.now() + timedelta(seconds=wait)
                await self._account.store.tasks.later(task, at, counts=False, reason="events keep coming: read once")
        return [task for task in tasks if not waits.get(task.id)]

    def _asks(self, plan: ResourcePlan, tasks: Sequence[Task]) -> None:
        """One call begins for these tasks."""
        if any(task.payload.get("events") for task in tasks):
            subjects = [task.external_id or task.parent_id or "" for task in tasks]
            self._account.coalescing.asks(plan.name, subjects)

    async def _fetch(self, plan: ResourcePlan, tasks: Sequence[Task]) -> None:
        account, resource = self._account, plan.resource
        ids = list(dict.fromkeys(task.external_id for task in tasks if task.external_id))
        first = tasks[0]  # a suspect comes alone
        alone = len(ids) == 1 and account.driver.one(resource, ids[0]) is not None
        request = None if alone else account.driver.many(resource, ids)
        if request is None:
            for task in tasks:
                await self._fetch_one(plan, task)
            return
        asked_at = account.clock.now()
        self._asks(plan, tasks)
        response = await account.session.call(request, lane=first.lane, judging=self._suspects.judging(first))
        with witnessed(request, response):
            async with self._suspects.handled(first):
                page = await self._pages.read(plan, response, account.driver.several(resource, response), tasks)
            found = set(await self._pages.commit(plan, page, first))
        for task in tasks:
            if task.external_id in found:
                self._account.freshness.asked(task, asked_at)
                await self._outcomes.done(task)
        for task in tasks:
            if task.external_id not in found:
                # Not among the answers to a question by id: its own URL says whether it is gone.
                await self._fetch_one(plan, task)

    async def _fetch_one(self, plan: ResourcePlan, task: Task) -> None:
        account, resource = self._account, plan.resource
        assert task.external_id is not None
        request = account.driver.one(resource, task.external_id)
        if request is None:
            await self._outcomes.skip(
                task, "unreadable"
            )  # the partner has no way to read one record: the next pass brings it
            return
        asked_at = account.clock.now()
        self._asks(plan, [task])
        try:
            response = await account.session.call(request, lane=task.lane, judging=self._suspects.judging(task))
        except GoneError as gone:
            if await believe(account, plan, gone, task):
                await account.store.pages.delete(
                    account.name,
                    plan.name,
                    [task.external_id],
                    scope=account.scope,
                    fence=account.fence,
                    fetched_at=gone.requested_at or asked_at,  # it may have waited for a limit
                    children=account.children(plan.name),
                    cause=f"{task.brings}: gone at the partner",
                    history=account.history,
                )
        else:
            with witnessed(request, response):
                async with self._suspects.handled(task):
                    items = [account.driver.item(resource, response)]
                    page = await self._pages.read(plan, response, items, [task])
                if task.kind == LOOK:
                    page.tasks = [one for one in page.tasks if one.kind != LOOK]  # what comes next is known better here
                await self._pages.commit(plan, page, task)
                if task.kind == LOOK:
                    await look_again(account, plan, task, items[0])
        self._account.freshness.asked(task, asked_at)
        await self._outcomes.done(task)

    async def _look(self, plan: ResourcePlan, task: Task) -> None:
        """Read a record that is in a state no list shows, unless it was settled meanwhile."""
        if await still_so(self._account, plan, task):
            await self._fetch_one(plan, task)
        else:
            await self._outcomes.skip(task, "stale")

    async def _media(self, plan: ResourcePlan, task: Task) -> None:
        """Fetch the files of one record."""
        if self._account.depot is None:
            await self._outcomes.skip(task, "unconfigured")
        elif await MediaFetcher(self._account, self._account.depot).fetch(plan, task):
            await self._outcomes.done(task)
        else:
            await self._outcomes.skip(task, "stale")

    async def _children(self, plan: ResourcePlan, task: Task) -> None:
        """List below one parent, page by page; what two such listings in a row miss is gone (R9)."""
        account, child = self._account, plan.resource
        assert task.parent_id is not None
        fields: Mapping[str, Any] | None = None
        if needs_fields(child):
            stored = await account.store.records.get(account.name, child.parent or "", task.parent_id)
            if stored is None or stored.deleted_at is not None:
                await self._outcomes.skip(task, "stale")
                return
            fields = stored.data
            if not has_some(child.where, fields):
                await self._outcomes.skip(task, "stale")
                return
        began_at = account.clock.now()
        self._asks(plan, [task])
        listing = below(account.driver, child, task.parent_id, fields)
        step = await listing.first()
        seen: list[str] = []
        rows = 0
        stated: int | None = None
        nameless = False
        while step is not None:
            try:
                response = await account.session.call(
                    step.request, lane=task.lane, judging=self._suspects.judging(task)
                )
            except GoneError as gone:
                await believe_below(account, child, gone, task.parent_id, task.lane)
                break
            with witnessed(step.request, response):
                async with self._suspects.handled(task):
                    page = await self._pages.read(plan, response, account.driver.items(child, response), [task])
                    step = await listing.after(step, response)
                rows += page.count
                seen += await self._pages.commit(plan, page, task)
                stated = account.driver.total(child, response) if stated is None else stated
            nameless = nameless or any(one.external_id is None for one in page.rejects)
        # One that does not say who it is may be any of those that are missed, and one that was stated and not shown, too.
        shown = rows if child.repeats else len(set(seen))
        proves = not nameless and (stated is None or shown >= stated)
        if child.missing != "gone" or not proves:
            await self._outcomes.done(task)
            return
        sweep = await account.store.child_sweeps.sweep(
            account.name,
            plan.name,
            task.parent_id,
            seen,
            began_at=began_at,
            scope=account.scope,
            fence=account.fence,
            guard=plan.guard,
            history=account.history,
            cause=task.brings,
        )
        if sweep.held:
            account.health.holds(plan.name, sweep, began_at)
        await self._outcomes.done(task)


def batches(tasks: Sequence[Task], most: dict[str, int]) -> list[list[Task]]:
    """Group tasks into calls: same integration, kind, resource and lane; `most` says how many ids a call may name.

    A suspect goes alone: what happens to it must be its own doing.
    """
    grouped: dict[tuple[str, str, str, Lane], list[Task]] = {}
    made: list[list[Task]] = [[task] for task in tasks if task.suspect]
    for task in tasks:
        if task.suspect:
            continue
        grouped.setdefault((task.integration, task.kind, task.resource, task.lane), []).append(task)
    for (integration, kind, resource, _), group in grouped.items():
        size = most.get(f"{integration}/{resource}", 1) if kind == "fetch" else 1
        made += [group[at : at + size] for at in range(0, len(group), size)]
    return made
