"""What a run that failed for good leaves behind: its letter and the end of the wishes it was for, both or neither."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from syncd.errors import RejectedError, StoreError
from syncd.kit import Request
from syncd.store import Replay, Selection, Store, Task
from syncd.sync.letters import letter_of_run
from syncd.sync.runner import Runner
from syncd.sync.unit import Unit

from .ranged import Desk


class Stage:
    """A runner of `acme`, and the dead letter of a run of `things` that is being replayed."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.store = desk, desk.store
        desk.partner.put(1)
        self.runner = Runner("plain", {"acme": desk.account}, desk.store, desk.clock)

    async def begin(self) -> None:
        await self.runner._prepare()
        await self.store.dead_letters.bury(letter_of_run("acme", "things", None, RejectedError("422: no"), 1))
        [(_, self.replay)] = await self.store.replays.begin(Selection("acme"), who="ann")
        await self.carry()

    async def carry(self) -> Replay:
        while await self.store.replays.step("acme", self.replay):
            pass
        found = await self.store.replays.get("acme", self.replay)
        assert found is not None
        return found

    async def take(self) -> Task:
        [wish] = await self.store.tasks.take("acme", fence=self.desk.ownership.fence, limit=10, kinds=["sync"])
        assert self.runner._wish(wish)
        return wish

    @property
    def unit(self) -> Unit:
        return self.runner.units["acme", "things"]

    def refuses(self, *, refuses: bool = True) -> None:
        async def refuse(_: Request) -> None:
            raise RejectedError("answered 422", status=422)

        self.desk.partner.before = refuse if refuses else None

    async def died(self) -> None:
        """Another process owns the scope, and frees what the dead one had in hand."""
        await self.desk.take_over()
        await self.store.losses.free("acme", fence=self.desk.ownership.fence)
        self.unit.wishes.clear()

    async def letters(self) -> list[tuple[int | None, str]]:
        return [(one.former_id, one.message) for one in await self.store.dead_letters.list("acme")]


@pytest.fixture
async def stage(store: Store) -> AsyncIterator[Stage]:
    stage = Stage(await Desk.open(store))
    await stage.begin()
    yield stage


async def test_a_replay_whose_run_fails_again_is_a_letter_and_no_wish(stage: Stage):
    wish = await stage.take()
    stage.refuses()
    await stage.runner._pull(stage.unit)
    assert await stage.letters() == [(wish.letter_id, "answered 422")]
    assert await stage.store.tasks.list("acme") == []
    assert (await stage.carry()).state == "stopped"


@pytest.mark.parametrize("dies_at", ["letter", "wish"])
async def test_a_death_in_the_midst_of_it_leaves_the_wish_and_no_letter(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, dies_at: str
):
    await stage.take()
    stage.refuses()

    async def killed(*_: object, **__: object) -> None:
        raise StoreError("the process ends here")

    with monkeypatch.context() as patch:
        if dies_at == "letter":
            patch.setattr("syncd.store.runs.insert_letter", killed)
        else:
            patch.setattr(stage.store.runs, "bury", killed)
            patch.setattr(stage.store.tasks, "done", killed)
        await stage.runner._pull(stage.unit)
    assert await stage.letters() == []
    await stage.died()
    await stage.take()
    stage.refuses(refuses=False)
    await stage.runner._pull(stage.unit)
    assert (await stage.carry()).state == "done", "the second run went well, and that is what the replay came to"
    assert await stage.letters() == []


async def test_a_wish_that_was_taken_anew_meanwhile_has_its_letter_from_the_run_it_is_taken_for(stage: Stage):
    old = await stage.take()
    await stage.died()
    new = await stage.take()
    letter = letter_of_run("acme", "things", 7, RejectedError("422: no"), 1, former_id=old.letter_id)
    assert not await stage.store.runs.bury(letter, [old])
    assert await stage.letters() == []
    other = replace(old, id=10**9, letter_id=None)
    assert not await stage.store.runs.bury(letter, [new, other]), "not all of them were ours"
    assert await stage.letters() == [(old.letter_id, "422: no")]
    assert await stage.store.tasks.list("acme") == []
