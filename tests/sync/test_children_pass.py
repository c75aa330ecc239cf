"""A complete pass below all parents that is cut in the middle, while the parents change."""

from __future__ import annotations

import pytest

from syncd.model import Lane
from syncd.store import Store
from syncd.sync.pull import Pull
from syncd.testing.clock import FakeClock
from tests.sync.inboxed import Desk, thing


@pytest.mark.parametrize("how", ["gone", "new"])
async def test_a_pass_below_parents_goes_on_though_the_parent_it_stood_at_is_gone_or_another_came_before_it(
    database: str, key_ring, how: str
):
    clock = FakeClock()
    async with await Store.open(database, clock=clock, key_ring=key_ring, pool_size=4, migrate=False) as store:
        desk = await Desk.open(store, clock)
        truth, things, notes = desk.partner.truth, desk.account.plans["things"], desk.account.plans["notes"]

        async def parents(*names: str) -> None:
            truth["/things"] = {"items": [thing(name, name, clock.now()) for name in names]}
            for name in names:
                truth[f"/things/{name}/notes"] = {"items": [{"id": f"n{name}", "name": "x"}]}
            await Pull(desk.account, things, Lane.NORMAL, "test", wanted_full=True).run()

        await parents("b", "d", "f")
        desk.partner.calls.clear()
        await Pull(
            desk.account, notes, Lane.NORMAL, "test", stopping=lambda: "/things/b/notes" in desk.partner.calls
        ).run()
        stand = await store.checkpoints.stand("acme", "notes")
        assert stand is not None and stand.checkpoint.cursor is not None, "it was cut in the middle"
        if how == "new":
            await parents("b", "bb", "d", "f")
        else:
            gone = ["d", "f"] if "/things/f/notes" not in desk.partner.calls else ["f"]
            await store.pages.delete(
                "acme", "things", gone[:1], scope="acme", fence=desk.ownership.fence, fetched_at=clock.now()
            )
        await desk.restart()
        await Pull(desk.account, notes, Lane.NORMAL, "test").run()
        stand = await store.checkpoints.stand("acme", "notes")
        assert stand is not None and stand.checkpoint.cursor is None
        assert "nf" in await desk.live("notes") or how == "gone"
