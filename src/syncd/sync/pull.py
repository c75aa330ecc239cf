"""One run of one resource: pages fetched ahead, each stored in one transaction with the cursor that follows it (R1).

The run survives any death: what is committed names the place to go on from. It ends in one of three ways: done (and then
the watermark moves, and a complete pass may believe deletions), failed (an error for `decide`), or cut (asked to stop; the
next run goes on at the stored cursor).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from syncd import metrics
from syncd.errors import GoneError, PayloadError, RejectedError
from syncd.kit import Response
from syncd.model import Checkpoint, Lane, Mode, Outcome
from syncd.store import PageResult, PageWrite, Sweep
from syncd.sync.account import Account
from syncd.sync.ahead import Ahead
from syncd.sync.listing import ChildListing, Listing, Step
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.processor import PageRead

log = structlog.get_logger()

PAGES_AHEAD = 4
"""Independent pages in flight beside the one being stored; bounds memory, the gate bounds the rate."""


@dataclass(slots=True)
class Tally:
    """What a run did so far; shown live, stored with each page."""

    integration: str
    resource: str
    mode: Mode = Mode.FULL
    run_id: int | None = None
    outcome: Outcome = Outcome.RUNNING
    pages: int = 0
    seen: int = 0
    added: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    stale: int = 0
    rejected: int = 0
    calls: int = 0
    waited_seconds: float = 0.0
    total: int | None = None
    started_at: datetime | None = None
    sweep: Sweep | None = None
    sound: bool = True
    """False once anything made it impossible to call the pass complete."""

    def absorb(self, page: PageRead, result: PageResult) -> None:
        self.pages += 1
        self.seen += page.count
        self.added += len(result.added)
        self.updated += len(result.updated)
        self.deleted += len(result.deleted)
        self.stale += result.stale
        self.unchanged += page.unchanged
        self.rejected += len(page.rejects)


@dataclass(slots=True)
class _Fetched:
    step: Step
    response: Response | None
    """None: the parent of this listing is gone."""
    calls: int
    waited_seconds: float


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
    tally: Tally = field(init=False)

    def __post_init__(self) -> None:
        self.tally = Tally(self.account.name, self.plan.name)

    async def run(self) -> Tally:
        account, plan, tally = self.account, self.plan, self.tally
        checkpoint = await account.store.checkpoints.get(account.name, plan.name)
        last_full_at = await account.store.checkpoints.last_full_at(account.name, plan.name)
        mode = plan.mode(checkpoint, last_full_at, account.clock.now(), wanted=self.wanted_full)
        checkpoint = await account.store.checkpoints.begin(
            account.name, plan.name, mode=mode, scope=account.scope, fence=account.fence, trigger=self.trigger
        )
        tally.run_id, tally.mode, tally.started_at = checkpoint.run_id, mode, account.clock.now()
        resumed = checkpoint.cursor is not None
        checkpoint = await self._with_since(checkpoint)
        log.info(
            "run_started",
            partner=account.partner,
            integration=account.name,
            resource=plan.name,
            run_id=checkpoint.run_id,
            mode=str(mode),
            resumed=resumed,
        )
        try:
            ended = await self._walk(checkpoint)
        except RejectedError as error:
            if resumed and tally.pages == 0:
                # A stored cursor the partner no longer takes would fail for ever: begin anew next time.
                await self._finish(Outcome.FAILED, f"the stored cursor was refused: {error}", forget_cursor=True)
            raise
        except PayloadError as error:
            # A page loop or a wrong shape does not heal by resuming in the middle.
            await self._finish(Outcome.FAILED, str(error), forget_cursor=True)
            raise
        if not ended:
            tally.outcome = Outcome.CUT
            return tally
        await self._end(mode)
        return tally

    async def _with_since(self, checkpoint: Checkpoint) -> Checkpoint:
        """Add what an incremental request asks for. A feed's first run begins where its targets' first imports began."""
        watermark = checkpoint.watermark
        if self.plan.strategy is Strategy.FEED and watermark is None:
            began = await self.account.store.checkpoints.first_started_at(self.account.name)
            watermark = began or self.account.clock.now()
        if checkpoint.mode is Mode.FULL:
            return checkpoint
        return Checkpoint(
            integration=checkpoint.integration,
            resource=checkpoint.resource,
            mode=checkpoint.mode,
            cursor=checkpoint.cursor,
            run_id=checkpoint.run_id,
            watermark=checkpoint.watermark,
            since=self.plan.since(watermark),
            passes=checkpoint.passes,
            fence=checkpoint.fence,
        )

    def _listing(self, checkpoint: Checkpoint) -> Listing | ChildListing:
        account, resource = self.account, self.plan.resource
        if self.plan.strategy is not Strategy.CHILDREN:
            return Listing(account.driver, resource, checkpoint)
        parent = resource.parent
        assert parent is not None

        async def parents_after(last: str, limit: int) -> list[str]:
            return await account.store.records.ids_after(account.name, parent, last, limit)

        return ChildListing(account.driver, resource, checkpoint, parents_after)

    async def _walk(self, checkpoint: Checkpoint) -> bool:
        """Fetch and store page by page. False: cut between two pages."""
        listing = self._listing(checkpoint)
        first = await listing.first()
        if first is None:
            return True
        rejected = await self.account.store.rejects.ids(self.account.name)
        named: deque[Step] = deque()
        flying: deque[Step] = deque()
        opening = True
        async with Ahead[_Fetched]() as ahead:

            def send(step: Step) -> None:
                flying.append(step)
                ahead.push(self._fetch(step))

            send(first)
            while flying:
                fetched = await ahead.pop()
                flying.popleft()
                if opening and fetched.response is not None:
                    self._open(fetched.response)
                    named.extend(listing.ahead(fetched.response) or ())
                opening = False
                while named and len(flying) < PAGES_AHEAD:
                    send(named.popleft())
                following = flying[0] if flying else await self._after(listing, fetched)
                if following is not None and not flying:
                    send(following)
                await self._store(fetched, following, rejected)
                if following is not None and self.stopping():
                    return False
        return True

    async def _after(self, listing: Listing | ChildListing, fetched: _Fetched) -> Step | None:
        if isinstance(listing, ChildListing):
            return await listing.after(fetched.step, fetched.response)
        assert fetched.response is not None
        return await listing.after(fetched.step, fetched.response)

    async def _fetch(self, step: Step) -> _Fetched:
        stats = self.account.session.stats()
        try:
            response = await self.account.session.call(step.request, lane=self.lane, stats=stats)
        except GoneError:
            if step.parent_id is None:
                raise
            return _Fetched(step, None, stats.calls, stats.waited_seconds)
        finally:
            self.tally.calls += stats.calls
            self.tally.waited_seconds += stats.waited_seconds
        return _Fetched(step, response, stats.calls, stats.waited_seconds)

    def _open(self, response: Response) -> None:
        """The first answer of this process's part of the run may say how many records there are."""
        if self.tally.mode is Mode.FULL and self.plan.strategy is not Strategy.CHILDREN:
            self.tally.total = self.account.driver.total(self.plan.resource, response)

    async def _store(self, fetched: _Fetched, following: Step | None, rejected: set[tuple[str, str]]) -> None:
        account, plan, tally = self.account, self.plan, self.tally
        assert tally.run_id is not None
        page = PageRead()
        now = account.clock.now()
        horizon = now
        if fetched.response is not None:
            response = fetched.response
            requested_at = response.requested_at or now
            horizon = observed_at(response, requested_at)
            page = await account.processor.read(
                plan.name,
                account.driver.items(plan.resource, response),
                fetched_at=requested_at,
                observed_at=horizon,
                cause=f"run {tally.run_id} page {tally.pages + 1}",
                rejected=rejected,
                parent_id=fetched.step.parent_id,
            )
        started = account.clock.monotonic()
        result = await account.commit(
            PageWrite(
                partner=account.partner,
                integration=account.name,
                resource=plan.name,
                scope=account.scope,
                fence=account.fence,
                run_id=tally.run_id,
                cursor_read=fetched.step.cursor,
                cursor_next=following.cursor if following is not None else None,
                last=following is None,
                rows=page.rows,
                seen_ids=page.seen if tally.mode is Mode.FULL else None,
                unchanged=page.unchanged,
                rejects=page.rejects,
                healed=page.healed,
                tasks=page.tasks,
                calls=fetched.calls,
                waited_seconds=fetched.waited_seconds,
                newest_at=page.newest_at,
                horizon_at=horizon,
            )
        )
        metrics.STORE_SECONDS.labels(account.partner).observe(account.clock.monotonic() - started)
        if any(reject.external_id.startswith("content:") for reject in page.rejects):
            # A record that does not say who it is may be any of ours: this pass cannot prove an absence.
            tally.sound = False
        rejected.difference_update(page.healed)
        rejected.update((reject.resource, reject.external_id) for reject in page.rejects)
        tally.absorb(page, result)
        account.count(plan.name, page, result)
        account.moved()
        if page.tasks:
            account.tasks_added()

    async def _end(self, mode: Mode) -> None:
        """The listing ended well: move the watermark, believe or hold deletions."""
        account, plan, tally = self.account, self.plan, self.tally
        complete = mode is Mode.FULL and tally.sound
        if complete and tally.total is not None:
            seen = await account.store.passes.seen(account.name, plan.name)
            if seen < tally.total:
                complete = False
                log.warning(
                    "pass_incomplete",
                    partner=account.partner,
                    integration=account.name,
                    resource=plan.name,
                    stated=tally.total,
                    seen=seen,
                )
        if complete:
            tally.sweep = await account.store.passes.sweep(
                account.name,
                plan.name,
                partner=account.partner,
                scope=account.scope,
                fence=account.fence,
                run_id=tally.run_id or 0,
                guard=plan.guard,
                confirmed=self.confirmed,
                history=plan.history,
            )
            tally.deleted += tally.sweep.deleted
        await self._finish(Outcome.DONE, "", complete=complete)

    async def _finish(
        self, outcome: Outcome, explanation: str, *, complete: bool = False, forget_cursor: bool = False
    ) -> None:
        account, tally = self.account, self.tally
        tally.outcome = outcome
        await account.store.checkpoints.finish(
            account.name,
            self.plan.name,
            scope=account.scope,
            fence=account.fence,
            run_id=tally.run_id or 0,
            outcome=outcome,
            explanation=explanation,
            complete=complete,
            forget_cursor=forget_cursor,
        )


def observed_at(response: Response, requested_at: datetime) -> datetime:
    """The partner's clock when the request began: its Date less the time the call took, and less the second Date cuts off.

    Falls back to our own clock where no Date is sent.
    """
    date = response.date
    if date is None:
        return requested_at
    return date - timedelta(seconds=response.elapsed_seconds + 1.0)
