"""Tasks taken by a process that died: free at once, the guilty one found, the innocent never buried."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.errors import OwnershipError
from syncd.store import NewDeadLetter, NewTask, Store, Task

LETTER = NewDeadLetter("acme", "task", "PoisonError", "killed", "killed", payload={"dedupe_key": "bad"})


async def take(store: Store, fence: int, **more) -> list[Task]:
    return await store.tasks.take("acme", **{"fence": fence, "limit": 100, **more})


async def test_a_task_that_dies_while_it_is_handled_is_poison_after_five_takes(store: Store):
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="bad"))
    for fence in range(1, 6):
        [task] = await take(store, fence)
        assert task.suspect == (fence > 2)
        if task.suspect:
            await store.losses.handles(task, now=True)
        assert await store.losses.free("acme", fence=fence + 1) == 1
    assert await take(store, 6) == []
    assert await store.tasks.ready(["acme"]) == []
    [task] = await store.losses.poison("acme")
    assert (task.attempts, task.lost) == (5, 5)
    assert await store.losses.bury_poison(task, LETTER)
    assert not await store.losses.bury_poison(task, LETTER)
    assert await store.losses.parked(["acme", "other"]) == {("acme", "bad")}
    await store.dead_letters.settle("acme", [1], state="replayed", by="test")
    assert await store.losses.parked(["acme"]) == set()


async def test_a_task_that_only_waits_when_the_process_dies_is_never_poison(store: Store):
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="good"))
    for fence in range(1, 41):
        [task] = await take(store, fence)
        if fence == 20:  # it was being handled once in its life when somebody else killed the process
            await store.losses.handles(task, now=True)
        if fence % 3 == 0:  # it came through being handled, and waits again
            await store.losses.handles(task, now=True)
            await store.losses.handles(task, now=False)
        await store.losses.free("acme", fence=fence + 1)
    assert await store.losses.poison("acme") == []
    [task] = await take(store, 50)
    assert (task.attempts, task.lost, task.tries) == (41, 40, 1), "dying with the process is nobody's failure"
    assert await store.tasks.done(task)


async def test_what_replays_of_poison_begin_with_is_one_more_death(store: Store):
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="bad", suspicion=4))
    [task] = await take(store, 1)
    await store.losses.handles(task, now=True)
    await store.losses.free("acme", fence=2)
    assert len(await store.losses.poison("acme")) == 1


async def test_an_outcome_takes_back_what_a_lost_connection_left_standing(store: Store):
    await store.tasks.put("acme", NewTask("fetch", suspicion=3))
    [task] = await take(store, 1)
    await store.losses.handles(task, now=True)
    assert await store.tasks.later(task, None)
    [again] = await take(store, 1)
    assert again.suspicion == 3


async def test_a_suspect_that_is_somebody_elses_now_is_not_handled(store: Store):
    await store.tasks.put("acme", NewTask("fetch", suspicion=2))
    [task] = await take(store, 1)
    await store.losses.free("acme", fence=2)
    with pytest.raises(OwnershipError):
        await store.losses.handles(task, now=True)
    await store.losses.handles(task, now=False)


async def test_an_equal_task_that_came_meanwhile_inherits_what_is_suspected(store: Store):
    """Else a record that changes all the time would hide that its task kills the process."""
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="bad"))
    for fence in range(1, 6):
        [task] = await take(store, fence)
        if task.suspect:
            await store.losses.handles(task, now=True)
        await store.tasks.put("acme", NewTask("fetch", dedupe_key="bad"))
        await store.losses.free("acme", fence=fence + 1)
        assert len(await store.tasks.list("acme")) == 1
    [task] = await store.losses.poison("acme")
    assert task.lost == 5


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["waits", "comes through", "put off", "comes again"]), min_size=1, max_size=25))
async def test_however_the_process_dies_only_deaths_while_handled_make_poison(store: Store, life: list[str]):
    await store._database.execute("DELETE FROM syncd.tasks")
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="k"))
    for fence, what in enumerate(life, 1):
        [task] = await take(store, fence)
        if what == "comes through":
            await store.losses.handles(task, now=True)
            await store.losses.handles(task, now=False)
        if what == "put off":
            await store.tasks.later(task, None)
        if what == "comes again":
            await store.tasks.put("acme", NewTask("fetch", dedupe_key="k"))
        await store.losses.free("acme", fence=fence + 1)
    [left] = await store.tasks.list("acme")
    assert left.suspicion <= 2
    assert left.tries <= 1 + life.count("put off")


async def test_what_died_is_freed_while_events_keep_asking_for_the_same(store: Store):
    keys = [f"fetch:things:{number}" for number in range(300)]
    await store.tasks.put("acme", *(NewTask("fetch", dedupe_key=key) for key in keys))
    assert len(await take(store, 1, limit=300)) == 300
    freeing = asyncio.create_task(store.losses.free("acme", fence=2))
    asked = 0
    while not freeing.done():
        wanted = keys[asked * 7 % 300 :][:7]
        await store.tasks.put("acme", *(NewTask("fetch", dedupe_key=key) for key in wanted))
        asked += 1
    await freeing  # where all came to wait first, nothing is left to be freed
    assert asked > 1
    tasks = await store.tasks.list("acme", limit=1000)
    assert sorted(task.dedupe_key or "" for task in tasks) == sorted(keys), "one of each waits"
    assert {task.taken_fence for task in tasks} == {None}


async def test_strays_of_a_broken_connection_are_free_and_nobody_is_suspected(store: Store):
    await store.tasks.put("acme", *(NewTask("fetch", dedupe_key=key) for key in ("held", "stray", "asked again")))
    await store.tasks.put("acme", NewTask("sync", dedupe_key="wish"))
    taken = {task.dedupe_key: task for task in await take(store, 1)}
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="asked again"))
    held = [taken[key].id for key in ("held", "wish")]
    assert await store.losses.free_strays("acme", fence=1, held=held) == 1
    found = {task.id: task for task in await store.tasks.list("acme")}
    assert sorted(task.dedupe_key or "" for task in found.values()) == ["asked again", "held", "stray", "wish"]
    still = {task.dedupe_key for task in found.values() if task.taken_fence is not None}
    assert still == {"held", "wish"}, "whoever holds one goes on with it"
    assert {(task.lost, task.suspicion) for task in found.values()} == {(0, 0)}
    assert await store.losses.free_strays("acme", fence=2, held=[]) == 0, "under another fence nothing is ours"
    assert await store.losses.free_strays("acme", fence=1, held=[]) == 2


async def test_one_that_was_handled_as_the_database_broke_off_is_taken_again_and_bars_nobody(store: Store):
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="replayed", suspicion=4))
    [task] = await take(store, 1)
    await store.losses.handles(task, now=True)
    assert await store.losses.free_strays("acme", fence=1, held=[]) == 1
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="replayed"))
    [again] = await take(store, 1)
    assert again.suspicion == 4, "nothing died: it is as suspect as it was before"
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="replayed"))
    await store.losses.handles(again, now=True)
    await store.losses.free_strays("acme", fence=1, held=[])
    [left] = await take(store, 1)
    assert left.suspicion == 4, "the one that stands for it is as suspect"
    await store.losses.handles(left, now=True)
    await store.losses.free("acme", fence=2)
    assert [one.id for one in await store.losses.poison("acme")] == [left.id]


async def test_what_was_taken_under_another_scopes_higher_fence_is_free_again(store: Store):
    await store.tasks.put("acme", NewTask("fetch", dedupe_key="k"), NewTask("fetch"))
    assert len(await take(store, 7)) == 2
    assert await store.losses.free("acme", fence=1) == 2, "an integration that moved to a scope of fewer owners"
    again = await take(store, 1)
    assert sorted((one.dedupe_key or "", one.lost) for one in again) == [("", 1), ("k", 1)]
    assert await store.losses.free("acme", fence=1) == 0, "what is ours stays in our hands"
    assert await store.losses.free("acme", fence=None) == 2, "at the first look nobody has anything in hand"


async def test_nothing_is_freed_by_whoever_only_thinks_to_own_the_scope(store: Store):
    first = await store.leases.acquire("scope", "one", 600)
    assert first is not None
    await store.leases.release("scope", "one", first)
    second = await store.leases.acquire("scope", "two", 600)
    assert second is not None
    await store.tasks.put("acme", NewTask("fetch"))
    assert len(await take(store, second)) == 1
    assert await store.losses.free("acme", fence=first, scope="scope") == 0
    assert await store.losses.free("acme", fence=second, scope="scope") == 0
    assert await store.losses.free("acme", fence=first) == 1
