"""The small tables: controls, limit state, audit log, dead letters, reads, retention."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from syncd.model import Lane, Outcome
from syncd.ports import CredentialKeeper, SlotKeeper
from syncd.store import (
    BREAKER_HOLD,
    CONFIRM_DELETIONS,
    PAUSE,
    WISHES,
    NewDeadLetter,
    NewTask,
    Reject,
    Retention,
    Store,
    locks,
)
from syncd.store.locks import holders
from syncd.store.queues import Depth

from .parts import Desk, at, row


def now(store: Store):
    return store._database.clock.now()


async def test_the_store_keeps_the_ports_promises(store: Store):
    slots: SlotKeeper = store.limit_state
    tokens: CredentialKeeper = store.credentials
    assert await slots.load("acme") is None
    await slots.save("acme", {"slots": [1.5, 2], "paused_until": None})
    await slots.save("acme", {"slots": []})
    found = dict(await slots.load("acme") or {})
    assert found.pop("age_seconds") >= 0, "by the database's clock"
    assert found == {"slots": []}
    assert await tokens.get("acme", "x") is None


async def test_orders_hold_until_they_are_taken_back_or_over(store: Store):
    soon, past = now(store) + timedelta(hours=1), now(store) - timedelta(seconds=1)
    heard: asyncio.Queue[str] = asyncio.Queue()
    await store.listen(WISHES, heard.put_nowait)
    await store.controls.set("acme", PAUSE, who="ann", why="maintenance", until=soon)
    await store.controls.set("acme", BREAKER_HOLD, who="ann", until=past)
    await store.controls.set("acme", CONFIRM_DELETIONS, who="bob", resource="things", detail={"at_most": 5})
    await store.controls.set("other", PAUSE, who="ann")
    assert [(each.kind, each.resource, each.who) for each in await store.controls.active("acme")] == [
        (PAUSE, "", "ann"),
        (CONFIRM_DELETIONS, "things", "bob"),
    ]
    assert await store.controls.clear("acme", PAUSE)
    assert not await store.controls.clear("acme", PAUSE)
    assert [each.integration for each in await store.controls.active()] == ["acme", "other"]
    assert await asyncio.wait_for(heard.get(), 10) == "acme"


async def test_an_order_whose_time_is_over_is_taken_away_by_one_caller_only(store: Store):
    past, soon = now(store) - timedelta(seconds=1), now(store) + timedelta(hours=1)
    for number, until in enumerate((past, past, soon, None)):
        await store.controls.set(f"acme{number}", BREAKER_HOLD, who="ann", why="x", until=until)
    await store.controls.set("acme0", PAUSE, who="ann", until=past)
    ended = await asyncio.gather(*(store.controls.end(BREAKER_HOLD) for _ in range(4)))
    assert sorted(each.integration for found in ended for each in found) == ["acme0", "acme1"]
    assert [each.integration for each in await store.controls.active()] == ["acme2", "acme3"]


async def test_a_new_order_replaces_the_old_one(store: Store):
    await store.controls.set("acme", PAUSE, who="ann", why="first")
    await store.controls.set("acme", PAUSE, who="bob", why="second")
    [control] = await store.controls.active("acme")
    assert (control.who, control.why) == ("bob", "second")


async def test_the_audit_log_tells_who_did_what(store: Store):
    await store.audit.add("ann", "pause", integration="acme", before=None, after={"until": "2024-05-01"})
    await store.audit.add("daemon", "reload", after={"partners": ["acme"]})
    assert [(each.actor, each.action, each.integration) for each in await store.audit.list()] == [
        ("daemon", "reload", ""),
        ("ann", "pause", "acme"),
    ]
    assert [each.after for each in await store.audit.list("acme")] == [{"until": "2024-05-01"}]


def letter(**more) -> NewDeadLetter:
    return NewDeadLetter(
        **{
            "integration": "acme",
            "origin": "task",
            "error_class": "RejectedError",
            "message": "422: bad \x00 value",
            "fingerprint": "422 bad value",
            "resource": "things",
            **more,
        }
    )


async def test_dead_letters_are_grouped_by_cause_and_settled_once(store: Store):
    ids = [await store.dead_letters.bury(letter(external_id=str(number), attempts=3)) for number in range(3)]
    await store.dead_letters.bury(letter(fingerprint="other", request={"path": "/x"}, traceback="Traceback ..."))
    [first, second] = await store.dead_letters.grouped("acme")
    assert (first.fingerprint, first.count, list(first.examples)) == ("422 bad value", 3, ["2", "1", "0"])
    assert second.count == 1
    found = await store.dead_letters.get("acme", ids[0])
    assert found is not None
    assert (found.message, found.attempts, found.state) == ("422: bad \ufffd value", 3, "open")
    assert await store.dead_letters.settle("acme", ids, state="replayed", by="ann") == 3
    assert await store.dead_letters.settle("acme", ids, state="discarded", by="bob") == 0
    assert await store.dead_letters.counts() == {"acme": 1}
    assert [each.settled_by for each in await store.dead_letters.list(state="replayed")] == ["ann"] * 3
    assert await store.dead_letters.list("acme", fingerprint="other", state="replayed") == []


async def test_records_are_read_in_order_batch_by_batch(desk: Desk):
    names = [f"r{number:03}" for number in range(25)]
    await desk.put(*(row(name) for name in reversed(names)), row("dead", deleted=True))
    scan = desk.store.records.scan
    assert [each.external_id async for each in scan("acme", "things", batch=4)] == names
    assert [each.external_id async for each in scan("acme", "things", batch=4, limit=6)] == names[:6]
    assert [each.external_id async for each in scan("acme", "things", after="r020", batch=3)] == names[21:]
    assert [each.external_id async for each in scan("acme", "things", deleted=True)] == ["dead"]
    assert len([each async for each in scan("acme", "things", deleted=None)]) == 26
    assert await desk.store.records.count("acme") == {"things": (25, 1)}
    assert await desk.store.records.get("acme", "things", "nobody") is None


async def test_known_finds_by_key_in_a_table_that_grew_since_it_was_analyzed(desk: Desk):
    """The plan made for an empty table must not read all of a full one."""
    assert await desk.store.records.known("acme", "things", ["a"]) == {}
    await desk.begin()
    for page in range(10):
        await desk.commit(*(row(f"{page}-{number}") for number in range(500)))
    plan = "\n".join(
        each[0]
        for each in await desk.store._database.fetch(
            "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT i.id, r.hash FROM unnest(ARRAY['1-1', '2-2']) AS i(id) "
            "CROSS JOIN LATERAL (SELECT content_hash AS hash FROM syncd.records k "
            "WHERE k.integration = 'acme' AND k.resource = 'things' "
            "AND k.external_id = i.id OFFSET 0) r"
        )
    )
    assert "external_id = i.id" in plan.split("Index Cond:")[1]
    assert "Removed" not in plan
    assert len(await desk.store.records.known("acme", "things", ["1-1", "9-499", "x"])) == 2


async def test_of_the_pushes_of_one_record_only_the_oldest_is_due_and_none_whose_time_has_not_come(store: Store):
    for key, record, state, later in (
        ("k1", "r1", "waiting", "0 s"), ("k2", "r1", "waiting", "0 s"), ("k3", "r2", "waiting", "1 hour"),
        ("k4", "r2", "waiting", "0 s"), ("k5", "r3", "taken", "0 s"), ("k6", "r3", "waiting", "0 s"),
    ):  # fmt: skip
        await store._database.execute(
            "INSERT INTO syncd.outbox (integration, idempotency_key, resource, external_id, operation, payload, created_at,"
            " state, not_before) VALUES ('acme', $1, 'things', $2, 'update', '{}', $3, $4, now() + $5::text::interval)",
            key, record, at(1), state, later,
        )  # fmt: skip
    [outbox] = await store.queues.depths()
    assert (outbox.waiting, outbox.under_way, outbox.due) == (5, 1, 1)


async def test_who_else_holds_a_lock_is_named_with_what_and_for_how_long(store: Store, monkeypatch: pytest.MonkeyPatch):
    database = store._database
    assert await holders(database) == []
    monkeypatch.setattr(locks, "_HOLDERS", locks._HOLDERS.replace("interval '5 seconds'", "interval '0 seconds'"))
    other = await asyncpg.connect(database.url, server_settings={"application_name": "psql"})
    try:
        await other.execute("BEGIN; LOCK TABLE syncd.tasks IN SHARE MODE")
        [one] = await holders(database)
        assert (one.pid, one.program, one.tables, one.is_idle) == (other.get_server_pid(), "psql", ["tasks"], True)
        assert one.seconds > 0
    finally:
        await other.close()


async def test_what_waits_outside_is_counted(store: Store):
    await store._database.execute(
        "INSERT INTO syncd.inbox (integration, event_id, received_at) VALUES ('acme', 'e1', $1)", at(0)
    )
    await store._database.execute(
        "INSERT INTO syncd.outbox (integration, idempotency_key, resource, operation, payload, created_at, state) "
        "VALUES ('acme', 'k1', 'things', 'update', '{}', $1, 'unknown')",
        at(1),
    )
    await store.tasks.put("acme", *(NewTask("fetch", lane=lane) for lane in (Lane.HIGH, Lane.LOW, Lane.LOW)))
    [taken] = await store.tasks.take("acme", fence=1, limit=1, lanes=[Lane.LOW])
    depths = {depth.queue: depth for depth in await store.queues.depths()}
    assert depths["inbox"] == Depth("inbox", "acme", 1, 0, at(0), due=1)
    assert depths["outbox"] == Depth("outbox", "acme", 1, 0, at(1), due=1)
    assert depths["tasks high"].waiting == 1
    low = depths["tasks low"]
    assert (low.waiting, low.under_way, low.oldest_at) == (1, 1, taken.created_at)
    await store.tasks.put("acme", NewTask("sync", lane=Lane.NORMAL))
    await store.tasks.take("acme", fence=1, limit=1, lanes=[Lane.NORMAL])
    assert "tasks normal" not in {depth.queue for depth in await store.queues.depths()}, "a run may last for hours"


@pytest.fixture
async def old(desk: Desk) -> Desk:
    """A bit of everything, all of it a thousand days old."""
    store = desk.store
    await desk.put(row("a", {"x": 1}, version=1))
    await desk.put(row("a", {"x": 2}, version=2), row("dead", deleted=True), rejects=[Reject(b"?", "bad", "r")])
    for _ in range(3):
        await desk.begin()
        await desk.finish(Outcome.DONE, complete=True)
    await desk.begin()
    ids = [await store.dead_letters.bury(letter()) for _ in range(2)]
    await store.dead_letters.settle("acme", ids[:1], state="discarded", by="ann")
    await store.audit.add("ann", "pause")
    for state in ("waiting", "done", "buried"):
        await store._database.execute(
            "INSERT INTO syncd.inbox (integration, event_id, received_at, state, body, finished_at) VALUES "
            "('acme', $1, $2, $1, 'x', CASE WHEN $1::text <> 'waiting' THEN $2::timestamptz END)",
            state,
            at(0),
        )
    for table, columns in {
        "changes": ["changed_at"],
        "runs": ["started_at"],
        "records": ["deleted_at"],
        "rejects": ["last_at"],
        "dead_letters": ["buried_at", "settled_at"],
        "audit_log": ["at"],
        "passes": ["started_at"],
    }.items():
        for name in columns:
            await store._database.execute(f"UPDATE syncd.{table} SET {name} = {name} - interval '1000 days'")
    await store._database.execute("UPDATE syncd.runs SET ended_at = ended_at - interval '1000 days'")
    return desk


async def left(store: Store, table: str, where: str = "true") -> int:
    return await store._database.fetchval(f"SELECT count(*) FROM syncd.{table} WHERE {where}")


async def test_retention_removes_what_is_over_and_nothing_unprocessed(old: Desk):
    store = old.store
    removed = (await store.prune.run(Retention(), batch=1, pause_seconds=0)).removed
    assert removed["changes"] == 1
    assert await left(store, "records") == 1
    assert await left(store, "runs") == 1, "the last run of a resource stays, finished or not"
    assert await left(store, "rejects") == 0
    assert await left(store, "dead_letters", "state = 'open'") == 1
    assert await left(store, "dead_letters") == 1
    assert await left(store, "audit_log") == 0
    assert await left(store, "inbox", "state = 'waiting'") == 1
    assert await left(store, "inbox", "state = 'buried'") == 1
    assert await left(store, "inbox", "state = 'done'") == 0
    assert await left(store, "passes") == 3, "two complete ones and the one in progress"
    again = await store.prune.run(Retention())
    assert (set(again.removed.values()), again.unfinished) == ({0}, {})


async def test_keys_of_events_outlive_their_payloads(old: Desk):
    store = old.store
    removed = (await store.prune.run(Retention(inbox_keys=timedelta(days=3000)))).removed
    assert removed["inbox_bodies"] == 1
    assert await left(store, "inbox", "state = 'done' AND body IS NULL") == 1
    assert await left(store, "inbox", "state = 'waiting' AND body IS NOT NULL") == 1
