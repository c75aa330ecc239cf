"""What a partner calls gone: believed of a record, of a listing never, and of what stands below a record only with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from syncd.errors import GoneError, RejectedError
from syncd.kit import Request
from syncd.kit.listing import Each
from syncd.model import Lane
from syncd.store import NewTask, Store
from syncd.sync.backfill_walk import Walk
from syncd.sync.decide import RetryPolicy
from syncd.sync.pull import Pull
from syncd.sync.work import Worker

from .ranged import START, Desk, rest


async def test_a_listing_that_is_not_found_is_a_refusal_that_keeps_all_that_is_known_of_the_call(store: Store):
    desk = await Desk.open(store)
    gone = GoneError(
        "no such list", status=404, code="x", request_id="r", partner="plain", resource="things", hint="look"
    )
    gone.evidence = {"answer": "no"}

    async def call(request: Request, **_: Any) -> Any:
        raise gone

    desk.account.session.call = call  # type: ignore[method-assign]
    with pytest.raises(RejectedError) as of_run:
        await Pull(desk.account, desk.plans["things"], Lane.NORMAL, "schedule", wanted_full=True).run()
    known = vars(gone)
    assert vars(of_run.value) == known
    await store.backfills.ask("acme", "things", START, START + timedelta(days=1))
    [waiting] = await store.backfills.active(["acme"])
    taken = await store.backfills.take(waiting, scope="acme", fence=desk.ownership.fence)
    assert taken is not None
    careful = await desk.backfilling()._look_back(desk.account, waiting, desk.ownership.fence)
    with pytest.raises(RejectedError) as of_backfill:
        await Walk(desk.account, desk.plans["things"], taken, desk.ownership.fence, careful).page()
    assert vars(of_backfill.value) == known


async def test_where_gone_is_a_word_of_permission_the_list_of_another_part_is_no_proof(store: Store):
    """A property that shut us out says 403 of each of its records; that the list of another one is open tells nothing."""
    desk = await Desk.open(store, rest())
    desk.partner.put(7)
    await desk.pull(full=True)
    plan = desk.plans["things"]
    each = Each(param="yard", values=("a", "b"))
    desk.plans["things"] = replace(plan, resource=plan.resource.model_copy(update={"each": (each,)}))
    desk.account.driver.test = lambda options=None: Request("/me")  # type: ignore[method-assign, assignment]
    calls: list[str] = []

    async def call(request: Request, **_: Any) -> Any:
        calls.append(request.path)
        if request.path.startswith("/things/"):
            raise GoneError("no_access", status=403)

    desk.account.session.call = call  # type: ignore[method-assign]
    await desk.clock.sleep(10)
    await store._database.execute("DELETE FROM syncd.tasks")  # what is below it
    await store.tasks.put("acme", NewTask("fetch", "things", "t0007"))
    await Worker(desk.account, RetryPolicy()).run(await store.tasks.take("acme", fence=desk.ownership.fence, limit=1))
    assert calls == ["/things/t0007", "/me"]
    assert list(await desk.stored()) == ["t0007"]
    [letter] = await store.dead_letters.list("acme")
    assert (letter.error_class, letter.external_id) == ("RejectedError", "t0007")
