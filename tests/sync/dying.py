"""A driver that ends the process over some records or at some step, and processes that come and go, without a process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from syncd.errors import PoisonError, StoreError
from syncd.model import Lane
from syncd.store import PULL, Peril, Store
from syncd.sync.plan import Strategy
from syncd.sync.pull import Pull
from tests.sync.ranged import START, Desk, Hasty, rest


class Died(BaseException):
    """The process ends here."""


class Mortal:
    """One integration whose process may end at any statement of the driver, and begins anew: `live` until it stays alive."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch, strategy: Strategy = Strategy.FULL) -> None:
        self.desk = desk
        self.store = desk.store
        self.deaths = 0
        self._dead = False
        self.kills: Callable[[str], bool] = lambda step: False
        """Does the driver end the process at this step (`fields t0003`, `items`)?"""
        self.asked: list[str] = []
        self._dress(monkeypatch)

    @classmethod
    async def open(cls, store: Store, monkeypatch: pytest.MonkeyPatch, records: int, **more: Any) -> Mortal:
        desk = await Desk.open(store, rest(**more), Hasty())
        for number in range(records):
            desk.partner.put(number)
        return cls(desk, monkeypatch)

    def _dress(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The driver says what it is about to do; the database does not hear the dead."""
        driver: Any = self.desk.driver
        kind: Any = type("Dying", (type(driver),), {})
        driver.__class__ = kind

        def dress(name: str, of: Callable[..., str]) -> None:
            plain = getattr(kind, name)

            def dressed(own: Any, *given: Any, **more: Any) -> Any:
                self._reaches(f"{name} {of(*given)}".strip())
                return plain(own, *given, **more)

            setattr(kind, name, dressed)

        dress("fields", lambda resource, raw, *_: raw.get("id", ""))
        dress("identify", lambda resource, raw, *_: raw.get("id", ""))
        for name in ("request", "items", "newest", "following", "total"):
            dress(name, lambda *_: "")
        # As the compiled reading would not come by here.
        kind.reading = lambda own, resource, adapter="": type(driver).__mro__[2].reading(own, resource, adapter)
        database = type(self.store._database)
        for name in ("execute", "fetch", "fetchrow", "fetchval"):
            plain = getattr(database, name)

            async def deaf(own: Any, *given: Any, _plain: Any = plain) -> Any:
                if self._dead:
                    raise StoreError("the dead say nothing")
                return await _plain(own, *given)

            monkeypatch.setattr(database, name, deaf)

    def _reaches(self, step: str) -> None:
        self.asked.append(step)
        if self.kills(step):
            self._dead = True
            raise Died(step)

    async def life(self, *, full: bool = True, retry: bool = False, resource: str = "things") -> bool:
        """One process that pulls. False: it ended."""
        await self.begin()
        try:
            await Pull(
                self.desk.account, self.desk.plans[resource], Lane.NORMAL, "test", wanted_full=full, retry=retry
            ).run()
        except (Died, StoreError):
            assert self._dead
            self.deaths += 1
            return False
        finally:
            self._dead = False
        return True

    async def begin(self) -> None:
        """A new process takes over: it remembers nothing."""
        await self.desk.take_over()
        old = self.desk.account.processor
        self.desk.account.processor = type(old)(self.desk.driver, "acme", old._targets, self.store)

    async def until_alive(self, most: int = 12, **more: Any) -> int:
        """Processes, one after the other, until one ends its run. Returns how many died."""
        for deaths in range(most):
            if await self.life(**more):
                return deaths
        raise AssertionError(f"{most} processes died")

    async def parked(self, most: int = 12, **more: Any) -> tuple[int, PoisonError]:
        """The same until the resource is parked."""
        for deaths in range(most):
            try:
                if await self.life(**more):
                    raise AssertionError("it lived")
            except PoisonError as error:
                return deaths, error
        raise AssertionError(f"{most} processes died")

    async def peril(self) -> Peril | None:
        return await self.store.perils.get("acme", "things", PULL)

    async def pass_later(self) -> None:
        """Another complete pass, an hour later."""
        self.desk.clock.skipped += timedelta(hours=1).total_seconds()  # type: ignore[attr-defined]
        assert await self.life()

    async def backfill_life(self, *, begins: bool = False) -> bool:
        """One process that works on backfills. False: it ended."""
        await self.begin()
        if begins:
            await self.store.backfills.ask("acme", "things", START, START + timedelta(days=30), who="test")
        backfilling = self.desk.backfilling()
        [waiting] = await self.store.backfills.active(["acme"])
        try:
            await backfilling._do(self.desk.account, waiting)
        except (Died, StoreError):
            assert self._dead
            self.deaths += 1
            return False
        finally:
            self._dead = False
        return True
