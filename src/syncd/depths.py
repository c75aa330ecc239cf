"""The queues as a person sees them: how much waits, since when, how fast it goes, when it will be gone, and what holds it.

Depths are counted now and then, rates are what left a queue while something waited in it, and where a partner's limits let
less through than that, their forecast says how long the rest takes. A queue that is full beside workers that live is load;
one beside workers that do not is a defect: both figures stand together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from anyio import to_thread

from syncd import metrics, planning
from syncd.clock import Clock
from syncd.config import PartnerConfig
from syncd.errors import SyncdError
from syncd.limits.capacity import Stream
from syncd.model import Lane
from syncd.store import Store
from syncd.store.queues import INBOX, OUTBOX, Depth, queue_of
from syncd.supervisor import Running, Supervisor
from syncd.sync.loads import ScopeLoad
from syncd.sync.pool import CAPACITY, Pool

LEAST_SECONDS = 1.0
"""Depths are counted at most so often; and never so often that counting takes more than a twentieth of the time."""
COUNTING_SHARE = 20.0
RATE_SECONDS = 60.0
"""A rate is an average over about this long."""
FULL_SHARE = 0.8
LIMITS_SECONDS = 60.0
"""What limits let through is looked at anew after so long."""
QUEUES = (INBOX, *(queue_of(lane) for lane in Lane), OUTBOX)


@dataclass(slots=True)
class _Queue:
    """What is remembered of one queue between two counts."""

    waiting: int = 0
    """Rows that are not finished, those taken into memory among them."""
    under_way: int = 0
    """Those taken."""
    oldest_at: datetime | None = None
    """Of those that somebody works on."""
    left: dict[str, int] = field(default_factory=dict)
    """Not finished, of integrations that are not configured or switched off."""
    by: dict[str, int] = field(default_factory=dict)
    """Not finished, by integration."""
    due: dict[str, int] = field(default_factory=dict)
    """Not taken, and their time has come, by integration that is worked on."""
    ended: int = 0
    """What had left it at the last count, in all."""
    rate: float | None = None
    """What leaves it in a second; None: not known yet."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a partner's limits let through, as it was found at a moment."""

    config: PartnerConfig
    at: float
    loads: Sequence[ScopeLoad]


