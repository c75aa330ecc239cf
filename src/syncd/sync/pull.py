"""One run of one resource: pages fetched ahead, read, and stored together with the cursor that follows them (R1).

The run survives any death: what is committed names the place to go on from. It ends in one of three ways: done (and then
the watermark moves, and a complete pass may believe deletions), failed (an error for `decide`), or cut (asked to stop; the
next run goes on at the stored cursor).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import structlog

from syncd import spans
from syncd.errors import PayloadError, RejectedError, StoreError, SyncdError
from syncd.limits import OverBudgetError
from syncd.model import Checkpoint, Lane, Mode, Outcome
from syncd.store import PULL, Peril, Stand
from syncd.sync.account import Account
from syncd.sync.attesting import tell_unattested
from syncd.sync.careful import Careful, parked_error
from syncd.sync.conditional import Conditional
from syncd.sync.drift import Measure, measure, tell
from syncd.sync.health import Drift
from syncd.sync.media import ask_for_lacking
from syncd.sync.passing import came_later, tell_refused
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.reading import Reader
from syncd.sync.renaming import tell_renewed
from syncd.sync.stages import Stages
from syncd.sync.tally import Tally
from syncd.sync.troubles import explain_error
from syncd.sync.unsettled import ask_for_looks
from syncd.sync.webhook_fed import is_fed

log = structlog.get_logger()

SCHEDULE = "schedule"
"""The trigger of a run that was due."""
PROBE = "probe"
"""The trigger of a run by whose first call a half-open breaker finds out."""


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
    _conditional: Conditional = field(init=False)

    def __post_init__(self) -> None:
        self.tally = Tally(self.account.name, self.plan.name)

    async def run(self) -> Tally:
        told = {
            "syncd.partner": self.account.partner,
            "syncd.integration": self.account.name,
            "syncd.resource": self.plan.name,
            "syncd.trigger": self.trigger,
        }
        with spans.span(f"pull {self.plan.name}", "internal", told) as span:
            try:
                return await self._run()
            finally:
                span.set("syncd.run_id", self.tally.run_id)
                span.set("syncd.records", self.tally.added + self.tally.updated + self.tally.deleted)

    async def _run(self) -> Tally:
        account, plan, tally = self.account, self.plan, self.tally
        before = await account.store.checkpoints.stand(account.name, plan.name)
        fed = is_fed(account.health, plan, account.clock.now())
        wanted = self.wanted_full or await came_later(account, plan, before)
        mode = plan.mode(before, account.clock.now(), wanted=wanted, fed=fed)
        await self._look_back(before, mode)
        self._measure = await self._how_drift_is_told(mode, before, fed)
        checkpoint, run_id = await account.store.checkpoints.begin(
            account.name, plan.name, mode, scope=account.scope, fence=account.fence, trigger=self.trigger
        )
        tally.run_id, tally.mode, tally.started_at = run_id, mode, account.clock.now()
        self._conditional = Conditional(account, plan, tally, on=self.trigger == SCHEDULE and not self.wanted_full)
        if self._measure is not None:
            tally.drift = Drift()
            await account.store.runs.add_drift(account.name, run_id)
        resumed = checkpoint.cursor is not None
        listed = before is not None and before.listed and before.checkpoint.mode is mode
        if before is not None and (resumed or listed):
            tally.listing_began_at = before.started_at
        checkpoint = await self._with_since(checkpoint)
        # An outage of days is no news with each probe, nor is a queue with each look at it.
        say = log.debug if self.trigger == PROBE or plan.resource.queue is not None else log.info
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
            ended = listed or await self._stages().walk(checkpoint)
        except RejectedError as error:
            # A stored cursor the partner no longer takes would fail for ever: begin anew next time.
            anew = (resumed and tally.pages == 0) or (bool(tally.refused) and not tally.heard)
            await self._finish(Outcome.FAILED, error, restart=anew)
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
                    # Where all so far refused to be listed nothing is lost, and the next run has to know of them.
                    await self._finish(
                        Outcome.FAILED, error, restart=bool(tally.refused) and not (resumed or tally.heard)
                    )
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

    def _stages(self) -> Stages:
        return Stages(
            self.account,
            self.plan,
            self.tally,
            self.lane,
            self._careful,
            self._reader,
            self._measure,
            self.stopping,
            self._conditional,
        )

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
        if tally.refused and mode is not Mode.FULL:
            watermark = None  # what they refused to list may be let in again before the next complete pass
        tell_refused(account, plan, tally)
        await self._finish(Outcome.DONE, complete=complete, watermark=watermark)
        if complete:
            tally.sweep = await account.store.sweeps.sweep(
                account.name,
                plan.name,
                scope=account.scope,
                fence=account.fence,
                run_id=tally.run_id,
                guard=plan.guard,
                confirmed=self.confirmed,
                children=account.children(plan.name),
                history=account.history,
                missing=plan.resource.missing,
                over=self._over(),
                places=account.driver.places(plan.resource),
            )
            tally.deleted += tally.sweep.deleted
            if tally.sweep.asked:
                account.tasks_added()
            await ask_for_lacking(account, plan)
            await tell_unattested(account, plan, stand)
            await tell_renewed(account, plan)
        await ask_for_looks(account, plan, complete=complete)
        await self._conditional.keep(complete=complete)
        if complete or mode is Mode.INCREMENTAL:
            await self._tell_drift(stand, complete=complete)

    def _over(self) -> tuple[str, date] | None:
        """Of a listing that shows days from today on: the field with a record's last one, and the first that is shown."""
        windows = self.plan.resource.windows
        if windows is None or windows.over is None:
            return None
        return windows.over, (self.account.clock.now() - timedelta(days=windows.before)).date()

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
            scheduled=self.trigger == SCHEDULE,
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
        tell(account.health, plan.name, tally.drift or Drift(), complete=complete)

    async def _whole(self, stand: Stand | None) -> bool:
        """Can this pass prove an absence? Not if it showed fewer records than the partner stated, or one without an id."""
        account, plan, tally = self.account, self.plan, self.tally
        since = stand.started_at if stand is not None else None
        if await account.store.rejects.nameless(account.name, plan.name, since):
            return False  # a record that does not say who it is may be any of ours
        parts = await account.store.passes.parts(account.name, plan.name)
        for part in parts:
            shown = part.listed if plan.resource.repeats else part.ids
            if part.stated is not None and shown < part.stated:
                return self._incomplete(part.stated, shown, part=part.name)
        if parts or tally.total is None:
            return True
        seen = await account.store.passes.seen(account.name, plan.name)
        return seen >= tally.total or self._incomplete(tally.total, seen)

    def _incomplete(self, stated: int, seen: int, **more: str) -> bool:
        log.warning(
            "pass_incomplete",
            partner=self.account.partner,
            integration=self.account.name,
            resource=self.plan.name,
            stated=stated,
            seen=seen,
            **more,
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
