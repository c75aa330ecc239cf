"""The middle stage of a run: answers become rows. One page at a time, with care, where the process ended during it before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from syncd.kit import Item, Response
from syncd.model import Mode
from syncd.store import Acknowledge, PartShown
from syncd.sync.account import Account
from syncd.sync.careful import FRAME, NEWEST, NEXT, PAGE, Careful
from syncd.sync.committing import ReadPage
from syncd.sync.listing import ChildListing, Listing
from syncd.sync.page import PageIn, PageRead
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.tally import Tally
from syncd.sync.tenant import Tenant
from syncd.sync.walk import Fetched

IDS_AT_ONCE = 1_000
"""Messages one push acknowledges: a push has at most 1 MiB."""


class Reader:
    """Of one run."""

    def __init__(self, account: Account, plan: ResourcePlan, tally: Tally, careful: Careful) -> None:
        self._account = account
        self._plan = plan
        self._tally = tally
        self._careful = careful
        self._tenant = Tenant(account, plan.resource)
        self._pages = 0
        self.rejected: set[tuple[str, str]] = set()
        """Records with a reject row."""
        self.unstored: Counter[tuple[str, str]] = Counter()
        """Rows read and not yet stored, by record: what the store knows of these is not what it will know."""
        self.empty = False
        """Nothing of this resource was stored when the run began: no need to ask what is known of a record."""

    async def look(self) -> None:
        """What is stored, and what was rejected, before the first page is read."""
        account = self._account
        self.rejected = await account.rejected_ids()
        self.empty = not await account.store.records.some(account.name, self._plan.name)
        await account.processor.aside.load(account.processor.resources, again=True)

    async def read(self, answers: Sequence[Fetched]) -> list[ReadPage]:
        """Turn answers into rows."""
        pages = []
        for answer in answers:
            items: list[Item] = []
            self._pages += 1
            if answer.response is not None:
                items = self._items(answer.response)
                if self._careful.retry and self._account.processor.aside:
                    await self._careful.sift(items, self._account.processor.resources)
                await self._tenant.check(items)
            pages.append(self._source(answer, items))
        reads = await self._rows(pages)
        return [
            self._page(answer, page, self._queued(answer.response, read), self._newest(answer.response, read))
            for answer, page, read in zip(answers, pages, reads, strict=True)
        ]

    async def read_alone(self, answer: Fetched, listing: Listing | ChildListing) -> ReadPage:
        """The same of one answer, each step of it said beforehand; finds the step that follows it too."""
        careful, response = self._careful, answer.response
        self._pages += 1
        items: list[Item] = []
        if response is not None:
            async with careful.handling(FRAME if careful.narrow else PAGE):
                items = self._items(response)
            await careful.sift(items, self._account.processor.resources)
        if careful.narrow or response is None:
            async with careful.handling(FRAME):
                await self._tenant.check(items)
            async with careful.handling(NEXT):
                await self._follow(answer, listing)
            page = self._source(answer, items)
            (read,) = await self._rows([page])
            async with careful.handling(NEWEST):
                newest_at = self._newest(response, read)
        else:
            async with careful.handling(PAGE):
                await self._tenant.check(items)
                await self._follow(answer, listing)
                page = self._source(answer, items)
                (read,) = await self._rows([page])
                newest_at = self._newest(response, read)
        return self._page(answer, page, self._queued(response, read), newest_at)

    def _items(self, response: Response) -> list[Item]:
        driver, plan, tally = self._account.driver, self._plan, self._tally
        if self._pages == 1 and tally.mode is Mode.FULL and plan.strategy is not Strategy.CHILDREN:
            # The first answer of this process's part of the run may say how many records there are.
            tally.total = driver.total(plan.resource, response)
        return driver.items(plan.resource, response)

    @staticmethod
    async def _follow(answer: Fetched, listing: Listing | ChildListing) -> None:
        if answer.response is not None:
            listing.ahead(answer.step, answer.response)  # it is not gone by, and yet must be survived
        answer.following = await listing.after(answer.step, answer.response)

    def _source(self, answer: Fetched, items: list[Item]) -> PageIn:
        response = answer.response
        fetched_at = asked_at = self._account.clock.now()
        if response is not None:
            fetched_at = response.requested_at or fetched_at
            asked_at = observed_at(response, fetched_at)
        return PageIn(
            items,
            fetched_at,
            f"run {self._tally.run_id} page {self._pages}",
            answer.step.parent_id,
            asked_at,
            listing=True,
        )

    async def _rows(self, pages: Sequence[PageIn]) -> list[PageRead]:
        reads = await self._account.processor.read_all(
            self._plan.name, pages, rejected=self.rejected, unstored=self.unstored, empty=self.empty
        )
        if self._careful.healed:
            reads[-1].healed += self._careful.healed
            self._careful.healed.clear()
        return reads

    def _queued(self, response: Response | None, read: PageRead) -> PageRead:
        """Of a queue: what is acknowledged once this page is stored. A message that is set aside is not: nobody has it."""
        account, resource = self._account, self._plan.resource
        if resource.queue is None or resource.queue.acknowledge is None or response is None:
            return read
        refused = {reject.key for reject in read.rejects}
        shown = list(dict.fromkeys([*(known.external_id for known in read.identities), *refused]))
        data = account.driver.acknowledgement(resource, response)
        queue = str(data.get("queue", ""))
        before = account.health.of(resource.name).queues.get(queue, {})
        sound = [one for one in shown if one not in refused]
        again = [one for one in sound if one in before]
        # One the partner does not take must not hold up the others: what is shown again goes in halves, until it is alone.
        half = (len(again) + 1) // 2
        for part in ([one for one in sound if one not in before], again[:half], again[half:]):
            for start in range(0, len(part), IDS_AT_ONCE):
                ids = tuple(part[start : start + IDS_AT_ONCE])
                read.acknowledges.append(Acknowledge(resource.queue.acknowledge, ids, data))
        account.health.shown(resource, queue, shown, account.clock.now())
        return read

    def _newest(self, response: Response | None, read: PageRead) -> datetime | None:
        return self._account.driver.newest(self._plan.resource, response, read.identities) if response else None

    def _page(self, answer: Fetched, source: PageIn, read: PageRead, newest_at: datetime | None) -> ReadPage:
        """What there is to store of an answer. The answer itself is let go: it is the larger part of what a page keeps."""
        response, size = answer.response, answer.size
        if response is not None and self._tally.mode is Mode.FULL and self._plan.strategy is not Strategy.CHILDREN:
            part = self._account.driver.part(self._plan.resource, answer.step.cursor, response)
            if part is not None:
                read.parts = [PartShown(part.name, tuple(read.seen), read.count, part.stated)]
        answer.response = None
        read.identities = []
        if response is None:
            read.seen = list(answer.kept)
            return ReadPage(answer, read, size, source.fetched_at, None)
        return ReadPage(answer, read, size, source.observed_at or source.fetched_at, newest_at)


def observed_at(response: Response, requested_at: datetime) -> datetime:
    """The partner's clock when the request began: its Date less the time the call took, and less the second Date cuts off.

    Falls back to our own clock where no Date is sent.
    """
    date = response.date
    if date is None:
        return requested_at
    return date - timedelta(seconds=response.elapsed_seconds + 1.0)
