"""Stored raw records read again by an adapter, without a call: in batches, each committed with its cursor.

It is a row that somebody asked for (R3); whoever owns the scope works on it, and goes on at the cursor after any death. A
batch changes only what is still stored as it was read, so a run, a webhook or a push meanwhile keeps what is newer (R7).
After the records come the rejects: one that the adapter reads now becomes a record.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from syncd import codec
from syncd.store import Renormalization
from syncd.sync.account import Account
from syncd.sync.long_work import LongWork
from syncd.sync.plan import ResourcePlan
from syncd.sync.renormalize_walk import Walk

log = structlog.get_logger()

DEATHS = 3
"""So often in a row the process may end over it; then it waits for a person to ask again."""


class Renormalizing(LongWork[Renormalization]):
    """One partner's, one at a time."""

    word, at_once, look_seconds = "renormalization", 1, 1.0

    def _may(self, account: Account) -> bool:
        return account.ownership.held

    async def _active(self, names: Sequence[str]) -> Sequence[Renormalization]:
        return await self._store.renormalizations.active(names)

    async def _crashed(self, account: Account, one: Renormalization, error: Exception) -> None:
        await self._store.renormalizations.fail(one, fence=account.fence, reason=f"{type(error).__name__}: {error}")

    async def _do(self, account: Account, waiting: Renormalization) -> None:
        fence = account.fence
        plan = account.plans.get(waiting.resource)
        one = await self._store.renormalizations.take(
            waiting, scope=account.scope, fence=fence, reading=reading_of(plan, waiting) if plan is not None else None
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
        if await walk.run(lambda: self._goes_on(one)):
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
