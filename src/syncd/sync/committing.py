"""The last stage of a run: what is read is stored, together with the cursor that follows it (R1)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from syncd import metrics
from syncd.model import Mode
from syncd.store import PageResult, PageWrite
from syncd.sync import doubts
from syncd.sync.account import Account
from syncd.sync.ahead import Ahead
from syncd.sync.attesting import take_shown
from syncd.sync.drift import Measure
from syncd.sync.health import Drift
from syncd.sync.inflight import Hold
from syncd.sync.line import Line
from syncd.sync.page import PageRead, merged
from syncd.sync.plan import ResourcePlan
from syncd.sync.tally import Tally
from syncd.sync.walk import Fetched


@dataclass(slots=True)
class ReadPage:
    """An answer, read and not yet stored."""

    fetched: Fetched
    read: PageRead
    size: int
    ceiling_at: datetime
    newest_at: datetime | None


_Earlier = tuple[PageWrite, asyncio.Task[PageResult]] | None
"""The pages before, and their commit."""


@dataclass(slots=True)
class Committer:
    """Of one run."""

    account: Account
    plan: ResourcePlan
    tally: Tally
    unstored: Counter[tuple[str, str]]
    """Rows read and not yet stored, by record; those stored are taken off."""
    empty: bool
    """Nothing of this resource was stored when the run began."""
    hold: Hold
    """What the run has in memory: what is stored is let go."""
    measure: Measure | None = None
    """Tells what fresher ways had missed."""

    async def run(self, read: Line[ReadPage], fetched: Line[Fetched]) -> None:
        """Store what is read, all that waits in one transaction. A failure ends the other stages too.

        Where a first import piles up before the database, two commits are under way: see store/early.py.
        """
        earlier: _Earlier = None
        async with Ahead[PageResult]() as committing:

            async def commit(
                pages: Sequence[ReadPage], whole: PageRead, write: PageWrite, behind: _Earlier
            ) -> PageResult:
                try:
                    return await self._commit(pages, whole, write, behind)
                except Exception as error:
                    read.break_off(error)
                    fetched.break_off(error)
                    raise

            while True:
                if len(committing):
                    if self.empty and len(committing) == 1:
                        await _either(committing.oldest, read.pressed())
                    if len(committing) > 1 or not self.empty or committing.oldest.done():
                        await committing.pop()
                pages = await read.take()
                if not pages:
                    break
                whole = merged([page.read for page in pages])
                write = self._write(pages, whole)
                earlier = write, committing.push(commit(pages, whole, write, earlier))
            while len(committing):
                await committing.pop()

    async def store(self, page: ReadPage) -> None:
        """Store one page by itself."""
        await self._commit([page], page.read, self._write([page], page.read), None)

    def _write(self, pages: Sequence[ReadPage], read: PageRead) -> PageWrite:
        """Pages together with the cursor that follows them."""
        account, plan, tally = self.account, self.plan, self.tally
        assert tally.run_id is not None
        first, last = pages[0].fetched, pages[-1].fetched
        return PageWrite(
            partner=account.partner,
            integration=account.name,
            resource=plan.name,
            scope=account.scope,
            fence=account.fence,
            run_id=tally.run_id,
            cursor_read=first.step.cursor,
            cursor_next=last.following.cursor if last.following is not None else None,
            last=last.following is None,
            pages=len(pages),
            rows=read.rows,
            fresh=self.empty,
            seen_ids=read.seen if tally.mode is Mode.FULL else None,
            parts=read.parts,
            unchanged=read.unchanged,
            rejects=read.rejects,
            healed=read.healed,
            tasks=read.tasks,
            acknowledges=read.acknowledges,
            calls=sum(page.fetched.calls for page in pages),
            waited_seconds=sum(page.fetched.waited_seconds for page in pages),
            newest_at=max((page.newest_at for page in pages if page.newest_at is not None), default=None),
            ceiling_at=pages[0].ceiling_at,
            cause=f"run {tally.run_id}",
            history=account.history,
        )

    async def _commit(
        self,
        pages: Sequence[ReadPage],
        read: PageRead,
        write: PageWrite,
        earlier: _Earlier,
    ) -> PageResult:
        """Store pages behind the earlier ones."""
        account, plan, tally = self.account, self.plan, self.tally
        started = account.clock.monotonic()
        if earlier is None:
            result = await account.store.pages.commit(write)
        else:
            result = await account.store.pages.commit_behind(write, *earlier)
        took = account.clock.monotonic() - started
        metrics.STORE_SECONDS.labels(account.partner).observe(took)
        if 2 * (len(read.rejects) + len(result.refused)) > read.count:
            account.inflight.turn.took(took, pages=0)  # of no use to anybody, so none of it is free
        if self.unstored:
            self.unstored -= Counter((row.resource, row.external_id) for row in read.rows)
        self.hold.give(sum(page.fetched.size for page in pages))
        tally.absorb(len(pages), read, result)
        await self._count_drift(read, result)
        if result.stale and tally.mode is Mode.FULL:
            await self._doubt(write)
        if tally.mode is Mode.FULL and plan.resource.attests is not None:
            began_at = tally.listing_began_at or tally.started_at or account.clock.now()
            await take_shown(account, plan, write, began_at, pages[0].ceiling_at)
        account.count(plan.name, read, result, pages=len(pages))
        account.moved()
        if read.tasks:
            account.tasks_added()
        return result

    async def _doubt(self, write: PageWrite) -> None:
        """Find out about records that the whole listing shows otherwise than they are stored, whatever their stamps say."""
        account = self.account
        rows = [row for row in write.rows if row.resource == self.plan.name]
        stored = await account.store.records.stamps(account.name, [(row.resource, row.external_id) for row in rows])
        began_at = self.tally.listing_began_at or self.tally.started_at or account.clock.now()
        doubted = doubts.doubted(rows, stored, began_at)
        if doubted and self.plan.resource.repeats:  # the earlier of two rows of a record is no contradiction
            ids = [row.external_id for row in doubted]
            twice = await account.store.passes.repeated(account.name, self.plan.name, ids)
            doubted = [row for row in doubted if row.external_id not in twice]
        if not doubted:
            return
        self.tally.doubted += len(doubted)
        if doubts.readable(account.driver, self.plan.resource, doubted[0].external_id):
            left = max(doubts.READS_LEAST, self.tally.pages) - self.tally.asked_again
            doubted.sort(
                key=lambda _: account.clock.random()
            )  # lasting contradictions in front must not hide the others
            asked = doubted[: max(left, 0)]
            self.tally.asked_again += len(asked)
            if asked:
                cause = f"{write.cause}: listed otherwise than stored"
                await account.store.tasks.put(account.name, *(doubts.look_at(row, cause) for row in asked))
                account.tasks_added()
            return
        believed = doubts.doubted(doubted, stored, began_at, doubts.ONLY_LISTED_AFTER)
        if believed:
            news = {row.external_id for row in believed}
            tasks = [task for task in write.tasks if task.parent_id in news]
            told = replace(
                write,
                run_id=None,
                cursor_read=None,
                cursor_next=None,
                rows=believed,
                seen_ids=None,
                parts=(),
                tasks=tasks,
            )
            await account.store.pages.commit_read(
                replace(told, rejects=(), healed=(), unchanged=0, calls=0, fresh=False)
            )

    async def _count_drift(self, read: PageRead, result: PageResult) -> None:
        """Beside the page's transaction, since only its result tells: a death in between loses the count of one page."""
        if self.measure is None or not (result.added or result.updated):
            return
        found = self.measure.of(self.plan.name, read.rows, result.added, result.updated)
        if found.total and self.tally.run_id is not None:
            before = self.tally.drift or Drift()
            self.tally.drift = Drift(before.added + found.added, before.updated + found.updated, before.deleted)
            await self.account.store.runs.add_drift(
                self.account.name, self.tally.run_id, added=found.added, updated=found.updated
            )


async def _either(under_way: asyncio.Task[Any], other: Coroutine[Any, Any, None]) -> None:
    """Wait for one of the two; the task goes on, the other does not."""
    waiting = asyncio.create_task(other)
    try:
        await asyncio.wait({under_way, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
