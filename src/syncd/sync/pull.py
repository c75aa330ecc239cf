"""One run of one resource: pages fetched ahead, each stored in one transaction with the cursor that follows it (R1).

The run survives any death: what is committed names the place to go on from. It ends in one of three ways: done (and then
the watermark moves, and a complete pass may believe deletions), failed (an error for `decide`), or cut (asked to stop; the
next run goes on at the stored cursor).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from syncd import metrics
from syncd.errors import GoneError, PayloadError, RejectedError, StoreError, SyncdError
from syncd.kit import Item, Response
from syncd.model import Checkpoint, Lane, Mode, Outcome
from syncd.store import PageResult, PageWrite, Stand, Sweep
from syncd.sync.account import Account
from syncd.sync.ahead import Ahead
from syncd.sync.health import explain_error
from syncd.sync.listing import ChildListing, Listing, Step, needs_fields
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

    def eta_seconds(self, now: datetime) -> float | None:
        """How long the rest will take at the pace so far; None where the partner states no total."""
        if self.total is None or not self.seen or self.started_at is None or self.outcome is not Outcome.RUNNING:
            return None
        return max(self.total - self.seen, 0) * (now - self.started_at).total_seconds() / self.seen

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
class _Page:
    """An answer, read and not yet stored."""

    read: PageRead
    cause: str
    ceiling_at: datetime
    newest_at: datetime | None


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
    _tenant: str | None = None
    _rejected: set[tuple[str, str]] = field(default_factory=set)
    """Records with a reject row."""
    _pages_read: int = 0

    def __post_init__(self) -> None:
        self.tally = Tally(self.account.name, self.plan.name)

    async def run(self) -> Tally:
        account, plan, tally = self.account, self.plan, self.tally
        before = await account.store.checkpoints.stand(account.name, plan.name)
        mode = plan.mode(before, account.clock.now(), wanted=self.wanted_full)
        checkpoint, run_id = await account.store.checkpoints.begin(
            account.name, plan.name, mode, scope=account.scope, fence=account.fence, trigger=self.trigger
        )
        tally.run_id, tally.mode, tally.started_at = run_id, mode, account.clock.now()
        resumed = checkpoint.cursor is not None
        checkpoint = await self._with_since(checkpoint)
        log.info(
            "run_started",
            partner=account.partner,
            integration=account.name,
            resource=plan.name,
            run_id=run_id,
            mode=str(mode),
            resumed=resumed,
        )
        try:
            listed = before is not None and before.listed and before.checkpoint.mode is mode
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
            if not isinstance(error, StoreError):
                await self._finish(Outcome.FAILED, error)
            raise
        if not ended:
            await self._finish(Outcome.CUT)
            return tally
        await self._end(mode)
        return tally

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

    def _listing(self, checkpoint: Checkpoint) -> Listing | ChildListing:
        account, resource = self.account, self.plan.resource
        if self.plan.strategy is not Strategy.CHILDREN:
            first = account.driver.request(resource, checkpoint)
            return Listing(account.driver, resource, first, cursor=checkpoint.cursor)
        parent, with_fields = resource.parent or "", needs_fields(resource)

        async def parents(last: str, limit: int) -> list[tuple[str, Mapping[str, Any] | None]]:
            live = account.store.records.scan(account.name, parent, after=last, batch=limit, limit=limit)
            return [(record.external_id, record.data if with_fields else None) async for record in live]

        return ChildListing(account.driver, resource, checkpoint.cursor, parents)

    async def _walk(self, checkpoint: Checkpoint) -> bool:
        """Fetch and store page by page. False: cut between two pages."""
        listing = self._listing(checkpoint)
        first = await listing.first()
        if first is None:
            return True
        self._rejected = await self.account.rejected_ids()
        named: deque[Step] = deque()
        flying: deque[Step] = deque()
        opening = True
        # Three things go on at once: pages in flight, one page being read, and the page before it being committed.
        async with Ahead[_Fetched]() as ahead, Ahead[None]() as committing:

            def send(step: Step) -> None:
                flying.append(step)
                ahead.push(self._fetch(step))

            send(first)
            while flying:
                fetched = await ahead.pop()
                flying.popleft()
                if opening and fetched.response is not None:
                    self._open(fetched.response)
                opening = False
                if not flying and not named and fetched.response is not None:
                    named.extend(listing.ahead(fetched.step, fetched.response))
                while named and len(flying) < PAGES_AHEAD:
                    send(named.popleft())
                if flying and fetched.response is not None and self._moved(listing, fetched, flying[0]):
                    await ahead.clear()
                    flying.clear()
                    named.clear()
                following = flying[0] if flying else await listing.after(fetched.step, fetched.response)
                if following is not None and not flying:
                    send(following)
                page = await self._read(fetched)
                if len(committing):
                    await committing.pop()
                committing.push(self._commit(fetched, page, following))
                if following is not None and self.stopping():
                    await committing.pop()
                    return False
            await committing.pop()
        return True

    @staticmethod
    def _moved(listing: Listing | ChildListing, fetched: _Fetched, expected: Step) -> bool:
        """Did the listing change under the pages named ahead? Then the walk goes on one by one from here."""
        if not isinstance(listing, Listing) or fetched.response is None:
            return False
        if listing.expects(fetched.step, fetched.response) == expected.cursor:
            return False
        listing.restart()
        return True

    async def _fetch(self, step: Step) -> _Fetched:
        stats = self.account.session.stats()
        try:
            response = await self.account.session.call(step.request, lane=self.lane, stats=stats)
        except GoneError as error:
            if step.parent_id is None:
                # A 404 on a listing says that we ask wrongly, never that records are gone (R9).
                raise RejectedError(
                    str(error), hint=error.hint, status=error.status, code=error.code, request_id=error.request_id
                ) from None
            return _Fetched(step, None, stats.calls, stats.waited_seconds)
        finally:
            self.tally.calls += stats.calls
            self.tally.waited_seconds += stats.waited_seconds
        self.account.health.latency_ms = response.elapsed_seconds * 1000
        return _Fetched(step, response, stats.calls, stats.waited_seconds)

    def _open(self, response: Response) -> None:
        """The first answer of this process's part of the run may say how many records there are."""
        if self.tally.mode is Mode.FULL and self.plan.strategy is not Strategy.CHILDREN:
            self.tally.total = self.account.driver.total(self.plan.resource, response)

    async def _read(self, fetched: _Fetched) -> _Page:
        """Turn an answer into rows."""
        account, plan, tally = self.account, self.plan, self.tally
        self._pages_read += 1
        cause = f"run {tally.run_id} page {self._pages_read}"
        response = fetched.response
        if response is None:
            return _Page(PageRead(), cause, account.clock.now(), None)
        requested_at = response.requested_at or account.clock.now()
        items = account.driver.items(plan.resource, response)
        await self._check_tenant(items)
        read = await account.processor.read(
            plan.name,
            items,
            fetched_at=requested_at,
            cause=cause,
            rejected=self._rejected,
            parent_id=fetched.step.parent_id,
        )
        newest_at = account.driver.newest(plan.resource, response, read.identities)
        return _Page(read, cause, observed_at(response, requested_at), newest_at)

    async def _commit(self, fetched: _Fetched, page: _Page, following: Step | None) -> None:
        """Store the page together with the cursor that follows it."""
        account, plan, tally, read = self.account, self.plan, self.tally, page.read
        assert tally.run_id is not None
        started = account.clock.monotonic()
        result = await account.store.pages.commit(
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
                rows=read.rows,
                seen_ids=read.seen if tally.mode is Mode.FULL else None,
                unchanged=read.unchanged,
                rejects=read.rejects,
                heal_ids=[external_id for name, external_id in read.healed if name == plan.name],
                tasks=read.tasks,
                calls=fetched.calls,
                waited_seconds=fetched.waited_seconds,
                newest_at=page.newest_at,
                ceiling_at=page.ceiling_at,
                cause=page.cause,
                history=account.history,
            )
        )
        metrics.STORE_SECONDS.labels(account.partner).observe(account.clock.monotonic() - started)
        self._rejected.difference_update(read.healed)
        self._rejected.update((reject.resource, reject.key) for reject in read.rejects)
        tally.absorb(read, result)
        account.count(plan.name, read, result)
        account.moved()
        if read.tasks:
            account.tasks_added()

    async def _check_tenant(self, items: list[Item]) -> None:
        """Where records name their account: refuse a listing of another one than the records stored before."""
        account, resource = self.account, self.plan.resource
        if resource.tenant is None:
            return
        if self._tenant is None:
            async for stored in account.store.records.scan(account.name, resource.name, batch=1, limit=1):
                self._tenant = account.driver.tenant(resource, stored.raw)
        for item in items:
            told = account.driver.tenant(resource, item.raw) if item.raw is not None else None
            if told is None:
                continue
            if self._tenant is None:
                self._tenant = told
            elif told != self._tenant:
                raise PayloadError(
                    f"{resource.name}: the listing is of another account ({told}) than the stored records"
                    f" ({self._tenant}); nothing of it was stored",
                    hint=f"syncd credential test {account.name}",
                )

    async def _end(self, mode: Mode) -> None:
        """The listing ended well: move the watermark, believe or hold deletions."""
        account, plan, tally = self.account, self.plan, self.tally
        stand = await account.store.checkpoints.stand(account.name, plan.name)
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

    async def _whole(self, stand: Stand | None) -> bool:
        """Can this pass prove an absence? Not if it showed fewer records than the partner stated, or one without an id."""
        account, plan, tally = self.account, self.plan, self.tally
        for reject in await account.store.rejects.list(account.name, plan.name):
            if reject.external_id.startswith("?") and (
                stand is None or reject.last_at >= (stand.started_at or reject.last_at)
            ):
                # A record that does not say who it is may be any of ours.
                return False
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


def observed_at(response: Response, requested_at: datetime) -> datetime:
    """The partner's clock when the request began: its Date less the time the call took, and less the second Date cuts off.

    Falls back to our own clock where no Date is sent.
    """
    date = response.date
    if date is None:
        return requested_at
    return date - timedelta(seconds=response.elapsed_seconds + 1.0)
