"""R9: deletion, believed slowly."""

from __future__ import annotations

from datetime import date

import pytest

from syncd.errors import OwnershipError
from syncd.store import Guard, Retention, Sweep
from syncd.store.passes import Part
from syncd.store.prune import Prune
from syncd.store.rows import PartShown

from .parts import Desk, at, feed, row

NAMES = [f"r{number:02}" for number in range(50)]


async def sweep(desk: Desk, **more) -> Sweep:
    return await desk.store.sweeps.sweep("acme", "things", scope="acme", fence=desk.fence, run_id=desk.run_id, **more)


async def alive(desk: Desk, resource: str = "things") -> set[str]:
    return {each.external_id async for each in desk.store.records.scan("acme", resource)}


@pytest.fixture
async def filled(desk: Desk) -> Desk:
    """Fifty records and one complete pass that has seen them all."""
    await desk.full_pass(*(row(name) for name in NAMES))
    assert await sweep(desk) == Sweep(total=50)
    return desk


async def test_one_pass_that_misses_a_record_is_not_believed_and_a_second_is(filled: Desk):
    await filled.full_pass(seen=NAMES[3:])
    assert await sweep(filled) == Sweep(missed=3, total=50)
    assert len(await alive(filled)) == 50
    await filled.full_pass(seen=NAMES[3:])
    assert await sweep(filled) == Sweep(deleted=3, missed=3, total=50)
    assert await alive(filled) == set(NAMES[3:])
    run = await filled.store.runs.get("acme", filled.run_id)
    assert run is not None
    assert run.deleted == 3
    assert {each.kind for each in await feed(filled.store, 3)} == {"delete"}


async def test_a_record_seen_again_in_between_lives(filled: Desk):
    for seen in (NAMES[1:], NAMES, NAMES[1:]):
        await filled.full_pass(seen=seen)
        assert (await sweep(filled)).deleted == 0
    assert len(await alive(filled)) == 50


async def test_a_pass_that_was_not_complete_proves_nothing(filled: Desk):
    for _ in range(3):
        await filled.begin()
        await filled.commit(last=True, seen_ids=NAMES[1:])
        await filled.finish(complete=False)
        assert (await sweep(filled)).deleted == 0


async def test_what_was_stored_after_a_pass_began_was_not_missed_by_it(filled: Desk):
    """The test's passes begin now, by the machine's clock; the record is fetched in the future of both."""
    later = (filled.store._database.clock.now() - at(0)).total_seconds() + 60
    await filled.put(row("late", fetched=later))
    for _ in range(3):
        await filled.full_pass(seen=NAMES)
        assert (await sweep(filled)).missed == 0
    assert "late" in await alive(filled)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ([], "the listing is empty, 50 records are stored"),
        (NAMES[20:], "20 of 50 records are missing from the listing"),
        (NAMES[11:], "11 of 50 records are missing from the listing"),
    ],
)
async def test_a_suspicious_listing_is_held_at_once_and_however_often_it_comes(
    filled: Desk, seen: list[str], reason: str
):
    since = set()
    for _ in range(4):
        await filled.full_pass(seen=seen)
        result = await sweep(filled)
        assert (result.deleted, result.held, result.reason) == (0, 50 - len(seen), reason)
        stand = await filled.store.checkpoints.stand("acme", "things")
        assert stand is not None
        assert stand.held is not None
        assert stand.held["reason"] == reason
        assert stand.held["examples"] == NAMES[:5]
        since.add(stand.held["since"])
    assert len(since) == 1
    assert len(await alive(filled)) == 50


async def test_another_tenants_listing_never_makes_the_missing_ones_look_few(filled: Desk):
    """Six hundred foreign records come in and stay; our fifty are missing from pass after pass."""
    foreign = [f"x{number}" for number in range(600)]
    for turn in range(4):
        await filled.full_pass(*(row(name) for name in foreign if turn == 0), seen=foreign)
        result = await sweep(filled)
        assert (result.deleted, result.held) == (0, 50)
    assert set(NAMES) <= await alive(filled)


async def test_a_hold_ends_by_itself_when_the_records_are_back(filled: Desk):
    await filled.full_pass(seen=[])
    await sweep(filled)
    await filled.full_pass(seen=NAMES)
    assert (await sweep(filled)).held == 0
    stand = await filled.store.checkpoints.stand("acme", "things")
    assert stand is not None
    assert stand.held is None


