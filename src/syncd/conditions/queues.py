"""Work that could be done and is not.

Waiting is no trouble: for a limit, a breaker, a pause, a credential, another instance, for its time, or for a seat that
others have while they make progress. What is left is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from syncd import own_troubles
from syncd.clock import Clock
from syncd.conditions.own import Trouble
from syncd.depths import Depths
from syncd.explain import State
from syncd.supervisor import Running, Supervisor
from syncd.sync import outage
from syncd.sync.account import Account

IDLE_SECONDS: Final = 20.0
"""So long nothing has left a queue although something in it could be done, and nobody is at it."""
HANGING_SECONDS: Final = 90.0
"""So long those who are at it have made no progress. Longer than any call may take."""
OVERDUE_SECONDS: Final = 25.0
"""So long a count that was due has not come, it says nothing of what waits now."""
MANY: Final = 5_000
"""A queue as long as this, of which nothing leaves, is stuck whoever is at it."""

_FREE: Final = frozenset({State.HEALTHY, State.DEGRADED})


class QueueWatch:
    """Compares what each queue holds with what has left it since."""

    def __init__(
        self,
        depths: Depths,
        supervisor: Callable[[], Supervisor | None],
        clock: Clock,
        *,
        cannot_store: Callable[[], str] = lambda: "",
    ) -> None:
        """`cannot_store`: why nothing can be stored now, as far as known: that is the trouble then, and no queue."""
        self._cannot_store = cannot_store
        self._depths = depths
        self._supervisor = supervisor
        self._clock = clock
        self._ended: dict[str, int] = {}
        self._idle_since: dict[str, float] = {}
        """By queue: since when nothing has left it while something could be done."""

    def trouble(self) -> Trouble | None:
        now = self._clock.monotonic()
        running = self._running()
        stuck: dict[str, int] = {}
        since = now
        blind = bool(self._cannot_store())
        if blind or self._depths.overdue_seconds() > OVERDUE_SECONDS:
            self._idle_since.clear()  # nobody knows what left meanwhile, and whether it could have
        ended = self._ended_now(running)
        for queue, due in self._depths.due().items():
            ready = [one for one in running if self._takes(one, due)]
            moved = ended.get(queue, 0) != self._ended.get(queue, 0)
            if moved or not ready or queue not in self._idle_since:
                self._idle_since[queue] = now
            idle = now - self._idle_since[queue]
            waiting = sum(due.values())
            if ready and self._hangs(idle, waiting, ready, under_way=self._depths.under_way(queue)):
                stuck[queue] = waiting
                since = min(since, self._idle_since[queue])
        self._ended = ended
        for one in () if blind else running:  # what was taken into memory and finds no hand there
            if one.runner.pool.stuck(IDLE_SECONDS):
                stuck[f"the pool of {one.runner.pool.partner}"] = one.runner.pool.waiting
                since = min(since, one.runner.pool.moved_at)
        if not stuck:
            return None
        told = own_troubles.queue_stuck(sorted(stuck), sum(stuck.values()), now - since)
        return Trouble(State.DOWN, told)

    def _hangs(self, idle: float, waiting: int, ready: Iterable[Running], *, under_way: int) -> bool:
        now = self._clock.monotonic()
        pools = [one.runner.pool for one in ready]
        unmoved = all(now - pool.moved_at > HANGING_SECONDS for pool in pools)
        free = any(pool.held < pool.seats for pool in pools)
        if waiting > MANY and idle > IDLE_SECONDS:
            return True
        return idle > IDLE_SECONDS and ((free and not under_way) or unmoved)

    @staticmethod
    def _takes(one: Running, due: Mapping[str, int]) -> bool:
        """Is there something due of an integration of this partner that nothing holds back?"""
        return any(
            due.get(name) and not any(key.split("/")[0] == name for key in one.runner.paused) and _is_free(account)
            for name, account in one.runner.accounts.items()
        )

    @staticmethod
    def _ended_now(running: Iterable[Running]) -> dict[str, int]:
        found: dict[str, int] = {}
        for one in running:
            for account in one.runner.accounts.values():
                for queue, count in account.flow.ended.items():
                    found[queue] = found.get(queue, 0) + count
        return found

    def _running(self) -> list[Running]:
        supervisor = self._supervisor()
        return list(supervisor.running.values()) if supervisor is not None else []


def _is_free(account: Account) -> bool:
    if not account.may_call():
        return False
    view, needs = account.gate.view(), account.all_needs
    if any(outage.blocked(view, group) is not None for groups in needs for group in groups):
        return False
    return account.health.judge(view, account.clock.now(), needs)[0] in _FREE
