"""Runs begin, go on and end; watermarks never go back."""

from __future__ import annotations

import pytest

from syncd.errors import OwnershipError
from syncd.model import Mode, Outcome
from syncd.store import Stand
from syncd.sync.health import Health

from .parts import Desk, at, row


async def stand(desk: Desk) -> Stand:
    found = await desk.store.checkpoints.stand("acme", "things")
    assert found is not None
    return found


async def test_before_the_first_run_there_is_nothing(desk: Desk):
    assert await desk.store.checkpoints.get("acme", "things") is None
    assert await desk.store.checkpoints.list() == []


async def test_a_run_left_by_the_dead_is_taken_over_where_it_stood(desk: Desk):
    first = await desk.begin(trigger="schedule")
    await desk.commit(row("a"), newest_at=at(9), ceiling_at=at(100))
    heir = Desk(desk.store, await desk.store.leases.acquire("acme", "test:1", 60) or 0)
    checkpoint, run_id = await desk.store.checkpoints.begin("acme", "things", Mode.FULL, scope="acme", fence=heir.fence)
    assert (run_id, checkpoint.cursor, checkpoint.fence) == (first, "page 1", heir.fence)
    with pytest.raises(OwnershipError):
        await desk.commit(row("b"))
    heir.run_id, heir.cursor, heir.pages = run_id, checkpoint.cursor, 1
    await heir.commit(row("b"), newest_at=at(5), ceiling_at=at(200))
    found = await stand(desk)
    assert (found.newest_at, found.ceiling_at, found.pass_id) == (at(9), at(100), first)


@pytest.mark.parametrize("outcome", [Outcome.CUT, Outcome.FAILED])
async def test_after_a_run_that_did_not_end_well_the_next_goes_on(desk: Desk, outcome: Outcome):
    first = await desk.begin()
    await desk.commit(row("a"))
    await desk.finish(outcome, watermark=at(50), explanation={"code": "x"})
    assert (await stand(desk)).checkpoint.run_id is None
    assert (await stand(desk)).checkpoint.watermark is None
    second = await desk.begin()
    assert second != first
    assert desk.cursor == "page 1"
    await desk.commit(row("b"), last=True)
    await desk.finish(complete=True)
    assert await desk.store.passes.seen("acme", "things") == 2, "both runs are one pass"
    runs = await desk.store.runs.list("acme")
    assert [(each.outcome, each.pass_id, each.added) for each in runs] == [
        ("done", first, 1),
        (outcome.value, first, 1),
    ]


async def test_a_restart_forgets_the_cursor(desk: Desk):
    await desk.begin()
    await desk.commit(row("a"))
    await desk.finish(Outcome.FAILED, restart=True)
    await desk.begin()
    assert desk.cursor is None
    await desk.commit(row("a"))
    await desk.finish(Outcome.CUT)
    await desk.begin(restart=True)
    assert desk.cursor is None


async def test_another_mode_cuts_what_was_running(desk: Desk):
    first = await desk.begin(Mode.INCREMENTAL)
    await desk.commit(row("a"))
    await desk.begin(Mode.FULL)
    assert desk.cursor is None
    run = await desk.store.runs.get("acme", first)
    assert run is not None
    assert run.outcome == "cut"
    assert run.ended_at is not None


async def test_a_listing_whose_last_page_is_stored_needs_only_its_end(desk: Desk):
    first = await desk.begin()
    await desk.commit(row("a"), last=True)
    assert (await stand(desk)).listed
    assert await desk.begin() == first
    assert (await stand(desk)).listed
    await desk.finish()
    assert not (await stand(desk)).listed


async def test_the_watermark_never_goes_back(desk: Desk):
    for given, kept in ((at(50), at(50)), (at(40), at(50)), (None, at(50)), (at(60), at(60))):
        await desk.begin(Mode.INCREMENTAL)
        await desk.commit(last=True)
        await desk.finish(watermark=given)
        assert (await stand(desk)).checkpoint.watermark == kept


async def test_only_complete_and_good_runs_count_as_passes(desk: Desk):
    for outcome, complete, passes in (
        (Outcome.DONE, False, 0),
        (Outcome.FAILED, True, 0),
        (Outcome.DONE, True, 1),
        (Outcome.DONE, True, 2),
    ):
        await desk.begin()
        await desk.finish(outcome, complete=complete)
        assert (await stand(desk)).checkpoint.passes == passes
    assert (await stand(desk)).passed_at is not None