async def test_a_person_may_confirm(filled: Desk):
    for _ in range(2):
        await filled.full_pass(seen=NAMES[40:])
        assert (await sweep(filled)).held == 40
    assert (await sweep(filled, confirmed=True)).deleted == 40
    assert await alive(filled) == set(NAMES[40:])
    stand = await filled.store.checkpoints.stand("acme", "things")
    assert stand is not None
    assert stand.held is None


async def test_a_confirmation_does_not_replace_the_second_pass(filled: Desk):
    await filled.full_pass(seen=NAMES[40:])
    assert (await sweep(filled, confirmed=True)).deleted == 0
    assert len(await alive(filled)) == 50


async def test_the_guard_is_the_smaller_of_share_and_number(filled: Desk):
    for guard, held in ((Guard(0.2, 500), 0), (Guard(0.2, 5), 6), (Guard(0.1, 500), 6)):
        await filled.full_pass(seen=NAMES[6:])
        result = await sweep(filled, guard=guard)
        assert result.held == held


async def test_children_go_with_their_parent(filled: Desk):
    await filled.put(
        row("k1", resource="kids", parent_id="r00"),
        row("k2", resource="kids", parent_id="r01"),
        row("g1", resource="toys", parent_id="r00"),
    )
    for _ in range(2):
        await filled.full_pass(seen=NAMES[1:])
        result = await sweep(filled, children=["kids", "toys"])
    assert result.deleted == 3
    assert await alive(filled, "kids") == {"k2"}
    assert await alive(filled, "toys") == set()


async def test_only_passes_that_can_still_prove_something_are_kept(filled: Desk):
    for _ in range(5):
        await filled.full_pass(seen=NAMES)
        await sweep(filled)
    count = "SELECT count(*) FROM syncd."
    assert await filled.store._database.fetchval(count + "passes") == 2
    assert await filled.store._database.fetchval(count + "pass_pages") == 2


async def test_seen_counts_the_pass_in_progress_over_its_resumptions(desk: Desk):
    await desk.begin()
    await desk.commit(row("a"), row("b"))
    await desk.begin()
    await desk.commit(row("b"), row("c"))
    assert await desk.store.passes.seen("acme", "things") == 3


async def test_nobody_sweeps_what_is_not_theirs(filled: Desk):
    with pytest.raises(OwnershipError):
        await filled.store.sweeps.sweep("acme", "things", scope="acme", fence=filled.fence + 1)


async def test_a_large_pass_is_swept_in_reasonable_time(desk: Desk):
    """The join of records and seen ids must be by hash: 20,000 by 20,000 the other way takes minutes."""
    names = [f"n{number}" for number in range(20_000)]
    await desk.begin()
    for start in range(0, len(names), 5000):
        await desk.commit(*(row(name) for name in names[start : start + 5000]))
    await desk.commit(last=True, seen_ids=[])
    await desk.finish(complete=True)
    for _ in range(2):
        await desk.full_pass(seen=names[100:])
        result = await sweep(desk)
    assert result.deleted == 100


async def children(desk: Desk, seen: list[str], began: float, **more) -> Sweep:
    return await desk.store.child_sweeps.sweep(
        "acme", "kids", "p", seen, began_at=at(began), scope="acme", fence=desk.fence, **more
    )


async def test_a_child_is_gone_when_two_listings_below_its_parent_missed_it(desk: Desk):
    kids = [f"k{number}" for number in range(20)]
    await desk.put(
        *(row(name, resource="kids", parent_id="p") for name in kids), row("z", resource="kids", parent_id="q")
    )
    assert await children(desk, kids[1:], 10) == Sweep(missed=1, total=20)
    assert await children(desk, kids, 20) == Sweep(total=20)
    assert await children(desk, kids[1:], 30) == Sweep(missed=1, total=20)
    assert await children(desk, kids[1:], 30) == Sweep(missed=0, total=20), "the same listing told twice is one listing"
    assert await children(desk, kids[1:], 40) == Sweep(deleted=1, missed=1, total=20)
    assert await alive(desk, "kids") == {*kids[1:], "z"}


async def test_a_child_fetched_after_the_listing_began_was_not_missed(desk: Desk):
    await desk.put(row("k", resource="kids", parent_id="p", fetched=15))
    assert (await children(desk, [], 10)).missed == 0


async def test_too_many_missing_children_are_held(desk: Desk):
    await desk.begin()
    await desk.store.checkpoints.begin(
        "acme", "kids", (await desk.store.checkpoints.get("acme", "things")).mode, scope="acme", fence=desk.fence
    )
    await desk.put(*(row(f"k{number}", resource="kids", parent_id="p") for number in range(20)))
    for began in (10, 20, 30):
        assert (await children(desk, [], began)).held == 20
    assert len(await alive(desk, "kids")) == 20
    assert (await children(desk, [], 40, confirmed=True)).deleted == 20


