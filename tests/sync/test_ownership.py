"""A lease while the database comes and goes: kept where nobody else has it, not believed for longer than it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from syncd.errors import OwnershipError, StoreError
from syncd.scopes import ScopeState
from syncd.sync.ownership import LEASE_SECONDS, RETRY_SECONDS, Ownership
from syncd.testing.clock import FakeClock


class Leases:
    """The table: away between two moments, and in somebody else's hand from a moment on."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._began_at = clock.monotonic()
        self.away = (0.0, 0.0)
        self.stolen_at = float("inf")
        self.fence = 0
        self.tries: list[float] = []

    def _now(self) -> float:
        now = self._clock.monotonic() - self._began_at
        if self.away[0] <= now < self.away[1]:
            self.tries.append(now)
            raise StoreError("the database is away")
        return now

    async def acquire(self, *_: Any) -> int:
        self._now()
        self.fence += 1
        return self.fence

    async def renew(self, scope: str, owner: str, fence: int, ttl_seconds: float) -> bool:
        return self._now() < self.stolen_at or fence > 1


class Stage:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.leases = Leases(self.clock)
        store: Any = type("Store", (), {"leases": self.leases})
        self.ownership = Ownership("plain/acme", "one", store, self.clock, taken=self._taken)

    async def _taken(self) -> None:
        return

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        keeping = asyncio.create_task(self.ownership.keep())
        await self.clock.advance(0)
        try:
            yield
        finally:
            keeping.cancel()


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize("back", [20.0, 31.0, 300.0])
async def test_a_lease_is_held_again_as_soon_as_the_database_is_back(stage: Stage, back: float):
    stage.leases.away = (1.0, back)
    async with stage.kept():
        assert stage.ownership.fence == 1
        await stage.clock.advance(back - 0.1)
        assert stage.ownership.held is (back < LEASE_SECONDS), "nobody may call on a lease that has run out"
        await stage.clock.advance(RETRY_SECONDS + 0.1)
        assert stage.ownership.fence == 1, "nobody else has had it"
        waits = [later - before for before, later in zip(stage.leases.tries, stage.leases.tries[1:], strict=False)]
        assert set(waits) == {RETRY_SECONDS}
        stage.leases.tries.clear()
        await stage.clock.advance(LEASE_SECONDS * 2)
        assert stage.ownership.held


async def test_a_lease_somebody_else_took_meanwhile_is_got_anew_under_another_fence(stage: Stage):
    stage.leases.away = (1.0, 60.0)
    stage.leases.stolen_at = 40.0
    async with stage.kept():
        await stage.clock.advance(59.0)
        with pytest.raises(OwnershipError):
            _ = stage.ownership.fence
        await stage.clock.advance(3.0)
        assert stage.ownership.fence == 2


async def test_a_scope_is_waited_for_while_the_database_is_away_from_the_beginning(stage: Stage):
    stage.leases.away = (0.0, 5.0)
    async with stage.kept():
        await stage.clock.advance(4.0)
        assert not stage.ownership.held
        await stage.clock.advance(2.0)
        assert stage.ownership.fence == 1


class Releasable(Leases):
    released = 0

    async def release(self, *_: Any) -> None:
        self._now()
        self.released += 1


@pytest.mark.parametrize("away", [True, False], ids=["database away", "database there"])
async def test_a_scope_that_is_ended_is_kept_no_longer_even_where_its_slots_cannot_be_written(away: bool):
    stage = Stage()
    stage.leases = Releasable(stage.clock)
    stage.ownership._store = type("Store", (), {"leases": stage.leases})()  # type: ignore[assignment]
    closed = []

    class Gate:
        async def persist(self, *, clean: bool) -> None:
            raise StoreError("the database is away")

        def close(self) -> None:
            closed.append(True)

    gate: Any = Gate()
    state = ScopeState(gate, stage.ownership)
    async with stage.kept():
        assert stage.ownership.held
        if away:
            stage.leases.away = (0.0, float("inf"))
        with pytest.raises(StoreError):
            await state.end()
        assert closed
        assert stage.leases.released == (0 if away else 1)
        stage.leases.tries.clear()
        await stage.clock.advance(LEASE_SECONDS * 3)
        assert not stage.ownership.held
        assert stage.leases.tries == [], "nobody renews it"


async def test_a_lease_that_comes_when_it_was_given_up_already_is_given_back():
    stage = Stage()
    held = asyncio.Event()

    class Slow(Releasable):
        async def acquire(self, *_: Any) -> int:
            await held.wait()
            return await super().acquire()

    leases = Slow(stage.clock)
    stage.ownership._store = type("Store", (), {"leases": leases})()  # type: ignore[assignment]
    async with stage.kept():
        await stage.ownership.release()
        held.set()
        await stage.clock.advance(1.0)
        assert leases.released == 1
        assert not stage.ownership.held
