"""R1 and R7 as the engine meets them: one page, whole or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from syncd.errors import OwnershipError, StoreError
from syncd.model import History, Mode, Outcome
from syncd.store import NewTask, Reject, Store

from .parts import START, Desk, at, feed, row, told


async def counters(desk: Desk) -> dict[str, int]:
    run = await desk.store.runs.get(desk.integration, desk.run_id)
    assert run is not None
    names = ("pages", "added", "updated", "deleted", "unchanged", "stale", "rejected", "calls")
    return {name: getattr(run, name) for name in names if getattr(run, name)}


async def test_a_page_moves_rows_cursor_and_counters_together(desk: Desk):
    await desk.begin()
    result = await desk.commit(row("a"), row("b"), unchanged=7, calls=2, waited_seconds=1.5, newest_at=at(5))
    assert sorted(result.added) == ["a", "b"]
    stand = await desk.store.checkpoints.stand("acme", "things")
    assert stand is not None
    assert stand.checkpoint.cursor == "page 1"
    assert stand.newest_at == at(5)
    assert not stand.listed
    assert await counters(desk) == {"pages": 1, "added": 2, "unchanged": 7, "calls": 2}
    stored = await desk.store.records.get("acme", "things", "a")
    assert stored is not None
    assert (stored.data, stored.raw, stored.row_version, stored.cause) == (
        {"name": "a"},
        {"id": "a", "name": "a"},
        1,
        "test",
    )


@pytest.mark.parametrize(
    "wrong", [{"cursor_read": "page 9"}, {"fence": 99}, {"run_id": 99}, {"scope": "other"}, {"resource": "others"}]
)
async def test_a_page_that_is_not_the_next_one_writes_nothing(desk: Desk, wrong: dict[str, object]):
    await desk.begin()
    await desk.commit(row("a"))
    page = desk.page(row("b"), rejects=[Reject(b"?", "bad")], tasks=[NewTask("fetch")], **wrong)
    with pytest.raises(OwnershipError):
        await desk.store.pages.commit(page)
    assert await desk.data("b") is None
    assert await desk.store.rejects.list() == []
    assert await desk.store.tasks.list("acme") == []
    assert await counters(desk) == {"pages": 1, "added": 1}


async def test_the_same_page_twice_is_refused_even_at_both_ends(desk: Desk):
    await desk.begin()
    first = desk.page(row("a"), last=True)
    await desk.store.pages.commit(first)
    with pytest.raises(OwnershipError):
        await desk.store.pages.commit(first)


async def test_a_lost_lease_stops_pages_and_single_records(desk: Desk):
    await desk.begin()
    await desk.store.leases.release("acme", "test:1", desk.fence)
    assert await desk.store.leases.acquire("acme", "test:2", 60) == desk.fence + 1
    with pytest.raises(OwnershipError):
        await desk.commit(row("a"))
    with pytest.raises(OwnershipError):
        await desk.put(row("a"))
    with pytest.raises(OwnershipError):
        await desk.store.pages.delete("acme", "things", ["a"], scope="acme", fence=desk.fence, fetched_at=at(1))
    assert await desk.store.records.count("acme") == {}


async def test_rows_outside_a_listing_move_no_cursor(desk: Desk):
    await desk.begin()
    await desk.commit(row("a"))
    result = await desk.put(row("b"), row("a", {"name": "new"}, fetched=1))
    assert (result.added, result.updated) == (["b"], ["a"])
    checkpoint = await desk.store.checkpoints.get("acme", "things")
    assert checkpoint is not None
    assert checkpoint.cursor == "page 1"
    assert await counters(desk) == {"pages": 1, "added": 1}


async def test_unchanged_content_writes_nothing(desk: Desk):
    await desk.begin()
    await desk.commit(row("a"))
    before = await desk.store._database.fetchrow("SELECT xmin::text, * FROM syncd.records")
    result = await desk.commit(row("a", fetched=60))
    assert (result.added, result.updated, result.unchanged, result.stale) == ([], [], 1, 0)
    assert await desk.store._database.fetchrow("SELECT xmin::text, * FROM syncd.records") == before


async def test_unchanged_content_under_a_newer_stamp_remembers_only_the_stamp(desk: Desk):
    """Otherwise A, then A again, then a late B between them would end as B."""
    await desk.put(row("a", {"x": "A"}, version=1))
    assert (await desk.put(row("a", {"x": "A"}, version=3, fetched=3))).unchanged == 1
    assert (await desk.put(row("a", {"x": "B"}, version=2, fetched=4))).stale == 1
    stored = await desk.store.records.get("acme", "things", "a")
    assert stored is not None
    assert (stored.data, stored.source_version, stored.row_version) == ({"x": "A"}, 3, 1)
    assert await told(desk.store) == []


@pytest.mark.parametrize(
    ("old", "new", "wins"),
    [
        ({"version": 5}, {"version": 6}, True),
        ({"version": 5, "fetched": 9}, {"version": 6, "fetched": 1}, True),
        ({"version": 5, "fetched": 1}, {"version": 4, "fetched": 9}, False),
        ({"version": 5, "fetched": 1}, {"version": 5, "fetched": 2}, True),
        ({"version": 5, "fetched": 2}, {"version": 5, "fetched": 1}, False),
        ({"version": 5, "updated": 9}, {"version": 6, "updated": 1}, True),
        ({"updated": 5, "fetched": 9}, {"updated": 6, "fetched": 1}, True),
        ({"updated": 6, "fetched": 1}, {"updated": 5, "fetched": 9}, False),
        ({"updated": 5, "fetched": 1}, {"updated": 5, "fetched": 2}, True),
        ({"updated": 5, "fetched": 2}, {"updated": 5, "fetched": 1}, False),
        ({"fetched": 1}, {"fetched": 2}, True),
        ({"fetched": 2}, {"fetched": 1}, False),
        ({"version": 5, "fetched": 1}, {"updated": 1, "fetched": 2}, True),
        ({"version": 5, "fetched": 2}, {"updated": 9, "fetched": 1}, False),
    ],
)
async def test_newer_wins(desk: Desk, old: dict[str, float], new: dict[str, float], wins: bool):
    await desk.put(row("a", {"x": "old"}, **old))
    result = await desk.put(row("a", {"x": "new"}, **new))
    assert await desk.data("a") == {"x": "new" if wins else "old"}
    assert (result.updated, result.stale) == ((["a"], 0) if wins else ([], 1))


async def test_a_late_update_does_not_raise_the_dead_and_a_recreation_does(desk: Desk):
    await desk.put(row("a", {"x": 1}, version=1))
    assert (await desk.put(row("a", version=3, fetched=3, deleted=True))).deleted == ["a"]
    assert (await desk.put(row("a", {"x": 2}, version=2, fetched=9))).stale == 1
    assert await desk.data("a") is None
    result = await desk.put(row("a", {"x": 1}, version=4, fetched=4))
    assert result.added == ["a"]
    assert await desk.data("a") == {"x": 1}


async def test_a_tombstone_of_something_unknown_holds_against_its_older_versions(desk: Desk):
    result = await desk.put(row("a", version=3, fetched=3, deleted=True))
    assert (result.added, result.deleted) == ([], [])
    assert (await desk.put(row("a", {"x": 2}, version=2, fetched=9))).stale == 1
    assert (await desk.store.records.known("acme", "things", ["a"]))["a"].deleted
    assert (await desk.put(row("a", {"x": 4}, version=4, fetched=9))).added == ["a"]


async def test_a_page_asked_for_before_it_was_found_gone_raises_nobody_though_its_stamp_be_newer(desk: Desk):
    """It shows a change that came before the deletion and was not stored yet; nobody told when the deletion was."""
    await desk.put(row("a", {"n": 1}, fetched=80, updated=80))
    for found_gone_at in (101, 105):
        await desk.store.pages.delete(
            "acme", "things", ["a"], scope="acme", fence=desk.fence, fetched_at=at(found_gone_at)
        )
    await desk.put(row("a", {"n": 2}, fetched=103, updated=95))
    assert await desk.data("a") is None
    await desk.put(row("a", {"n": 3}, fetched=110, updated=107))
    assert await desk.data("a") == {"n": 3}
    assert await desk.store.records.count("acme") == {"things": (1, 0)}


async def test_two_pages_of_one_second_are_told_apart_by_our_clock_unless_it_was_set_back(desk: Desk):
    """The partner's clock, as an answer shows it, is off by a second and the time that answer took."""
    await desk.put(row("a", {"n": 1}, fetched=80, updated=79.5, observed=True, cause="run 1 page 1"))
    await desk.put(row("a", {"n": 2}, fetched=80.2, updated=78.9, observed=True, cause="run 2 page 1"))
    assert await desk.data("a") == {"n": 2}
    await desk.put(row("a", {"n": 0}, fetched=79.9, updated=79.8, observed=True, cause="push 7"))
    assert await desk.data("a") == {"n": 2}
    ahead = (datetime.now(UTC) - START).total_seconds() + 3600
    await desk.put(row("a", {"n": 3}, fetched=ahead, updated=90, observed=True, cause="run 3 page 1"))
    await desk.put(row("a", {"n": 4}, fetched=100, updated=95, observed=True, cause="run 4 page 1"))
    assert await desk.data("a") == {"n": 4}


