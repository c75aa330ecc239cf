"""The coroutines of a partner and how its integrations share them."""

import asyncio
import contextlib

from syncd.model import Lane
from syncd.sync.pool import BESIDE, BESIDE_LONG, PATIENCE, Pool
from syncd.testing.clock import FakeClock


@contextlib.asynccontextmanager
async def running(pool: Pool):
    task = asyncio.create_task(pool.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Bench:
    """Work that notes when it began and ends when told to."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    def piece(self, name: str):
        self.gates[name] = asyncio.Event()

        async def work() -> None:
            self.began.append(name)
            await self.gates[name].wait()

        return work

    def end(self, *names: str) -> None:
        for name in names:
            self.gates[name].set()


async def test_urgent_work_goes_first():
    pool, bench = Pool("acme", 1, ["one"], FakeClock()), Bench()
    for lane in (Lane.LOW, Lane.NORMAL, Lane.HIGH):
        assert pool.offer("one", lane, lane.name, bench.piece(lane.name))
    async with running(pool):
        for name in ("HIGH", "NORMAL", "LOW"):
            await settle()
            assert bench.began[-1] == name
            bench.end(name)


async def test_an_integration_that_hangs_holds_only_its_own_seats():
    pool, bench = Pool("acme", 4, ["hangs", "works"], FakeClock()), Bench()
    for number in range(10):
        pool.offer("hangs", Lane.NORMAL, f"hang {number}", bench.piece(f"hang {number}"))
    async with running(pool):
        await settle()
        assert len(bench.began) == 3, "one seat is kept for the other integration"
        pool.offer("works", Lane.LOW, "work", bench.piece("work"))
        await settle()
        assert bench.began[-1] == "work"


async def test_while_others_wait_none_holds_more_than_its_fair_share():
    pool, bench = Pool("acme", 4, ["a", "b"], FakeClock()), Bench()
    for name in ("a", "b"):
        for number in range(6):
            pool.offer(name, Lane.NORMAL, f"{name}{number}", bench.piece(f"{name}{number}"))
    async with running(pool):
        await settle()
        assert sorted(name[0] for name in bench.began) == ["a", "a", "b", "b"]


async def test_the_same_work_is_not_queued_twice_while_it_waits_or_runs():
    pool, bench = Pool("acme", 1, ["one"], FakeClock()), Bench()
    assert pool.offer("one", Lane.NORMAL, "same", bench.piece("same"))
    assert not pool.offer("one", Lane.NORMAL, "same", bench.piece("again"))
    async with running(pool):
        await settle()
        assert not pool.offer("one", Lane.NORMAL, "same", bench.piece("again"))
        bench.end("same")
        await settle()
        assert pool.offer("one", Lane.NORMAL, "same", bench.piece("same"))


async def test_a_full_queue_refuses_and_forgets_nothing():
    pool, bench = Pool("acme", 1, ["one"], FakeClock(), capacity=dict.fromkeys(Lane, 2)), Bench()
    assert pool.offer("one", Lane.NORMAL, "1", bench.piece("1"))
    assert pool.offer("one", Lane.NORMAL, "2", bench.piece("2"))
    assert pool.room(Lane.NORMAL) == 0
    assert pool.room(Lane.HIGH) == 2, "a full lane bars no other"
    assert not pool.offer("one", Lane.NORMAL, "3", bench.piece("3"))
    bench.end("1", "2")
    async with running(pool):
        await settle()
    assert bench.began == ["1", "2"]


async def test_work_that_crashes_costs_no_seat():
    pool, bench = Pool("acme", 1, ["one"], FakeClock()), Bench()

    async def crash() -> None:
        raise RuntimeError("a fault of ours")

    pool.offer("one", Lane.HIGH, "crash", crash)
    pool.offer("one", Lane.LOW, "after", bench.piece("after"))
    async with running(pool):
        await settle()
        assert bench.began == ["after"]


async def test_a_closed_pool_takes_nothing_new_and_lets_the_held_end():
    pool, bench = Pool("acme", 1, ["one"], FakeClock()), Bench()
    pool.offer("one", Lane.NORMAL, "held", bench.piece("held"))
    pool.offer("one", Lane.NORMAL, "waiting", bench.piece("waiting"))
    async with running(pool):
        await settle()
        pool.close()
        drained = asyncio.create_task(pool.drained())
        await settle()
        assert not drained.done()
        assert not pool.offer("one", Lane.NORMAL, "late", bench.piece("late"))
        bench.end("held")
        await settle()
        assert drained.done()
        assert bench.began == ["held"]


async def test_a_pool_with_takeable_work_that_nobody_takes_is_stuck():
    clock = FakeClock()
    pool, bench = Pool("acme", 1, ["one"], clock), Bench()
    pool.offer("one", Lane.NORMAL, "1", bench.piece("1"))
    await clock.advance(61)
    assert pool.stuck(60)
    async with running(pool):
        await settle()
        await clock.advance(61)
        assert not pool.stuck(60), "held work is not stuck: its calls have deadlines of their own"


async def test_every_integration_gets_a_seat_even_where_few_were_configured():
    assert Pool("acme", 2, ["a", "b", "c"], FakeClock()).seats == 3


async def test_a_low_lane_gets_its_turn_however_busy_the_high_one_is():
    pool, bench = Pool("acme", 1, ["one"], FakeClock()), Bench()
    pool.offer("one", Lane.LOW, "low", bench.piece("low"))
    for number in range(100):
        pool.offer("one", Lane.HIGH, f"high {number}", bench.piece(f"high {number}"))
    bench.end(*bench.gates)
    async with running(pool):
        for _ in range(40):
            await settle()
    assert bench.began.index("low") <= PATIENCE


async def test_urgent_work_begins_at_once_while_long_work_holds_every_seat():
    pool, bench = Pool("acme", 2, ["one"], FakeClock()), Bench()
    for number in range(5):
        pool.offer("one", Lane.NORMAL, f"backfill {number}", bench.piece(f"backfill {number}"), long=True)
    async with running(pool):
        await settle()
        assert bench.began == ["backfill 0", "backfill 1"]
        pool.offer("one", Lane.HIGH, "record", bench.piece("record"))
        await settle()
        assert bench.began[-1] == "record"
        bench.end("record")
        await settle()
        assert pool.held == 2, "the place beside the seats is for what is urgent alone"
        assert len(bench.began) == 3


async def test_what_goes_beside_the_seats_is_bounded_for_each_integration():
    pool, bench = Pool("acme", 2, ["hangs", "works"], FakeClock()), Bench()
    for name in ("hangs", "works"):
        pool.offer(name, Lane.NORMAL, f"backfill of {name}", bench.piece(f"backfill of {name}"))
    async with running(pool):
        await settle()
        for number in range(20):
            pool.offer("hangs", Lane.HIGH, f"hang {number}", bench.piece(f"hang {number}"))
        await settle()
        assert len(bench.began) == 2 + BESIDE
        pool.offer("works", Lane.HIGH, "urgent", bench.piece("urgent"))
        await settle()
        assert bench.began[-1] == "urgent", "what hangs beside the seats bars nobody else"
        bench.end("hang 0")
        await settle()
        assert bench.began[-1] == f"hang {BESIDE}"


async def test_whole_runs_leave_room_beside_the_seats_for_single_records():
    pool, bench = Pool("acme", 1, ["one"], FakeClock()), Bench()
    pool.offer("one", Lane.NORMAL, "backfill", bench.piece("backfill"), long=True)
    async with running(pool):
        await settle()
        for number in range(5):
            pool.offer("one", Lane.HIGH, f"run {number}", bench.piece(f"run {number}"), long=True)
        pool.offer("one", Lane.HIGH, "record", bench.piece("record"))
        await settle()
        assert len([name for name in bench.began if name.startswith("run")]) == BESIDE_LONG
        assert bench.began[-1] == "record", "it does not wait behind the runs that wait"


async def test_a_free_seat_is_taken_before_a_place_beside_the_seats():
    pool, bench = Pool("acme", 3, ["one"], FakeClock()), Bench()
    async with running(pool):
        for number in range(3):
            pool.offer("one", Lane.HIGH, f"urgent {number}", bench.piece(f"urgent {number}"))
        await settle()
        for number in range(BESIDE):
            pool.offer("one", Lane.HIGH, f"more {number}", bench.piece(f"more {number}"))
        await settle()
        assert pool.held == 3 + BESIDE


async def test_work_asked_for_again_more_urgently_moves_up():
    pool, bench = Pool("acme", 1, ["one"], FakeClock()), Bench()
    for key in ("first", "second", "third"):
        pool.offer("one", Lane.NORMAL, key, bench.piece(key))
    async with running(pool):
        await settle()
        assert pool.offer("one", Lane.HIGH, "third", bench.piece("third"))
        assert not pool.offer("one", Lane.NORMAL, "third", bench.piece("third"))
        await settle()
        assert bench.began == ["first", "third"]
        assert pool.lengths()[Lane.NORMAL] == 1
        bench.end("first", "third")
        await settle()
        assert bench.began == ["first", "third", "second"]
        assert pool.waiting == 0
        assert pool.offer("one", Lane.NORMAL, "third", bench.piece("third"))


async def test_a_pool_is_drained_when_what_goes_beside_the_seats_has_ended_too():
    pool, bench = Pool("acme", 1, ["one"], FakeClock()), Bench()
    pool.offer("one", Lane.NORMAL, "backfill", bench.piece("backfill"))
    async with running(pool):
        await settle()
        pool.offer("one", Lane.HIGH, "record", bench.piece("record"))
        await settle()
        pool.close()
        drained = asyncio.create_task(pool.drained())
        bench.end("backfill")
        await settle()
        assert not drained.done()
        bench.end("record")
        await settle()
        assert drained.done()


async def test_kinds_of_work_in_one_lane_take_turns():
    pool, bench = Pool("acme", 1, ["one"], FakeClock()), Bench()
    for number in range(200):
        pool.offer("one", Lane.HIGH, f"task:{number}", bench.piece(f"task:{number}"))
    for number in range(2):
        pool.offer("one", Lane.HIGH, f"push:{number}", bench.piece(f"push:{number}"))
    async with running(pool):
        for _ in range(5):
            await settle()
            bench.end(bench.began[-1])
    started = [name for name in bench.began if name not in {"task:0", "task:1", "task:2"}][:2]
    assert started == ["push:0", "push:1"], "hundreds of re-reads came before them"
    assert [name for name in bench.began if name.startswith("task:")] == sorted(
        (name for name in bench.began if name.startswith("task:")), key=lambda name: int(name[5:])
    )
    forgotten = pool.close()
    assert len(forgotten) == 202 - len(bench.began)
    assert pool.waiting == 0


async def test_work_that_ends_as_if_it_was_cancelled_costs_no_seat():
    pool, done = Pool("acme", 2, ["one"], FakeClock()), []

    async def ends() -> None:
        raise asyncio.CancelledError

    async def goes_on() -> None:
        done.append(1)

    async with running(pool):
        for number in range(5):
            pool.offer("one", Lane.HIGH, f"ends:{number}", ends)
            pool.offer("one", Lane.NORMAL, f"work:{number}", goes_on)
            await settle()
        assert (pool.alive, len(done)) == (2, 5)
