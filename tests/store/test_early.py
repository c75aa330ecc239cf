"""A page whose rows go in while the page before it is being committed."""

from __future__ import annotations

import asyncio

import pytest

from syncd.errors import OwnershipError
from syncd.model import History
from syncd.store import NewTask, PageResult, PageWrite, early

from .parts import Desk, row
from .test_pages import counters

WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"


class Two:
    """Two pages in a row; the second one's commit is under way before the first one's."""

    def __init__(self, desk: Desk, first: PageWrite, second: PageWrite) -> None:
        self.desk = desk
        self.first = first
        self.before: asyncio.Future[PageResult] = asyncio.get_running_loop().create_future()
        self.behind = asyncio.create_task(desk.store.pages.commit_behind(second, first, self.before))

    async def in_place(self) -> None:
        """The second page's rows are in, and nothing else of it."""
        database = self.desk.store.records._database
        async with asyncio.timeout(30):
            while not await database.fetchval(WAITS):
                await asyncio.sleep(0.01)

    async def ends(self) -> PageResult:
        self.before.set_result(await self.desk.store.pages.commit(self.first))
        return await self.behind


def two(desk: Desk, first: PageWrite, *rows: object, **more: object) -> Two:
    desk.cursor = first.cursor_next
    return Two(desk, first, desk.page(*rows, **{"fresh": True, **more}))  # type: ignore[arg-type]


async def test_the_second_page_is_seen_after_the_first_and_moves_the_cursor_on(desk: Desk):
    await desk.begin()
    child = NewTask("children", "parts", parent_id="c", dedupe_key="c")
    pages = two(desk, desk.page(row("a"), fresh=True), row("c"), row("b"), tasks=[child], last=True)
    await pages.in_place()
    assert await desk.data("b") is None
    result = await pages.ends()
    assert sorted(result.added) == ["b", "c"]
    assert await counters(desk) == {"pages": 2, "added": 3}
    stand = await desk.store.checkpoints.stand("acme", "things")
    assert stand is not None
    assert stand.listed
    assert [task.parent_id for task in await desk.store.tasks.list("acme")] == ["c"]
    assert await desk.store.passes.seen("acme", "things") == 3


async def test_nothing_stays_of_the_second_page_when_the_first_one_fails(desk: Desk):
    await desk.begin()
    pages = two(desk, desk.page(row("a"), fresh=True), row("b"))
    await pages.in_place()
    pages.before.set_exception(OwnershipError("lost"))
    with pytest.raises(OwnershipError):
        await pages.behind
    assert await desk.data("b") is None


async def test_rows_in_place_do_not_pass_the_fence(desk: Desk):
    await desk.begin()
    pages = two(desk, desk.page(row("a"), fresh=True), row("b"), fence=99)
    await pages.in_place()
    with pytest.raises(OwnershipError):
        await pages.ends()
    assert await desk.data("a") is not None
    assert await desk.data("b") is None


async def test_a_record_somebody_else_stored_meanwhile_is_judged_as_ever(desk: Desk):
    await desk.begin()
    await desk.put(row("b", {"of": "a webhook"}, version=5))
    pages = two(desk, desk.page(row("a"), fresh=True), row("b", version=4), row("c"))
    result = await pages.ends()
    assert (result.added, result.stale) == (["c"], 1)
    assert await desk.data("b") == {"of": "a webhook"}


async def test_a_value_the_database_refuses_costs_only_its_own_record(desk: Desk):
    await desk.begin()
    pages = two(desk, desk.page(row("a"), fresh=True), row("b")._replace(data_json=b"{"), row("c"))
    result = await pages.ends()
    assert (result.added, result.refused) == (["c"], ["b"])


async def test_whoever_waits_in_vain_lets_go_of_its_rows(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(early, "PATIENCE_SECONDS", 0.05)
    await desk.begin()
    pages = two(desk, desk.page(row("a"), fresh=True), row("b"))
    # A writer that the first page might be waiting for: it needs what the second page holds.
    async with asyncio.timeout(15):
        await desk.put(row("b", {"of": "another"}, fetched=9))
    result = await pages.ends()
    assert result.stale == 1
    assert await desk.data("b") == {"of": "another"}


@pytest.mark.parametrize(
    ("rows", "more"),
    [
        ([row("a", {"again": 1}, fetched=1)], {}),
        ([row("b"), row("b", {"twice": 1}, fetched=1)], {}),
        ([row("b", deleted=True)], {}),
        ([row("b", resource="others")], {}),
        ([row("b")], {"fresh": False}),
        ([row("b")], {"history": History.FULL}),
        ([row("b")], {"history": {"things": History.FULL}}),
        ([], {}),
    ],
    ids=["shared", "twice", "deleted", "another resource", "known", "full history", "full history by name", "empty"],
)
async def test_what_needs_an_order_waits_for_its_turn(desk: Desk, rows: list, more: dict):
    await desk.begin()
    first = desk.page(row("a"), fresh=True)
    pages = two(desk, first, *rows, **more)
    assert not early.fits(desk.page(*rows, **{"fresh": True, **more}), first)
    await pages.ends()
    assert (await counters(desk))["pages"] == 2
