"""Wishes: every one that was taken comes to an end, also one that nobody can fulfil."""

from __future__ import annotations

from syncd.errors import StoreError
from syncd.model import Lane
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
    assert feeder._wishes == {7}
    (wish,) = stage.runner.units["acme", "r1"].wishes

    async def away(_: object) -> bool:
        raise StoreError("the database is away")

    done, stage.tasks.done = stage.tasks.done, away
    await stage.runner._settle([wish])
    assert (feeder._wishes, feeder._strayed) == (set(), {"acme"})
    stage.tasks.done = done
    feeder._strayed.clear()
    await feeder._hand_over([wish], None)
    await stage.runner._settle([wish])
    assert (feeder._wishes, feeder._strayed) == (set(), set())