async def test_a_delivery_that_only_brings_a_newer_stamp_makes_no_reading_of_the_row(desk: Desk):
    await desk.put(row("a", fetched=80, updated=80, cause="run 5 page 1"))
    assert await desk.store.records.fetched("acme", "things", ["a"]) == {"a": at(80)}
    await desk.put(row("a", fetched=120, updated=90, cause="webhook e9"))
    assert await desk.store.records.fetched("acme", "things", ["a"]) == {}
    await desk.put(row("a", fetched=130, updated=95, cause="task"))
    assert await desk.store.records.fetched("acme", "things", ["a"]) == {"a": at(130)}


async def test_what_the_partner_says_is_gone_is_buried_unless_read_again_meanwhile(desk: Desk):
    await desk.put(
        row("a", fetched=1),
        row("b", fetched=9),
        row("k1", resource="kids", parent_id="a"),
        row("k2", resource="kids", parent_id="b"),
    )
    await desk.begin()
    result = await desk.store.pages.delete(
        "acme",
        "things",
        ["a", "b"],
        partner="partner",
        scope="acme",
        fence=desk.fence,
        fetched_at=at(5),
        children=["kids"],
        run_id=desk.run_id,
        cause="404",
    )
    assert sorted(result.deleted) == ["a", "k1"]
    assert await desk.data("b") == {"name": "b"}
    assert await desk.data("k2", "kids") == {"name": "k2"}
    assert await counters(desk) == {"deleted": 2}
    dead = await desk.store.records.get("acme", "things", "a")
    assert dead is not None
    assert (dead.data, dead.cause) == ({"name": "a"}, "404")


