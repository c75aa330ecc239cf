"""One backfill being read, from its stored cursor on: a page fetched, its records and the next cursor stored together."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from syncd.errors import GoneError
from syncd.kit import Response
from syncd.model import Checkpoint, Lane, Mode
from syncd.store import Backfill, NewTask
from syncd.sync.account import Account
from syncd.sync.careful import FRAME, NEWEST, NEXT, REQUEST, Careful
from syncd.sync.gone import refused
from syncd.sync.listing import ChildListing, Listing, Step
from syncd.sync.listings import listing_of
from syncd.sync.page import PageIn, PageRead
from syncd.sync.plan import ResourcePlan
from syncd.sync.reading import observed_at
from syncd.sync.tenant import Tenant


class Walk:
    """One backfill being read from its stored cursor on."""

    def __init__(self, account: Account, plan: ResourcePlan, backfill: Backfill, fence: int, careful: Careful) -> None:
        self.backfill = backfill
        self.fence = fence
        self.stored = False
        """A page was stored since it was taken."""
        self.spent = 0
        """Calls that brought no page yet."""
        self._account = account
        self._plan = plan
        self._careful = careful
        self._tenant = Tenant(account, plan.resource)
        self._listing: Listing | ChildListing | None = None
        self._step: Step | None = None
        self._cursor = backfill.cursor

    async def page(self) -> bool:
        """Fetch and store the next page. False: that was the last one."""
        account, plan, careful = self._account, self._plan, self._careful
        if self._listing is None:
            async with careful.handling(REQUEST):
                self._listing = self._from_the_start()
                self._step = await self._listing.first()
        if self._step is None:  # nothing to list below
            await self._store(None, PageRead(), None, None, calls=0, waited_seconds=0.0)
            return False
        stats = account.session.stats()
        response: Response | None = None
        try:
            response = await account.session.call(
                self._step.request, lane=Lane.LOW, stats=stats, judging=careful.judging()
            )
        except GoneError as error:
            if self._step.parent_id is None:
                raise refused(error) from None
        finally:
            self.spent += stats.calls
        read, newest_at = PageRead(), None
        if response is not None:
            read = await self._turn(response, self._step)
            async with careful.handling(NEWEST):
                newest_at = account.driver.newest(plan.resource, response, read.identities)
        async with careful.handling(NEXT):
            following = await self._listing.after(self._step, response)
        since = plan.resource.since
        if since is not None and since.ascending and newest_at is not None and newest_at >= self.backfill.until:
            following = None
        requested_at = response.requested_at if response is not None else None
        await self._store(
            following, read, newest_at, requested_at, calls=self.spent, waited_seconds=stats.waited_seconds
        )
        self.stored, self.spent, self._step = True, 0, following
        if careful.on:
            careful.page_ended()
            if careful.through:
                await careful.ended()
        return following is not None

    def _from_the_start(self) -> Listing | ChildListing:
        backfill = self.backfill
        checkpoint = Checkpoint(
            self._account.name,
            self._plan.name,
            Mode.INCREMENTAL,
            cursor=backfill.cursor,
            since=backfill.since,
            until=backfill.until,
        )
        return listing_of(self._account, self._plan, checkpoint)

    async def _turn(self, response: Response, step: Step) -> PageRead:
        account, plan, careful = self._account, self._plan, self._careful
        async with careful.handling(FRAME):
            items = account.driver.items(plan.resource, response)
        if careful.on:
            await careful.sift(items, account.processor.resources)
        async with careful.handling(FRAME):
            await self._tenant.check(items)
        requested_at = response.requested_at or account.clock.now()
        page = PageIn(
            items,
            requested_at,
            f"backfill {self.backfill.id}",
            step.parent_id,
            observed_at(response, requested_at),
            listing=True,
        )
        return await account.processor.read(plan.name, page, rejected=await account.rejected_ids())

    async def _store(
        self,
        following: Step | None,
        read: PageRead,
        newest_at: datetime | None,
        requested_at: datetime | None,
        *,
        calls: int,
        waited_seconds: float,
    ) -> None:
        account, plan, backfill = self._account, self._plan, self.backfill
        below = account.children(plan.name)
        kept = [
            replace(task, lane=Lane.LOW) for task in read.tasks if task.kind != "children" or task.resource not in below
        ]
        children = self._children(read, below, requested_at or account.clock.now())
        cursor = following.cursor if following is not None else None
        result = await account.store.backfills.commit(
            backfill,
            replace(
                account.write(plan.name, f"backfill {backfill.id}", read, fence=self.fence),
                cursor_read=self._cursor,
                cursor_next=cursor,
                last=following is None,
                unchanged=read.unchanged,
                tasks=kept,
                calls=calls,
                waited_seconds=waited_seconds,
            ),
            seen=read.count,
            children=children,
            reached_at=newest_at,
        )
        self._cursor = cursor
        account.count(plan.name, read, result)
        if kept or children:
            account.tasks_added()

    def _children(self, read: PageRead, below: list[str], asked_at: datetime) -> list[NewTask]:
        """A listing below each record of the range, changed or not: what is missing there may be why somebody asks."""
        since, until = self.backfill.since, self.backfill.until
        made = []
        for who in read.identities if below else ():
            stamp = who.source_updated_at
            if who.deleted or (stamp is not None and not since <= stamp < until):
                continue
            for child in below:
                expires = self._account.plans[child].expires_seconds
                made.append(
                    NewTask.children(
                        child,
                        self._plan.name,
                        who.external_id,
                        lane=Lane.LOW,
                        cause=f"backfill {self.backfill.id}",
                        expires_at=asked_at + timedelta(seconds=expires) if expires is not None else None,
                    )
                )
        return made
