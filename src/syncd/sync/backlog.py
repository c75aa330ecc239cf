"""What had piled up while nobody worked: worked off once, and said once, how much of it was worth doing."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from syncd.clock import Clock
from syncd.store import Store
from syncd.sync.account import Account

log = structlog.get_logger()

LOOK_SECONDS = 1.0
WORTH_SAYING = 20
"""A backlog of fewer tasks, none of them skipped, is ordinary work."""


class Backlog:
    """One partner's. What waited when an integration became ours is its backlog, until none of that is left."""

    def __init__(self, partner: str, accounts: Mapping[str, Account], store: Store, clock: Clock) -> None:
        self._partner = partner
        self._accounts = accounts
        self._store = store
        self._clock = clock
        self._look_at = 0.0
        self._until: dict[str, int] = {}
        """The newest task of each backlog."""
        self._before: dict[str, tuple[int, int]] = {}
        """What had been done and skipped when it began."""

    async def begin(self, integration: str) -> None:
        """The integration became ours. Raises StoreError."""
        newest = await self._store.tasks.newest(integration)
        if newest is not None:
            flow = self._accounts[integration].flow
            self._until[integration] = newest
            self._before[integration] = (flow.done, flow.skipped.total())

    async def look(self) -> None:
        """Say what became of a backlog that is over. Raises StoreError."""
        now = self._clock.monotonic()
        if not self._until or now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        for name, newest in list(self._until.items()):
            if await self._store.tasks.any_ready(name, up_to=newest):
                continue
            flow = self._accounts[name].flow
            ran, skipped = self._before.pop(name)
            del self._until[name]
            ran, skipped = flow.done - ran, flow.skipped.total() - skipped
            if skipped or ran >= WORTH_SAYING:
                log.info(
                    "backlog_worked_off",
                    partner=self._partner,
                    integration=name,
                    told=f"skipped {skipped:,} stale tasks, ran {ran:,} fresh ones",
                    skipped=skipped,
                    ran=ran,
                )
