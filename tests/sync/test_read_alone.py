"""What only a record's own URL shows: kept as fresh as it was last read, though listings are compared without it."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.kit import DriverSpec, Item, RestDriver
from syncd.store import PageResult, Store
from syncd.sync.page import PageIn
from syncd.sync.processor import Processor
from syncd.sync.target import Target
from tests.store.parts import Desk, at

SPEC: dict[str, Any] = {
    "name": "plain",
    "base_url": "https://plain.example",
    "auth": {"kind": "none"},
    "resources": {
        "things": {
            "path": "/things",
            "records": "data",
            "one": {"path": "/things/{id}"},
            "updated": "at",
            "sparse": True,
            "compared": ["name", "at"],
            "fields": {"name": "name", "at": {"as": "timestamp"}, "emails": {"as": "list"}, "notes": {"as": "object"}},
        }
    },
}


class Room:
    def __init__(self, store: Store, desk: Desk) -> None:
        driver = RestDriver(DriverSpec.model_validate(SPEC))
        self.processor = Processor(driver, "acme", {"things": Target(driver.spec.resources["things"])}, store)
        self.desk, self.moment = desk, 0

    async def read(self, *, listing: bool = False, **told: Any) -> PageResult:
        self.moment += 1
        raw = {"id": "a", "at": at(0).isoformat(), **told}
        page = PageIn([Item("things", raw)], at(self.moment), "read", listing=listing)
        read = await self.processor.read("things", page, rejected=set())
        write = self.desk.page(*read.rows, run_id=None, seen_ids=None)
        pages = self.desk.store.pages
        return await (pages.commit_one(write) if listing else pages.commit_read(write))


@pytest.fixture
async def room(store: Store) -> Room:
    return Room(store, await Desk.open(store))


async def test_what_no_listing_shows_is_taken_from_a_record_read_alone_though_all_that_is_compared_is_as_it_was(
    room: Room,
) -> None:
    await room.read(listing=True, name="n")
    assert (await room.read(name="n", emails=["a@x.example"], notes={"line": 1})).updated == ["a"]
    expected = {"name": "n", "at": "2024-05-01T12:00:00Z", "emails": ["a@x.example"], "notes": {"line": 1}}
    assert await room.desk.data("a") == expected
    await room.read(listing=True, name="n")
    assert await room.desk.data("a") == expected
    await room.read(name="n", emails=[], notes={"line": 2})
    assert await room.desk.data("a") == {**expected, "emails": [], "notes": {"line": 2}}


async def test_a_record_that_is_read_again_and_again_changes_nothing_in_the_end(room: Room) -> None:
    await room.read(listing=True, name="n")
    for _ in range(2):
        await room.read(name="n", emails=["a@x.example"])
        await room.read(listing=True, name="n")
    for _ in range(3):
        told = await room.read(name="n", emails=["a@x.example"])
        listed = await room.read(listing=True, name="n")
        assert (told.updated, listed.updated) == ([], [])


async def test_of_two_partial_views_on_one_page_the_later_is_laid_over_the_earlier(room: Room) -> None:
    earlier = {"id": "a", "at": at(1).isoformat(), "name": "moved", "emails": ["a@x.example"]}
    later = {"id": "a", "at": at(2).isoformat(), "name": "called off"}
    page = PageIn([Item("things", earlier), Item("things", later)], at(3), "read", listing=True)
    read = await room.processor.read("things", page, rejected=set())
    await room.desk.put(*read.rows)
    stored = await room.desk.data("a") or {}
    assert (stored["name"], stored["emails"]) == ("called off", ["a@x.example"])
