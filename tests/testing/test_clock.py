"""The clock that stands still."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from syncd.testing.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


async def test_sleepers_wake_in_the_order_they_are_due_and_see_their_own_time(clock):
    begun = clock.monotonic()
    log = []

    async def sleeper(seconds):
        await clock.sleep(seconds)
        log.append((seconds, clock.monotonic() - begun))
        await clock.sleep(seconds)
        log.append((2 * seconds, clock.monotonic() - begun))

    tasks = [asyncio.create_task(sleeper(s)) for s in (3, 1, 2)]
    await clock.advance(10)
    assert [at for _, at in log] == pytest.approx([1, 2, 2, 3, 4, 6])
    assert all(name == pytest.approx(at) for name, at in log)
    assert clock.monotonic() - begun == 10
    await asyncio.gather(*tasks)


async def test_nothing_wakes_before_time_is_moved(clock):
    task = asyncio.create_task(clock.sleep(0.001))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not task.done()
    await clock.advance(0.001)
    assert task.done()


async def test_a_timeout_strikes_in_fake_time_and_not_after_the_block(clock):
    async def slow():
        async with clock.timeout(5):
            await clock.sleep(60)

    begun = clock.monotonic()
    with pytest.raises(TimeoutError):
        await clock.run(slow())
    assert clock.monotonic() - begun == 5

    async def quick():
        async with clock.timeout(5):
            await clock.sleep(1)
        await clock.sleep(60)
        return "done"

    assert await clock.run(quick()) == "done"
    async with clock.timeout(None):
        pass
    assert clock.sleepers == 0


async def test_a_timeout_already_past_strikes_at_the_next_wait(clock):
    async def late():
        async with clock.timeout(-1):
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await clock.run(late())


async def test_a_cancelled_sleeper_is_forgotten(clock):
    task = asyncio.create_task(clock.sleep(5))
    await clock.settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert clock.next_due is None


async def test_the_wall_clock_follows_and_jumps_alone(clock):
    start = clock.now()
    await clock.advance(90)
    assert clock.now() - start == timedelta(seconds=90)
    before = clock.monotonic()
    clock.set_now(datetime(2030, 1, 1, tzinfo=UTC))
    assert clock.now() == datetime(2030, 1, 1, tzinfo=UTC)
    assert clock.monotonic() == before
    await clock.advance(1)
    assert clock.now() == datetime(2030, 1, 1, 0, 0, 1, tzinfo=UTC)


async def test_chance_repeats_with_its_seed():
    one, two = FakeClock(seed=7), FakeClock(seed=7)
    assert [one.random() for _ in range(5)] == [two.random() for _ in range(5)]
    assert FakeClock(seed=8).random() != FakeClock(seed=7).random()


async def test_run_tells_a_deadlock_and_a_work_that_never_ends(clock):
    with pytest.raises(RuntimeError, match="deadlock"):
        await clock.run(asyncio.get_running_loop().create_future())

    async def forever():
        while True:
            await clock.sleep(100)

    with pytest.raises(TimeoutError):
        await clock.run(forever(), limit_seconds=1000)


async def test_run_hands_on_what_the_work_raises(clock):
    async def broken():
        await clock.sleep(1)
        raise KeyError("odd")

    with pytest.raises(KeyError):
        await clock.run(broken())
