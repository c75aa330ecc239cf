"""The stages of a run: fetching (walk.py), reading (reading.py) and committing (committing.py) go on at once.

Each takes from the one before whatever is ready, so that a slow database gets several pages in one transaction and a fast
one gets each by itself. A listing during which the process ended goes a page at a time for a while (careful.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from syncd.errors import AuthError, GoneError, RejectedError
from syncd.model import Checkpoint, Lane
from syncd.sync.account import Account
from syncd.sync.careful import REQUEST, Careful
from syncd.sync.committing import Committer, ReadPage
from syncd.sync.conditional import Conditional
from syncd.sync.drift import Measure
from syncd.sync.gone import believe_below, refused
from syncd.sync.inflight import Hold
from syncd.sync.let_in import all_the_same, as_of_one_place
from syncd.sync.line import Line
from syncd.sync.listing import ChildListing, Listing, Step
from syncd.sync.listings import listing_of
from syncd.sync.plan import ResourcePlan
from syncd.sync.reading import Reader
from syncd.sync.tally import Tally
from syncd.sync.walk import Fetched, walk

log = structlog.get_logger()

ANSWERS_WAITING = 2
"""Answers, parsed, that wait to be read. More would only fall out of the processor's cache before their turn comes."""
PAGES_WAITING = 4
"""Read pages that wait to be stored: so many share a transaction at most."""
BYTES_AHEAD = 8 * 1024 * 1024
"""Of answers that wait to be read, and again of read ones that wait to be stored; one page in any case."""


