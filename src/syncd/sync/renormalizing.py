"""Stored raw records read again by an adapter, without a call: in batches, each committed with its cursor.

It is a row that somebody asked for (R3); whoever owns the scope works on it, and goes on at the cursor after any death. A
batch changes only what is still stored as it was read, so a run, a webhook or a push meanwhile keeps what is newer (R7).
After the records come the rejects: one that the adapter reads now becomes a record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import anyio
import structlog
from anyio.abc import TaskGroup

from syncd import codec, metrics
from syncd.clock import Clock
from syncd.errors import OwnershipError, StoreError
from syncd.store import Renormalization, Store
from syncd.sync.account import Account
from syncd.sync.part import Looking
from syncd.sync.plan import ResourcePlan
from syncd.sync.renormalize_walk import Walk

log = structlog.get_logger()

DEATHS = 3
"""So often in a row the process may end over it; then it waits for a person to ask again."""
LOOK_SECONDS = 1.0
IDLE_SECONDS = 30.0


class Renormalizing(Looking):
    """One partner's, one at a time. `paused` says whether a person holds a resource."""

    def __init__(
        self,
        partner: str,
        accounts: Mapping[str, Account],
        store: Store,
        clock: Clock,
        paused: Callable[[str, str], bool] = lambda integration, resource: False,
    ) -> None:
        super().__init__("renormalizations", partner, clock, look_seconds=IDLE_SECONDS)
        self._accounts = accounts
        self._store = store
        self._paused = paused
        metrics.BOUND.labels("renormalizations").set(1)

    async def run(self) -> None:
        """Take up what waits, until cancelled."""
        async with anyio.create_task_group() as self._group:
            await super().run()

    async def _turn(self, woken: bool) -> float:
        return LOOK_SECONDS if await self._look(self._group) else IDLE_SECONDS

    async def _look(self, group: TaskGroup) -> bool:
        """Begin the oldest that may begin. True: look again soon."""
        if not self._idle.is_set() or self._stopping:
            return True
        mine = [name for name, account in self._accounts.items() if account.ownership.held]
        waiting = await self._store.renormalizations.active(mine) if mine else []
        ready = [one for one in waiting if not self._paused(one.integration, one.resource)]
        if ready:
            self._idle.clear()
            group.start_soon(self._work, ready[0], name=f"renormalize {ready[0].integration}/{ready[0].resource}")
        return bool(waiting) or len(mine) < len(self._accounts)

    async def _work(self, one: Renormalization) -> None:
        account = self._accounts[one.integration]
        try:
            await self._read(account, one)
        except OwnershipError as error:
            log.info("renormalization_left", integration=one.integration, resource=one.resource, reason=str(error))
        except StoreError as error:
            log.debug("renormalizations_wait", partner=self._partner, reason=str(error))
            await self._clock.sleep(LOOK_SECONDS)
        except Exception as error:
            log.exception("work_crashed", partner=self._partner, work=f"renormalization {one.id}")
            await self._store.renormalizations.fail(one, fence=account.fence, reason=f"{type(error).__name__}: {error}")
        finally:
            self._idle.set()
            self._wake.set()

    async def _read(self, account: Account, waiting: Renormalization) -> None:
        fence = account.fence
        plan = account.plans.get(waiting.resource)
        one = await self._store.renormalizations.take(
            waiting, scope=account.scope, fence=fence, reading=reading_of(plan, waiting) if plan is not None else ""
        )
        if one is None:
            return
        if plan is None:
            await self._store.renormalizations.fail(
                one, fence=fence, reason=f"{account.name} has no resource {one.resource} any more"
            )
            return
        if one.deaths >= DEATHS:
            after = f"after {one.cursor}" if one.cursor else "at the first records"
            reason = (
                f"the process ended {one.deaths} times in a row while adapter and driver had a batch in hand, {after}"
            )
            log.error("renormalization_failed", integration=one.integration, resource=one.resource, reason=reason)
            await self._store.renormalizations.fail(one, fence=fence, reason=reason)
            return
        walk = Walk(account, plan, one, fence)
        began = self._clock.monotonic()
        if await walk.run(lambda: not self._stopping and not self._paused(one.integration, one.resource)):
            log.info(
                "renormalization_ended",
                partner=self._partner,
                integration=one.integration,
                resource=one.resource,
                renormalization_id=one.id,
                dry=one.dry,
                **walk.told,
                seconds=round(self._clock.monotonic() - began, 3),
            )
        else:
            await self._store.renormalizations.give_back(one, fence=fence)


def reading_of(plan: ResourcePlan, one: Renormalization) -> str:
    """By what its records are read. What the file changes under it must not stay half done."""
    by = one.adapter or (plan.adapter if plan.rollout is None else str(plan.rollout.ends))
    return codec.fingerprint({"told": plan.resource.model_dump_json()}, by)[1].hex()
