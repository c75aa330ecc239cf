"""Carrying on whatever replay there is, one begun before a restart too.

Any instance may: a step is one transaction under a lock of the replay's row.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.store import REPLAYS, Store, reached
from syncd.store.database import DataRefusedError
from syncd.store.replay_steps import PORTION
from syncd.sync.part import Looking

log = structlog.get_logger()

LOOK_SECONDS = 0.25
"""How often replays under way are carried on."""
IDLE_SECONDS = 5.0
"""How often somebody looks for a replay of which no word came."""


class Carrying(Looking):
    """Moves the replays; what cannot go on holds up no other."""

    def __init__(self, store: Callable[[], Store | None], clock: Clock) -> None:
        super().__init__("replays", "", clock, look_seconds=IDLE_SECONDS)
        self._store_now = store
        self._listens = False
        self._said = False
        """That the database is away."""
        self._stuck: set[int] = set()
        """Replays whose next step the database refuses; said once of each."""
        self._late: set[int] = set()
        """Replays that could not be carried on in the last round, while others could."""
        for origin, portion in PORTION.items():
            metrics.BOUND.labels(f"replayed_{origin}").set(portion)

    async def _turn(self, woken: bool) -> float:
        store = self._store()
        if not self._listens:
            await store.listen(REPLAYS, lambda _: self.wake())
            self._listens = True
        wait = LOOK_SECONDS if await self._carry_on(store) else IDLE_SECONDS
        self._said = False
        return wait

    def _waits(self, error: StoreError) -> float:
        if not self._said:
            log.warning("replays_wait", reason=str(error))
        self._said = True
        return IDLE_SECONDS

    async def _carry_on(self, store: Store) -> bool:
        """One round over all replays. False: there is none. Raises StoreError where none of them could be carried on."""
        running = await store.replays.running()
        failed: dict[int, StoreError] = {}
        for integration, replay in running:
            # One that cannot go on must not hold up the others.
            try:
                await self._carry(store, integration, replay)
            except DataRefusedError as error:
                if replay not in self._stuck:
                    log.error("replay_stuck", integration=integration, replay_id=replay, reason=str(error))
                self._stuck.add(replay)
            except StoreError as error:
                failed[replay] = error
        if failed and len(failed) == len(running):
            raise next(iter(failed.values()))
        for replay, trouble in failed.items():
            if replay not in self._late:
                log.warning("replay_waits", replay_id=replay, reason=str(trouble))
        self._late = set(failed)
        return bool(running)

    async def _carry(self, store: Store, integration: str, replay: int) -> None:
        """One replay, as far as it goes now. Raises StoreError."""
        while await store.replays.step(integration, replay):
            pass
        over = await store.replays.get(integration, replay)
        if over is None or over.ended_at is None:
            return
        ended = await store.replays.standing(integration, replay)
        if ended is not None:
            say = log.warning if ended.replay.state == "stopped" else log.info
            say(
                "replay_ended",
                integration=integration,
                resource=ended.replay.resource,
                replay_id=replay,
                outcome=ended.replay.state,
                sent=ended.replay.sent,
                failed=ended.failed,
                left=ended.replay.total - ended.replay.sent,
                reason=ended.replay.reason,
            )

    def _store(self) -> Store:
        return reached(self._store_now())
