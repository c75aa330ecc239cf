"""Dead letters: of one thing at most one is open, what was tried is on them, and who gives them up lets their work go."""

from __future__ import annotations

from datetime import timedelta

from syncd.clock import SystemClock
from syncd.store import NewDeadLetter, NewPush, NewTask, Retention, Selection, Store

NOW = SystemClock().now


def letter(**more) -> NewDeadLetter:
    known = {
        "integration": "acme",
        "origin": "task",
        "error_class": "RejectedError",
        "message": "422: no",
        "resource": "things",
    }
    return NewDeadLetter(**{**known, "fingerprint": "422", **more})


async def delivery(store: Store, event_id: str, state: str = "buried", body: bytes | None = b"{}") -> int:
    """A row of the inbox."""
    return await store._database.fetchval(
        "INSERT INTO syncd.inbox (integration, event_id, received_at, state, body, finished_at) "
        "VALUES ('acme', $1, now(), $2, $3, now()) RETURNING id",
        event_id,
        state,
        body,
    )


async def push(
    store: Store,
    external_id: str | None,
    data: dict,
    *,
    state: str = "buried",
    kind: str = "upsert",
    replaces: bool = True,
) -> int:
    """A row of the outbox."""
    number, _ = await store.outbox.put(NewPush("acme", "things", kind, data, external_id))
    await store._database.execute(
        "UPDATE syncd.outbox SET state = $2, replaces = $3 WHERE id = $1", number, state, replaces
    )
    return number


async def test_what_is_buried_again_while_its_letter_is_open_is_counted_on_it(store: Store):
    payload = {"kind": "fetch", "dedupe_key": "fetch:things:1"}
    first = await store.dead_letters.bury(letter(payload=payload))
    assert await store.dead_letters.bury(letter(payload=payload, message="423: later", fingerprint="423")) == first
    [only] = await store.dead_letters.list("acme")
    assert (only.times, only.message, only.fingerprint) == (2, "423: later", "423")
    assert only.last_at is not None
    assert only.buried_at is not None
    assert only.last_at > only.buried_at
    run = letter(origin="run", payload={"kind": "sync"})
    assert await store.dead_letters.bury(run) == await store.dead_letters.bury(run)
    assert await store.dead_letters.bury(letter(origin="run", resource="notes")) != first


async def test_work_that_is_like_no_other_has_a_letter_of_its_own(store: Store):
    assert await store.dead_letters.bury(letter()) != await store.dead_letters.bury(letter())
    assert await store.dead_letters.bury(letter(origin_id="7")) == await store.dead_letters.bury(letter(origin_id="7"))


async def test_a_settled_letter_does_not_keep_a_new_one_of_the_same_thing_away(store: Store):
    first = await store.dead_letters.bury(letter(origin_id="7"))
    await store.dead_letters.discard(Selection(ids=[first]), by="ann", reason="")
    second = await store.dead_letters.bury(letter(origin_id="7"))
    assert second != first


async def test_a_very_long_key_is_a_thing_too(store: Store):
    long = {"kind": "fetch", "dedupe_key": "x" * 2500}
    assert await store.dead_letters.bury(letter(payload=long)) == await store.dead_letters.bury(letter(payload=long))


async def test_attempts_of_a_task_are_on_its_letter(store: Store):
    await store.tasks.put("acme", NewTask("fetch", "things", "1", dedupe_key="k"))
    for number in range(1, 4):
        [task] = await store.tasks.take("acme", fence=1, limit=1)
        assert await store.tasks.later(task, None, reason=f"503 for the {number}. time")
    [task] = await store.tasks.take("acme", fence=1, limit=1)
    await store.tasks.later(task, None, counts=False, reason="told to wait")
    [task] = await store.tasks.take("acme", fence=1, limit=1)
    from syncd.errors import RejectedError
    from syncd.sync.letters import letter_of_task

    assert await store.tasks.bury(task, letter_of_task(task, RejectedError("answered 422", status=422)))
    [found] = await store.dead_letters.list("acme")
    assert [(one["attempt"], one["error"]) for one in found.history] == [
        (1, "503 for the 1. time"),
        (2, "503 for the 2. time"),
        (3, "503 for the 3. time"),
        (4, "answered 422"),
    ]


async def test_of_many_attempts_the_first_and_the_latest_are_kept(store: Store):
    await store.tasks.put("acme", NewTask("fetch", "things", "1", dedupe_key="k"))
    for number in range(1, 41):
        [task] = await store.tasks.take("acme", fence=1, limit=1)
        await store.tasks.later(task, None, reason="x" * 2000)
        assert task.attempts == number
    [task] = await store.tasks.take("acme", fence=1, limit=1)
    assert [one["attempt"] for one in task.history] == [1, *range(32, 41)]
    assert max(len(one["error"]) for one in task.history) == 500


