"""Whose turn it is among tasks: in order, by turns, and past any number that may not go."""

from __future__ import annotations

from datetime import timedelta

from syncd.model import Lane
from syncd.store import NewTask, Store

from .looking import FEW, WAITING, rows_read

FILL = (
    "INSERT INTO syncd.tasks (integration, kind, resource, external_id, dedupe_key, created_at, not_before) "
    "SELECT 'acme', 'fetch', $1::text, 'r' || g, concat($1, g, $2::timestamptz), now(), $2 "
    "FROM generate_series(1, $3::integer) g"
)


async def fill(store: Store, resource: str, *, hours: float | None = None, count: int = WAITING) -> None:
    until = store._database.clock.now() + timedelta(hours=hours) if hours is not None else None
    await store._database.execute(FILL, resource, until, count)


async def test_a_look_passes_by_whatever_a_paused_resource_has_waiting(store: Store, database: str):
    await fill(store, "paused")
    await fill(store, "things", count=3)
    taken = []

    async def look(other: Store) -> None:
        assert await other.tasks.ready(["acme"], resources=["acme/none"]) == []
        assert await other.tasks.ready(["acme"], resources=["acme/things"]) == ["acme"]
        taken.extend(await other.tasks.take("acme", fence=1, limit=50, resources=["acme/things"]))

    assert await rows_read(database, "tasks", look) < FEW
    assert [task.resource for task in taken] == ["things"] * 3


async def test_a_look_passes_by_whatever_was_put_off(store: Store, database: str):
    await fill(store, "things", hours=1)
    await fill(store, "things", hours=-1, count=2)
    taken = []

    async def look(other: Store) -> None:
        assert await other.tasks.ready(["acme"]) == ["acme"]
        taken.extend(await other.tasks.take("acme", fence=1, limit=50))
        assert await other.tasks.ready(["acme"]) == []
        newest = await other.tasks.newest("acme")
        assert newest is not None
        for task in taken:
            await other.tasks.done(task)
        assert not await other.tasks.any_ready("acme", up_to=newest)

    assert await rows_read(database, "tasks", look) < FEW
    assert len(taken) == 2


async def test_a_look_for_what_a_queue_does_not_have_reads_nothing_of_its_other_lanes(store: Store, database: str):
    await fill(store, "messages")  # all the same to the planner's statistics: any index looks as good to it
    taken = []

    async def look(other: Store) -> None:
        assert await other.tasks.ready(["acme"]) == ["acme"]
        taken.extend(await other.tasks.take("acme", fence=1, limit=20))
        assert await other.tasks.take("acme", fence=1, limit=20, lanes=[Lane.HIGH, Lane.LOW]) == []
        assert await other.tasks.any_ready("acme", up_to=10)

    assert await rows_read(database, "tasks", look) < FEW
    assert len(taken) == 20


async def test_of_a_lane_the_oldest_goes_first_whatever_its_resource_and_whether_it_was_put_off(store: Store):
    now = store._database.clock.now()
    for number, due in enumerate((None, -60, None, -3600, None, 3600)):
        until = now + timedelta(seconds=due) if due is not None else None
        await store.tasks.put("acme", NewTask("fetch", f"r{number % 2}", str(number), not_before=until))
    await store.tasks.put("acme", NewTask("fetch", "r0", "urgent", lane=Lane.HIGH))
    taken = [await store.tasks.take("acme", fence=1, limit=2) for _ in range(4)]
    assert [[task.external_id for task in each] for each in taken] == [["urgent", "0"], ["1", "2"], ["3", "4"], []]


async def test_however_many_queues_there_are_a_take_finds_all_that_fits_and_the_urgent_first(store: Store):
    many = [NewTask("fetch", f"r{number % 60}", str(number), lane=Lane.LOW) for number in range(240)]
    await store.tasks.put("acme", *many, *(NewTask("fetch", "busy", f"u{each}", lane=Lane.HIGH) for each in range(45)))
    taken = await store.tasks.take("acme", fence=1, limit=50)
    assert [task.lane for task in taken] == [Lane.HIGH] * 45 + [Lane.LOW] * 5
    assert len(await store.tasks.take("acme", fence=1, limit=200)) == 200
