"""Rows of `outbox` into one partner's pool: of each record its oldest push, records beside each other.

Memory holds no more than whose turn it is; a push is taken, and its attempt counted, by the coroutine that sends it. Pushes
of what a breaker bars, or somebody paused, stay rows and spend nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

import structlog

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.kit import Change
from syncd.limits import MANY
from syncd.model import Lane
from syncd.store import POISON, SUSPECT, PushRow, Store
from syncd.sync.account import Account
from syncd.sync.decide import RetryPolicy
from syncd.sync.part import Looking
from syncd.sync.pool import Pool
from syncd.sync.sending import PATIENCE, Sender

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""How often it looks for pushes when nothing woke it."""
LOOK_ALL_SECONDS = 60.0
"""How often it looks for what is past its time, and for what somebody before us left taken."""
AT_ONCE = 64
"""Pushes of a partner that may wait for a coroutine or be under way (R12)."""
LEAST_EACH = 4
"""So many each of its integrations always may have."""


class Pushes(Looking):
    """One partner's pushes. `paused(integration, resource)` tells whether somebody holds them; an empty resource: all."""

    def __init__(
        self,
        partner: str,
        accounts: Mapping[str, Account],
        pool: Pool,
        store: Store,
        clock: Clock,
        policy: RetryPolicy | None = None,
        *,
        paused: Callable[[str, str], bool] = lambda integration, resource: False,
    ) -> None:
        super().__init__("pushes", partner, clock, look_seconds=LOOK_SECONDS)
        self._accounts = accounts
        self._pool = pool
        self._store = store
        self._paused = paused
        self._senders = {name: Sender(account, policy or PATIENCE) for name, account in accounts.items()}
        self._out: dict[tuple[str, int], bool] = {}
        """Pushes that wait for a coroutine or are under way; True: under way."""
        self._share = max(AT_ONCE // max(len(accounts), 1), LEAST_EACH)
        """What one integration may have out, so that its backlog bars nobody else's pushes."""
        self._suspected: set[tuple[str, int]] = set()
        """Those out that may be what ends the process: never two."""
        self._freed: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        """The fence under which what waited before us was asked about, by integration."""
        self._strayed: set[str] = set()
        """Integrations of which one may be taken and in nobody's hand: a taking was committed although nobody heard of it, or
        an outcome was not written."""
        self._look_all_at = 0.0
        metrics.BOUND.labels("pushes").set(AT_ONCE)

    # -- what others call ------------------------------------------------------------------------------------------

    async def _turn(self, woken: bool) -> float:
        await self.feed()
        return LOOK_SECONDS

    async def stop(self) -> None:
        """Take nothing more; come back when what is under way has ended. What only waits for a coroutine is a row."""
        self._stopping = True
        self._wake.set()
        while any(self._out.values()):
            self._wake.clear()
            await self._wake.wait()

    def give_back(self) -> None:
        """Forget what has not begun: it never left its row."""
        self._out = {key: begun for key, begun in self._out.items() if begun}

    # -- taking ----------------------------------------------------------------------------------------------------

    async def feed(self) -> int:
        """Hand out those whose turn it is; returns how many. Raises StoreError, OwnershipError."""
        owned = {
            name: account.fence
            for name, account in self._accounts.items()
            if account.may_call() and not self._paused(name, "") and self._any_may_go(name)
        }
        if self._stopping or not owned:
            return 0
        now = self._clock.monotonic()
        look_all = now >= self._look_all_at
        await self._free(owned, again=look_all)
        await self._order(owned)
        if look_all:
            self._look_all_at = now + LOOK_ALL_SECONDS
            await self._expire(list(owned))
        held = Counter(name for name, _ in self._out)
        if all(held[name] >= self._share for name in owned) or not self._pool.room(Lane.HIGH):
            return 0
        handed = 0
        waiting = await self._store.outbox.ready(
            list(owned), limit=self._share + len(self._out), without=self._barred(list(owned))
        )
        for ready in waiting:
            key = (ready.integration, ready.id)
            if key in self._out or held[ready.integration] >= self._share:
                continue
            if not self._may_go(ready.integration, ready.resource):
                continue
            if ready.suspicion >= SUSPECT:
                if self._suspected:
                    continue
                self._suspected.add(key)
            self._out[key] = False
            if self._pool.offer(
                ready.integration, Lane.HIGH, f"push:{ready.id}", partial(self._work, *key, ready.resource)
            ):
                handed += 1
                held[ready.integration] += 1
            else:
                self._ended(key)
        return handed

    async def _free(self, owned: Mapping[str, int], *, again: bool) -> None:
        """What another owner had taken is free again (R5): once for each new fence, and `again` now and then, since a taking
        of the one before us may have been committed after we looked. `again` also what is taken under our own and not here:
        so may a taking that a reload cut off have been.

        At the very first look that is whatever is taken: one before us, which crashed or was cut short by a reload, may have
        had the fence we have.
        """
        for name, fence in owned.items():
            if again or self._freed.get(name) != fence:
                first, scope = name not in self._freed, self._accounts[name].scope
                freed = await self._store.outbox.free(name, scope=scope, fence=fence, first=first)
                self._freed[name] = fence
                if freed:
                    log.info("lost_pushes_freed", partner=self._partner, integration=name, count=freed)
        strayed = {name: fence for name, fence in owned.items() if again or name in self._strayed}
        if strayed:
            self._strayed -= strayed.keys()  # before we look: what breaks off meanwhile adds it again
            try:
                await self._store.outbox.free_strays(strayed, held=[number for _, number in self._out])
            except StoreError:
                self._strayed |= strayed.keys()
                raise

    async def _order(self, owned: Mapping[str, int]) -> None:
        """Ask the drivers what identifies the records of pushes without an id, so that these keep their order too.

        Those there before us may be what ended the process before us: that they are in hand is said beforehand, of all
        together, and of each by itself once it ended over all of them. After the fifth time one is not asked about any
        more, and becomes a dead letter when its turn comes.
        """
        outbox = self._store.outbox
        left = [name for name, fence in owned.items() if self._asked.get(name) != fence]
        while left and (found := await outbox.unordered(left)):
            for some in ([push for push in found if not push.suspicion], *([push] for push in found if push.suspicion)):
                poison = len(some) == 1 and some[0].suspicion >= POISON
                if some and not poison:
                    await outbox.doubt([(push.integration, push.id) for push in some])
                await outbox.order(
                    {(push.integration, push.id): "" if poison else self._order_key(push) for push in some},
                    settles=not poison,
                )
        self._asked.update((name, owned[name]) for name in left)
        while fresh := await outbox.unordered(list(owned)):
            await outbox.order({(push.integration, push.id): self._order_key(push) for push in fresh})

    def _order_key(self, push: PushRow) -> str:
        account = self._accounts[push.integration]
        plan = account.plans.get(push.resource)
        change = Change(push.resource, None, push.operation, push.payload, push.idempotency_key)
        try:
            return account.driver.order_key(plan.resource, change) if plan is not None else ""
        except Exception:
            return ""  # what is wrong with it is said when it is checked

    async def _expire(self, owned: list[str]) -> None:
        dropped = await self._store.outbox.expire(owned)
        if dropped:
            log.info("pushes_expired", partner=self._partner, count=dropped)

    def _barred(self, owned: list[str]) -> list[str]:
        """`integration/resource` of those that may not go now: a breaker is open, or somebody paused them."""
        return [
            f"{name}/{resource}"
            for name in owned
            for resource in self._accounts[name].plans
            if not self._takes(name, resource) or self._paused(name, resource)
        ]

    def _any_may_go(self, name: str) -> bool:
        """Not while everything is barred: then it is not even asked for."""
        plans = self._accounts[name].plans
        return not plans or any(self._takes(name, resource) for resource in plans)

    def _takes(self, name: str, resource: str) -> int:
        account = self._accounts[name]
        if resource not in account.plans:
            return MANY  # it is taken to be refused
        return min(account.gate.breakers.takes(group) for group in account.needs(resource))

    def _may_go(self, name: str, resource: str) -> bool:
        """While a breaker is half-open one push goes, and finds out."""
        return self._takes(name, resource) >= MANY or not any(integration == name for integration, _ in self._out)

    # -- working ---------------------------------------------------------------------------------------------------

    async def _work(self, integration: str, push_id: int, resource: str) -> None:
        key = (integration, push_id)
        try:
            if self._stopping or key not in self._out:
                return
            self._out[key] = True
            if self._paused(integration, resource):
                return
            account = self._accounts[integration]
            push = await self._store.outbox.take(integration, push_id, scope=account.scope, fence=account.fence)
            if push is not None:
                await self._senders[integration].send(push)
        except StoreError as error:
            # Not ours any more, or only for a moment: then nobody but us would ever free it.
            self._strayed.add(integration)
            log.debug("pushes_wait", partner=self._partner, reason=str(error))
        except Exception:
            self._strayed.add(integration)  # a fault of ours: its row must not stay taken
            raise
        finally:
            self._ended(key)
            held = sum(name == integration for name, _ in self._out)
            if held <= self._share // 2 or self._stopping:  # while many wait for a coroutine, a look finds no room
                self._wake.set()

    def _ended(self, key: tuple[str, int]) -> None:
        self._out.pop(key, None)
        self._suspected.discard(key)
