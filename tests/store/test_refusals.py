"""A version that came too late is not stored, and it is written down that it came."""

from __future__ import annotations

from datetime import timedelta

from syncd.store import Retention, Store

from .parts import START, Desk, at, row


async def test_an_older_version_is_noted_with_its_stamps_and_those_of_the_row_that_was_kept(desk: Desk, store: Store):
    await desk.put(row("a", {"x": 2}, updated=20, fetched=30), cause="run 7")
    done = await desk.put(row("a", {"x": 1}, updated=10, fetched=40), cause="webhook evt_1")
    assert (done.stale, await desk.data("a")) == (1, {"x": 2})
    found = await store.refusals.of_record("acme", "things", "a")
    assert found is not None and found.times == 1
    (one,) = found.latest
    assert one["cause"] == "webhook evt_1"
    assert one["source_updated_at"].startswith("2024-05-01T12:00:10")
    assert (one["held"]["cause"], one["held"]["row_version"], one["gone"]) == ("run 7", 1, False)
    assert "x" not in str(one), "no values"


async def test_only_the_last_five_are_kept_and_all_are_counted(desk: Desk, store: Store):
    await desk.put(row("a", {"x": 99}, version=99))
    for version in range(1, 9):
        await desk.put(row("a", {"x": version}, version=version), cause=f"webhook e{version}")
    found = await store.refusals.of_record("acme", "things", "a")
    assert found is not None
    assert (found.times, [one["cause"] for one in found.latest]) == (8, [f"webhook e{n}" for n in (8, 7, 6, 5, 4)])


async def test_a_late_update_of_the_dead_is_noted_and_the_same_content_again_is_not(desk: Desk, store: Store):
    await desk.put(row("a", {"x": 1}, fetched=1), row("b", {"x": 1}, fetched=1))
    await store.pages.delete("acme", "things", ["a"], scope="acme", fence=desk.fence, fetched_at=at(20))
    await desk.put(row("a", {"x": 2}, fetched=10), row("b", {"x": 1}, fetched=0))
    dead = await store.refusals.of_record("acme", "things", "a")
    assert dead is not None and dead.latest[0]["held"]["gone"] is True
    assert await store.refusals.of_record("acme", "things", "b") is None, "what is as stored is no refusal"


async def test_they_go_with_the_event_log(desk: Desk, store: Store):
    await desk.put(row("a", version=2))
    await desk.put(row("a", {"x": 1}, version=1))
    await store._database.execute("UPDATE syncd.refusals SET last_at = $1", START - timedelta(days=900))
    assert (await store.prune.run(Retention())).removed["refusals"] == 1
    assert await store.refusals.of_record("acme", "things", "a") is None