async def test_a_partial_view_is_laid_over_what_is_stored(desk: Desk):
    await desk.put(row("a", {"x": 1, "y": 1}, version=1))
    await desk.put(row("a", {"x": 2}, version=2, sparse=True))
    stored = await desk.store.records.get("acme", "things", "a")
    assert stored is not None
    assert stored.data == {"x": 2, "y": 1}
    assert stored.raw == {"id": "a", "x": 2, "y": 1}


async def test_a_partial_view_and_its_whole_settle_instead_of_replacing_each_other_for_ever(desk: Desk):
    known = desk.store.records.known
    part = row("a", {"x": 1}, version=1, sparse=True)
    whole = row("a", {"x": 1, "y": 1}, version=1, fetched=1)
    await desk.put(part)
    await desk.put(whole)
    assert (await known("acme", "things", ["a"]))["a"].content_hash == whole.content_hash
    assert (await known("acme", "things", ["a"], sparse=True))["a"].content_hash == part.content_hash
    assert (await desk.put(row("a", {"x": 1}, version=1, fetched=2, sparse=True))).unchanged == 1
    # A new part makes the whole unknown until it is fetched.
    await desk.put(row("a", {"x": 2}, version=2, fetched=3, sparse=True))
    assert (await known("acme", "things", ["a"]))["a"].content_hash != whole.content_hash
    assert await desk.data("a") == {"x": 2, "y": 1}


async def test_a_record_that_comes_several_times_on_a_page_ends_as_its_newest(desk: Desk):
    await desk.begin()
    result = await desk.commit(
        row("a", {"x": 1}, version=1),
        row("b"),
        row("a", {"x": 3}, version=3),
        row("a", {"x": 2}, version=2),
        tasks=[NewTask("children", parent_id="a", dedupe_key="kids of a")],
    )
    assert await desk.data("a") == {"x": 3}
    assert (sorted(result.added), result.updated, result.stale) == (["a", "b"], ["a"], 1)
    assert await counters(desk) == {"pages": 1, "added": 2, "updated": 1, "stale": 1}
    assert len(await desk.store.tasks.list("acme")) == 1


