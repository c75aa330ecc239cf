"""Comparisons: what is different is told, what is only under way is not, whatever the partner does meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.errors import OwnershipError, RateLimitError, RejectedError, TransientError
from syncd.kit import Request
from syncd.model import Lane
from syncd.store import Store
from syncd.sync import comparing
from syncd.sync.comparing import Comparison, Findings
from syncd.sync.differences import ALTERED
from syncd.sync.pull import Pull

from .ranged import Desk, rest


async def opened(store: Store, count: int = 30, described: dict[str, Any] | None = None) -> Desk:
    desk = await Desk.open(store, described)
    for number in range(count):
        desk.partner.put(number)
    await desk.pull()
    desk.partner.calls.clear()
    desk.partner.lanes.clear()
    return desk


async def compared(desk: Desk, **how: Any) -> Findings:
    return await Comparison(desk.account, desk.plans["things"], **how).run()


def told(found: Findings) -> dict[str, str]:
    return {one.external_id: str(one.kind) for one in found.details}


async def test_nothing_differs_and_nothing_is_read_twice(store: Store):
    desk = await opened(store)
    found = await compared(desk)
    assert (found.checked, found.equal, found.drift, found.calls) == (30, 30, 0, 3)
    assert desk.partner.lanes == {Lane.LOW}


async def test_each_kind_of_drift_is_told_after_a_second_look(store: Store):
    desk = await opened(store)
    await desk.forget(3, 4)
    await desk.change_here(5)
    del desk.partner.truth["t0007"]
    found = await compared(desk)
    assert told(found) == {
        "t0003": "missing_here", "t0004": "missing_here", "t0005": "differs", "t0007": "missing_there",
    }  # fmt: skip
    [changed] = [one for one in found.details if one.external_id == "t0005"]
    assert [(each.field, each.here, each.there) for each in changed.fields] == [("name", "wrong", "n")]
    assert sorted(call for call in desk.partner.calls if call != "/things") == [
        f"/things/t{number:04}" for number in (3, 4, 5, 7)
    ]


async def test_a_row_somebody_altered_in_the_database_is_told_until_it_is_made_new(store: Store):
    """Its hash says that it is as the partner sent it, so that no pass writes it anew."""
    desk = await opened(store)
    alter = "UPDATE syncd.records SET data = jsonb_set(data, '{size}', '99') WHERE external_id = 't0005'"
    await store._database.execute(alter)
    for how in ({}, {"sample": 30, "seed": 1}):
        [told_of] = (await compared(desk, **how)).details
        assert [(each.field, each.here, each.there) for each in told_of.fields] == [("size", 99, 5)]
        assert told_of.note == ALTERED
    await desk.pull(full=True)
    assert (await compared(desk)).drift == 1
    await store._database.execute("UPDATE syncd.records SET content_hash = '' WHERE external_id = 't0005'")
    await desk.pull(full=True)
    assert (await compared(desk)).drift == 0


async def test_numbers_the_database_writes_in_another_way_are_no_drift(store: Store):
    desk = await opened(store, 0)
    for number, size in enumerate([1e23, 1e22, -0.0, 5e-324, 1.7976931348623157e308, 2**63, 0.1, [{"n": 1e23}]]):
        desk.partner.put(number)
        desk.partner.truth[f"t{number:04}"]["size"] = size
    await desk.pull()
    found = await compared(desk)
    assert (found.equal, told(found), found.unsound) == (found.checked, {}, 0)


async def test_what_was_under_way_at_the_first_look_is_none(store: Store):
    """A webhook's write lands between the two looks: here, there, and of a record that a moved page hid."""
    desk = await opened(store)
    await desk.change_here(5)
    await desk.forget(6)
    hidden = desk.partner.truth["t0009"]
    desk.partner.listed = lambda raws: [raw for raw in raws if raw is not hidden]

    async def meanwhile(request: Request) -> None:
        if request.path == "/things/t0005":
            desk.partner.before = None
            await desk.pull(full=True)

    desk.partner.before = meanwhile
    found = await compared(desk)
    assert (told(found), found.settled, found.drift) == ({}, 3, 0)


async def test_a_record_that_is_newer_there_waits_for_the_next_run(store: Store):
    desk = await opened(store)
    desk.partner.put(5, "newer", at=100)
    desk.partner.put(31, at=101)
    await desk.change_here(8)
    found = await compared(desk)
    assert (told(found), found.pending) == ({"t0008": "differs"}, 2)


async def test_a_change_the_watermark_has_passed_is_no_longer_under_way(store: Store):
    desk = await opened(store)
    desk.partner.put(5, "changed without being listed as such", at=7)
    assert told(await compared(desk)) == {"t0005": "differs"}


