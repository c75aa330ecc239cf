"""Ready rows of `tasks` into one partner's pool: the urgent first, only while there is room, never lost (R3).

What memory holds was taken, and what was taken is a row: work that could not begin, or was cut short by shutdown, goes
back untouched; what a dead process had taken is free again under the next fence, what a crashed feeder had under its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import anyio
import structlog

from syncd.clock import Clock
from syncd.errors import OwnershipError, StoreError
from syncd.model import Lane
from syncd.store import POISON, Store, Task
from syncd.sync.account import Account
from syncd.sync.backlog import Backlog
from syncd.sync.letters import letter_of_task
from syncd.sync.pool import Pool
from syncd.sync.probing import Group, Probing
from syncd.sync.suspects import poison
from syncd.sync.traced import traced
from syncd.sync.work import Worker, batches

log = structlog.get_logger()

TAKE_AT_ONCE = 50
LEAST_EACH = 50
"""Pieces of one lane that each integration always may have out."""
EXPIRE_SECONDS = 60.0
FOREIGN_SECONDS = 60.0
"""How often it looks for rows taken under another fence: a taking of the former owner's may arrive after ours has begun."""
EXPIRE_AT_ONCE = 5000
"""Of more than these the rest goes at the next looks: no statement lasts long."""
GIVE_BACK_SECONDS = 3.0
WISHES = ("sync", "reconcile")
"""Kinds that ask for a run instead of being work themselves."""


