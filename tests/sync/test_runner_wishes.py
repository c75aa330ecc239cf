"""Wishes: every one that was taken comes to an end, also one that nobody can fulfil."""

from __future__ import annotations

from dataclasses import replace

from syncd.errors import StoreError
from syncd.model import Lane
from syncd.store import Task
from syncd.sync.feeder import FOREIGN_SECONDS
from syncd.testing.clock import FakeClock
from tests.sync.stage import Stage, task


async def test_a_wish_for_what_is_not_synced_any_more_is_dropped():
    stage = Stage(FakeClock())
    wishes = [task(number, resource, kind=kind, lane=Lane.HIGH) for number, (resource, kind) in enumerate(
        [("r1", "sync"), ("gone", "sync"), ("gone", "reconcile"), ("r2", "reconcile")]
    )]  # fmt: skip
    await stage.runner._feeder._hand_over(wishes, None)
    assert stage.tasks.dropped == [1, 2]
    assert [wish.id for wish in stage.runner.units["acme", "r1"].wishes] == [0]
    assert [wish.id for wish in stage.runner.units["acme", "r2"].wishes] == [3]


async def test_the_same_wish_taken_twice_is_one():
    stage = Stage(FakeClock())
    wish = task(7, "r1", kind="sync", lane=Lane.HIGH)
    await stage.runner._feeder._hand_over([wish], None)
    await stage.runner._feeder._hand_over([wish], None)
    assert [each.id for each in stage.runner.units["acme", "r1"].wishes] == [7]
    assert stage.tasks.dropped == []


async def test_a_wish_whose_end_could_not_be_written_is_in_nobodys_hand():
    stage = Stage(FakeClock())
    feeder = stage.runner._feeder
    await feeder._hand_over([task(7, "r1", kind="sync", lane=Lane.HIGH)], None)
    assert set(feeder._wishes) == {7}
    (wish,) = stage.runner.units["acme", "r1"].wishes

    async def away(_: object) -> bool:
        raise StoreError("the database is away")

    done, stage.tasks.done = stage.tasks.done, away
    await stage.runner._outcomes._settle([wish])
    assert (feeder._wishes, feeder._strayed) == ({}, {"acme"})
    stage.tasks.done = done
    feeder._strayed.clear()
    await feeder._hand_over([wish], None)
    await stage.runner._outcomes._settle([wish])
    assert (feeder._wishes, feeder._strayed) == ({}, set())


async def test_a_wish_taken_anew_under_another_fence_replaces_the_one_that_was_kept():
    stage = Stage(FakeClock())
    feeder, unit = stage.runner._feeder, stage.runner.units["acme", "r1"]
    kept = replace(task(7, "r1", kind="sync", lane=Lane.HIGH), taken_fence=1)
    await feeder._hand_over([kept], None)
    anew = replace(kept, taken_fence=2)
    await feeder._hand_over([anew], None)
    assert unit.wishes == [anew], "the end of the run is written under the fence the row has now"


async def test_a_wish_whose_row_was_taken_under_another_fence_meanwhile_is_not_in_nobodys_hand():
    stage = Stage(FakeClock())
    feeder, unit = stage.runner._feeder, stage.runner.units["acme", "r1"]
    first = replace(task(7, "r1", kind="sync", lane=Lane.HIGH), taken_fence=1)
    await feeder._hand_over([first], None)
    unit.wishes = []  # its run is under way

    async def of_the_new_fence(wish: Task) -> bool:
        return wish.taken_fence == 2

    stage.tasks.done = of_the_new_fence  # type: ignore[method-assign]
    second = replace(first, taken_fence=2)
    await feeder._hand_over([second], None)
    await stage.runner._outcomes._settle([first])
    assert (unit.wishes, feeder._wishes) == ([second], {7: 2}), "the newer one is held, by the run that comes next"
    await stage.runner._outcomes._settle([second])
    assert feeder._wishes == {}


async def test_a_wish_whose_row_was_not_ours_as_its_run_ended_is_looked_for():
    stage = Stage(FakeClock())
    feeder = stage.runner._feeder
    await feeder._hand_over([task(7, "r1", kind="sync", lane=Lane.HIGH)], None)
    (wish,) = stage.runner.units["acme", "r1"].wishes

    async def not_ours(_: object) -> bool:
        return False

    stage.tasks.done = not_ours  # type: ignore[method-assign]
    await stage.runner._outcomes._settle([wish])
    assert (feeder._wishes, feeder._strayed) == ({}, {"acme"})


async def test_what_is_taken_under_our_own_fence_and_in_nobodys_hand_is_looked_for_now_and_then():
    """A taking that a reload cut off may be committed after the first look of the feeder that came then."""
    clock = FakeClock()
    stage = Stage(clock, task(1, "r1"), task(2, "r2", kind="sync", lane=Lane.HIGH))
    feeder = stage.runner._feeder
    await feeder.feed(())
    assert stage.tasks.held == []
    await clock.advance(FOREIGN_SECONDS)
    for _ in range(2):
        await feeder.feed(())
    assert stage.tasks.held == [[1, 2]]