class Depths:
    """Counts the queues and says what becomes of them. `measure` is called every few seconds."""

    def __init__(
        self,
        store: Callable[[], Store | None],
        supervisor: Callable[[], Supervisor | None],
        clock: Clock,
        *,
        worked: Callable[[], Collection[str]],
    ) -> None:
        """`worked`: the integrations that are configured and switched on: what others left waits until they come back, and
        is no work that is late.
        """
        self._store = store
        self._worked = worked
        self._supervisor = supervisor
        self._clock = clock
        self._queues = {name: _Queue() for name in QUEUES}
        self._ended: dict[tuple[int, str], int] = {}
        self._loads: dict[str, _Known] = {}
        """By partner."""
        self._measured: float | None = None
        self._next = float("-inf")
        for lane, capacity in CAPACITY.items():
            metrics.BOUND.labels(f"lane_{lane.name.lower()}").set(capacity)

    async def measure(self) -> None:
        """Count, where it is time to. Raises StoreError."""
        now, store = self._clock.monotonic(), self._store()
        if store is None or now < self._next:
            return
        found = await store.queues.depths()
        took = self._clock.monotonic() - now
        self._next = now + max(LEAST_SECONDS, took * COUNTING_SHARE)
        passed = now - self._measured if self._measured is not None else None
        self._measured = now
        left, worked = self._left(), set(self._worked())
        for name, queue in self._queues.items():
            self._count(queue, [depth for depth in found if depth.queue == name], left.get(name, 0), passed, worked)
        self._tell()
        await self._look_at_limits()

    def due(self) -> dict[str, dict[str, int]]:
        """What could be taken as of the last count, by queue and integration."""
        return {name: queue.due for name, queue in self._queues.items()}

    def overdue_seconds(self) -> float:
        """For how long a count has been due that has not come; 0 before the first."""
        return 0.0 if self._measured is None else max(self._clock.monotonic() - self._next, 0.0)

    def under_way(self, queue: str) -> int:
        """What is taken of a queue, as of the last count."""
        return self._queues[queue].under_way

    def _left(self) -> dict[str, int]:
        """What left each queue since the last count, on this instance."""
        found: dict[str, int] = {}
        ended: dict[tuple[int, str], int] = {}
        for one in self._running():
            for account in one.runner.accounts.values():
                for name, count in account.flow.ended.items():
                    key = (id(account.flow), name)
                    ended[key] = count
                    found[name] = found.get(name, 0) + max(count - self._ended.get(key, 0), 0)
        self._ended = ended
        return found

    @staticmethod
    def _count(
        queue: _Queue, depths: Iterable[Depth], left: int, passed: float | None, worked: Collection[str]
    ) -> None:
        before = queue.waiting
        depths = list(depths)
        unfinished = {depth.integration: depth.waiting + depth.under_way for depth in depths}
        queue.by = {name: count for name, count in unfinished.items() if count}
        queue.waiting = sum(queue.by.values())
        queue.under_way = sum(depth.under_way for depth in depths)
        queue.due = {depth.integration: depth.due for depth in depths if depth.due and depth.integration in worked}
        queue.left = {name: count for name, count in queue.by.items() if name not in worked}
        queue.oldest_at = min(
            (depth.oldest_at for depth in depths if depth.oldest_at is not None and depth.integration in worked),
            default=None,
        )
        if not passed:
            return
        rate, weight = left / passed, 1 - math.exp(-passed / RATE_SECONDS)
        if not before or not queue.waiting:  # it was empty for part of the time: it goes at least so fast
            queue.rate = max(rate, queue.rate or 0.0) or None
        else:
            queue.rate = rate if queue.rate is None else queue.rate + (rate - queue.rate) * weight

    def _tell(self) -> None:
        now = self._clock.now()
        for name, queue in self._queues.items():
            metrics.QUEUE_LENGTH.labels(name).set(queue.waiting)
            metrics.OLDEST_WORK.labels(name).set(_age(queue.oldest_at, now))
            metrics.QUEUE_RATE.labels(name).set(queue.rate or 0.0)
        for one in self._running():
            pool = one.runner.pool
            metrics.QUEUE_LENGTH.labels(pool.partner).set(pool.waiting)
            metrics.OLDEST_WORK.labels(pool.partner).set(pool.oldest_seconds())
            metrics.WORKERS_ALIVE.labels(pool.partner).set(pool.alive)
            metrics.WORKERS.labels(pool.partner).set(pool.seats)

    # -- what is shown ---------------------------------------------------------------------------------------------

    def view(self) -> list[dict[str, Any]]:
        """The tables' queues and each partner's pool, as plain data."""
        now = self._clock.now()
        running = list(self._running())
        shown = [self._table(name, queue, now, running) for name, queue in self._queues.items()]
        return shown + [_pool(one.runner.pool) for one in running]

    def _table(self, name: str, queue: _Queue, now: datetime, running: list[Running]) -> dict[str, Any]:
        lane = next((lane for lane in Lane if queue_of(lane) == name), None)
        capacity = CAPACITY[lane] * len(running) if lane is not None and running else None
        seconds, binding = self._drain(queue, lane, running)
        return {
            "name": name,
            "kind": "table",
            "waiting": queue.waiting,
            "under_way": queue.under_way,
            "capacity": capacity,
            "oldest_seconds": _age(queue.oldest_at, now),
            "rate_per_second": queue.rate,
            "drains_in_seconds": seconds,
            "bound_by": binding,
            "state": _state(queue.waiting, capacity, _held(queue.by, running), dead=_dead(running)),
            "integrations": dict(sorted(queue.by.items())),
            "left": dict(sorted(queue.left.items())),
        }

    def _drain(self, queue: _Queue, lane: Lane | None, running: list[Running]) -> tuple[float | None, str | None]:
        """Seconds until all that waits is done if nothing more comes, and the limit that makes it so long."""
        if not queue.waiting:
            return 0.0, None
        measured = queue.waiting / queue.rate if queue.rate else None
        if lane is None:
            return measured, None
        told = [self._forecast(one, lane) for one in running]
        limited = max((each for each in told if each is not None), default=None)
        if limited is None or (measured is not None and measured >= limited[0]):
            return measured, None
        return limited

    def _forecast(self, one: Running, lane: Lane) -> tuple[float, str] | None:
        """How long the limits make the tasks of these lanes last, a call each; None where none of the partner's wait."""
        worst: tuple[float, str] | None = None
        known = self._loads.get(one.built.config.name)
        for load in known.loads if known is not None else ():
            members = [account for account in one.runner.accounts.values() if account.scope == load.scope]
            calls = sum(self._before(account.name, lane) for account in members)
            if not calls:
                continue
            lasts = load.lasts([Stream(calls, frozenset({"read"}), flight=one.runner.pool.seats)])
            first = float((members[0].gate.view().get("next_call") or {}).get("in_seconds") or 0.0)
            if worst is None or first + lasts.seconds > worst[0]:
                worst = (first + lasts.seconds, lasts.binding)
        return worst

    async def _look_at_limits(self) -> None:
        """What the scopes of partners with unfinished tasks let through: some milliseconds each, so not on the loop."""
        now = self._clock.monotonic()
        running = list(self._running())
        for one in running:
            config = one.built.config
            known = self._loads.get(config.name)
            fresh = known is not None and known.config is config and now - known.at < LIMITS_SECONDS
            if fresh or not any(self._before(name, Lane.LOW) for name in one.runner.accounts):
                continue
            accounts = list(one.runner.accounts.values())
            sight = planning.Sight(
                answered={each.name: (each.session.spent.seconds, each.session.spent.calls) for each in accounts
                          if each.session.spent.calls},
                gates={each.scope: each.gate.view() for each in accounts},
            )  # fmt: skip
            try:
                loads = await to_thread.run_sync(planning.scopes_of, config, sight)
            except SyncdError:
                loads = []
            self._loads[config.name] = _Known(config, now, loads)
        self._loads = {name: known for name, known in self._loads.items() if any(
            one.built.config.name == name for one in running)}  # fmt: skip

    def _before(self, integration: str, lane: Lane) -> int:
        """Tasks of an integration that are not finished, of this lane or a more urgent one."""
        return sum(self._queues[queue_of(each)].by.get(integration, 0) for each in Lane if each <= lane)

    def _running(self) -> Iterable[Running]:
        supervisor = self._supervisor()
        return supervisor.running.values() if supervisor is not None else ()