async def test_a_letter_is_found_by_its_number_alone(store: Store):
    made = await store.dead_letters.bury(letter())
    found = await store.dead_letters.get(None, made)
    assert found is not None
    assert found.id == made
    assert await store.dead_letters.get("other", made) is None
    assert await store.dead_letters.get(None, made + 1) is None


async def test_who_discards_a_letter_gives_its_delivery_or_push_up(store: Store):
    inbox, outbox = await delivery(store, "e1"), await push(store, "r1", {"name": "x"})
    for origin, number in (("inbox", inbox), ("outbox", outbox)):
        await store.dead_letters.bury(letter(origin=origin, origin_id=str(number)))
    await store.dead_letters.bury(letter(origin="task", origin_id=str(inbox)))
    assert await store.dead_letters.discard(Selection(integration="acme"), by="ann", reason="closed \x00") == 3
    for table in ("inbox", "outbox"):
        found = await store._database.fetchrow(f"SELECT state, reason, finished_at FROM syncd.{table}")
        assert (found["state"], found["reason"]) == ("dropped", "discarded by ann: closed \ufffd")
        assert found["finished_at"] is not None
    [*_, one] = await store.dead_letters.list(state="discarded")
    assert (one.settled_by, one.reason) == ("ann", "closed \ufffd")


async def test_a_selection_narrows_by_everything_it_names(store: Store):
    first = await store.dead_letters.bury(letter(fingerprint="a"))
    second = await store.dead_letters.bury(letter(fingerprint="b", integration="other"))
    third = await store.dead_letters.bury(letter(fingerprint="b"))
    await store._database.execute(
        "UPDATE syncd.dead_letters SET buried_at = now() - interval '1 day' WHERE id = $1", first
    )
    hour = NOW() - timedelta(hours=1)

    async def meant(**more) -> set[int]:
        return {group.upto for group in await store.replays.groups(Selection(**more))}

    assert await meant() == {first, second, third}
    assert await meant(integration="acme") == {first, third}
    assert await meant(ids=[second, third], integration="acme") == {third}
    assert await meant(cause=("acme", "things", "b")) == {third}
    assert await meant(since=hour) == {second, third}
    assert await meant(until=hour) == {first}
    assert await meant(upto=second) == {first, second}


async def test_purge_removes_what_is_old_and_keeps_what_a_replay_counts(store: Store):
    ids = [await store.dead_letters.bury(letter(fingerprint=name)) for name in "abcd"]
    await store.dead_letters.discard(Selection(ids=ids[:1]), by="ann", reason="")
    await store._database.execute(
        "UPDATE syncd.dead_letters SET buried_at = now() - interval '40 days', settled_at = settled_at - interval '40 days' "
        "WHERE id = ANY($1::bigint[])",
        ids[:3],
    )
    await store.replays.begin(Selection(ids=ids[2:3]), who="ann")
    before = NOW() - timedelta(days=30)
    assert await store.dead_letters.purgeable(before) == {"discarded": 1, "open": 1}
    assert await store.dead_letters.purge(before, open_too=False) == 1
    assert await store.dead_letters.purge(before) == 1
    assert {one.id for one in await store.dead_letters.list()} == set(ids[2:])
    assert await store.dead_letters.purge(None, integration="other") == 0
    assert await store.dead_letters.purge(None) == 1, "the one that a replay is to take stays"


async def test_a_purged_open_letter_lets_its_delivery_go(store: Store):
    number = await delivery(store, "e1")
    await store.dead_letters.bury(letter(origin="inbox", origin_id=str(number)))
    await store.dead_letters.purge(None)
    assert await store._database.fetchval("SELECT state FROM syncd.inbox") == "dropped"


async def test_retention_never_takes_the_body_of_a_buried_delivery(store: Store):
    await delivery(store, "e1")
    await delivery(store, "e2", state="done")
    await store._database.execute("UPDATE syncd.inbox SET received_at = 'epoch', finished_at = 'epoch'")
    await store.prune.run(Retention())
    left = await store._database.fetch("SELECT event_id, body FROM syncd.inbox")
    assert [tuple(each) for each in left] == [("e1", b"{}")]


async def test_a_run_that_went_well_settles_the_letter_of_earlier_ones(store: Store):
    await store.dead_letters.bury(letter(origin="run"))
    await store.dead_letters.bury(letter(origin="run", resource="notes"))
    await store.dead_letters.bury(letter(origin="task", origin_id="1"))
    assert await store.dead_letters.healed("acme", "things", by="run 7") == 1
    assert {(one.origin, one.resource) for one in await store.dead_letters.list()} == {
        ("run", "notes"),
        ("task", "things"),
    }
    assert await store.dead_letters.healed("acme", "things", by="run 8") == 0
