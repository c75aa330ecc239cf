"""What an answer outside a run brought, for one task or for several that share a call: read, and stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from syncd.kit import Item, Response
from syncd.store import Row, Task
from syncd.sync.account import Account
from syncd.sync.page import PageIn, PageRead
from syncd.sync.plan import ResourcePlan
from syncd.sync.reading import observed_at


class TaskPages:
    """Of one integration."""

    def __init__(self, account: Account) -> None:
        self._account = account

    async def read(
        self,
        plan: ResourcePlan,
        response: Response,
        items: list[Item],
        tasks: Sequence[Task],
    ) -> PageRead:
        """Rows of what an answer outside a run brought, to one task or to several that share a call."""
        account, first = self._account, tasks[0]
        requested_at = response.requested_at or account.clock.now()
        keys = list(dict.fromkeys((plan.name, task.external_id) for task in tasks if task.external_id))
        parent_id = first.parent_id if first.kind == "children" else None
        (page,) = await account.processor.read_all(
            plan.name,
            [PageIn(items, requested_at, first.brings, parent_id, observed_at(response, requested_at))],
            rejected=set(keys) or await account.rejected_ids(),  # to heal what was never rejected does no harm
            unstored=Counter(keys),
        )
        if len(tasks) > 1:
            _name_causes(page, {(plan.name, task.external_id): task.brings for task in tasks})
        return page

    async def commit(self, plan: ResourcePlan, page: PageRead, task: Task) -> list[str]:
        """Store it; returns the ids seen."""
        account = self._account
        page.rows = await self._lifted(plan, page.rows)
        result = await account.store.pages.commit_read(account.write(plan.name, task.brings, page))
        account.count(plan.name, page, result)
        if page.tasks:
            account.tasks_added()
        return page.seen

    async def _lifted(self, plan: ResourcePlan, rows: list[Row]) -> list[Row]:
        """The rows, none of them with an older stamp than what was stored before it was asked for.

        The partner's clock is observed by whole seconds: of two answers of one second the later may look the earlier.
        """
        if plan.resource.stamped_by != "observed" or not rows:
            return rows
        keys = [(row.resource, row.external_id) for row in rows]
        stored = await self._account.store.records.stamps(self._account.name, keys)
        lifted = []
        for row in rows:
            known = stored.get((row.resource, row.external_id))
            if (
                known is not None
                and known.fetched_at < row.fetched_at
                and known.updated_at is not None
                and row.source_updated_at is not None
            ):
                row = row._replace(source_updated_at=max(known.updated_at, row.source_updated_at))
            lifted.append(row)
        return lifted


def _name_causes(page: PageRead, causes: Mapping[tuple[str, str | None], str]) -> None:
    """Say of each record which of several tasks asked for it."""
    page.rows = [row._replace(cause=causes.get((row.resource, row.external_id), row.cause)) for row in page.rows]
    for reject in page.rejects:
        reject.cause = causes.get((reject.resource, reject.external_id), reject.cause)
    for task in page.tasks:
        key = (
            (task.parent_resource, task.parent_id) if task.parent_id is not None else (task.resource, task.external_id)
        )
        task.cause = causes.get(key, task.cause)
