"""Replays: a canary first, the others in portions, each letter once, whoever takes the steps and whenever they end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from syncd.errors import StoreError
from syncd.model import Lane
from syncd.store import NewDeadLetter, NewTask, Selection, Store, Task
from syncd.store import replay_steps as module
from syncd.store.replays import Standing

from .test_letters import delivery, letter

ALL = Selection(integration="acme")


def of_task(number: int, **more) -> NewDeadLetter:
    payload = {
        "kind": "fetch",
        "resource": "things",
        "external_id": f"r{number}",
        "dedupe_key": f"fetch:things:r{number}",
    }
    return letter(
        origin_id=str(number), external_id=f"r{number}", payload={**payload, "payload": {"events": True}}, **more
    )


async def letters(store: Store, number: int) -> list[int]:
    return [await store.dead_letters.bury(of_task(each)) for each in range(number)]


async def begin(store: Store, selection: Selection = ALL) -> int:
    [(_, replay)] = await store.replays.begin(selection, who="ann")
    return replay


async def step(store: Store, replay: int) -> bool:
    return await store.replays.step("acme", replay)


async def stand(store: Store, replay: int) -> Standing:
    found = await store.replays.standing("acme", replay)
    assert found is not None
    return found


async def take(store: Store, limit: int = 1000) -> list[Task]:
    return await store.tasks.take("acme", fence=1, limit=limit)


async def run(store: Store, replay: int, *, fails: set[str] = frozenset()) -> None:
    """Carry it to its end; work of these records is buried again."""
    for _ in range(600):
        moved = False
        while await step(store, replay):
            moved = True
        for task in await take(store):
            moved = True
            if task.external_id in fails:
                await store.tasks.bury(task, of_task(int(task.external_id[1:]), former_id=task.letter_id))
            else:
                await store.tasks.done(task)
        if (await stand(store, replay)).replay.ended_at is not None:
            return
        if not moved:
            await asyncio.sleep(0.05)  # what waits for another is looked at again after a moment
    raise AssertionError("it did not end")


async def test_nothing_moves_but_one_until_that_is_done(store: Store):
    ids = await letters(store, 5)
    replay = await begin(store)
    assert await step(store, replay)
    assert not await step(store, replay)
    [canary] = await take(store)
    assert (canary.lane, canary.letter_id, canary.attempts) == (Lane.NORMAL, ids[0], 1)
    assert (canary.external_id, canary.payload, canary.cause) == ("r0", {"events": True}, f"replay of letter {ids[0]}")
    assert not await step(store, replay), "taken is not done"
    standing = await stand(store, replay)
    assert (standing.replay.state, standing.waiting, standing.in_flight, standing.done) == ("canary", 4, 1, 0)
    await store.tasks.later(canary, None, reason="503")
    assert not await step(store, replay), "put off is not done"
    [canary] = await take(store)
    await store.tasks.done(canary)
    while await step(store, replay):
        pass
    others = await take(store)
    assert [task.letter_id for task in others] == ids[1:]
    assert {task.lane for task in others} == {Lane.LOW}
    assert not await step(store, replay)
    for task in others:
        await store.tasks.done(task)
    await step(store, replay)
    ended = await stand(store, replay)
    assert (ended.replay.state, ended.replay.sent, ended.done, ended.failed) == ("done", 5, 5, 0)
    assert await store.dead_letters.list("acme") == []


async def test_a_canary_that_fails_leaves_the_others_as_they_were(store: Store):
    ids = await letters(store, 5)
    before = [one for one in await store.dead_letters.list() if one.id != ids[0]]
    replay = await begin(store)
    await run(store, replay, fails={"r0"})
    ended = await stand(store, replay)
    assert ended.replay.state == "stopped"
    assert ended.replay.reason == "the canary failed for the same reason: 422: no"
    again, *_ = await store.dead_letters.list()
    assert (again.former_id, again.replays, again.external_id) == (ids[0], 1, "r0")
    assert [one for one in await store.dead_letters.list() if one.id != again.id] == before
    assert await take(store) == []


async def test_a_canary_that_fails_otherwise_stops_too_and_says_so(store: Store):
    await letters(store, 3)
    replay = await begin(store)
    await step(store, replay)
    [canary] = await take(store)
    await store.tasks.bury(canary, of_task(0, former_id=canary.letter_id, fingerprint="500", message="500: broken"))
    await step(store, replay)
    reason = (await stand(store, replay)).replay.reason
    assert reason == "the canary failed for another reason: 500: broken"


async def test_each_cause_has_a_canary_of_its_own(store: Store):
    for number in range(6):
        await store.dead_letters.bury(of_task(number, fingerprint="even" if number % 2 == 0 else "odd"))
    begun = await store.replays.begin(ALL, who="ann")
    assert len(begun) == 2
    for key in begun:
        await store.replays.step(*key)
    ahead = await take(store)
    assert {task.external_id for task in ahead} == {"r0", "r1"}


async def test_no_more_than_a_portion_is_unfinished_at_once(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PORTION", {"task": 3})
    await letters(store, 10)
    replay = await begin(store)
    await step(store, replay)
    [canary] = await take(store)
    await store.tasks.done(canary)
    seen = []
    for _ in range(20):
        while await step(store, replay):
            pass
        taken = await take(store)
        seen.append(len(taken))
        for task in taken[:2]:
            await store.tasks.done(task)
        for task in taken[2:]:
            await store.tasks.give_back(task)
    assert max(seen) == 3
    assert (await stand(store, replay)).done == 10


def read_of(event_id: str) -> NewTask:
    """What a thin delivery becomes."""
    return NewTask("fetch", "things", event_id, lane=Lane.HIGH, cause=f"webhook {event_id}")


async def test_deliveries_wait_while_the_reads_of_earlier_ones_do(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PORTION", {"inbox": 3})
    for number in range(10):
        row = await delivery(store, f"e{number}")
        await store.dead_letters.bury(letter(origin="inbox", origin_id=str(row)))
    replay = await begin(store)
    most = 0
    for _ in range(30):
        while await step(store, replay):
            pass
        ended = await store._database.fetch(
            "UPDATE syncd.inbox SET state = 'done' WHERE state = 'waiting' RETURNING event_id"
        )
        for each in ended:  # as a thin delivery does
            await store.tasks.put("acme", read_of(each["event_id"]))
        most = max(most, len(await store.tasks.list("acme")))
        for task in await take(store, 1):
            await store.tasks.done(task)
    assert most <= 3
    assert (await stand(store, replay)).replay.state == "done"


@pytest.mark.parametrize("waits_seconds", [None, 60])
async def test_reads_that_others_caused_hold_up_no_delivery(
    store: Store, monkeypatch: pytest.MonkeyPatch, waits_seconds: int | None
):
    monkeypatch.setattr(module, "PORTION", {"inbox": 3})
    until = None
    if waits_seconds is not None:
        until = store._database.clock.now() + timedelta(seconds=waits_seconds)
    live = [replace(read_of(f"live{number}"), not_before=until) for number in range(60)]
    await store.tasks.put("acme", *live)
    for number in range(10):
        row = await delivery(store, f"e{number}")
        await store.dead_letters.bury(letter(origin="inbox", origin_id=str(row)))
    replay = await begin(store)
    most = 0
    for _ in range(30):
        while await step(store, replay):
            pass
        ended = await store._database.fetch(
            "UPDATE syncd.inbox SET state = 'done' WHERE state = 'waiting' RETURNING event_id"
        )
        await store.tasks.put("acme", *(read_of(each["event_id"]) for each in ended))
        own = await store._database.fetch("SELECT id FROM syncd.tasks WHERE cause LIKE 'webhook e%' ORDER BY id")
        most = max(most, len(own))
        for each in own[:1]:
            await store._database.execute("DELETE FROM syncd.tasks WHERE id = $1", each["id"])
    assert (await stand(store, replay)).replay.state == "done"
    assert most <= 3, "its own reads are as few as ever"


async def test_one_in_which_most_fail_goes_no_further(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PORTION", {"task": 15})
    await letters(store, 100)
    replay = await begin(store)
    await run(store, replay, fails={f"r{number}" for number in range(1, 100)})
    ended = await stand(store, replay)
    assert ended.replay.state == "stopped"
    assert ended.replay.reason == "15 of 16 were buried again"
    assert ended.replay.sent == 16
    assert len(await store.dead_letters.list(limit=1000)) == 99


async def test_few_that_fail_do_not_stop_the_others(store: Store):
    await letters(store, 50)
    replay = await begin(store)
    await run(store, replay, fails={"r7", "r8"})
    ended = await stand(store, replay)
    assert (ended.replay.state, ended.done, ended.failed) == ("done", 48, 2)


async def test_what_a_replay_holds_stays_with_it_and_the_second_command_finds_it(store: Store):
    ids = await letters(store, 4)
    first = await begin(store, Selection(ids=ids[:2]))
    begun = await store.replays.begin(ALL, who="bob")
    assert len(begun) == 2
    assert ("acme", first) in begun
    assert [(await stand(store, replay)).replay.total for _, replay in begun] == [2, 2]
    assert await store.replays.begin(ALL, who="cyd") == begun
    assert await store.replays.begin(Selection(ids=[10**9]), who="cyd") == []


async def test_two_commands_at_once_begin_one_replay(store: Store):
    await letters(store, 4)
    begun = await asyncio.gather(*(store.replays.begin(ALL, who=f"p{n}") for n in range(4)))
    assert len({tuple(each) for each in begun}) == 1


async def test_many_that_step_at_once_return_each_letter_once(store: Store):
    ids = await letters(store, 60)
    replay = await begin(store)
    await store._database.execute("CREATE TABLE public.returned AS SELECT 0::bigint AS letter_id WHERE false; ")
    await store._database.execute(
        "CREATE FUNCTION public.witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO public.returned VALUES (NEW.letter_id); RETURN NULL; END $$"
    )
    await store._database.execute(
        "CREATE TRIGGER witness AFTER INSERT ON syncd.tasks FOR EACH ROW EXECUTE FUNCTION public.witness()"
    )

    async def stepper() -> None:
        while (await stand(store, replay)).replay.ended_at is None:
            await step(store, replay)
            for task in await take(store, 3):
                await store.tasks.done(task)

    await asyncio.gather(*(stepper() for _ in range(3)))
    returned = await store._database.fetch("SELECT letter_id, count(*) FROM public.returned GROUP BY 1 ORDER BY 1")
    assert [tuple(each) for each in returned] == [(each, 1) for each in ids]


async def test_a_step_that_ends_in_the_middle_has_done_nothing(store: Store, monkeypatch: pytest.MonkeyPatch):
    await letters(store, 3)
    replay = await begin(store)
    kept = module.give_back

    async def dies(*args, **named):
        await kept(*args, **named)
        raise StoreError("killed")

    monkeypatch.setattr(module, "give_back", dies)
    with pytest.raises(StoreError):
        await step(store, replay)
    assert await take(store) == []
    assert len(await store.dead_letters.list()) == 3
    monkeypatch.setattr(module, "give_back", kept)
    await run(store, replay)
    assert await store.dead_letters.list() == []


async def test_cancelling_leaves_what_was_not_returned(store: Store):
    await letters(store, 5)
    replay = await begin(store)
    await step(store, replay)
    assert await store.replays.cancel(ALL, who="bob") == [("acme", replay, 4)]
    assert await store.replays.cancel(ALL, who="bob") == []
    assert len(await take(store)) == 1
    assert {one.replay_id for one in await store.dead_letters.list()} == {None}
    assert (await stand(store, replay)).replay.state == "cancelled"
    assert not await step(store, replay)


async def test_discarded_letters_are_not_waited_for(store: Store):
    ids = await letters(store, 4)
    replay = await begin(store)
    await step(store, replay)
    await store.dead_letters.discard(Selection(ids=ids[1:]), by="ann", reason="")
    await run(store, replay)
    ended = await stand(store, replay)
    assert (ended.replay.state, ended.replay.sent) == ("done", 1)


async def test_where_an_equal_task_waits_it_stands_for_both(store: Store):
    [only] = await letters(store, 1)
    await store.tasks.put("acme", NewTask("fetch", "things", "r0", dedupe_key="fetch:things:r0", lane=Lane.HIGH))
    replay = await begin(store)
    await step(store, replay)
    [task] = await take(store)
    assert (task.letter_id, task.lane) == (only, Lane.HIGH)
    assert not await step(store, replay)
    await store.tasks.done(task)
    await step(store, replay)
    assert (await stand(store, replay)).replay.state == "following"


async def test_a_canary_that_another_task_comes_to_stand_for_is_not_taken_for_done(store: Store):
    await letters(store, 2)
    replay = await begin(store)
    await step(store, replay)
    [canary] = await take(store)
    await store.tasks.put("acme", NewTask("fetch", "things", "r0", dedupe_key="fetch:things:r0"))
    await store.tasks.later(canary, None, reason="503")
    assert not await step(store, replay)
    [heir] = await take(store)
    assert heir.id != canary.id
    assert heir.letter_id == canary.letter_id


async def test_a_replay_says_why_its_work_waits(store: Store):
    await letters(store, 1)
    replay = await begin(store)
    await step(store, replay)
    [canary] = await take(store)
    until = store._database.clock.now().replace(microsecond=0)
    await store.tasks.later(canary, until, reason="answered 503")
    standing = await stand(store, replay)
    assert (standing.held_until, standing.held_by) == (until, "answered 503")


async def test_returned_work_that_is_put_off_leaves_its_place_to_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "PORTION", {"task": 2})
    await letters(store, 20)
    replay = await begin(store)
    await step(store, replay)
    [canary] = await take(store)
    await store.tasks.done(canary)
    later = store._database.clock.now() + timedelta(hours=1)
    for _ in range(10):
        while await step(store, replay):
            pass
        for task in await take(store):
            await store.tasks.later(task, later, reason="answered 503")
    standing = await stand(store, replay)
    assert standing.in_flight == module.HELD_TIMES * 2, "but there is a bound to that"
    assert (standing.held_until, standing.held_by) == (later, "answered 503")
