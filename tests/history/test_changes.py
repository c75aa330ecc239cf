"""What was done is told in words, also where the database was away when it happened."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.errors import StoreError
from syncd.history import Changes, kind_of, text_of
from syncd.redaction import KNOWN
from syncd.store import PAUSE, Store
from syncd.store.audit import AuditEntry
from syncd.testing.clock import FakeClock

NOON = datetime(2026, 11, 23, 12, 4, tzinfo=UTC)
TWO = "2026-11-23T14:00:00Z"


def entry(action: str, before: Mapping[str, Any] | None = None, after: Mapping[str, Any] | None = None) -> AuditEntry:
    return AuditEntry("acme", 1, NOON, "ann@ops", action, before, after)


@pytest.mark.parametrize(
    ("found", "kind", "text"),
    [
        (entry("paused", None, {"resource": "", "reason": "they migrate", "until": TWO}), "pause",
         "paused by ann@ops: they migrate, until 14:00 UTC"),
        (entry("paused", {"who": "bob", "reason": "x"}, {"resource": "orders", "reason": "", "until": None}), "pause",
         "orders paused by ann@ops: until somebody ends it (replaces bob's: x)"),
        (entry("paused", None, {"reason": "", "until": "2026-11-25T01:00:00Z"}), "pause",
         "paused by ann@ops: until 2026-11-25 01:00 UTC"),
        (entry("resumed", {"who": "bob", "reason": "they migrate"}), "resume",
         "resumed by ann@ops; was bob's: they migrate"),
        (entry("pause_ended", {"who": "bob", "reason": "they migrate"}), "resume",
         "pause ended; was bob's: they migrate"),
        (entry("config_reloaded", None, {"changes": [f"a{n}: 1 → 2" for n in range(5)]}), "reload",
         "reloaded by ann@ops: a0: 1 → 2; a1: 1 → 2; a2: 1 → 2; and 2 more"),
        (entry("config_reloaded", None, {"changes": []}), "reload", "reloaded by ann@ops: configuration is unchanged"),
        (entry("config_reload_failed", None, {"kept": {"guesty": ["g.yaml:7: error: x\n  7 | y"]}, "changes": []}), "reload",
         "reloaded in part by ann@ops; kept as before: guesty (g.yaml:7: error: x)"),
        (entry("config_reload_failed", None, {"kept": {"guesty": ["a"], "acme": ["b"]}, "idle": ["acme"]}), "reload",
         "reloaded in part by ann@ops; kept as before: guesty (a); not running: acme (b)"),
        (entry("config_reload_failed", None, {"problems": ["syncd.yaml:1: error: x", "another"]}), "reload",
         "reload by ann@ops refused, nothing applied: syncd.yaml:1: error: x and 1 more"),
        (entry("daemon_started", {"version": "0.1.0"}, {"version": "0.2.0", "host": "web1"}), "deploy",
         "syncd 0.1.0 → 0.2.0 on web1"),
        (entry("daemon_started", {"version": "0.2.0"}, {"version": "0.2.0"}), "other", "syncd 0.2.0 started again"),
        (entry("daemon_started", None, {"version": "0.2.0"}), "deploy", "syncd 0.2.0 started for the first time"),
        (entry("schema_migrated", {"schema": 20}, {"schema": 21, "name": "refusals"}), "deploy",
         "schema 0021 (refusals) applied by ann@ops"),
        (entry("daemon_stopped", {"version": "0.2.0", "host": "web1"}, {"why": "SIGTERM"}), "other",
         "syncd 0.2.0 stopped on web1: SIGTERM"),
        (entry("credential_rotated", {"api_key": "48d5d582"}, {"api_key": "c0b28836"}), "rotation",
         "credentials rotated by ann@ops: api_key #48d5d582 → #c0b28836"),
        (entry("dead_letters_replayed", None, {"letters": 11}), "replay", "11 dead letters replayed by ann@ops"),
        (entry("sync_asked", None, {"resource": "orders", "id": "7"}), "sync", "sync of orders 7 asked for by ann@ops"),
        (entry("reconcile_confirmed", None, {"held": {"orders": 1200}}), "other",
         "1,200 held deletions confirmed by ann@ops: orders 1,200"),
        (entry("something_new", None, {"resource": "orders"}), "other", "something new by ann@ops (orders)"),
        (entry("dead_letters_replayed", None, None), "replay", "dead letters replayed by ann@ops"),
        (entry("paused", None, {"until": "soon"}), "pause", "paused by ann@ops"),
    ],
)  # fmt: skip
def test_each_row_has_its_words_and_its_mark(found: AuditEntry, kind: str, text: str):
    assert (kind_of(found), text_of(found)) == (kind, text)


async def test_a_pause_its_replacement_and_its_end_are_noted_with_what_they_do(store: Store):
    clock = FakeClock(NOON)
    store.controls._database.clock = clock
    until = clock.now() + timedelta(minutes=5)
    assert await store.controls.set("acme", PAUSE, who="ann", why="x", until=until, action="paused") is None
    before = await store.controls.set("acme", PAUSE, who="bob", why="y", until=until, action="paused")
    assert before is not None
    assert before.who == "ann"
    await clock.advance(301)
    assert [one.who for one in await store.controls.end(PAUSE, action="pause_ended")] == ["bob"]
    assert await store.controls.end(PAUSE, action="pause_ended") == []
    told = (await Changes(lambda: store, clock).list("acme"))["changes"]
    assert [one["text"] for one in reversed(told)] == [
        "paused by ann: x, until 12:09 UTC",
        "paused by bob: y, until 12:09 UTC (replaces ann's: x)",
        "pause ended; was bob's: y",
    ]
    assert told[0]["at"] == until, "when it ended, not when it was looked at"


async def test_what_happens_while_the_database_is_away_is_written_when_it_is_back_with_its_own_time(store: Store):
    clock, there = FakeClock(NOON), [False]
    changes = Changes(lambda: store if there[0] else None, clock)
    await changes.note("SIGHUP", "config_reloaded", after={"changes": []})
    with pytest.raises(StoreError):
        await changes.list()
    await clock.advance(3600)
    there[0] = True
    await changes.refresh()
    found = await changes.list(since=NOON - timedelta(hours=1))
    assert [(one["at"], one["who"]) for one in found["changes"]] == [(NOON, "SIGHUP")]
    assert found["waiting"] == 0
    assert [one["kind"] for one in changes.lately(timedelta(hours=2), "acme")] == ["reload"], "it is of everybody"
    assert changes.lately(timedelta(minutes=1)) == []


async def test_a_database_that_hangs_holds_up_nobody_and_no_row_is_written_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    clock, hangs, add = FakeClock(NOON), [True], store.audit.add

    async def slow(*what: Any, **more: Any) -> None:
        if hangs[0]:
            await clock.sleep(3600)
        await add(*what, **more)

    monkeypatch.setattr(store.audit, "add", slow)
    changes = Changes(lambda: store, clock)
    noting = asyncio.create_task(changes.note("SIGHUP", "config_reloaded", after={"changes": []}))
    await clock.advance(6)
    await noting
    hangs[0] = False
    await asyncio.gather(changes.refresh(), changes.refresh(), changes.note("ann", "resumed"))
    assert [one.action for one in reversed(await store.audit.list())] == ["config_reloaded", "resumed"]


async def test_no_row_holds_a_secret(store: Store):
    KNOWN.add("hunter2-hunter2")
    changes = Changes(lambda: store, FakeClock(NOON))
    await changes.note(
        "ann", "config_reloaded", after={"changes": ["key: hunter2-hunter2"], "kept": {"x": ["hunter2-hunter2"]}}
    )
    [row] = await store.audit.list()
    assert "hunter2" not in str(row)


async def test_more_than_is_shown_is_said(store: Store):
    changes = Changes(lambda: store, FakeClock(NOON))
    for _ in range(3):
        await changes.note("ann", "resumed", integration="acme")
    assert ((await changes.list(limit=2))["more"], (await changes.list(limit=3))["more"]) == (True, False)