@dataclass(slots=True)
class Stages:
    """Of one run."""

    account: Account
    plan: ResourcePlan
    tally: Tally
    lane: Lane
    careful: Careful
    reader: Reader
    measure: Measure | None
    """Tells what fresher ways had missed."""
    stopping: Callable[[], bool]
    conditional: Conditional
    _answered: Fetched | None = None
    """The listing's first answer, where it has come already."""

    async def walk(self, checkpoint: Checkpoint) -> bool:
        """Fetch, read and store the whole listing. False: cut between two pages."""
        if self.careful.on:
            ended, goes_on = await self._walk_carefully(checkpoint)
            if goes_on is None:
                return ended
            checkpoint = goes_on
        account, plan = self.account, self.plan
        listing = listing_of(account, plan, checkpoint)
        first = await listing.first()
        if first is None or await self._is_as_it_was(first):
            return True
        await self.reader.look()
        fetched: Line[Fetched] = Line(ANSWERS_WAITING, BYTES_AHEAD)
        hold = self.account.inflight.hold(self.lane)
        committer = self._committer(hold)
        read: Line[ReadPage] = Line(PAGES_WAITING, BYTES_AHEAD)
        walking = asyncio.create_task(walk(listing, first, self._fetch, fetched, hold))
        committing = asyncio.create_task(committer.run(read, fetched))
        try:
            try:
                ended = await self._read_all(fetched, read, walking)
            finally:
                read.end()
            await committing
            return ended
        except Exception:
            # What was read before the trouble is stored all the same. If that fails, that is what went wrong.
            await committing
            raise
        finally:
            for task in (walking, committing):
                task.cancel()
            await asyncio.gather(walking, committing, return_exceptions=True)
            hold.close()

    async def _walk_carefully(self, checkpoint: Checkpoint) -> tuple[bool, Checkpoint | None]:
        """The same, one page stored before the next is asked for, since the process ended during it before.

        Returns whether the listing has ended, and from where the rest of it can be walked as usual.
        """
        account, careful = self.account, self.careful
        log.warning("run_goes_with_care", partner=account.partner, integration=account.name, resource=self.plan.name)
        async with careful.handling(REQUEST):
            listing = listing_of(account, self.plan, checkpoint)
            step = await listing.first()
        await self.reader.look()
        hold = account.inflight.hold(self.lane)  # what ended the process may have been want of memory
        try:
            return await self._walk_alone(checkpoint, listing, step, hold)
        finally:
            hold.close()

    async def _walk_alone(
        self, checkpoint: Checkpoint, listing: Listing | ChildListing, step: Step | None, hold: Hold
    ) -> tuple[bool, Checkpoint | None]:
        careful = self.careful
        while step is not None:
            await hold.ask()
            answer = await self._fetch(step)
            await hold.take(answer.size)
            page = await self.reader.read_alone(answer, listing)
            await self._committer(hold).store(page)
            careful.page_ended()
            self.reader.empty = False
            step = page.fetched.following
            if step is None:
                break
            if self.stopping():
                return False, None
            if careful.through:
                await careful.ended()
                return False, replace(checkpoint, cursor=step.cursor)
        return True, None

    def _committer(self, hold: Hold) -> Committer:
        reader = self.reader
        return Committer(self.account, self.plan, self.tally, reader.unstored, reader.empty, hold, self.measure)

    async def _is_as_it_was(self, first: Step) -> bool:
        """Ask for the listing only if it changed. Its answer, where there is one, is what `_fetch` gives for that step."""
        if first.cursor is not None:
            return False
        request = await self.conditional.ask(first.request)
        answer = await self._fetch(replace(first, request=request))
        if answer.response is not None and self.conditional.hear(answer.response):
            await self.conditional.repeat()
            return True
        self._answered = replace(answer, step=first)
        return False

    async def _fetch(self, step: Step) -> Fetched:
        if self._answered is not None and self._answered.step is step:
            answer, self._answered = self._answered, None
            return answer
        stats = self.account.session.stats()
        try:
            response = await self.account.session.call(
                step.request, lane=self.lane, stats=stats, judging=self.careful.judging()
            )
        except GoneError as error:
            kept: list[str] = []
            if step.parent_id is not None:
                kept = await self._kept_below(step.parent_id, error)
            elif not self._passes_over(step, error):
                # A 404 on a listing says that we ask wrongly, never that records are gone (R9).
                raise refused(error) from None
            return Fetched(step, None, stats.calls, stats.waited_seconds, kept=kept)
        except RejectedError as error:
            if not self._passes_over(step, error):
                raise
            return Fetched(step, None, stats.calls, stats.waited_seconds)
        except AuthError as error:
            of_place = as_of_one_place(self.account, self.plan.name, error)
            if of_place is None or not await all_the_same(self.account, error, self.lane):
                raise
            if not self._passes_over(step, error):
                raise of_place from None
            return Fetched(step, None, stats.calls, stats.waited_seconds)
        finally:
            self.tally.calls += stats.calls
            self.tally.waited_seconds += stats.waited_seconds
        self.account.health.latency_ms = response.elapsed_seconds * 1000
        self.tally.heard = True
        return Fetched(step, response, stats.calls, stats.waited_seconds)

    async def _kept_below(self, parent_id: str, gone: GoneError) -> list[str]:
        """The listing below a record calls it gone. Where that is not to be believed, what is stored below it: it stays."""
        account, resource = self.account, self.plan.resource
        try:
            await believe_below(account, resource, gone, parent_id, self.lane)
        except RejectedError as error:
            self.tally.refused[f"below {resource.parent} {parent_id}"] = str(error)
            return await account.store.records.below(account.name, resource.name, parent_id)
        return []

    def _passes_over(self, step: Step, error: GoneError | RejectedError | AuthError) -> bool:
        """Is what the partner refuses to list one of several properties, accounts or the like? The others hear nothing of it.

        Where all of them are refused it is the listing that is wrong. A run that goes on with a pass does not know that:
        others may have been listed before it, and are not listed anew for a credential that the last one refuses.
        """
        if step.parent_id is not None or error.status is None:
            return False
        beyond = self.account.driver.beyond(self.plan.resource, step.request)
        goes_on = isinstance(error, AuthError) and self.tally.listing_began_at is not None
        if beyond is None or (beyond.following is None and not self.tally.heard and not goes_on):
            return False
        self.tally.refused[beyond.name] = str(error)
        return True

    async def _read_all(self, fetched: Line[Fetched], read: Line[ReadPage], walking: asyncio.Task[None]) -> bool:
        """Turn answers into rows until the listing ends. False: asked to stop before that."""
        ended = False
        while answers := await fetched.take():
            for page in await self.reader.read(answers):
                await read.put(page)
            ended = answers[-1].following is None
            if self.stopping():
                walking.cancel()  # what has arrived is stored all the same: it was paid for
        return ended