async def test_children_are_asked_for_only_where_a_later_round_changed_the_parent(desk: Desk):
    await desk.put(row("a", {"x": 1}, version=1), row("b", {"x": 1}, version=5))
    await desk.begin()
    tasks = [NewTask("children", parent_id=each, dedupe_key=each) for each in "ab"]
    again, newer, stale = row("a", {"x": 1}, version=1), row("a", {"x": 2}, version=2), row("b", {"x": 0}, version=4)
    await desk.commit(again, newer, stale, tasks=tasks)
    assert [each.parent_id for each in await desk.store.tasks.list("acme")] == ["a"]


async def test_only_changed_parents_cause_work(desk: Desk):
    await desk.put(row("old"), row("stale", {"x": 9}, version=9), row("k", resource="kids"))
    tasks = [
        NewTask("children", resource="kids", parent_id=each, dedupe_key=f"kids of {each}", payload={"of": each})
        for each in ("new", "old", "stale", "dead", "k")
    ]
    tasks.append(NewTask("fetch", external_id="x"))
    tasks.append(NewTask("children", parent_id="k", parent_resource="kids"))
    await desk.begin()
    await desk.commit(
        row("new"),
        row("old"),
        row("stale", {"x": 1}, version=1),
        row("dead", deleted=True),
        row("k", {"x": 2}, fetched=1, resource="kids"),
        tasks=tasks,
    )
    made = await desk.store.tasks.list("acme")
    assert sorted((each.kind, each.parent_id) for each in made if each.parent_id) == [
        ("children", "k"),
        ("children", "new"),
    ]
    assert [each.external_id for each in made if each.kind == "fetch"] == ["x"]


async def test_a_bad_record_is_a_row_and_goes_when_a_sound_one_arrives(desk: Desk):
    await desk.begin()
    reject = Reject(b'{"id": "a"', "field x is missing", "a", fingerprint="missing x")
    await desk.commit(row("b"), rejects=[reject, Reject(b"???", "no id")])
    await desk.commit(rejects=[reject])
    found = {each.external_id: each for each in await desk.store.rejects.list()}
    assert found["a"].times == 2
    assert found["a"].raw == b'{"id": "a"'
    assert len(found) == 2
    assert next(each for each in found if each != "a").startswith("?")
    assert [(each.fingerprint, each.count) for each in await desk.store.rejects.grouped()] == [
        ("missing x", 1),
        ("no id", 1),
    ]
    assert await counters(desk) == {"pages": 2, "added": 1, "rejected": 3}
    await desk.commit(row("a"), healed=[("things", "a"), ("things", "never rejected")])
    assert [each.external_id for each in await desk.store.rejects.list()] == [each for each in found if each != "a"]


async def test_a_page_of_a_feed_heals_the_rejects_of_the_resources_it_brings(desk: Desk):
    await desk.begin()
    await desk.commit(row("x"), rejects=[Reject(b'{"id": "a"', "field x is missing", "a", fingerprint="missing x")])
    await desk.commit(row("y"), healed=[("others", "a")])
    assert len(await desk.store.rejects.list()) == 1
    feed = replace(desk.page(healed=[("things", "a")]), resource="events", run_id=None, seen_ids=None)
    await desk.store.pages.commit_one(feed)
    assert await desk.store.rejects.list() == []


async def test_a_value_postgresql_cannot_hold_costs_only_its_own_record(desk: Desk):
    await desk.begin()
    bad = row("bad")._replace(data_json=b'{"x": "\\u0000"}')
    broken = row("broken")._replace(raw_json=b'{"x": ')
    result = await desk.commit(
        row("good"),
        bad,
        broken,
        row("nul\x00id"),
        row("lone\udc00id"),
        row("big", version=2**70),
        row("fine"),
    )
    assert sorted(result.added) == ["fine", "good"]
    assert sorted(result.refused) == ["bad", "big", "broken", "lone\udc00id", "nul\x00id"]
    assert len(await desk.store.rejects.list()) == 5
    assert await counters(desk) == {"pages": 1, "added": 2, "rejected": 5}


