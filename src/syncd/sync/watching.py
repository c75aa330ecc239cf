"""What was learned of records on their way is written down beside the work: shapes, and what adapters in shadow would do.

Both are counts; what a killed process had not written is looked at again or lost, and no row depends on it. Acceptances of
what is new are rows (R3): whoever owns the scope carries them out here.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from syncd.clock import Clock
from syncd.errors import OwnershipError, StoreError
from syncd.store import Store
from syncd.sync.account import Account
from syncd.sync.part import Looking

log = structlog.get_logger()

LOOK_SECONDS = 5.0
STOP_SECONDS = 2.0


class Watching(Looking):
    """One partner's."""

    def __init__(self, partner: str, accounts: Mapping[str, Account], store: Store, clock: Clock) -> None:
        super().__init__("watching", partner, clock, look_seconds=LOOK_SECONDS)
        self._accounts = accounts
        self._store = store
        for account in accounts.values():
            if account.processor.watch is not None:
                account.processor.watch.woken = self.wake
        self._fences: dict[str, int] = {}
        """By integration: the fence under which what is stored was read."""

    async def stop(self) -> None:
        """Write what there is, unless the database takes too long for it: they are counts."""
        await super().stop()
        try:
            async with self._clock.timeout(STOP_SECONDS):
                await self._turn(False)
        except (StoreError, OwnershipError, TimeoutError) as error:
            log.debug("watching_wait", partner=self._partner, reason=str(error))

    async def _turn(self, woken: bool) -> float:
        held = [name for name, account in self._accounts.items() if account.ownership.held]
        wishes = await self._store.schemas.wishes(held) if held else {}
        for name in held:
            await self._keep(
                self._accounts[name], woken, {key[1]: each for key, each in wishes.items() if key[0] == name}
            )
        return LOOK_SECONDS

    async def _keep(self, account: Account, woken: bool, wishes: Mapping[str, int]) -> None:
        name = account.name
        watch, fence = account.processor.watch, account.fence
        if watch is not None:
            if self._fences.setdefault(name, fence) != fence:  # another instance had it meanwhile
                watch.load(await self._store.schemas.of(name))
                self._fences[name] = fence
            await watch.ready(self._store)
            if not woken or self._stopping:
                for resource in watch.resources:
                    watch.settle(resource)
            for resource, number in wishes.items():
                if watch.accept(resource, number):
                    await self._store.renormalizations.ask(name, resource, who="schema accept")
            writes = watch.writes(all_of_it=self._stopping)
            if writes:
                await self._store.schemas.put(name, account.scope, fence, writes)
        tried = [found for trial in account.processor.trials.values() if (found := trial.taken()) is not None]
        if tried:
            await self._store.trials.add(name, tried)
