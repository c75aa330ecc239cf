"""Stored raw read by another adapter: what changes, what is told, and what must not be touched."""

from __future__ import annotations

import pytest

from syncd import codec
from syncd.errors import OwnershipError
from syncd.store import Batch, Renormalization, Reread, Store

from .parts import Desk, row, told


def reread(external_id: str, stored: dict[str, object], data: dict[str, object], adapter: str = "v2") -> Reread:
    raw = {"id": external_id, **stored}
    return Reread(
        external_id, codec.content_hash(raw), codec.content_hash(raw, adapter), codec.dumps_storable(data), adapter
    )


async def begun(desk: Desk, **more: object) -> Renormalization:
    one, _ = await desk.store.renormalizations.ask("acme", "things", **more)  # type: ignore[arg-type]
    taken = await desk.store.renormalizations.take(one, scope=desk.scope, fence=desk.fence, reading="v2")
    assert taken is not None
    return taken


async def stored(desk: Desk, *ids: str) -> None:
    await desk.begin()
    await desk.store.pages.commit_one(desk.page(*(row(each, {"name": each}) for each in ids)))


async def test_what_is_read_otherwise_is_changed_and_told_and_the_rest_only_marked(desk: Desk):
    await stored(desk, "a", "b")
    one = await begun(desk)
    done = await desk.store.renormalizations.commit(
        one,
        Batch(seen=2, last_id="b"),
        at=("records", ""),
        scope=desk.scope,
        fence=desk.fence,
        rows=[reread("a", {"name": "a"}, {"title": "a"}), reread("b", {"name": "b"}, {"name": "b"})],
    )
    assert (done.changed, done.unchanged, done.passed) == (1, 1, 0)
    a, b = [await desk.store.records.get("acme", "things", each) for each in "ab"]
    assert a is not None and b is not None
    assert (a.data, a.adapter, a.row_version, a.cause) == ({"title": "a"}, "v2", 2, f"renormalize {one.id}")
    assert (b.data, b.adapter, b.row_version) == ({"name": "b"}, "v2", 1), "the same fields are no change"
    assert a.raw == {"id": "a", "name": "a"}
    known = await desk.store.records.known("acme", "things", ["a"])
    assert known["a"].content_hash == codec.content_hash({"id": "a", "name": "a"}, "v2"), "the next pass finds it known"
    changes = [(each.field, each.old, each.new, each.cause) for each in await told(desk.store)]
    assert changes == [("name", "a", None, f"renormalize {one.id}"), ("title", None, "a", f"renormalize {one.id}")]


async def test_the_same_again_writes_nothing(desk: Desk, store: Store):
    await stored(desk, "a")
    one = await begun(desk)
    rows = [reread("a", {"name": "a"}, {"title": "a"})]
    commit = store.renormalizations.commit
    await commit(one, Batch(1, "a"), at=("records", ""), scope=desk.scope, fence=desk.fence, rows=rows)
    before = await store._database.fetchval("SELECT xmin::text FROM syncd.records")
    again = [Reread("a", rows[0].content_hash, rows[0].content_hash, rows[0].data_json, "v2")]
    done = await commit(one, Batch(1, "b"), at=("records", "a"), scope=desk.scope, fence=desk.fence, rows=again)
    assert (done.changed, done.unchanged) == (0, 1)
    assert await store._database.fetchval("SELECT xmin::text FROM syncd.records") == before


async def test_what_somebody_stored_meanwhile_stays(desk: Desk):
    await stored(desk, "a", "b")
    one = await begun(desk)
    await desk.store.pages.commit_one(desk.page(row("a", {"name": "newer"}, fetched=5)))
    await desk.store.pages.delete(
        "acme", "things", ["b"], scope=desk.scope, fence=desk.fence, fetched_at=row("b", fetched=9).fetched_at
    )
    done = await desk.store.renormalizations.commit(
        one,
        Batch(seen=2, last_id="b"),
        at=("records", ""),
        scope=desk.scope,
        fence=desk.fence,
        rows=[reread("a", {"name": "a"}, {"title": "a"}), reread("b", {"name": "b"}, {"title": "b"})],
    )
    assert (done.changed, done.unchanged, done.passed) == (0, 0, 2)
    a, b = [await desk.store.records.get("acme", "things", each) for each in "ab"]
    assert a is not None and a.data == {"name": "newer"} and a.adapter == "v1"
    assert b is not None and b.deleted_at is not None and b.data == {"name": "b"}


async def test_without_history_it_is_changed_and_nobody_told(desk: Desk):
    await stored(desk, "a")
    one = await begun(desk)
    await desk.store.renormalizations.commit(
        one,
        Batch(1, "a"),
        at=("records", ""),
        scope=desk.scope,
        fence=desk.fence,
        rows=[reread("a", {"name": "a"}, {"title": "a"})],
        history=False,
    )
    assert await told(desk.store) == []


