"""How the work of dead letters goes back: as it came, each once, none over what is newer, in order where there is one."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from syncd.store import Store
from syncd.store import replay_steps as module

from .test_letters import delivery, letter, push
from .test_replays import ALL, begin, of_task, run, stand, step, take


async def test_what_killed_the_process_gets_one_more_life(store: Store):
    await store.dead_letters.bury(of_task(1, error_class="PoisonError"))
    replay = await begin(store)
    await step(store, replay)
    [task] = await take(store)
    assert task.suspicion == 4


async def test_a_letter_of_a_run_becomes_a_wish_for_one(store: Store):
    await store.dead_letters.bury(letter(origin="run", payload={"kind": "sync", "resource": "things"}))
    replay = await begin(store)
    await step(store, replay)
    [wish] = await take(store)
    assert (wish.kind, wish.resource, wish.dedupe_key) == ("sync", "things", "sync:things:")


async def test_a_letter_that_says_nothing_of_its_work_stays_open_and_is_counted(store: Store):
    await store.dead_letters.bury(letter(payload={}))
    await store.dead_letters.bury(letter(origin="inbox", origin_id="12345"))
    await store.dead_letters.bury(letter(origin="outbox", origin_id=None))
    replay = await begin(store)
    await run(store, replay)
    ended = await stand(store, replay)
    assert (ended.replay.state, ended.replay.unable, ended.replay.sent) == ("done", 3, 0)
    assert {one.replay_id for one in await store.dead_letters.list()} == {None}


# -- deliveries --------------------------------------------------------------------------------------------------------


async def inbox_row(store: Store, number: int) -> asyncpg.Record:
    found = await store._database.fetchrow("SELECT * FROM syncd.inbox WHERE id = $1", number)
    assert found is not None
    return found


async def test_a_delivery_waits_again_as_it_was_received(store: Store):
    number = await delivery(store, "e1", body=b'{"x": 1}')
    await store._database.execute("UPDATE syncd.inbox SET attempts = 7, lost = 5, reason = 'broken'")
    made = await store.dead_letters.bury(letter(origin="inbox", origin_id=str(number)))
    heard: asyncio.Queue[str] = asyncio.Queue()
    await store.listen("syncd_inbox", heard.put_nowait)
    replay = await begin(store)
    await step(store, replay)
    row = await inbox_row(store, number)
    assert (row["state"], row["body"], row["attempts"], row["lost"]) == ("waiting", b'{"x": 1}', 0, 0)
    assert (row["letter_id"], row["reason"], row["finished_at"]) == (made, None, None)
    assert await asyncio.wait_for(heard.get(), 10) == "acme"
    assert not await step(store, replay)
    await store._database.execute("UPDATE syncd.inbox SET state = 'done', finished_at = now()")
    await run(store, replay)
    assert (await stand(store, replay)).done == 1


async def test_a_delivery_that_fails_again_names_its_letter_whoever_buries_it(store: Store):
    number = await delivery(store, "e1")
    first = await store.dead_letters.bury(letter(origin="inbox", origin_id=str(number)))
    replay = await begin(store)
    await step(store, replay)
    await store._database.execute("UPDATE syncd.inbox SET state = 'buried'")
    await store.dead_letters.bury(letter(origin="inbox", origin_id=str(number)))
    [again] = await store.dead_letters.list()
    assert (again.former_id, again.replays) == (first, 1)
    await step(store, replay)
    assert (await stand(store, replay)).replay.state == "stopped"


async def test_a_delivery_somebody_returned_by_himself_is_settled_and_not_done_twice(store: Store):
    done, waiting = await delivery(store, "e1", state="done"), await delivery(store, "e2", state="waiting")
    for number in (done, waiting):
        await store.dead_letters.bury(letter(origin="inbox", origin_id=str(number)))
    replay = await begin(store)
    await run(store, replay)
    assert (await stand(store, replay)).replay.sent == 2
    assert await store.dead_letters.list() == []
    assert [(await inbox_row(store, number))["state"] for number in (done, waiting)] == ["done", "waiting"]


async def test_a_delivery_without_its_body_cannot_be_replayed(store: Store):
    number = await delivery(store, "e1", body=None)
    await store.dead_letters.bury(letter(origin="inbox", origin_id=str(number)))
    replay = await begin(store)
    await run(store, replay)
    assert (await stand(store, replay)).replay.unable == 1
    assert (await inbox_row(store, number))["state"] == "buried"


# -- pushes ------------------------------------------------------------------------------------------------------------


async def buried_push(store: Store, external_id: str | None, data: dict, **more) -> int:
    number = await push(store, external_id, data, **more)
    await store.dead_letters.bury(letter(origin="outbox", origin_id=str(number), external_id=external_id))
    return number


async def outbox_row(store: Store, number: int) -> asyncpg.Record:
    found = await store._database.fetchrow("SELECT * FROM syncd.outbox WHERE id = $1", number)
    assert found is not None
    return found


async def test_a_push_goes_out_again_under_its_own_key(store: Store):
    number = await buried_push(store, "r1", {"name": "x"})
    key = (await outbox_row(store, number))["idempotency_key"]
    replay = await begin(store)
    await step(store, replay)
    row = await outbox_row(store, number)
    assert (row["state"], row["idempotency_key"], row["attempts"]) == ("waiting", key, 0)
    assert not await step(store, replay)


async def test_a_push_that_may_have_arrived_is_looked_up_first(store: Store):
    number = await buried_push(store, "r1", {"name": "x"})
    await store._database.execute("UPDATE syncd.outbox SET unsure_since = now()")
    replay = await begin(store)
    await step(store, replay)
    assert (await outbox_row(store, number))["state"] == "unknown"
    assert not await step(store, replay), "unknown is not done"


async def test_a_push_that_a_newer_one_has_overtaken_is_dropped_and_counted(store: Store):
    number = await buried_push(store, "r1", {"name": "old"})
    await push(store, "r1", {"name": "new", "size": 1}, state="done")
    replay = await begin(store)
    await run(store, replay)
    ended = await stand(store, replay)
    assert (ended.replay.overtaken, ended.replay.sent) == (1, 0)
    row = await outbox_row(store, number)
    assert (row["state"], row["reason"]) == ("dropped", "a newer push of the record was done")
    [settled] = await store.dead_letters.list(state="discarded")
    assert settled.reason == "a newer push of the record was done"


@pytest.mark.parametrize(
    ("external_id", "data", "kind"),
    [("r2", {"name": "new"}, "upsert"), ("r1", {"size": 1}, "upsert"), ("r1", {"name": "new"}, "status")],
    ids=["of another record", "of other fields", "of another kind"],
)
async def test_a_newer_push_that_says_nothing_of_it_overtakes_nothing(
    store: Store, external_id: str, data: dict, kind: str
):
    number = await buried_push(store, "r1", {"name": "old"})
    await push(store, external_id, data, state="done", kind=kind)
    await step(store, await begin(store))
    assert (await outbox_row(store, number))["state"] == "waiting"


async def test_a_push_that_adds_something_is_never_overtaken(store: Store):
    number = await buried_push(store, "r1", {"comment": "first"}, replaces=False)
    await push(store, "r1", {"comment": "second"}, state="done", replaces=False)
    await step(store, await begin(store))
    assert (await outbox_row(store, number))["state"] == "waiting"


async def test_an_older_push_overtakes_nothing(store: Store):
    await push(store, "r1", {"name": "older"}, state="done")
    number = await buried_push(store, "r1", {"name": "newer"})
    await step(store, await begin(store))
    assert (await outbox_row(store, number))["state"] == "waiting"


@pytest.mark.parametrize("state", ["taken", "unknown"])
async def test_a_push_waits_for_a_newer_one_that_is_under_way(store: Store, state: str):
    number = await buried_push(store, "r1", {"name": "old"})
    newer = await push(store, "r1", {"name": "new"}, state=state)
    replay = await begin(store)
    assert not await step(store, replay)
    assert (await outbox_row(store, number))["state"] == "buried"
    assert (await stand(store, replay)).replay.state == "canary"
    await store._database.execute("UPDATE syncd.outbox SET state = 'done' WHERE id = $1", newer)
    await run(store, replay)
    assert (await outbox_row(store, number))["state"] == "dropped"


async def newer_under_way(store: Store, external_id: str) -> int:
    return await push(store, external_id, {"name": "new"}, state="taken", kind="other")


async def end_push(store: Store, number: int, state: str = "done") -> None:
    await store._database.execute("UPDATE syncd.outbox SET state = $2 WHERE id = $1", number, state)


async def look_again(store: Store) -> None:
    """As if the time had passed for which letters are stepped over."""
    await store._database.execute("UPDATE syncd.dead_letters SET put_off_until = put_off_until - interval '1 minute'")


async def states(store: Store, numbers: list[int]) -> list[str]:
    return [(await outbox_row(store, number))["state"] for number in numbers]


async def test_letters_that_cannot_be_returned_yet_are_stepped_over_and_come_back_to(store: Store):
    held = [await buried_push(store, f"h{each}", {"name": "old"}) for each in range(15)]
    newer = [await newer_under_way(store, f"h{each}") for each in range(15)]
    free = [await buried_push(store, f"f{each}", {"name": "old"}) for each in range(15)]
    replay = await begin(store)
    assert await step(store, replay)
    assert (await stand(store, replay)).replay.canary_id is not None, "the canary is the first that can go"
    assert await states(store, free) == ["waiting"] + ["buried"] * 14
    gone: set[int] = set()
    for _ in range(20):
        while await step(store, replay):
            pass
        under_way = [number for number in free if (await outbox_row(store, number))["state"] == "waiting"]
        gone |= set(under_way)
        for number in under_way:
            await end_push(store, number)
    assert gone == set(free)
    standing = await stand(store, replay)
    assert (standing.replay.state, standing.waiting, standing.put_off) == ("following", 15, 15)
    assert standing.put_off_for == "a newer push of the record is under way"
    for number in newer:
        await end_push(store, number, "dropped")
    assert not await step(store, replay), "not at once"
    await look_again(store)
    assert await step(store, replay)
    assert (await states(store, held)).count("waiting") == 10
    assert (await stand(store, replay)).put_off == 5


async def test_letters_come_back_to_do_not_keep_those_behind_them_waiting(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "LOOKED_AT", 3)
    monkeypatch.setattr(module, "PORTION", {"outbox": 3})
    for each in range(9):
        await buried_push(store, f"h{each}", {"name": "old"})
        await newer_under_way(store, f"h{each}")
    free = [await buried_push(store, f"f{each}", {"name": "old"}) for each in range(2)]
    replay = await begin(store)
    for _ in range(5):
        await step(store, replay)
        await look_again(store)
    assert (await states(store, free))[0] == "waiting"


async def test_pushes_of_one_record_keep_their_order_when_one_is_stepped_over(store: Store):
    [first, newer, last] = [
        await buried_push(store, "r1", {"text": "1"}, replaces=False),
        await newer_under_way(store, "r1"),
        await buried_push(store, "r1", {"text": "3"}, replaces=False),
    ]
    replay = await begin(store)
    assert not await step(store, replay)
    assert await states(store, [first, last]) == ["buried", "buried"]
    await store._database.execute("UPDATE syncd.dead_letters SET put_off_until = NULL WHERE origin_id = $1", str(last))
    assert not await step(store, replay), "nor when it is looked at without the one before it"
    assert (await stand(store, replay)).put_off == 2
    await end_push(store, newer)
    await look_again(store)
    while await step(store, replay):
        pass
    assert (await outbox_row(store, first))["state"] == "waiting"
    await end_push(store, first)
    while await step(store, replay):
        await look_again(store)
    assert (await outbox_row(store, last))["state"] == "waiting"


async def test_what_a_cancelled_replay_stepped_over_begins_anew_in_the_next(store: Store):
    number = await buried_push(store, "r1", {"name": "old"})
    newer = await newer_under_way(store, "r1")
    replay = await begin(store)
    await step(store, replay)
    [waits] = await store.dead_letters.list()
    assert waits.put_off_for == "a newer push of the record is under way"
    await store.replays.cancel(ALL, who="ann")
    [letter] = await store.dead_letters.list()
    assert (letter.put_off_for, letter.replay_id) == (None, None)
    await end_push(store, newer, "dropped")
    assert await step(store, await begin(store))
    assert await states(store, [number]) == ["waiting"]