async def test_an_unusable_id_among_those_seen_does_not_stop_the_page(desk: Desk):
    await desk.begin()
    result = await desk.commit(row("good"), seen_ids=["good", "nul\x00id"])
    assert result.added == ["good"]


async def test_a_page_that_cannot_be_stored_at_all_says_so(desk: Desk):
    await desk.begin()
    with pytest.raises(StoreError):
        await desk.store.pages.commit(desk.page(row("a"), cursor_next="nul\x00"))


async def test_raw_is_kept_as_sent(desk: Desk):
    raw = b'{"b": 1.0, "a": "\\u0000 and \\ud800", "n": 123456789012345678901234567890}'
    await desk.put(row("a")._replace(raw_json=raw))
    assert (await desk.store._database.fetchval("SELECT raw::text FROM syncd.records")).encode() == raw


@pytest.mark.parametrize("history", [History.OFF, History.CHANGES, History.FULL])
async def test_a_page_believed_new_is_judged_all_the_same_where_it_is_not(desk: Desk, history: History):
    """Somebody stored two of them between the question and the page."""
    await desk.put(row("b", {"x": 9}, version=9), row("c", {"x": 1}, version=1))
    await desk.begin()
    result = await desk.commit(
        *(row(name, {"x": 5}, version=5) for name in "dcba"), row("gone", deleted=True), fresh=True, history=history
    )
    assert (sorted(result.added), result.updated, result.stale) == (["a", "d"], ["c"], 1)
    assert [(await desk.data(name) or {})["x"] for name in "abcd"] == [5, 9, 5, 5]
    expected = {History.OFF: 0, History.CHANGES: 1, History.FULL: 3}[history]
    assert len(await feed(desk.store, expected)) == expected


async def test_a_page_that_is_all_new_is_stored_and_logged(desk: Desk):
    await desk.begin()
    result = await desk.commit(row("b"), row("a"), row("gone", deleted=True), fresh=True, history=History.FULL)
    assert sorted(result.added) == ["a", "b"]
    assert sorted(each.external_id for each in await feed(desk.store, 2)) == ["a", "b"]
    assert await counters(desk) == {"pages": 1, "added": 2}


async def test_history_is_kept_as_the_resource_asks(desk: Desk):
    async def story(history: History) -> list[tuple[str, str, object, object]]:
        name = f"r-{history}"
        for number, content in enumerate(({"x": 1, "y": [1]}, {"x": 2, "y": [1], "z": None}, {"z": 1})):
            await desk.put(row(name, content, version=number), history={"things": history})
        await desk.put(row(name, version=8, fetched=1, deleted=True), history=history)
        await desk.put(row(name, {"x": 5}, version=9), history=history)
        changes = await desk.store.changes.of_record("acme", "things", name)
        return [(each.kind, each.field, each.old, each.new) for each in reversed(changes)]

    updates = [
        ("update", "x", 1, 2),
        ("update", "z", None, None),
        ("update", "x", 2, None),
        ("update", "y", [1], None),
        ("update", "z", None, 1),
        ("delete", "", {"z": 1}, None),
        ("insert", "", None, {"x": 5}),
    ]
    assert await story(History.OFF) == []
    assert await story(History.CHANGES) == updates
    assert await story(History.FULL) == [("insert", "", None, {"x": 1, "y": [1]}), *updates]


async def test_a_feed_page_holds_rows_of_several_resources(desk: Desk):
    await desk.begin()
    result = await desk.commit(
        row("1", resource="customers"),
        row("1", resource="invoices"),
        history={"customers": History.FULL, "invoices": History.OFF},
    )
    assert result.added == ["1", "1"]
    assert [each.resource for each in await feed(desk.store, 1)] == ["customers"]


async def test_two_runs_side_by_side_do_not_wait_for_each_other_for_ever(store: Store):
    """Pages of different resources and integrations, all touching the same feed of changes."""
    desks = [await Desk.open(store, f"acme{number}") for number in range(3)]
    for desk in desks:
        await desk.begin(Mode.INCREMENTAL)

    async def pull(desk: Desk) -> None:
        for number in range(10):
            await desk.commit(*(row(f"r{n}", {"x": number}, version=number) for n in range(20)))
        await desk.finish(Outcome.DONE)

    await asyncio.gather(*map(pull, desks))
    changes = await feed(store, 3 * 9 * 20)
    assert [each.id for each in changes] == sorted(each.id for each in changes)
