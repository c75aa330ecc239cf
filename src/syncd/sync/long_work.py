"""Long work that somebody asked for with a row (R3): whoever owns the scope takes it up, beside everything scheduled.

It takes no seat of the partner's pool; so many at once have coroutines of their own, one an integration. A scope that is not
ours yet, as at every start, may become so any moment, and nobody wakes us for that: rows are looked for while one lacks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import anyio
import structlog

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import OwnershipError, StoreError
from syncd.store import Store
from syncd.sync.account import Account
from syncd.sync.part import Looking

log = structlog.get_logger()

IDLE_SECONDS = 30.0
"""How often rows are looked for where none were: who asks for one wakes us."""


class Wanted(Protocol):
    """Such a row."""

    @property
    def id(self) -> int: ...

    @property
    def integration(self) -> str: ...

    @property
    def resource(self) -> str: ...


Row = TypeVar("Row", bound=Wanted)


class LongWork(Looking, Generic[Row]):
    """One kind of it, of one partner. `paused` says whether a person holds a resource."""

    word: str
    """What one is called in the log; with an s the bound of how many there may be at a time."""
    at_once: int
    """So many of one partner under way at a time (R12)."""
    look_seconds: float
    """How often rows are looked for while there are some."""

    def __init__(
        self,
        partner: str,
        accounts: Mapping[str, Account],
        store: Store,
        clock: Clock,
        paused: Callable[[str, str], bool] = lambda integration, resource: False,
    ) -> None:
        super().__init__(f"{self.word}s", partner, clock, look_seconds=IDLE_SECONDS)
        self._accounts = accounts
        self._store = store
        self._paused = paused
        metrics.BOUND.labels(f"{self.word}s").set(self.at_once)
        self._held: set[str] = set()
        """Integrations with one under way."""

    async def run(self) -> None:
        """Take up what waits, until cancelled."""
        async with anyio.create_task_group() as self._group:
            await super().run()

    async def _turn(self, woken: bool) -> float:
        return self.look_seconds if await self._look() else IDLE_SECONDS

    async def _look(self) -> bool:
        """Begin what may begin. True: look again soon."""
        if len(self._held) >= self.at_once or self._stopping:
            return True
        mine = [name for name, account in self._accounts.items() if self._may(account)]
        waiting = await self._active(mine) if mine else []
        for one in waiting:
            name = one.integration
            if len(self._held) >= self.at_once or self._stopping:
                break
            if name in self._held or self._paused(name, one.resource) or not self._is_due(one):
                continue
            self._held.add(name)
            self._idle.clear()
            self._group.start_soon(self._work, one, name=f"{self.word} {name}/{one.resource}")
        return bool(waiting or self._held or len(mine) < len(self._accounts))

    async def _work(self, one: Row) -> None:
        account = self._accounts[one.integration]
        try:
            try:
                await self._do(account, one)
            except StoreError:
                raise
            except Exception as error:
                log.exception("work_crashed", partner=self._partner, work=f"{self.word} {one.id}")
                await self._crashed(account, one, error)
        except OwnershipError as error:
            log.info(f"{self.word}_left", integration=account.name, resource=one.resource, reason=str(error))
        except StoreError as error:
            log.debug(f"{self.word}s_wait", partner=self._partner, reason=str(error))
            await self._clock.sleep(self.look_seconds)
        finally:
            self._held.discard(account.name)
            if not self._held:
                self._idle.set()
            self._wake.set()

    def _goes_on(self, one: Row) -> bool:
        """Neither stopped nor paused."""
        return not self._stopping and not self._paused(one.integration, one.resource)

    # -- what kind it is

    @abstractmethod
    def _may(self, account: Account) -> bool:
        """May work of this integration be taken up at all?"""

    @abstractmethod
    async def _active(self, names: Sequence[str]) -> Sequence[Row]:
        """The rows of these integrations, oldest first."""

    def _is_due(self, one: Row) -> bool:
        """May this one begin now?"""
        return True

    @abstractmethod
    async def _do(self, account: Account, one: Row) -> None:
        """Go on with one until its end, a failure, or a stop. Raises StoreError, OwnershipError."""

    async def _crashed(self, account: Account, one: Row, error: Exception) -> None:
        """What to do about a fault of ours. Raises StoreError, OwnershipError."""
        await self._clock.sleep(self.look_seconds)
