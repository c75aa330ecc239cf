"""Backfills at work: time ranges read again in the lowest lane, a page at a time, beside everything scheduled.

They take no seat of the partner's pool, since a call of the low lane may wait minutes for its leave and would keep a seat
from live work. Whoever owns the scope next goes on at the stored cursor. The checkpoint of the resource, its watermark and
its schedule are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import structlog

from syncd.clock import Clock
from syncd.errors import PayloadError, RejectedError, StoreError, SyncdError
from syncd.limits import OverBudgetError
from syncd.model import Lane
from syncd.store import BACKFILL, Backfill, Peril, Store
from syncd.sync.account import Account
from syncd.sync.backfill_walk import Walk
from syncd.sync.careful import Careful, parked_error
from syncd.sync.decide import Later, RetryPolicy, decide
from syncd.sync.let_in import whose
from syncd.sync.long_work import LongWork

log = structlog.get_logger()


class Backfilling(LongWork[Backfill]):
    """One partner's."""

    word, at_once, look_seconds = "backfill", 2, 2.0

    def __init__(
        self,
        partner: str,
        accounts: Mapping[str, Account],
        store: Store,
        clock: Clock,
        paused: Callable[[str, str], bool],
        policy: RetryPolicy | None = None,
    ) -> None:
        super().__init__(partner, accounts, store, clock, paused)
        self._policy = policy or RetryPolicy()

    def _may(self, account: Account) -> bool:
        return account.may_call()

    async def _active(self, names: Sequence[str]) -> Sequence[Backfill]:
        return await self._store.backfills.active(names)

    def _is_due(self, one: Backfill) -> bool:
        return one.not_before is None or one.not_before <= self._clock.now()

    async def _do(self, account: Account, waiting: Backfill) -> None:
        fence = account.fence
        plan = account.plans.get(waiting.resource)
        taken = await self._store.backfills.take(waiting, scope=account.scope, fence=fence)
        if taken is None:
            return
        if plan is None:
            reason = f"{account.name} has no resource {taken.resource} any more"
            await self._store.backfills.fail(taken, fence=fence, reason=reason)
            return
        log.info(
            "backfill_taken",
            partner=self._partner,
            integration=account.name,
            resource=plan.name,
            backfill_id=taken.id,
            resumed=taken.cursor is not None,
        )
        careful = await self._look_back(account, waiting, fence)
        walk = Walk(account, plan, taken, fence, careful)
        try:
            if (step := careful.parked) is not None:
                await careful.gives_up()
                raise parked_error(account.name, plan.name, step, work=BACKFILL)
            while self._goes_on(taken):
                async with account.inflight.narrowing.one(Lane.LOW):
                    goes_on = await walk.page()
                if not goes_on:
                    await careful.ended()
                    log.info(
                        "backfill_ended",
                        partner=self._partner,
                        integration=account.name,
                        resource=plan.name,
                        backfill_id=taken.id,
                    )
                    return
                account.moved()
        except StoreError:
            raise
        except Exception as error:
            await self._failed(account, walk, error)

    async def _look_back(self, account: Account, waiting: Backfill, fence: int) -> Careful:
        """Did the process end while it was read?"""
        name, perils = waiting.resource, account.store.perils
        died = waiting.state == "running" and waiting.fence != fence
        if died:
            peril: Peril | None = await perils.lost(account.name, name, BACKFILL, scope=account.scope, fence=fence)
        else:
            peril = await perils.get(account.name, name, BACKFILL)
        await account.processor.aside.load(account.processor.resources)
        return Careful(account, name, BACKFILL, peril, died=died, thorough=peril is not None)

    async def _failed(self, account: Account, walk: Walk, error: Exception) -> None:
        taken = walk.backfill
        error = await whose(account, taken.resource, error, Lane.LOW)
        if isinstance(error, StoreError):
            raise error
        if isinstance(error, OverBudgetError) and self._stopping:
            return  # it was sent away from where it waited for a limit
        now = self._clock.now()
        account.health.task_failed(taken.resource, error, now)
        attempt = 1 if walk.stored else taken.attempts + 1
        outcome = decide(error, attempt, now, self._policy, self._clock.random())
        # A place the partner no longer takes, or a listing that went round, is of no more use.
        restart = isinstance(error, RejectedError | PayloadError) and taken.cursor is not None and not walk.stored
        if restart and isinstance(error, RejectedError) and taken.attempts == 0:
            outcome = Later(now + timedelta(seconds=1))
            await self._store.backfills.restart(taken, fence=walk.fence)
        if isinstance(outcome, Later):
            await self._store.backfills.later(
                taken, outcome.at, fence=walk.fence, counts=outcome.counts, reason=str(error), calls=walk.spent
            )
            return
        log.warning(
            "backfill_failed",
            partner=self._partner,
            integration=account.name,
            resource=taken.resource,
            backfill_id=taken.id,
            reason=str(error),
            exc_info=not isinstance(error, SyncdError),
        )
        await self._store.backfills.fail(
            taken, fence=walk.fence, reason=str(error) or type(error).__name__, calls=walk.spent, restart=restart
        )
