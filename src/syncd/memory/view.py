"""What the admin API tells of memory: figures, the ceiling, what holds how much of what it may, and the trace under way."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from syncd.errors import StoreError
from syncd.memory.keeper import Keeper
from syncd.memory.trace import Trace
from syncd.model import Lane
from syncd.slow_steps import SlowSteps
from syncd.store import Store
from syncd.store.intake import Intake
from syncd.store.intake_line import WAITING_ROWS
from syncd.supervisor import Supervisor
from syncd.sync.runner import WISHES_REMEMBERED


class MemoryView:
    """`supervisor` and `store` answer None until there is one."""

    def __init__(
        self,
        keeper: Keeper,
        trace: Trace,
        steps: SlowSteps,
        intake: Intake,
        supervisor: Callable[[], Supervisor | None],
        store: Callable[[], Store | None],
    ) -> None:
        self._keeper = keeper
        self._trace = trace
        self._steps = steps
        self._intake = intake
        self._supervisor = supervisor
        self._store = store

    def view(self) -> dict[str, Any]:
        keeper, narrowing = self._keeper, self._keeper.narrowing
        return {
            "rss_bytes": keeper.rss,
            "highest_bytes": keeper.highest,
            "ceiling": {"bytes": keeper.ceiling.size or None, "told_by": keeper.ceiling.told_by},
            "narrowing": {
                "level": narrowing.level,
                "most": narrowing.most,
                "says": keeper.told(),
                "since": keeper.since,
                "held": narrowing.held,
                "waiting": narrowing.waiting,
            },
            "given_back": keeper.trims,
            "gc": {
                "counts": list(gc.get_count()),
                "frozen": gc.get_freeze_count(),
                "thresholds": list(gc.get_threshold()),
            },
            "holds": self._holds(),
            "slow_step": self._steps.last,
            "trace": self._trace.standing(),
            "last_trace_at": self._trace.last["at"] if self._trace.last is not None else None,
        }

    def _holds(self) -> list[dict[str, Any]]:
        """What is bounded and may hold much, fullest first: {name, holds, most, unit}."""
        supervisor = self._supervisor()
        running = list(supervisor.running.values()) if supervisor is not None else []
        inflight = next((account.inflight.inflight for one in running for account in one.built.accounts.values()), None)
        found = [("deliveries on their way to the table", self._intake.waiting, WAITING_ROWS, "rows")]
        if inflight is not None:
            found.append(("answers read and not yet stored", inflight.used, inflight.most_bytes, "bytes"))
            found.append(("answers larger than a quarter of that", int(inflight.large), 1, "answers"))
        for lane in Lane:
            waiting = sum(one.runner.pool.lengths()[lane] for one in running)
            most = sum(one.runner.pool.capacity[lane] for one in running)
            found.append((f"work that waits in the {lane.name.lower()} lane", waiting, most, "pieces"))
        wishes = sum(len(one.runner.wishes) for one in running)
        found.append(("wishes that somebody may look at", wishes, WISHES_REMEMBERED * len(running), "wishes"))
        return [
            {"name": name, "holds": holds, "most": most, "unit": unit}
            for name, holds, most, unit in sorted(found, key=lambda one: one[1] / max(one[2], 1), reverse=True)
        ]

    async def start(self, *, who: str, seconds: float, frames: int) -> dict[str, Any]:
        found = await self._trace.start(who=who, seconds=seconds, frames=frames)
        await self._note(who, "memory_trace_started", {"seconds": seconds, "frames": frames})
        return found

    async def snapshot(self, top: int) -> dict[str, Any]:
        return await self._trace.snapshot(top)

    async def stop(self, *, who: str) -> dict[str, Any] | None:
        found = await self._trace.stop(why=f"asked by {who}")
        if found is not None:
            await self._note(who, "memory_trace_stopped", {"grown_bytes": found["grown_bytes"]})
        return found

    async def _note(self, who: str, action: str, after: dict[str, Any]) -> None:
        """In the audit log, where there is a database: memory is looked at without one, too."""
        store = self._store()
        if store is not None:
            with suppress(StoreError):
                await store.audit.add(who, action, after=after)
