"""Tasks: work that waits in rows, each step one conditional statement (R4)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from syncd.clock import SystemClock
from syncd.model import Lane
from syncd.store import WISHES, NewDeadLetter, NewTask, Store, Task


def now(store: Store):
    return store._database.clock.now()


async def take(store: Store, **more) -> list[Task]:
    return await store.tasks.take("acme", **{"fence": 1, "limit": 100, **more})


async def test_the_most_urgent_goes_first_and_the_oldest_within_a_lane(store: Store):
    for lane in (Lane.LOW, Lane.NORMAL, Lane.HIGH, Lane.NORMAL):
        await store.tasks.put("acme", NewTask("fetch", external_id=str(len(await store.tasks.list("acme"))), lane=lane))
    assert [each.external_id for each in await take(store, limit=3)] == ["2", "1", "3"]
    assert [(each.external_id, each.attempts) for each in await take(store)] == [("0", 1)]
    assert await take(store) == []


async def test_equal_tasks_coalesce_while_one_waits(store: Store):
    later = now(store) + timedelta(hours=1)
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="k", lane=Lane.LOW, not_before=later, payload={"n": 1}))
    await store.tasks.put(
        "acme",
        NewTask("fetch", dedupe_key="k", payload={"n": 2}),
        NewTask("fetch", dedupe_key="k", lane=Lane.HIGH),
    )
    [task] = await take(store)
    assert (task.lane, task.not_before) == (Lane.HIGH, None)
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="k"))
    assert len(await store.tasks.list("acme")) == 2, "one is being done: a new wish is a new task"


async def test_wishes_have_ids_and_wake_the_owner(store: Store):
    heard: asyncio.Queue[str] = asyncio.Queue()
    await store.listen(WISHES, heard.put_nowait)
    first = await store.tasks.wish("acme", NewTask("sync", resource="things", dedupe_key="sync things"))
    again = await store.tasks.wish("acme", NewTask("sync", resource="things", dedupe_key="sync things"))
    assert first == again
    assert await asyncio.wait_for(heard.get(), 10) == "acme"
    assert [each.id for each in await store.tasks.find(first)] == first
    assert await store.tasks.find([]) == []


async def test_done_drop_and_bury_end_a_task_once(store: Store):
    await store.tasks.put("acme", *(NewTask("fetch", external_id=each) for each in "abc"))
    done, dropped, buried = await take(store)
    letter = NewDeadLetter("acme", "task", "RejectedError", "422: no", "422 no", payload={"kind": "fetch"})
    assert await store.tasks.done(done)
    assert await store.tasks.drop(dropped)
    assert await store.tasks.bury(buried, letter)
    assert not await store.tasks.done(done)
    assert not await store.tasks.bury(buried, letter)
    assert await store.tasks.list("acme") == []
    assert [each.message for each in await store.dead_letters.list("acme")] == ["422: no"]


async def test_later_waits_and_may_take_the_attempt_back(store: Store):
    await store.tasks.put("acme", NewTask("fetch"))
    [task] = await take(store)
    soon = now(store) + timedelta(hours=1)
    assert await store.tasks.later(task, soon, reason="503")
    assert not await store.tasks.later(task, soon), "it is not ours any more"
    assert await take(store) == []
    [waiting] = await store.tasks.list("acme")
    assert (waiting.attempts, waiting.reason, waiting.not_before) == (1, "503", soon)
    await store._database.execute("UPDATE syncd.tasks SET not_before = NULL")
    [task] = await take(store)
    assert task.attempts == 2
    assert await store.tasks.give_back(task)
    [task] = await take(store)
    assert (task.attempts, task.reason) == (2, "503")


async def test_put_off_work_joins_an_equal_one_that_came_meanwhile(store: Store):
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="k"))
    [task] = await take(store)
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="k"))
    assert await store.tasks.later(task, None)
    assert len(await store.tasks.list("acme")) == 1


async def test_a_failing_task_stays_put_off_when_it_is_asked_for_again(store: Store):
    soon = now(store) + timedelta(hours=1)
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="k"))
    [task] = await take(store)
    await store.tasks.later(task, soon)
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="k"))
    assert await take(store) == []


async def test_expired_work_is_not_taken_and_can_be_dropped(store: Store):
    past = now(store) - timedelta(seconds=1)
    await store.tasks.put(
        "acme", NewTask("fetch", expires_at=past), NewTask("fetch", expires_at=past + timedelta(hours=1))
    )
    assert len(await take(store)) == 1
    assert await store.tasks.expire("acme") == 1
    assert await store.tasks.expire("acme") == 0


async def test_two_takers_never_get_the_same_task(database: str, store: Store):
    await store.tasks.put("acme", *(NewTask("fetch", external_id=str(number)) for number in range(100)))
    async with await Store.open(database, clock=SystemClock(), pool_size=3, migrate=False) as other:
        taken = await asyncio.gather(*(each.tasks.take("acme", fence=1, limit=20) for each in (store, other) * 4))
    taken.append(
        await store.tasks.take("acme", fence=1, limit=100)
    )  # what each stepped over because another had it in hand
    ids = [task.id for batch in taken for task in batch]
    assert len(ids) == len(set(ids)) == 100


async def test_what_an_older_fence_took_is_free_again(store: Store):
    await store.tasks.put("acme", *(NewTask("fetch", dedupe_key=each) for each in "abc"))
    old = await take(store, fence=1)
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="a"))
    assert await store.losses.free("acme", fence=1) == 0
    assert await store.losses.free("acme", fence=2) == 2
    assert not await store.tasks.done(old[1])
    again = await take(store, fence=2)
    assert sorted((each.dedupe_key or "", each.attempts) for each in again) == [
        ("a", 2),
        ("b", 2),
        ("c", 2),
    ], "the one that waited stands for the lost one too"


async def test_takers_choose_lanes_and_kinds(store: Store):
    await store.tasks.put("acme", NewTask("fetch", lane=Lane.LOW), NewTask("sync", lane=Lane.HIGH), NewTask("fetch"))
    assert [each.kind for each in await take(store, kinds=["sync"])] == ["sync"]
    assert [each.lane for each in await take(store, lanes=[Lane.LOW])] == [Lane.LOW]
    assert await store.tasks.ready(["acme", "other"]) == ["acme"]


async def test_what_is_put_off_is_counted_and_not_ready(store: Store):
    soon = now(store) + timedelta(hours=1)
    await store.tasks.put("acme", NewTask("fetch", not_before=soon), NewTask("fetch", not_before=soon))
    [counted] = await store.tasks.counts("acme")
    assert (counted["kind"], counted["lane"], counted["state"], counted["count"]) == ("fetch", 1, "waiting", 2)
    assert await store.tasks.ready(["acme"]) == []


async def test_only_the_resources_named_are_taken_and_the_others_wait_untouched(store: Store):
    for resource in ("things", "flow", "things"):
        await store.tasks.put("acme", NewTask("fetch", resource=resource, external_id=resource))
    assert await store.tasks.ready(["acme"], resources=["acme/notes", "other/things"]) == []
    assert await take(store, resources=["acme/notes"]) == []
    assert await store.tasks.ready(["acme"], resources=["acme/flow"]) == ["acme"]
    assert [each.resource for each in await take(store, resources=["acme/flow"])] == ["flow"]
    left = [each for each in await store.tasks.list("acme") if each.resource == "things"]
    assert [each.attempts for each in left] == [0, 0]
    assert len(await take(store)) == 2


async def test_a_records_work_is_done_in_order(store: Store):
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="k"), NewTask("fetch"), NewTask("fetch"))
    first = await take(store)
    assert len(first) == 3, "what has no key hangs on nothing"
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="k"), NewTask("fetch", dedupe_key="other"))
    assert [each.dedupe_key for each in await take(store)] == ["other"]
    await store.tasks.done(next(each for each in first if each.dedupe_key == "k"))
    assert [each.dedupe_key for each in await take(store)] == ["k"]


async def test_a_wish_for_a_run_waits_for_no_other(store: Store):
    await store.tasks.put("acme", NewTask("sync", dedupe_key="k"))
    assert len(await take(store)) == 1
    await store.tasks.put("acme", NewTask("sync", dedupe_key="k"))
    assert len(await take(store)) == 1


async def test_a_task_asked_for_again_counts_from_then_on(store: Store):
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="k"))
    [before] = await store.tasks.list("acme")
    await asyncio.sleep(0.01)
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="k"))
    [task] = await take(store)
    assert task.created_at == before.created_at
    assert task.since > before.since


async def test_expired_work_goes_in_portions_the_longest_expired_first(store: Store):
    past = now(store) - timedelta(hours=1)
    await store.tasks.put(
        "acme", *(NewTask("fetch", external_id=str(n), expires_at=past - timedelta(seconds=n)) for n in range(5))
    )
    assert await store.tasks.expire("acme", limit=2) == 2
    assert {each.external_id for each in await store.tasks.list("acme")} == {"0", "1", "2"}
    assert await store.tasks.expire("acme", limit=10) == 3


async def test_whether_anything_of_a_backlog_is_left(store: Store):
    assert await store.tasks.newest("acme") is None
    later = now(store) + timedelta(hours=1)
    await store.tasks.put("acme", NewTask("fetch"), NewTask("fetch", not_before=later))
    newest = await store.tasks.newest("acme")
    assert newest is not None
    assert await store.tasks.any_ready("acme", up_to=newest)
    [task] = await take(store)
    assert await store.tasks.any_ready("acme", up_to=newest), "what is under way is not over"
    await store.tasks.done(task)
    assert not await store.tasks.any_ready("acme", up_to=newest), "what is put off is no backlog"


async def test_a_task_may_be_of_something_that_was_told_earlier_and_counts_from_the_latest(store: Store):
    long_ago = now(store) - timedelta(hours=1)
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="k", wanted_at=long_ago))
    [task] = await store.tasks.list("acme")
    assert task.since == long_ago
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="k", wanted_at=long_ago - timedelta(hours=1)))
    assert (await store.tasks.list("acme"))[0].since == long_ago
    later = long_ago + timedelta(minutes=1)
    await store.tasks.put(
        "acme",
        NewTask("fetch", dedupe_key="k", wanted_at=later),
        NewTask("fetch", dedupe_key="k", wanted_at=long_ago),
        NewTask("fetch", dedupe_key="other", wanted_at=now(store) + timedelta(days=1)),
    )
    found = {each.dedupe_key: each.since for each in await store.tasks.list("acme")}
    assert found["k"] == later
    assert found["other"] <= now(store), "a clock that is ahead is not believed"


async def test_a_long_queue_of_one_integration_bars_no_other(store: Store):
    await store.tasks.put("busy", *(NewTask("fetch", lane=Lane.HIGH) for _ in range(200)))
    await store.tasks.put("busy", NewTask("fetch", lane=Lane.NORMAL))
    await store.tasks.put("quiet", NewTask("fetch", lane=Lane.HIGH), NewTask("fetch", lane=Lane.NORMAL))
    taken = await store.tasks.take(["busy", "quiet"], fence=1, limit=50)
    assert [(each.lane, each.integration) for each in taken if each.integration == "quiet"] == [(Lane.HIGH, "quiet")]
    assert len(taken) == 50
    taken = await store.tasks.take(["busy", "quiet"], fence=1, limit=50, without={("busy", Lane.HIGH)})
    assert sorted((each.integration, each.lane) for each in taken) == [("busy", Lane.NORMAL), ("quiet", Lane.NORMAL)]
    assert await store.tasks.take("busy", fence=1, limit=50, lanes=[Lane.HIGH], without={("busy", Lane.HIGH)}) == []
