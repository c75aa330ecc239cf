"""A burst on one record becomes one read, and a storm over many no more calls than it is worth."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable

import orjson
import pytest

from syncd.model import Lane
from syncd.store import KeyRing, NewTask, Store
from syncd.sync.coalescing import LEAST_SECONDS, MOST_SECONDS, REMEMBERED, Coalescing
from syncd.sync.work import batches
from syncd.testing.clock import FakeClock
from tests.sync.inboxed import Desk, event, thing


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def desk(database: str, clock: FakeClock, key_ring: KeyRing) -> AsyncIterator[Desk]:
    async with await Store.open(database, clock=clock, key_ring=key_ring, pool_size=4, migrate=False) as store:
        yield await Desk.open(store, clock)


def test_what_was_never_asked_for_is_read_at_once(clock: FakeClock):
    assert Coalescing(clock).not_before("things", "1") is None


async def test_the_gap_grows_with_the_calls_and_shrinks_with_time(clock: FakeClock):
    coalescing = Coalescing(clock)
    coalescing.asks("things", ["1"])
    assert coalescing.gap_seconds == LEAST_SECONDS
    for number in range(99):
        coalescing.asks("things", [str(number)])
    assert coalescing.gap_seconds == pytest.approx(70)
    for number in range(500):
        coalescing.asks("things", [str(number)])
    assert coalescing.gap_seconds == MOST_SECONDS
    await clock.advance(121)
    assert coalescing.gap_seconds == LEAST_SECONDS
    assert coalescing.not_before("things", "1") is None


async def test_many_records_in_one_call_count_once(clock: FakeClock):
    coalescing = Coalescing(clock)
    coalescing.asks("things", map(str, range(100)))
    assert coalescing.gap_seconds == LEAST_SECONDS
    assert coalescing.wait_seconds("things", "99") == LEAST_SECONDS
    await clock.advance(0.5)
    assert coalescing.wait_seconds("things", "99") == LEAST_SECONDS - 0.5
    assert coalescing.wait_seconds("people", "99") == 0.0


def test_its_memory_is_bounded_and_forgets_what_was_asked_for_longest_ago(clock: FakeClock):
    coalescing = Coalescing(clock)
    for number in range(REMEMBERED + 10):
        coalescing.asks("things", [str(number)])
    assert len(coalescing._began) == REMEMBERED
    assert coalescing.wait_seconds("things", "9") == 0.0
    assert coalescing.wait_seconds("things", "10") > 0.0


async def test_runs_asked_for_by_events_keep_a_minute_between_them(clock: FakeClock):
    coalescing = Coalescing(clock)
    assert coalescing.run_not_before("listed") is None
    start = clock.now()
    await clock.advance(10)
    first = coalescing.run_not_before("listed")
    assert first is not None and (first - start).total_seconds() == 60
    assert coalescing.run_not_before("listed") == first, "one that waits stands for all that come meanwhile"
    await clock.advance(51)
    then = coalescing.run_not_before("listed")
    assert then is not None and (then - start).total_seconds() == 120


async def storm(
    desk: Desk, clock: FakeClock, pick: Callable[[int], int], *, events: int = 5000, resource: str = "things"
) -> int:
    """So many events within a minute, worked on as they come; returns the calls they cost until nothing is left."""
    path = f"/{resource}"
    at = 0
    for tenth in range(600):
        due = events * (tenth + 1) // 600
        told = []
        for number in range(at, due):
            one = str(pick(number))
            desk.partner.truth[f"{path}/{one}"] = thing(one, f"version {number}", clock.now())
            told.append(orjson.dumps({"events": [event(one, resource=resource)]}))
        at = due
        await desk.deliver_all(told)
        await desk.work()
        await reads(desk)
        await clock.advance(0.1)
    for _ in range(60):
        await desk.work()
        await reads(desk)
        await clock.advance(5)
    assert await left(desk) == 0
    stored = await desk.live(resource)
    assert stored == {one.rpartition("/")[2]: raw for one, raw in desk.partner.truth.items() if one.startswith(path)}
    return sum(1 for call in desk.partner.calls if not call.endswith("/notes"))


async def left(desk: Desk) -> int:
    return int((await desk.rows("SELECT count(*) FROM syncd.tasks WHERE kind = 'fetch'"))[0][0])


async def reads(desk: Desk) -> None:
    """As the feeder does: what is ready, grouped into calls."""
    most = {f"acme/{plan.name}": plan.resource.many.max for plan in desk.account.plans.values() if plan.resource.many}
    tasks = await desk.store.tasks.take("acme", fence=desk.ownership.fence, limit=200, kinds=["fetch"])
    for batch in batches(tasks, most):
        await desk.worker.run(batch)


DICE = random.Random(6)
PICKS: dict[str, Callable[[int], int]] = {
    "any of them": lambda _: DICE.randrange(100),
    "each in turn": lambda number: number % 100,
    "one after the other": lambda number: number // 50,
    "one of them most of all": lambda _: 0 if DICE.random() < 0.9 else DICE.randrange(100),
}
SHORT = ("any of them", "one of them most of all")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "pick", [name if name in SHORT else pytest.param(name, marks=pytest.mark.soak) for name in PICKS]
)
async def test_five_thousand_events_on_a_hundred_records_within_a_minute_cost_two_hundred_calls_at_most(
    desk: Desk, clock: FakeClock, pick: str
):
    assert await storm(desk, clock, PICKS[pick]) <= 200


@pytest.mark.timeout(120)
async def test_where_many_are_read_in_one_call_a_storm_costs_far_fewer(desk: Desk, clock: FakeClock):
    assert await storm(desk, clock, PICKS["any of them"], resource="many") <= 120


async def test_an_event_during_a_read_has_the_record_read_once_more(desk: Desk, clock: FakeClock):
    """What a read saw that began before the event is no answer to it, whenever it arrives."""
    desk.partner.truth["/things/7"] = thing("7", "before", clock.now())
    await desk.deliver(event("7"))
    await desk.work()
    (read,) = await desk.take_tasks()
    await clock.advance(1)
    await desk.deliver(event("7"))
    await desk.work()
    answer = desk.partner.truth["/things/7"]
    desk.partner.truth["/things/7"] = thing("7", "after", clock.now())
    desk.partner.truth, current = {"/things/7": answer}, desk.partner.truth
    await desk.worker.run([read])  # with the answer that was given before
    desk.partner.truth = current
    (waiting,) = [one for one in await desk.store.tasks.list("acme") if one.kind == "fetch"]
    assert waiting.not_before is None or waiting.not_before <= clock.now()
    await clock.advance(5)
    await reads(desk)
    assert (await desk.live())["7"]["name"] == "after"


async def test_a_task_that_may_not_go_yet_waits_without_an_attempt(desk: Desk, clock: FakeClock):
    desk.partner.truth["/things/7"] = thing("7", "one", clock.now())
    await desk.deliver(event("7"))
    await desk.work()
    await reads(desk)
    await clock.advance(0.5)
    await desk.deliver(event("7"))
    await desk.work()
    (task,) = [one for one in await desk.store.tasks.list("acme") if one.kind == "fetch"]
    await desk.rows("UPDATE syncd.tasks SET not_before = NULL WHERE id = $1", task.id)
    await reads(desk)
    assert desk.partner.calls == ["/things/7"]
    (task,) = [one for one in await desk.store.tasks.list("acme") if one.kind == "fetch"]
    assert (task.attempts, task.taken_fence) == (0, None)
    assert task.not_before is not None and (task.not_before - clock.now()).total_seconds() == pytest.approx(1.5)


async def test_what_somebody_asks_for_by_hand_does_not_wait_for_events(desk: Desk, clock: FakeClock):
    desk.partner.truth["/things/7"] = thing("7", "one", clock.now())
    await desk.deliver(event("7"))
    await desk.work()
    await reads(desk)
    await clock.advance(0.1)
    await desk.store.tasks.put("acme", NewTask("fetch", "things", "7", lane=Lane.HIGH, dedupe_key="sync:things:7"))
    await reads(desk)
    assert desk.partner.calls == ["/things/7"] * 2