def _pool(pool: Pool) -> dict[str, Any]:
    """One partner's coroutines and what waits for them in memory."""
    capacity = sum(pool.capacity.values())
    lengths = pool.lengths()
    return {
        "name": pool.partner,
        "kind": "pool",
        "waiting": pool.waiting,
        "under_way": pool.held,
        "capacity": capacity,
        "oldest_seconds": pool.oldest_seconds(),
        "lanes": {lane.name.lower(): {"waiting": lengths[lane], "capacity": pool.capacity[lane]} for lane in Lane},
        "workers": {"alive": pool.alive, "total": pool.seats},
        "state": _state(pool.waiting, capacity, held=False, dead=pool.alive < pool.seats),
    }


def _state(waiting: int, capacity: int | None, held: bool, *, dead: bool) -> str:
    """In one word: `empty`, `flows`, `held` (paused, or a breaker or a credential bars it), `full`, `no_workers`."""
    if not waiting:
        return "empty"
    if dead:
        return "no_workers"
    if held:
        return "held"
    return "full" if capacity and waiting >= capacity * FULL_SHARE else "flows"


def _dead(running: list[Running]) -> bool:
    return bool(running) and all(one.runner.pool.alive == 0 for one in running)


def _held(by: Mapping[str, int], running: list[Running]) -> bool:
    """Is none of the integrations in it one that may work now?"""
    for one in running:
        for name, account in one.runner.accounts.items():
            if name in by and account.may_call() and name not in one.runner.paused:
                return False
    return bool(by)


def _age(at: datetime | None, now: datetime) -> float:
    return max((now - at).total_seconds(), 0.0) if at is not None else 0.0