async def test_a_sample_reads_by_id_and_is_the_same_for_the_same_seed(store: Store):
    desk = await opened(store)
    await desk.change_here(*range(30))
    one, same, other = [set(told(await compared(desk, sample=8, seed=seed))) for seed in (3, 3, 4)]
    assert one == same != other
    assert len(one) == 8
    assert "/things" not in desk.partner.calls
    found = await compared(desk, sample=1000, seed=3)
    assert (found.sampled, found.checked) == (30, 30)


async def test_a_record_merged_into_another_is_missing_there(store: Store):
    desk = await opened(store)
    desk.partner.truth["t0002"] = desk.partner.truth["t0003"]
    assert told(await compared(desk, sample=30, seed=1)) == {"t0002": "missing_there"}


async def test_an_answer_that_cannot_be_read_says_nothing_of_its_record(store: Store):
    desk = await opened(store, described=rest(fields={"size": {"from": "size", "as": "integer"}}))
    desk.partner.truth["t0002"]["size"] = "many"
    desk.partner.truth["t0003"].pop("id")
    found = await compared(desk, sample=30, seed=1)
    assert (told(found), found.unsound >= 2) == ({}, True)


async def test_limits_are_waited_for_and_an_outage_ends_it(store: Store):
    desk = await opened(store)
    refusals = [RateLimitError("later", retry_at=desk.clock.now() + timedelta(seconds=90)), RateLimitError("later")]

    async def busy(request: Request) -> None:
        if refusals:
            raise refusals.pop()

    desk.partner.before = busy
    found = await compared(desk)
    assert (found.drift, found.checked) == (0, 30)
    assert found.waited_seconds > 80

    async def down(request: Request) -> None:
        raise TransientError("away")

    desk.partner.before = down
    with pytest.raises(TransientError):
        await compared(desk)


async def test_who_no_longer_owns_the_scope_asks_nothing_more(store: Store):
    desk = await opened(store)

    async def lost(request: Request) -> None:
        desk.account.ownership = Lost()

    class Lost:
        scope = "acme"

        @property
        def fence(self) -> int:
            raise OwnershipError("somebody else has it")

    desk.partner.before = lost
    with pytest.raises(OwnershipError):
        await compared(desk)
    assert len(desk.partner.calls) == 1


async def test_before_the_first_pass_there_is_nothing_to_compare(store: Store):
    desk = await Desk.open(store)
    with pytest.raises(RejectedError, match="not been read whole"):
        await compared(desk)


async def test_more_than_can_be_told_is_counted(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(comparing, "MOST_DETAILS", 3)
    desk = await opened(store)
    await desk.change_here(1, 2, 3, 4, 5)
    found = await compared(desk)
    assert (len(found.details), found.differing, found.unsettled, found.drift) == (3, 5, 2, 5)
    assert "2 were only counted" in found.notes[0]


async def test_without_a_way_to_read_by_id_the_copy_alone_is_read_again(store: Store):
    desk = await opened(store, described=rest(one=None))
    await desk.forget(1)
    del desk.partner.truth["t0002"]
    found = await compared(desk)
    assert told(found) == {"t0001": "missing_here", "t0002": "missing_there"}
    with pytest.raises(RejectedError, match="by id"):
        await compared(desk, sample=3)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sets(st.integers(0, 24), max_size=6),
    st.sets(st.integers(0, 24), max_size=6),
    st.sets(st.integers(0, 24), max_size=6),
)
async def test_exactly_what_was_harmed_is_told(store: Store, lost: set[int], wrong: set[int], gone: set[int]):
    async with store._database.connection() as connection:
        await connection.execute(
            "TRUNCATE syncd.records, syncd.checkpoints, syncd.passes, syncd.pass_pages, syncd.leases"
        )
    desk = await opened(store, 26)  # the newest one is listed by the next run, whatever has become of it
    await desk.forget(*lost)
    await desk.change_here(*wrong)
    for number in gone:
        del desk.partner.truth[f"t{number:04}"]
    expected = dict.fromkeys(lost - gone, "missing_here")
    expected |= dict.fromkeys(wrong - lost - gone, "differs")
    expected |= dict.fromkeys(gone - lost, "missing_there")
    assert told(await compared(desk)) == {f"t{number:04}": kind for number, kind in expected.items()}


async def test_children_are_compared_below_every_parent(store: Store):
    desk = await opened(store, 5)
    for number in range(5):
        desk.partner.notes[f"t{number:04}"] = [{"id": f"n{number}", "text": "x"}]
    await Pull(desk.account, desk.plans["notes"], Lane.NORMAL, "schedule").run()
    found = await Comparison(desk.account, desk.plans["notes"]).run()
    assert (found.checked, found.drift) == (5, 0)
    desk.partner.notes["t0001"] = []
    desk.partner.notes["t0002"] = [{"id": "n2", "text": "changed"}, {"id": "new", "text": "y"}]
    found = await Comparison(desk.account, desk.plans["notes"]).run()
    assert told(found) == {"n1": "missing_there", "n2": "differs", "new": "missing_here"}
