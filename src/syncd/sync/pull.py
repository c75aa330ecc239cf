"""One run of one resource: pages fetched ahead, read, and stored together with the cursor that follows them (R1).

Three stages go on at once: fetching (walk.py), reading (here), committing (committing.py). Each takes from the one before
whatever is ready, so that a slow database gets several pages in one transaction and a fast one gets each by itself.

The run survives any death: what is committed names the place to go on from. It ends in one of three ways: done (and then
the watermark moves, and a complete pass may believe deletions), failed (an error for `decide`), or cut (asked to stop; the
next run goes on at the stored cursor).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from syncd.errors import GoneError, PayloadError, RejectedError, StoreError, SyncdError
from syncd.limits import OverBudgetError
from syncd.model import Checkpoint, Lane, Mode, Outcome
from syncd.store import PULL, Peril, Stand
from syncd.sync.account import Account
from syncd.sync.careful import REQUEST, Careful, parked_error
from syncd.sync.committing import Committer, ReadPage
from syncd.sync.drift import Measure, measure, tell
from syncd.sync.health import Drift, explain_error
from syncd.sync.line import Line
from syncd.sync.listing import Step
from syncd.sync.listings import listing_of
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.reading import Reader
from syncd.sync.tally import Tally
from syncd.sync.walk import Fetched, walk
from syncd.sync.webhook_fed import is_fed

log = structlog.get_logger()

PROBE = "probe"
"""The trigger of a run by whose first call a half-open breaker finds out."""
ANSWERS_WAITING = 2
"""Answers, parsed, that wait to be read. More would only fall out of the processor's cache before their turn comes."""
PAGES_WAITING = 4
"""Read pages that wait to be stored: so many share a transaction at most."""
BYTES_AHEAD = 8 * 1024 * 1024
"""Of answers that wait to be read, and again of read ones that wait to be stored; one page in any case."""