async def test_the_last_run_that_ended_well_is_told_beside_the_last_complete_pass(desk: Desk):
    ended = []
    for outcome, complete in ((Outcome.DONE, True), (Outcome.DONE, False), (Outcome.FAILED, False)):
        await desk.begin()
        await desk.finish(outcome, complete=complete)
        ended.append((await desk.store.runs.list("acme"))[0].ended_at)
    [told] = await desk.store.checkpoints.list("acme")
    assert told.passed_at is not None and told.good_at == ended[1]
    assert told.passed_at < ended[1]
    health = Health("acme")
    health.recall("things", told)
    assert health.of("things").last_success_at == ended[1], "a restart makes no copy older than it is"


async def test_nobody_begins_or_ends_what_is_not_theirs(desk: Desk):
    with pytest.raises(OwnershipError):
        await desk.store.checkpoints.begin("acme", "things", Mode.FULL, scope="acme", fence=desk.fence + 1)
    await desk.begin()
    with pytest.raises(OwnershipError):
        await desk.store.checkpoints.finish("acme", "things", desk.run_id, fence=desk.fence + 1, outcome=Outcome.DONE)
    await desk.finish()
    with pytest.raises(OwnershipError):
        await desk.finish()


async def test_calls_without_a_page_are_counted_too(desk: Desk):
    await desk.begin()
    await desk.commit(calls=1, waited_seconds=0.25)
    await desk.finish(Outcome.FAILED, calls=3, waited_seconds=1.0, explanation={"code": "auth-failed"})
    run = await desk.store.runs.get("acme", desk.run_id)
    assert run is not None
    assert (run.calls, run.waited_seconds, run.explanation) == (4, 1.25, {"code": "auth-failed"})


async def test_the_latest_run_of_each_resource(desk: Desk):
    other = Desk(desk.store, desk.fence, resource="others")
    for each in (desk, other, desk):
        await each.begin()
        await each.finish()
    assert [(each.resource, each.id) for each in await desk.store.runs.latest("acme")] == [
        ("others", other.run_id),
        ("things", desk.run_id),
    ]
    assert [each.resource for each in await desk.store.runs.list(resource="others")] == ["others"]


async def test_a_reset_starts_from_nothing(desk: Desk):
    await desk.begin(Mode.INCREMENTAL)
    await desk.commit(row("a"))
    await desk.finish(watermark=at(1))
    await desk.store.checkpoints.reset("acme", "things")
    checkpoint = (await stand(desk)).checkpoint
    assert (checkpoint.cursor, checkpoint.watermark, checkpoint.passes) == (None, None, 0)


async def ran(desk: Desk, mode: Mode, outcome: Outcome = Outcome.DONE, *, last: bool = True) -> int:
    run_id = await desk.begin(mode)
    if outcome is not Outcome.FAILED:
        await desk.commit(row("a"), last=last)
    await desk.finish(outcome, complete=mode is Mode.FULL)
    return run_id


async def test_what_a_resource_costs_is_told_by_its_latest_good_runs_and_its_last_pass_however_old(desk: Desk):
    await ran(desk, Mode.FULL)
    cut = await ran(desk, Mode.FULL, Outcome.CUT, last=False)
    whole = await ran(desk, Mode.FULL)
    good = [await ran(desk, Mode.INCREMENTAL) for _ in range(5)]
    for _ in range(5):
        await ran(desk, Mode.INCREMENTAL, Outcome.FAILED)
    await desk.begin(Mode.FULL)
    found = await desk.store.runs.telling(["acme", "other"], each=3)
    assert [run.id for run in found] == [*good[:1:-1], whole, cut]
    assert [run.id for run in await desk.store.runs.telling(["acme"], each=50)][:6] == [*good[::-1], whole]
    assert await desk.store.runs.telling(["other"], each=3) == []


async def test_a_resource_that_never_had_a_pass_is_told_by_its_runs_alone(desk: Desk):
    good = await ran(desk, Mode.INCREMENTAL)
    assert [run.id for run in await desk.store.runs.telling(["acme"], each=3)] == [good]
