"""Backfills at work: time ranges read again in the lowest lane, a page at a time, beside everything scheduled.

They take no seat of the partner's pool, since a call of the low lane may wait minutes for its leave and would keep a seat
from live work; so many at once have coroutines of their own. What is done is a row (R3): whoever owns the scope next goes on
at the stored cursor. The checkpoint of the resource, its watermark and its schedule are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

import anyio
import structlog
from anyio.abc import TaskGroup

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import OwnershipError, PayloadError, RejectedError, StoreError, SyncdError
from syncd.limits import OverBudgetError
from syncd.store import BACKFILL, Backfill, Peril, Store
from syncd.sync.account import Account
from syncd.sync.backfill_walk import Walk
from syncd.sync.careful import Careful, parked_error
from syncd.sync.decide import Later, RetryPolicy, decide
from syncd.sync.part import Looking

log = structlog.get_logger()

AT_ONCE = 2
"""Backfills of one partner under way at a time (R12), one an integration."""
LOOK_SECONDS = 2.0
IDLE_SECONDS = 30.0
"""How often rows are looked for where none were: who asks for one wakes us."""


class Backfilling(Looking):
    """One partner's. `paused` says whether a person holds a resource."""

    def __init__(
        self,
        partner: str,
        accounts: Mapping[str, Account],
        store: Store,
        clock: Clock,
        paused: Callable[[str, str], bool],
        policy: RetryPolicy | None = None,
    ) -> None:
        super().__init__("backfills", partner, clock, look_seconds=IDLE_SECONDS)
        self._accounts = accounts
        self._store = store
        self._paused = paused
        self._policy = policy or RetryPolicy()
        metrics.BOUND.labels("backfills").set(AT_ONCE)
        self._held: set[str] = set()
        """Integrations with one under way."""

    async def run(self) -> None:
        """Take up what waits, until cancelled."""
        async with anyio.create_task_group() as self._group:
            await super().run()

    async def _turn(self, woken: bool) -> float:
        return LOOK_SECONDS if await self._look(self._group) else IDLE_SECONDS

    # -- inside

    async def _look(self, group: TaskGroup) -> bool:
        """Begin what may begin. True: look again soon."""
        mine = [name for name, account in self._accounts.items() if account.may_call()]
        waiting = await self._store.backfills.active(mine) if mine else []
        for backfill in waiting:
            name = backfill.integration
            if len(self._held) >= AT_ONCE or self._stopping:
                break
            if name in self._held or not self._may(backfill):
                continue
            self._held.add(name)
            self._idle.clear()
            group.start_soon(self._work, backfill, name=f"backfill {name}/{backfill.resource}")
        # A scope that is not ours yet, as at every start, may become so any moment, and nobody wakes us for that.
        return bool(waiting or self._held or len(mine) < len(self._accounts))

    def _may(self, backfill: Backfill) -> bool:
        due = backfill.not_before is None or backfill.not_before <= self._clock.now()
        return due and not self._paused(backfill.integration, backfill.resource)

    async def _work(self, backfill: Backfill) -> None:
        account = self._accounts[backfill.integration]
        try:
            await self._read(account, backfill)
        except OwnershipError as error:
            log.info("backfill_left", integration=account.name, resource=backfill.resource, reason=str(error))
        except StoreError as error:
            log.debug("backfills_wait", partner=self._partner, reason=str(error))
            await self._clock.sleep(LOOK_SECONDS)
        except Exception:
            log.exception("work_crashed", partner=self._partner, work=f"backfill {backfill.id}")
            await self._clock.sleep(LOOK_SECONDS)
        finally:
            self._held.discard(account.name)
            if not self._held:
                self._idle.set()
            self._wake.set()

    async def _read(self, account: Account, waiting: Backfill) -> None:
        """Go on with one until its end, a failure, or a stop. Raises StoreError, OwnershipError."""
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
            while not self._stopping and not self._paused(account.name, plan.name):
                if not await walk.page():
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
        taken, now = walk.backfill, self._clock.now()
        if isinstance(error, OverBudgetError) and self._stopping:
            return  # it was sent away from where it waited for a limit
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
