"""Where memory goes: begun by a person, ended by itself."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator

import anyio
import pytest

from syncd.errors import AskedWrongError
from syncd.memory import Trace
from syncd.testing.clock import FakeClock


@pytest.fixture(autouse=True)
async def nothing_is_traced_afterwards() -> AsyncIterator[None]:
    yield
    tracemalloc.stop()


async def test_what_grew_is_named_by_its_place_and_it_ends_when_asked():
    trace = Trace(FakeClock())
    await trace.start(who="anna", seconds=60, frames=1)
    kept = [bytearray(100_000) for _ in range(20)]
    told = await trace.snapshot(5)
    assert told["places"][0]["bytes"] >= 2_000_000 and "tests/memory/test_trace.py:" in told["places"][0]["at"][0]
    assert len(told["places"]) <= 5 and len(kept) == 20
    assert trace.standing() is not None
    assert (await trace.stop() or {})["who"] == "anna"
    assert not tracemalloc.is_tracing() and trace.standing() is None
    assert (await trace.snapshot(1))["places"][0]["bytes"] >= 2_000_000, "the last one can still be read"


async def test_one_at_a_time():
    trace = Trace(FakeClock())
    await trace.start(who="anna", seconds=60, frames=1)
    with pytest.raises(AskedWrongError, match="anna is tracing already"):
        await trace.start(who="ben", seconds=60, frames=1)
    await trace.stop()


async def test_of_two_who_begin_in_the_same_moment_one_does():
    trace = Trace(FakeClock())
    found = await asyncio.gather(
        *(trace.start(who=who, seconds=60, frames=1) for who in ("anna", "ben")), return_exceptions=True
    )
    assert [type(one) for one in found] == [dict, AskedWrongError]
    await trace.stop()


async def test_who_is_cut_off_while_it_begins_or_ends_leaves_nothing_traced():
    trace = Trace(FakeClock())
    beginning = asyncio.ensure_future(trace.start(who="anna", seconds=60, frames=1))
    while not tracemalloc.is_tracing():
        await asyncio.sleep(0)
    beginning.cancel()
    await asyncio.gather(beginning, return_exceptions=True)
    assert not tracemalloc.is_tracing() and trace.standing() is None

    await trace.start(who="anna", seconds=60, frames=1)
    ending = asyncio.ensure_future(trace.stop())
    for _ in range(4):
        await asyncio.sleep(0)
    ending.cancel()
    await asyncio.gather(ending, return_exceptions=True)
    assert tracemalloc.is_tracing() == (trace.standing() is not None), "what is traced, somebody knows of"


async def test_where_no_memory_is_left_to_look_it_ends_in_time_all_the_same(monkeypatch: pytest.MonkeyPatch):
    clock = FakeClock()
    trace = Trace(clock)
    async with anyio.create_task_group() as group:
        group.start_soon(trace.run)
        await trace.start(who="anna", seconds=60, frames=1)

        def none_left() -> None:
            raise MemoryError

        monkeypatch.setattr(tracemalloc, "take_snapshot", none_left)
        await clock.advance(61)
        with anyio.fail_after(10):
            while tracemalloc.is_tracing():
                await anyio.sleep(0.01)
        monkeypatch.undo()
        await trace.start(who="ben", seconds=60, frames=1)
        group.cancel_scope.cancel()
    assert await trace.stop() is not None


async def test_nobody_has_to_end_it():
    clock = FakeClock()
    trace = Trace(clock)
    async with anyio.create_task_group() as group:
        group.start_soon(trace.run)
        await trace.start(who="anna", seconds=60, frames=2)
        await clock.advance(59)
        assert tracemalloc.is_tracing()
        await clock.advance(2)
        with anyio.fail_after(10):
            while trace.last is None:
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert not tracemalloc.is_tracing()


async def test_nothing_to_show_is_said():
    with pytest.raises(AskedWrongError, match="nothing is being traced"):
        await Trace(FakeClock()).snapshot(1)
