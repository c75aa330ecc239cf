"""A run that goes on with an older listing: who asked after that was begun is not answered by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from syncd.errors import StoreError, TransientError
from syncd.kit import Request
from syncd.model import Lane
from syncd.store import NewTask, Store
from syncd.sync.runner import Runner
from syncd.sync.unit import Unit

from .ranged import Desk


class Stage:
    """A runner of `acme`, and whoever asks it for a run of `things`, of which there are thirty, ten a page."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.store, self.clock = desk, desk.store, desk.clock
        for number in range(30):
            desk.partner.put(number)
        self.runner = Runner("plain", {"acme": desk.account}, desk.store, desk.clock)

    async def asks(self, *, ahead_seconds: float = 0, **payload: object) -> None:
        """A thin event, or a person, wants a run; the clock of whoever took that in may be ahead of ours."""
        await self.clock.sleep(1)
        await self.store.tasks.put(
            "acme", NewTask("sync", "things", lane=Lane.HIGH, dedupe_key="sync:things", payload=payload)
        )
        for wish in await self.store.tasks.take("acme", fence=self.desk.ownership.fence, limit=1):
            assert self.runner._wish(replace(wish, wanted_at=wish.since + timedelta(seconds=ahead_seconds)))
        await self.clock.sleep(1)

    async def runs(self) -> bool:
        """One run; True: whoever asked was answered."""
        self.desk.partner.calls.clear()
        await self.runner._pull(self.unit)
        waits = [task for task in await self.store.tasks.list("acme") if task.kind == "sync"]
        assert len(waits) == len(self.unit.wishes)
        return not waits

    @property
    def unit(self) -> Unit:
        return self.runner.units["acme", "things"]

    async def dies_part_way(self) -> None:
        """Pages are stored, and the run ends before the last one."""

        async def breaks(request: Request) -> None:
            if dict(request.params).get("offset") == "20":
                raise TransientError("the connection broke")

        self.desk.partner.before = breaks
        with pytest.raises(TransientError):
            await self.desk.pull()
        self.desk.partner.before = None

    async def dies_at_its_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The last page is stored, the end of the run is not."""

        async def killed(*_: object, **__: object) -> None:
            raise StoreError("the process ends here")

        with monkeypatch.context() as patch:
            patch.setattr(self.store.checkpoints, "finish", killed)
            with pytest.raises(StoreError):
                await self.desk.pull()

    def changes(self, number: int, name: str) -> None:
        """A record of the first page becomes another; the newest change there is."""
        self.desk.partner.put(number, name, at=1000)

    async def name(self, number: int) -> object:
        [found] = [one async for one in self.store.records.scan("acme", "things") if one.external_id == f"t{number:04}"]
        return found.data["name"]


@pytest.fixture
async def stage(store: Store) -> AsyncIterator[Stage]:
    stage = Stage(await Desk.open(store))
    await stage.runner._prepare()
    yield stage


async def test_who_asks_while_a_listing_stands_part_way_has_one_begun_anew_after_it(stage: Stage):
    await stage.dies_part_way()
    stage.changes(1, "new")
    await stage.asks()
    assert not await stage.runs()
    assert len(stage.desk.partner.calls) == 1, "the last page alone"
    assert stage.unit.due(stage.clock.now())
    assert await stage.runs()
    assert await stage.name(1) == "new"


async def test_who_asks_of_a_listing_whose_end_alone_is_missing_has_one_begun_anew(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    await stage.dies_at_its_end(monkeypatch)
    stage.changes(1, "new")
    await stage.asks()
    assert not await stage.runs()
    assert stage.desk.partner.calls == []
    assert await stage.runs()
    assert await stage.name(1) == "new"


async def test_while_the_second_run_is_to_come_who_watches_sees_no_end(stage: Stage):
    await stage.dies_part_way()
    await stage.asks()
    await stage.runs()
    [wish] = stage.unit.wishes
    assert stage.runner.wishes[wish.id].tally is None


async def test_who_asked_before_a_listing_was_begun_is_answered_by_what_is_left_of_it(stage: Stage):
    await stage.asks()
    await stage.dies_part_way()
    assert await stage.runs()
    assert len(stage.desk.partner.calls) == 1


async def test_a_listing_that_this_run_begins_answers_whatever_the_clocks_say(stage: Stage):
    await stage.asks(ahead_seconds=3600)
    assert await stage.runs()


async def test_a_person_who_let_deletions_go_does_so_once(stage: Stage):
    await stage.dies_part_way()
    await stage.asks(confirm=True)
    assert await stage.runs()