@dataclass(slots=True)
class Pull:
    """One run. `stopping` is asked between pages."""

    account: Account
    plan: ResourcePlan
    lane: Lane
    trigger: str
    wanted_full: bool = False
    confirmed: bool = False
    """A person let the held deletions go: the guard does not stop this pass's sweep."""
    stopping: Callable[[], bool] = lambda: False
    retry: bool = False
    """A person asked for it: what ended the process before is tried once more."""
    tally: Tally = field(init=False)
    _measure: Measure | None = None
    _careful: Careful = field(init=False)
    _reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        self.tally = Tally(self.account.name, self.plan.name)

    async def run(self) -> Tally:
        account, plan, tally = self.account, self.plan, self.tally
        before = await account.store.checkpoints.stand(account.name, plan.name)
        fed = is_fed(account.health, plan, account.clock.now())
        mode = plan.mode(before, account.clock.now(), wanted=self.wanted_full, fed=fed)
        await self._look_back(before, mode)
        self._measure = await self._how_drift_is_told(mode, before, fed)
        checkpoint, run_id = await account.store.checkpoints.begin(
            account.name, plan.name, mode, scope=account.scope, fence=account.fence, trigger=self.trigger
        )
        tally.run_id, tally.mode, tally.started_at = run_id, mode, account.clock.now()
        if self._measure is not None:
            tally.drift = Drift()
            await account.store.runs.add_drift(account.name, run_id)
        resumed = checkpoint.cursor is not None
        listed = before is not None and before.listed and before.checkpoint.mode is mode
        if before is not None and (resumed or listed):
            tally.listing_began_at = before.started_at
        checkpoint = await self._with_since(checkpoint)
        say = log.debug if self.trigger == PROBE else log.info  # an outage of days is no news with each probe
        say(
            "run_started",
            partner=account.partner,
            integration=account.name,
            resource=plan.name,
            run_id=run_id,
            mode=str(mode),
            resumed=resumed,
        )
        try:
            ended = listed or await self._walk(checkpoint)
        except RejectedError as error:
            if resumed and tally.pages == 0:
                # A stored cursor the partner no longer takes would fail for ever: begin anew next time.
                await self._finish(Outcome.FAILED, error, restart=True)
            else:
                await self._finish(Outcome.FAILED, error)
            raise
        except PayloadError as error:
            # A page loop or a wrong shape does not heal by resuming in the middle.
            await self._finish(Outcome.FAILED, error, restart=True)
            raise
        except SyncdError as error:
            if isinstance(error, OverBudgetError) and self.stopping():
                ended = False  # it was sent away from where it waited for a limit
            else:
                if not isinstance(error, StoreError):
                    await self._finish(Outcome.FAILED, error)
                raise
        if not ended:
            await self._finish(Outcome.CUT)
            return tally
        await self._careful.ended()
        await self._end(mode)
        return tally

    async def _look_back(self, before: Stand | None, mode: Mode) -> None:
        """Did the process end during the last run of this? Raises PoisonError where it did so again and again."""
        account, name = self.account, self.plan.name
        left = before is not None and before.checkpoint.run_id is not None
        died = before is not None and left and before.checkpoint.fence != account.fence
        perils = account.store.perils
        if died:
            peril: Peril | None = await perils.lost(account.name, name, PULL, scope=account.scope, fence=account.fence)
        else:
            peril = await perils.get(account.name, name, PULL)
        self._careful = Careful(account, name, PULL, peril, died=died, retry=self.retry)
        self._reader = Reader(account, self.plan, self.tally, self._careful)
        step = self._careful.parked
        if step is None:
            return
        error = parked_error(account.name, name, step)
        if left:
            _, self.tally.run_id = await account.store.checkpoints.begin(
                account.name, name, mode, scope=account.scope, fence=account.fence, trigger=self.trigger
            )
            await self._finish(Outcome.FAILED, error)
        raise error

    async def _with_since(self, checkpoint: Checkpoint) -> Checkpoint:
        """Add what an incremental request asks for. A feed's first run begins where its targets' first imports began."""
        watermark = checkpoint.watermark
        if self.plan.strategy is Strategy.FEED and watermark is None:
            stands = await self.account.store.checkpoints.list(self.account.name)
            begins = [stand.started_at for stand in stands if stand.started_at is not None]
            watermark = min([*begins, self.account.clock.now()])
        if checkpoint.mode is Mode.FULL:
            return checkpoint
        return replace(checkpoint, since=self.plan.since(watermark))

    async def _walk(self, checkpoint: Checkpoint) -> bool:
        """Fetch, read and store the whole listing. False: cut between two pages."""
        if self._careful.on:
            ended, goes_on = await self._walk_carefully(checkpoint)
            if goes_on is None:
                return ended
            checkpoint = goes_on
        account, plan = self.account, self.plan
        listing = listing_of(account, plan, checkpoint)
        first = await listing.first()
        if first is None:
            return True
        await self._reader.look()
        fetched: Line[Fetched] = Line(ANSWERS_WAITING, BYTES_AHEAD)
        committer = self._committer()
        read: Line[ReadPage] = Line(PAGES_WAITING, BYTES_AHEAD)
        walking = asyncio.create_task(walk(listing, first, self._fetch, fetched))
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

    async def _walk_carefully(self, checkpoint: Checkpoint) -> tuple[bool, Checkpoint | None]:
        """The same, one page stored before the next is asked for, since the process ended during it before.

        Returns whether the listing has ended, and from where the rest of it can be walked as usual.
        """
        account, careful = self.account, self._careful
        log.warning("run_goes_with_care", partner=account.partner, integration=account.name, resource=self.plan.name)
        async with careful.handling(REQUEST):
            listing = listing_of(account, self.plan, checkpoint)
            step = await listing.first()
        await self._reader.look()
        while step is not None:
            committer = self._committer()
            page = await self._reader.read_alone(await self._fetch(step), listing)
            await committer.store(page)
            careful.page_ended()
            self._reader.empty = False
            step = page.fetched.following
            if step is None:
                break
            if self.stopping():
                return False, None
            if careful.through:
                await careful.ended()
                return False, replace(checkpoint, cursor=step.cursor)
        return True, None

    def _committer(self) -> Committer:
        reader = self._reader
        return Committer(self.account, self.plan, self.tally, reader.unstored, reader.empty, self._measure)

    async def _fetch(self, step: Step) -> Fetched:
        stats = self.account.session.stats()
        try:
            response = await self.account.session.call(
                step.request, lane=self.lane, stats=stats, judging=self._careful.judging()
            )
        except GoneError as error:
            if step.parent_id is None:
                # A 404 on a listing says that we ask wrongly, never that records are gone (R9).
                raise RejectedError(
                    str(error), hint=error.hint, status=error.status, code=error.code, request_id=error.request_id
                ) from None
            return Fetched(step, None, stats.calls, stats.waited_seconds)
        finally:
            self.tally.calls += stats.calls
            self.tally.waited_seconds += stats.waited_seconds
        self.account.health.latency_ms = response.elapsed_seconds * 1000
        return Fetched(step, response, stats.calls, stats.waited_seconds)

    async def _read_all(self, fetched: Line[Fetched], read: Line[ReadPage], walking: asyncio.Task[None]) -> bool:
        """Turn answers into rows until the listing ends. False: asked to stop before that."""
        ended = False
        while answers := await fetched.take():
            for page in await self._reader.read(answers):
                await read.put(page)
            ended = answers[-1].following is None
            if self.stopping():
                walking.cancel()  # what has arrived is stored all the same: it was paid for
        return ended

    async def _end(self, mode: Mode) -> None:
        """The listing ended well: move the watermark, believe or hold deletions."""
        account, plan, tally = self.account, self.plan, self.tally
        stand = await account.store.checkpoints.stand(account.name, plan.name)
        if tally.doubted:
            log.warning(
                "records_doubted",
                partner=account.partner,
                integration=account.name,
                resource=plan.name,
                run_id=tally.run_id,
                count=tally.doubted,
                asked_again=tally.asked_again,
                reason="listed otherwise than stored, under an older stamp: restored, or a clock was put right",
            )
        complete = mode is Mode.FULL and await self._whole(stand)
        watermark = stand.newest_at if stand is not None else None
        if stand is not None and watermark is not None and stand.ceiling_at is not None:
            watermark = min(watermark, stand.ceiling_at)
        await self._finish(Outcome.DONE, complete=complete, watermark=watermark)
        if complete:
            tally.sweep = await account.store.passes.sweep(
                account.name,
                plan.name,
                scope=account.scope,
                fence=account.fence,
                run_id=tally.run_id,
                guard=plan.guard,
                confirmed=self.confirmed,
                children=account.children(plan.name),
                history=account.history,
            )
            tally.deleted += tally.sweep.deleted
        if complete or mode is Mode.INCREMENTAL:
            await self._tell_drift(stand, complete=complete)

    async def _how_drift_is_told(self, mode: Mode, before: Stand | None, fed: bool) -> Measure | None:
        account, plan = self.account, self.plan
        feeds = [other for other in account.plans.values() if plan.name in other.resource.feeds]
        covered = []
        for feed in feeds if mode is Mode.FULL else ():
            stand = await account.store.checkpoints.stand(account.name, feed.name)
            covered.append(feed.since(stand.checkpoint.watermark) if stand is not None else None)
        known = [at for at in covered if at is not None]
        found = measure(
            plan,
            mode,
            before,
            fed=fed,
            by_feed=bool(known),
            feed_covered_at=min(known) if known else None,
            told_since=account.health.of(plan.name).told_since,
        )
        if found is None or await account.store.comparisons.mixed(account.name, plan.name, plan.adapter):
            return None  # a new adapter changes every record: that is no drift
        return found

    async def _tell_drift(self, stand: Stand | None, *, complete: bool) -> None:
        """What the whole pass, cut and resumed or not, or the backup had to mend."""
        account, plan, tally = self.account, self.plan, self.tally
        if self._measure is None or tally.run_id is None:
            return
        if tally.sweep is not None and tally.sweep.deleted:
            await account.store.runs.add_drift(account.name, tally.run_id, deleted=tally.sweep.deleted)
        if complete:
            pass_id = stand.pass_id if stand is not None and stand.pass_id is not None else tally.run_id
            tally.drift = Drift(*await account.store.runs.drift_of_pass(account.name, plan.name, pass_id))
        tell(account.health, plan.name, tally.drift or Drift())

    async def _whole(self, stand: Stand | None) -> bool:
        """Can this pass prove an absence? Not if it showed fewer records than the partner stated, or one without an id."""
        account, plan, tally = self.account, self.plan, self.tally
        since = stand.started_at if stand is not None else None
        if await account.store.rejects.nameless(account.name, plan.name, since):
            return False  # a record that does not say who it is may be any of ours
        if tally.total is None:
            return True
        seen = await account.store.passes.seen(account.name, plan.name)
        if seen >= tally.total:
            return True
        log.warning(
            "pass_incomplete",
            partner=account.partner,
            integration=account.name,
            resource=plan.name,
            stated=tally.total,
            seen=seen,
        )
        return False

    async def _finish(
        self,
        outcome: Outcome,
        error: SyncdError | None = None,
        *,
        complete: bool = False,
        restart: bool = False,
        watermark: datetime | None = None,
    ) -> None:
        account, tally = self.account, self.tally
        tally.outcome = outcome
        told = None
        if error is not None:
            told = explain_error(account.name, self.plan.name, error, account.clock.now()).as_dict()
        await account.store.checkpoints.finish(
            account.name,
            self.plan.name,
            tally.run_id or 0,
            fence=account.fence,
            outcome=outcome,
            watermark=watermark,
            complete=complete,
            restart=restart,
            explanation=told,
        )
