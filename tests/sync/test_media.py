"""Files of records: fetched when the record came or changed, kept by their content, removed when no record has them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from syncd.errors import GoneError, RejectedError, StoreError
from syncd.kit import Request, Response
from syncd.model import Headers, Lane
from syncd.store import Store
from syncd.sync.depot import Depot
from syncd.sync.media import clear
from syncd.sync.processor import Processor
from syncd.sync.pull import Pull
from syncd.sync.target import Target
from syncd.testing.clock import FakeClock
from tests.sync.inboxed import Desk

REST: dict[str, Any] = {
    "resources": {
        "photos": {
            "path": "/photos",
            "records": "items",
            "one": "/photos/{id}",
            "media": ["url", "more[].url"],
            "lane": "low",
            "fields": {"caption": "caption"},
        }
    }
}


class Files:
    """What lies behind the links."""

    def __init__(self, desk: Desk) -> None:
        self.content: dict[str, bytes | Exception] = {}
        self.etags = True
        self.asked: list[tuple[str, Lane, bool]] = []
        """Link, lane, and whether it was answered with 304."""
        self._api = desk.account.session.call
        desk.account.session.call = self.call  # type: ignore[method-assign]

    async def call(self, request: Request, *, lane: Lane = Lane.NORMAL, into: Any = None, **more: Any) -> Response:
        if into is None:
            return await self._api(request, lane=lane, **more)
        found = self.content[request.path]
        if isinstance(found, Exception):
            self.asked.append((request.path, lane, False))
            raise found
        tag = f'"{len(found)}"'
        unchanged = self.etags and request.headers.get("If-None-Match") == tag
        self.asked.append((request.path, lane, unchanged))
        headers = Headers({"Content-Type": "image/jpeg", **({"ETag": tag} if self.etags else {})})
        if unchanged:
            return Response(304, headers, b"")
        into.begin()
        into.write(found)
        return Response(200, headers, b"")


@asynccontextmanager
async def opened(database: str, key_ring: Any, tmp_path: Path) -> AsyncIterator[tuple[Desk, Files]]:
    clock = FakeClock()
    async with await Store.open(database, clock=clock, key_ring=key_ring, pool_size=4, migrate=False) as store:
        desk = await Desk.open(store, clock, rest=REST)
        resource = desk.account.plans["photos"].resource
        desk.account.depot = Depot(tmp_path / "media", 1000)
        desk.account.processor = Processor(
            desk.account.driver, "acme", {"photos": Target(resource, media=True, lane=Lane.LOW)}, store
        )
        yield desk, Files(desk)


def show(desk: Desk, *photos: dict[str, Any]) -> None:
    desk.partner.truth["/photos"] = {"items": list(photos)}
    for photo in photos:
        desk.partner.truth[f"/photos/{photo['id']}"] = photo


def photo(external_id: str, url: str, *more: str, caption: str = "") -> dict[str, Any]:
    return {"id": external_id, "url": url, "caption": caption, "more": [{"url": one} for one in more]}


async def read(desk: Desk) -> None:
    await Pull(desk.account, desk.account.plans["photos"], Lane.LOW, "test").run()
    await desk.do_tasks()


async def kept(desk: Desk) -> list[tuple[str, int, str, int]]:
    rows = await desk.rows("SELECT external_id, place, url, bytes FROM syncd.media ORDER BY 1, 2")
    return [tuple(row) for row in rows]


def files(tmp_path: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in (tmp_path / "media").rglob("*") if path.is_file())


async def test_a_records_files_are_fetched_in_the_lowest_lane_and_lie_there_by_their_content(
    database: str, key_ring, tmp_path: Path
):
    async with opened(database, key_ring, tmp_path) as (desk, held):
        held.content = {"https://cdn/a?sig=1": b"sea view", "https://cdn/b": b"bath", "https://cdn/c": b"sea view"}
        show(desk, photo("1", "https://cdn/a?sig=1", "https://cdn/b"), photo("2", "https://cdn/c"))
        await read(desk)
        assert await kept(desk) == [
            ("1", 0, "https://cdn/a", 8),
            ("1", 1, "https://cdn/b", 4),
            ("2", 0, "https://cdn/c", 8),
        ]
        assert files(tmp_path) == [b"bath", b"sea view"], "the same content is there once"
        assert {lane for _, lane, _ in held.asked} == {Lane.LOW}


async def test_a_changed_caption_does_not_bring_the_photo_again(database: str, key_ring, tmp_path: Path):
    async with opened(database, key_ring, tmp_path) as (desk, held):
        held.content = {"https://cdn/a": b"sea view"}
        show(desk, photo("1", "https://cdn/a"))
        await read(desk)
        await read(desk)
        assert len(held.asked) == 1, "an unchanged record asks for nothing"
        show(desk, photo("1", "https://cdn/a", caption="The sea"))
        await read(desk)
        assert [unchanged for *_, unchanged in held.asked] == [False, True]
        assert await kept(desk) == [("1", 0, "https://cdn/a", 8)]


async def test_a_link_that_grew_old_is_read_anew_with_its_record(database: str, key_ring, tmp_path: Path):
    async with opened(database, key_ring, tmp_path) as (desk, held):
        held.content = {
            "https://cdn/a?sig=old": RejectedError("the signature has run out", status=403),
            "https://cdn/a?sig=new": b"sea view",
        }
        show(desk, photo("1", "https://cdn/a?sig=old"))
        await Pull(desk.account, desk.account.plans["photos"], Lane.LOW, "test").run()
        desk.partner.truth["/photos/1"] = photo("1", "https://cdn/a?sig=new")
        await desk.do_tasks()
        assert await kept(desk) == [("1", 0, "https://cdn/a", 8)]


async def test_a_file_that_is_gone_does_not_keep_the_others_away(database: str, key_ring, tmp_path: Path):
    async with opened(database, key_ring, tmp_path) as (desk, held):
        held.content = {"https://cdn/a": GoneError("no such file", status=404), "https://cdn/b": b"bath"}
        show(desk, photo("1", "https://cdn/a", "https://cdn/b"))
        await read(desk)
        assert await kept(desk) == [("1", 1, "https://cdn/b", 4)]
        assert await desk.rows("SELECT 1 FROM syncd.dead_letters") == []


async def test_a_link_that_may_not_be_followed_is_a_dead_letter(database: str, key_ring, tmp_path: Path):
    async with opened(database, key_ring, tmp_path) as (desk, held):
        held.content = {"https://elsewhere/a": RejectedError("leads to https://elsewhere", hint="add it to origins")}
        show(desk, photo("1", "https://elsewhere/a"))
        await read(desk)
        (letter,) = await desk.rows("SELECT message FROM syncd.dead_letters")
        assert "https://elsewhere" in letter["message"]
        assert len(desk.partner.calls) == 1, "the listing; a fresh link would lead there too"


async def test_a_disk_that_takes_nothing_delays_the_file_and_loses_it_not(database: str, key_ring, tmp_path: Path):
    async with opened(database, key_ring, tmp_path) as (desk, held):
        held.content = {"https://cdn/a": StoreError("no room")}
        show(desk, photo("1", "https://cdn/a"))
        await read(desk)
        assert await desk.rows("SELECT 1 FROM syncd.dead_letters") == []
        held.content = {"https://cdn/a": b"sea view"}
        await desk.clock.advance(60)
        await desk.do_tasks()
        assert files(tmp_path) == [b"sea view"]


async def test_records_that_were_there_before_files_were_wanted_get_theirs_after_a_complete_pass(
    database: str, key_ring, tmp_path: Path
):
    async with opened(database, key_ring, tmp_path) as (desk, held):
        held.content = {"https://cdn/a": b"sea view"}
        show(desk, photo("1", "https://cdn/a"), {"id": "2", "caption": "without a link"})
        depot, desk.account.depot = desk.account.depot, None
        await read(desk)
        assert held.asked == []
        desk.account.depot = depot
        await read(desk)
        assert await kept(desk) == [("1", 0, "https://cdn/a", 8)]


async def test_a_file_that_no_record_has_any_more_is_removed_a_day_after_it_came(
    database: str, key_ring, tmp_path: Path
):
    async with opened(database, key_ring, tmp_path) as (desk, held):
        held.content = {"https://cdn/a": b"sea view", "https://cdn/b": b"bath"}
        show(desk, photo("1", "https://cdn/a"), photo("2", "https://cdn/b"))
        await read(desk)
        await desk.store.pages.delete(
            "acme", "photos", ["1"], scope="acme", fence=desk.ownership.fence, fetched_at=desk.clock.now()
        )
        now = desk.clock.now().timestamp()
        for age, removed in ((3600, 0), (2 * 86400, 1)):
            for path in (tmp_path / "media").rglob("*"):
                os.utime(path, (now - age, now - age))
            assert await clear(desk.account) == removed
        assert files(tmp_path) == [b"bath"]
        assert await kept(desk) == [("2", 0, "https://cdn/b", 4)]