async def test_a_listing_that_shows_a_window_buries_nothing_and_forgets_its_passes(filled: Desk):
    for _ in range(3):
        await filled.full_pass(seen=NAMES[40:])
        assert await sweep(filled, missing="kept") == Sweep(total=50)
    assert len(await alive(filled)) == 50
    database = filled.store._database
    assert await database.fetchval("SELECT count(*) FROM syncd.passes") == 2
    assert await database.fetchval("SELECT held FROM syncd.checkpoints WHERE resource = 'things'") is None


async def test_what_has_left_a_window_is_read_once_whatever_pass_was_swept(filled: Desk):
    async def asked() -> list[str]:
        found = await filled.store.tasks.list("acme")
        return sorted(str(task.external_id) for task in found if task.kind == "fetch")

    await filled.full_pass(seen=NAMES[2:])
    assert await sweep(filled, missing="read") == Sweep(total=50, asked=2)
    assert await asked() == NAMES[:2]
    await filled.full_pass(seen=NAMES[2:])
    assert await sweep(filled, missing="read") == Sweep(total=50)
    await filled.full_pass(seen=NAMES[3:])  # and died before its sweep
    await filled.full_pass(seen=NAMES[4:])
    assert await sweep(filled, missing="read") == Sweep(total=50, asked=2)
    assert await asked() == NAMES[:4]
    await filled.full_pass(seen=())
    assert await sweep(filled, missing="read") == Sweep(total=50), "an empty listing is no reason to read all"
    assert len(await alive(filled)) == 50


async def test_the_first_pass_has_all_read_that_was_stored_otherwise_and_is_in_no_window(desk: Desk):
    await desk.begin()
    await desk.put(*(row(name) for name in NAMES[:5]))
    await desk.finish(complete=False)
    await desk.full_pass(seen=NAMES[:3])
    assert await sweep(desk, missing="read") == Sweep(total=5, asked=2)


A, B = [f"a{number}" for number in range(10)], [f"b{number}" for number in range(90)]


async def in_parts(desk: Desk, *shown: tuple[str, list[str]], first: bool = False, **more) -> Sweep:
    """One complete pass of a listing that is walked property by property, and its sweep."""
    await desk.begin()
    for number, (part, ids) in enumerate(shown, 1):
        parts = [PartShown(part, ids, len(ids))]
        rows = [row(one) for one in ids if first or one.startswith("x")]
        await desk.commit(*rows, last=number == len(shown), seen_ids=ids, parts=parts)
    await desk.finish(complete=True)
    return await sweep(desk, **more)


async def test_a_part_of_a_listing_that_is_empty_and_was_not_is_held_however_few_its_records_are(desk: Desk):
    assert (await in_parts(desk, ("a/0", A), ("b/0", B), first=True)).held == 0
    for _ in range(3):
        result = await in_parts(desk, ("a/0", []), ("b/0", B))
        assert (result.deleted, result.held) == (0, 10)
        assert result.reason == "the listing of a is empty, 10 records of it are stored"
        await Prune(desk.store._database).run(Retention(), only=["passes"])
    assert (await in_parts(desk, ("a/0", A), ("b/0", B))).held == 0, "it shows them again"
    assert len(await alive(desk)) == 100


async def test_the_share_that_may_be_missing_is_counted_part_by_part(desk: Desk):
    await in_parts(desk, ("a/0", A), ("b/0", B), first=True)
    for _ in range(2):
        result = await in_parts(desk, ("a/0", A[3:]), ("b/0", B))
        assert (result.deleted, result.reason) == (0, "the listing of a lacks 3, 10 records of it are stored")
    both = [await in_parts(desk, ("a/0", A[2:]), ("b/0", B[5:])) for _ in range(2)]
    assert [one.deleted for one in both] == [2, 5], "two of ten, five of ninety"


async def test_a_part_grown_by_foreign_records_does_not_make_its_missing_ones_look_few(desk: Desk):
    await in_parts(desk, ("a/0", A), ("b/0", B), first=True)
    foreign = [f"x{number}" for number in range(60)]
    for _ in range(3):
        assert (await in_parts(desk, ("a/0", foreign), ("b/0", B))).deleted == 0
    assert set(A) <= await alive(desk)