async def test_a_batch_that_was_overtaken_is_refused_whole(desk: Desk):
    await stored(desk, "a")
    one = await begun(desk)
    commit = desk.store.renormalizations.commit
    rows = [reread("a", {"name": "a"}, {"title": "a"})]
    with pytest.raises(OwnershipError):
        await commit(one, Batch(1, "a"), at=("records", "z"), scope=desk.scope, fence=desk.fence, rows=rows)
    with pytest.raises(OwnershipError):
        await commit(one, Batch(1, "a"), at=("records", ""), scope=desk.scope, fence=desk.fence + 1, rows=rows)
    await desk.store.renormalizations.cancel("acme", None, who="ann")
    with pytest.raises(OwnershipError):
        await commit(one, Batch(1, "a"), at=("records", ""), scope=desk.scope, fence=desk.fence, rows=rows)
    a = await desk.store.records.get("acme", "things", "a")
    assert a is not None and a.data == {"name": "a"}


async def test_one_at_a_time_a_resource_and_other_words_take_its_place(desk: Desk, store: Store):
    first, new = await store.renormalizations.ask("acme", "things", who="ann")
    again, joined = await store.renormalizations.ask("acme", "things", who="bob")
    assert (new, joined, again.id) == (True, False, first.id)
    other, _ = await store.renormalizations.ask("acme", "things", adapter="v2", dry=True, who="bob")
    assert [one.id for one in await store.renormalizations.active(["acme"])] == [other.id]
    (ended,) = await store.renormalizations.find([first.id])
    assert (ended.state, ended.reason) == ("cancelled", "another was begun by bob")


async def test_who_joins_at_the_rejects_refuses_the_batch_in_hand_and_no_death_is_counted(desk: Desk, store: Store):
    one = await begun(desk)
    commit = store.renormalizations.commit
    await commit(one, Batch(), at=("records", ""), scope=desk.scope, fence=desk.fence, phase="rejects")
    joined, new = await store.renormalizations.ask("acme", "things", who="schema accept")
    assert (joined.id, new) == (one.id, False)
    with pytest.raises(OwnershipError):
        await commit(one, Batch(), at=("rejects", ""), scope=desk.scope, fence=desk.fence, ended=True)
    taken = await store.renormalizations.take(joined, scope=desk.scope, fence=desk.fence, reading="v2")
    assert taken is not None and (taken.state, taken.phase, taken.cursor, taken.deaths) == ("running", "rejects", "", 0)
    await commit(taken, Batch(), at=("rejects", ""), scope=desk.scope, fence=desk.fence, ended=True)


@pytest.mark.parametrize(("dry", "healed"), [(True, 3), (False, 4)])
async def test_rejects_that_are_gone_through_again_are_counted_once(desk: Desk, store: Store, dry: bool, healed: int):
    """A dry one finds the same again; another finds what the first time has left."""
    one = await begun(desk, dry=dry)
    commit = store.renormalizations.commit
    await commit(one, Batch(), at=("records", ""), scope=desk.scope, fence=desk.fence, phase="rejects")
    await commit(one, Batch(last_id="k", healed=3), at=("rejects", ""), scope=desk.scope, fence=desk.fence)
    again = await begun(desk, dry=dry)
    assert again.id == one.id
    left = Batch(last_id="k", healed=3 if dry else 1)
    await commit(again, left, at=("rejects", ""), scope=desk.scope, fence=desk.fence, ended=True)
    (found,) = await store.renormalizations.find([one.id])
    assert (found.state, found.healed) == ("done", healed)


async def test_what_it_found_is_added_up_over_its_batches(desk: Desk, store: Store):
    one = await begun(desk, dry=True)
    commit = store.renormalizations.commit
    first = Batch(2, "b", changed=2, fields={"name": 2}, examples=[{"id": "a"}, {"id": "b"}])
    await commit(one, first, at=("records", ""), scope=desk.scope, fence=desk.fence)
    second = Batch(1, "", changed=1, rejected=1, fields={"name": 1, "x": 1}, examples=[{"id": "b", "n": 1}])
    await commit(one, second, at=("records", "b"), scope=desk.scope, fence=desk.fence, phase="rejects")
    await commit(one, Batch(), at=("rejects", ""), scope=desk.scope, fence=desk.fence, ended=True)
    (found,) = await store.renormalizations.latest(["acme"])
    assert (found.state, found.seen, found.changed, found.rejected) == ("done", 3, 3, 1)
    assert found.fields == {"name": 3, "x": 1}
    assert found.examples == [{"id": "a"}, {"id": "b", "n": 1}]
    assert found.ended_at is not None
