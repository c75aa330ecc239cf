"""Listings that are asked for only if they changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from syncd.errors import PayloadError
from syncd.kit import Response
from syncd.model import Headers, Lane
from syncd.store import Store
from syncd.sync.pull import Pull
from syncd.sync.tally import Tally
from syncd.testing.clock import FakeClock
from tests.sync.inboxed import Desk

NAME = "unstamped"


@asynccontextmanager
async def opened(database: str, key_ring) -> AsyncIterator[Desk]:
    clock = FakeClock()
    async with await Store.open(database, clock=clock, key_ring=key_ring, pool_size=4, migrate=False) as store:
        desk = await Desk.open(store, clock)
        desk.partner.tagged = True
        show(desk, "a", "b", "c")
        yield desk


def show(desk: Desk, *names: str) -> None:
    desk.partner.truth["/unstamped"] = {"items": [{"id": name, "name": name} for name in names]}


async def read(desk: Desk, trigger: str = "schedule", **how) -> Tally:
    tally = await Pull(desk.account, desk.account.plans[NAME], Lane.NORMAL, trigger, **how).run()
    await desk.clock.advance(900)
    return tally


async def test_a_listing_that_did_not_change_is_not_sent_again_and_its_pass_is_complete_all_the_same(
    database: str, key_ring
):
    async with opened(database, key_ring) as desk:
        await read(desk)
        again = await read(desk)
        assert desk.partner.unchanged == 1
        assert (again.pages, again.unchanged, again.calls) == (1, 3, 0)  # calls are counted by the session
        (run,) = await desk.rows("SELECT unchanged, pages, outcome FROM syncd.runs ORDER BY id DESC LIMIT 1")
        assert tuple(run) == (3, 1, "done")
        stand = await desk.store.checkpoints.stand("acme", NAME)
        assert stand is not None and stand.checkpoint.passes == 2


async def test_what_vanishes_after_unchanged_passes_is_believed_gone_after_two_that_missed_it(database: str, key_ring):
    async with opened(database, key_ring) as desk:
        show(desk, *"abcdefghij")
        for _ in range(3):
            await read(desk)
        show(desk, *"abcdefghi")
        assert (await read(desk)).deleted == 0
        assert (await read(desk)).deleted == 1, "a pass with something missing is read again whole"
        assert sorted(await desk.live(NAME)) == list("abcdefghi")
        assert desk.partner.unchanged == 2


async def test_a_row_that_somebody_wrote_since_has_the_listing_read_again(database: str, key_ring):
    async with opened(database, key_ring) as desk:
        await read(desk)
        desk.partner.truth["/unstamped/b"] = {"id": "b", "name": "by an event"}
        await desk.deliver({"type": "unstamped.changed", "id": "b"})
        await desk.work()
        await desk.do_tasks()
        assert (await desk.live(NAME))["b"]["name"] == "by an event"
        await read(desk)
        assert desk.partner.unchanged == 0
        assert (await desk.live(NAME))["b"]["name"] == "b", "the listing said so"


@pytest.mark.parametrize("why", ["by hand", "whole", "a day has passed", "read otherwise", "another call"])
async def test_the_listing_itself_is_read(database: str, key_ring, why: str):
    async with opened(database, key_ring) as desk:
        await read(desk)
        plan = desk.account.plans[NAME]
        if why == "by hand":
            await read(desk, "a person")
        elif why == "whole":
            await read(desk, wanted_full=True)
        else:
            if why == "a day has passed":
                await desk.clock.advance(plan.full_every_seconds)
            elif why == "read otherwise":
                desk.account.plans[NAME] = replace(plan, adapter="v2")
            else:
                other = plan.resource.model_copy(update={"headers": {"X-Version": "2"}})
                desk.account.plans[NAME] = replace(plan, resource=other)
            await read(desk)
        assert desk.partner.unchanged == 0


async def test_a_listing_with_a_record_that_could_not_be_read_is_read_again(database: str, key_ring):
    async with opened(database, key_ring) as desk:
        desk.partner.truth["/unstamped"]["items"].append({"id": None, "name": "nameless"})
        await read(desk)
        await read(desk)
        assert desk.partner.unchanged == 0


async def test_a_run_that_died_after_an_unchanged_answer_is_ended_by_the_next(database: str, key_ring, monkeypatch):
    async with opened(database, key_ring) as desk:
        await read(desk)

        class DeathError(BaseException):
            pass

        async def dies(*_: object, **__: object) -> None:
            raise DeathError

        with monkeypatch.context() as patch, pytest.raises(DeathError):
            patch.setattr(Pull, "_end", dies)
            await read(desk)
        await desk.restart()
        ended = await read(desk)
        assert ended.outcome == "done" and sorted(await desk.live(NAME)) == ["a", "b", "c"]


async def test_an_empty_listing_is_known_by_its_etag_like_any_other(database: str, key_ring):
    async with opened(database, key_ring) as desk:
        show(desk)
        await read(desk)
        await read(desk)
        assert desk.partner.unchanged == 1


async def test_an_answer_of_304_that_nobody_asked_for_is_no_listing(database: str, key_ring, monkeypatch):
    async with opened(database, key_ring) as desk:
        await read(desk, "a person")

        async def empty(*_: object, **__: object) -> Response:
            return Response(304, Headers(), b"", requested_at=desk.clock.now())

        monkeypatch.setattr(desk.account.session, "call", empty)
        with pytest.raises(PayloadError):
            await read(desk, "a person")
        assert sorted(await desk.live(NAME)) == ["a", "b", "c"]