async def test_of_what_the_partner_refused_to_list_nothing_is_missed_and_the_others_go_on(desk: Desk):
    await in_parts(desk, ("a/0", A), ("b/0", B), first=True)
    for _ in range(3):
        result = await in_parts(desk, ("b/0", B[2:]), places=["a", "b"])
    assert not result.held and len(await alive(desk)) == 98, "two of b are gone"
    assert await desk.store.passes.places("acme", "things") == {"b"}
    assert (await in_parts(desk, ("a/0", []), ("b/0", B[2:]), places=["a", "b"])).held == 10, "let in again, and empty"
    assert (await in_parts(desk, ("b/0", B[2:]), places=["b"])).held == 10, "the options name it no more: a person says"


async def test_a_pass_that_was_refused_a_part_and_whose_process_ended_before_its_sweep_missed_nothing_of_it(desk: Desk):
    await in_parts(desk, ("a/0", A), ("b/0", B), first=True)
    await desk.begin()
    await desk.commit(last=True, seen_ids=B, parts=[PartShown("b/0", B, len(B))])
    await desk.finish(complete=True)
    both = [await in_parts(desk, ("a/0", A[1:]), ("b/0", B), places=["a", "b"]) for _ in range(2)]
    assert [one.deleted for one in both] == [0, 1], "two listings of a lack it"


async def test_what_came_otherwise_since_a_refused_part_was_listed_is_not_missed_either(desk: Desk):
    """A delivery or a read brought it; no listing has said yet where it belongs."""
    await in_parts(desk, ("a/0", A), ("b/0", B), first=True)
    await desk.put(*(row(f"new{n}", {"n": n}) for n in range(5)))
    for _ in range(3):
        assert not (await in_parts(desk, ("b/0", B[1:]), places=["a", "b"])).held
    here = await alive(desk)
    assert {f"new{n}" for n in range(5)} <= here, "perhaps they are of a"
    assert set(A) <= here and B[0] not in here, "that one b has shown, and shows no more"
    for _ in range(2):
        await in_parts(desk, ("a/0", A), ("b/0", B[1:]), places=["a", "b"])
    assert not {f"new{n}" for n in range(5)} & await alive(desk), "both were heard twice: nobody has them"


async def test_windows_are_no_parts_of_their_own_and_one_record_of_few_may_go(desk: Desk):
    await in_parts(desk, ("a/0", A[:2]), ("a/1", A[2:4]), ("b/0", B[:40]), first=True)
    for _ in range(2):
        result = await in_parts(desk, ("a/0", A[:3]), ("a/1", []), ("b/0", B[:40]))
    assert (result.deleted, result.held) == (1, 0)


async def test_a_person_may_confirm_that_a_part_is_empty(desk: Desk):
    await in_parts(desk, ("a/0", A), ("b/0", B), first=True)
    for _ in range(2):
        await in_parts(desk, ("a/0", []), ("b/0", B))
    assert (await sweep(desk, confirmed=True)).deleted == 10
    assert (await in_parts(desk, ("a/0", []), ("b/0", B))).held == 0


async def test_what_was_over_before_the_listing_begins_is_not_missed_by_it(desk: Desk):
    last = {"old": "2026-11-20", "yesterday": "2026-11-21", "later": "2026-12-05", "unknown": None}
    rows = [row(name, {"ends": day}) for name, day in last.items()]
    more = {"guard": Guard(1.0, 500), "over": ("ends", date(2026, 11, 21))}
    await desk.full_pass(*rows)
    await sweep(desk, **more)
    for _ in range(2):
        await desk.full_pass(seen=["later"])
        result = await sweep(desk, **more)
    assert (result.deleted, result.held, result.missed) == (2, 0, 2)
    assert await alive(desk) == {"old", "later"}
    await in_parts(desk, ("a/0", ["old", "later"]), ("b/0", ["other"]), **more)
    assert not (await in_parts(desk, ("a/0", []), ("b/0", ["later", "other"]), **more)).reason, "a block that has ended"


async def test_what_a_part_shows_is_counted_by_records_and_by_rows(desk: Desk):
    await desk.begin()
    await desk.commit(row("1"), seen_ids=["1"], parts=[PartShown("a/0", ["1"], 2, 3)])
    await desk.commit(seen_ids=["1"], parts=[PartShown("a/0", ["1"], 1, 2**70)])
    await desk.commit(last=True, seen_ids=[], parts=[PartShown("b/0", [], 0, 0)])
    assert await desk.store.passes.parts("acme", "things") == [Part("a/0", 1, 3, 3), Part("b/0", 0, 0, 0)]