class Feeder:
    """One partner's way from rows to work. `wished` is handed the tasks that ask for a run."""

    def __init__(
        self,
        partner: str,
        accounts: Mapping[str, Account],
        pool: Pool,
        workers: Mapping[str, Worker],
        wished: Callable[[Task], bool],
        store: Store,
        clock: Clock,
        probing: Probing,
    ) -> None:
        self._partner = partner
        self._accounts = accounts
        self._pool = pool
        self._workers = workers
        self._wished = wished
        self._store = store
        self._clock = clock
        self._probing = probing
        self._freed: dict[str, int] = {}
        self._taken: dict[str, list[Task]] = {}
        """Batches that wait in the pool or are being worked on, by their key there."""
        self._wishes: dict[int, int | None] = {}
        """Wishes that were handed over and have not come to their end, by id, and under which fence they were taken."""
        self._strayed: set[str] = set()
        """Integrations of which rows may say taken that nobody holds: the database broke off while something was taken, ended
        or given back."""
        self._expire_at = 0.0
        self._foreign_at = 0.0
        self._paused: Collection[str] = ()
        """As the last look was told."""
        self._share = {lane: max(pool.capacity[lane] // max(len(accounts), 1), LEAST_EACH) for lane in Lane}
        """What one integration may have out of a lane, so that its backlog bars nobody else's tasks."""
        self._backlog = Backlog(partner, accounts, store, clock)
        self._most = {
            f"{name}/{plan.name}": plan.resource.many.max
            for name, account in accounts.items()
            for plan in account.plans.values()
            if plan.resource.many is not None
        }

    async def feed(self, paused: Collection[str]) -> bool:
        """Take what is ready and fits. True: there may be more at once. Raises StoreError, OwnershipError.

        `paused` names integrations, and resources as `integration/resource`.
        """
        self._paused = paused
        owned = {
            name: account.fence for name, account in self._accounts.items() if name not in paused and account.may_call()
        }
        lanes = [lane for lane in Lane if self._pool.room(lane) >= TAKE_AT_ONCE]
        if not owned or not lanes:
            return False
        try:
            return await self._feed(owned, lanes)
        except StoreError:
            self._strayed |= self._accounts.keys()  # a taking may have been committed, and nobody heard of it
            raise

    async def _feed(self, owned: Mapping[str, int], lanes: Sequence[Lane]) -> bool:
        await self._free(owned)
        await self._free_strays(owned)
        await self._expire(list(owned))
        await self._backlog.look()
        free: list[str] | None = None
        if self._probing.barred(owned):
            # While a breaker is open its work stays in the rows, untouched; while it is half-open one piece goes.
            free = self._probing.open_keys(owned)
            await self._feed_probes(owned, lanes)
        elif any("/" in name for name in self._paused):
            free = [f"{name}/{resource}" for name in owned for resource in self._accounts[name].plans]
        if free is not None:
            free = [key for key in free if key not in self._paused]
        taken = await self._take(owned, lanes, TAKE_AT_ONCE, free)
        await self._hand_over(taken, None)
        return len(taken) >= TAKE_AT_ONCE

    async def _feed_probes(self, owned: Mapping[str, int], lanes: Sequence[Lane]) -> None:
        for group, keys in self._probing.probe_keys(owned).items():
            may = [key for key in keys if key not in self._paused]
            await self._hand_over(await self._take(owned, lanes, 1, may), group)

    async def _take(
        self, owned: Mapping[str, int], lanes: Sequence[Lane], limit: int, resources: list[str] | None
    ) -> list[Task]:
        ready = await self._store.tasks.ready(list(owned), resources=resources) if resources != [] else []
        taken: list[Task] = []
        full = self._full()
        for fence in {owned[name] for name in ready}:
            among = [name for name in ready if owned[name] == fence]
            taken += await self._store.tasks.take(
                among, fence=fence, limit=limit, lanes=lanes, resources=resources, without=full
            )
        return taken

    def _full(self) -> set[tuple[str, Lane]]:
        """The lanes of integrations that have as much out as they may."""
        out = Counter((batch[0].integration, batch[0].lane) for batch in self._taken.values())
        return {(name, lane) for (name, lane), count in out.items() if count >= self._share[lane]}

    async def _hand_over(self, taken: list[Task], probe: Group | None) -> None:
        taken = await self._without_parked(taken)
        for task in taken:
            if task.kind not in WISHES:
                continue
            if self._wished(task):
                self._wishes[task.id] = task.taken_fence
            else:
                await self._store.tasks.drop(task)  # the resource is not synced any more: nobody will ever fulfil it
        for batch in batches([task for task in taken if task.kind not in WISHES], self._most):
            await self._offer(batch, probe)

    async def _without_parked(self, taken: list[Task]) -> list[Task]:
        """Without those equal to one that lies in the dead letters for having killed the process."""
        if not taken:
            return taken
        parked = await self._store.losses.parked(sorted({task.integration for task in taken}))
        if not parked:
            return taken
        for task in taken:
            if (task.integration, task.dedupe_key) in parked and await self._store.tasks.drop(task):
                self._accounts[task.integration].flow.skip(task.integration, task.lane, "poison")
        return [task for task in taken if (task.integration, task.dedupe_key) not in parked]

    def wishes_ended(self, wishes: Iterable[Task], *, stored: bool) -> None:
        """Nobody holds these any more. `stored`: the rows say so too; else they are found taken, and wished for once more."""
        for wish in wishes:
            if self._wishes.get(wish.id) == wish.taken_fence:  # else it was taken anew, and is in hand once more
                self._wishes.pop(wish.id, None)
            if not stored:
                self._strayed.add(wish.integration)

    async def give_back_batches(self, keys: Iterable[str]) -> None:
        """Return the batches with these keys, which never began."""
        for key in keys:
            await self.give_back(self._taken.get(key, ()))  # in hand until its rows say otherwise
            self._taken.pop(key, None)

    async def give_back(self, tasks: Iterable[Task]) -> None:
        """Return tasks untouched: no attempt is counted."""
        try:
            for task in tasks:
                await self._store.tasks.give_back(task)
        except StoreError as error:
            # Freed by the next look, or by whoever owns the scope next and finds them taken under an older fence.
            self._strayed |= self._accounts.keys()
            log.warning("tasks_not_given_back", partner=self._partner, reason=str(error))

    async def _free(self, owned: Mapping[str, int]) -> None:
        """What another owner had taken and not finished is free again (R5); once for each new fence, and now and then: what
        an owner before us was about to take may have been committed after we looked, under our own fence too.

        At the very first look that is whatever is taken: a feeder before us, which crashed or was cut short by a reload,
        may have had the fence we have.
        """
        now = self._clock.monotonic()
        again = now >= self._foreign_at
        for name, fence in owned.items():
            new = self._freed.get(name) != fence
            if not new and not again:
                continue
            if not new:
                self._strayed.add(name)
            if name in self._freed:
                freed = await self._store.losses.free(name, fence=fence, scope=self._accounts[name].scope)
            else:
                freed = await self._store.losses.free(name, fence=None)
            if new or freed:
                await self._bury_poison(name)
            if freed:
                log.info("lost_tasks_freed", partner=self._partner, integration=name, count=freed)
            if new:
                self._freed[name] = fence
                await self._backlog.begin(name)
        if again:
            self._foreign_at = now + FOREIGN_SECONDS

    async def _free_strays(self, owned: Mapping[str, int]) -> None:
        """What a broken connection left taken under our own fence is free again. Else it, and all later work about the same
        record, would wait for the next owner."""
        for name in self._strayed & owned.keys():
            self._strayed.discard(name)  # before we look: what breaks off meanwhile adds it again
            fence = owned[name]
            held = [task.id for batch in self._taken.values() for task in batch if task.integration == name]
            held += self._wishes
            freed = await self._store.losses.free_strays(name, fence=fence, held=held)
            if freed:
                log.info("stray_tasks_freed", partner=self._partner, integration=name, count=freed)

    async def _bury_poison(self, name: str) -> None:
        """What ended the process again and again becomes a dead letter; the others go on."""
        for task in await self._store.losses.poison(name):
            error = poison(task)
            letter = letter_of_task(task, error)
            # Replayed, it has one more try, not five: each costs everybody the process.
            letter = replace(letter, payload={**letter.payload, "suspicion": POISON - 1})
            if await self._store.losses.bury_poison(task, letter):
                self._accounts[name].flow.buried(name, task.lane)
                log.error(
                    "task_buried",
                    partner=self._partner,
                    integration=name,
                    resource=task.resource,
                    record_id=task.external_id or task.parent_id,
                    attempt=task.attempts,
                    reason=str(error),
                    action=error.hint,
                )

    async def _expire(self, owned: list[str]) -> None:
        now = self._clock.monotonic()
        if now < self._expire_at:
            return
        more = False
        for name in owned:
            dropped = await self._store.tasks.expire(name, limit=EXPIRE_AT_ONCE)
            more = more or dropped >= EXPIRE_AT_ONCE
            if dropped:
                self._accounts[name].flow.skip(name, None, "expired", dropped)
                log.info("tasks_expired", partner=self._partner, integration=name, count=dropped)
        if not more:
            self._expire_at = now + EXPIRE_SECONDS

    async def _offer(self, batch: list[Task], probe: Group | None) -> None:
        first = batch[0]
        key = f"task:{first.id}"
        self._taken[key] = batch
        if probe is not None:
            self._probing.hand_out(probe, key)
        if not self._pool.offer(first.integration, first.lane, key, partial(self._work, key, batch)):
            del self._taken[key]
            self._probing.ended(key)
            await self.give_back(batch)

    def _may_go(self, task: Task) -> bool:
        """It may have waited for a seat while somebody paused it, or while its credential was refused."""
        name = task.integration
        held = name in self._paused or f"{name}/{task.resource}" in self._paused
        return not held and self._accounts[name].may_call()

    async def _work(self, key: str, batch: list[Task]) -> None:
        try:
            if not self._may_go(batch[0]):
                await self.give_back(batch)
                return
            first = batch[0]
            async with self._accounts[first.integration].inflight.narrowing.one(first.lane):
                with traced(batch, self._partner):
                    await self._workers[first.integration].run(batch)
        except OwnershipError:
            raise
        except StoreError as error:
            self._strayed.add(batch[0].integration)  # done or not: what is still taken is done once more
            log.debug("task_outcomes_wait", partner=self._partner, count=len(batch), reason=str(error))
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True), anyio.move_on_after(GIVE_BACK_SECONDS):
                await self.give_back(batch)
            raise
        finally:
            self._taken.pop(key, None)
            self._probing.ended(key)
