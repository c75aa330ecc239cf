"""A partner described only in YAML, exactly as the docs show it, synced by the real daemon (criterion 3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.drivers.plain_rest.server import KEY, Boatyard
from tests.whole.daemon import Daemon, Rows

FILE = Path(__file__).parents[1] / "drivers" / "plain_rest" / "partner.yaml"
DOCS = Path(__file__).parents[2] / "docs" / "writing-a-driver.md"
BOATS = 60
BOOKINGS = 2


@dataclass
class Synced:
    daemon: Daemon
    yard: Boatyard
    rows: Rows

    async def sync(self, target: str = "boats") -> None:
        """As a person does; comes back when the run ended well and what it set going is done."""
        code, out, err = await self.daemon.cli("sync", f"boatyard/{target}")
        assert code == 0, out + err + self.daemon.log()[-3000:]
        await self.settled()

    async def reconcile(self, target: str = "boats") -> None:
        before = await self.passes(target)
        code, out, err = await self.daemon.cli("reconcile", f"boatyard/{target}")
        assert code == 0, out + err

        async def passed() -> bool:
            return await self.passes(target) > before

        await self.daemon.until(passed)
        await self.settled()

    async def passes(self, resource: str) -> int:
        return await self.rows.connection.fetchval(
            "SELECT coalesce(sum(passes), 0)::int FROM syncd.checkpoints WHERE resource = $1", resource
        )

    async def settled(self) -> None:
        async def no_tasks() -> bool:
            return await self.rows.connection.fetchval("SELECT count(*) FROM syncd.tasks") == 0

        await self.daemon.until(no_tasks)

    async def fields(self, resource: str, external_id: str) -> dict[str, object]:
        """One record as another team reads it: from the typed view."""
        found = await self.rows.connection.fetchrow(
            f"SELECT * FROM syncd.boatyard_{resource} WHERE external_id = $1", external_id
        )
        assert found is not None
        return dict(found)

    @property
    def truth(self) -> tuple[dict[str, object], dict[str, object]]:
        bookings = {ref: row for below in self.yard.bookings.values() for ref, row in below.items()}
        return dict(self.yard.boats), bookings

    async def equal(self) -> bool:
        boats, bookings = self.truth
        return (
            await self.rows.live("boatyard", "boats") == boats
            and await self.rows.live("boatyard", "bookings") == bookings
        )


@pytest.fixture
async def synced(tmp_path: Path, database: str, rows: Rows) -> AsyncIterator[Synced]:
    """The daemon with the file from the docs; the first import is behind it."""
    yard = Boatyard()
    yard.now = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    yard.fill(BOATS, BOOKINGS)
    base_url = await yard.start()
    file = FILE.read_text().replace("https://api.boatyard.example/v1", base_url)
    assert base_url in file
    async with Daemon(tmp_path, database, {"boatyard": file}, env={"BOATYARD_KEY": KEY}) as daemon:
        running = Synced(daemon, yard, rows)
        await daemon.until(running.equal)
        await running.settled()
        yield running
    await yard.stop()


def test_the_file_has_at_most_forty_lines_and_is_the_one_in_the_docs():
    text = FILE.read_text()
    assert len(text.splitlines()) <= 40
    assert text.strip() in DOCS.read_text()


async def test_the_file_from_the_docs_brings_boats_bookings_and_whatever_happens_to_them(synced: Synced):
    yard, rows = synced.yard, synced.rows
    # Everything arrived, each page and each boat's bookings asked for once, fields normalized as the file says.
    assert yard.calls["/v1/boats"] == 2
    assert yard.calls["/v1/boats/{boat}/bookings"] == BOATS
    assert yard.refused == 0
    boat = await synced.fields("boats", "bt-00004")
    assert (boat["name"], boat["harbour"], boat["length_m"], boat["for_hire"]) == ("Boat 4", "Ost", 10.5, False)
    assert str(boat["launched"]) == "2008-05-17"
    booking = await synced.fields("bookings", "bt-00004/1")
    assert (booking["guest"], str(booking["starts"]), str(booking["price"])) == ("Guest 1", "2027-06-02", "81.50")
    parents = await rows.connection.fetch(
        "SELECT DISTINCT parent_id FROM syncd.records WHERE resource = 'bookings' AND external_id LIKE 'bt-00004/%'"
    )
    assert [row["parent_id"] for row in parents] == ["bt-00004"]

    # Nothing happened: a run asks for what changed since the watermark, finds nothing new, and no child is read.
    versions = await rows.connection.fetchval("SELECT sum(row_version) FROM syncd.records")
    yard.calls.clear()
    await synced.sync()
    assert yard.calls["/v1/boats"] >= 1
    assert yard.calls["/v1/boats/{boat}/bookings"] == 0
    assert await rows.connection.fetchval("SELECT sum(row_version) FROM syncd.records") == versions

    # A changed boat, a new one, a new booking below an old one: an incremental run brings them, and only their children.
    yard.calls.clear()
    yard.change_boat("bt-00007", name="Renamed")
    new = yard.add_boat(900)
    yard.add_booking(new, 1)
    yard.add_booking("bt-00011", 77)
    await synced.sync()
    await synced.daemon.until(synced.equal)
    assert (await synced.fields("boats", "bt-00007"))["name"] == "Renamed"
    assert yard.calls["/v1/boats/{boat}/bookings"] == 3
    mode = await rows.connection.fetchval(
        "SELECT mode FROM syncd.runs WHERE resource = 'boats' ORDER BY id DESC LIMIT 1"
    )
    assert mode == "incremental"
    story = await rows.connection.fetch(
        "SELECT field, old, new FROM syncd.changes WHERE resource = 'boats' AND external_id = 'bt-00007' AND field = 'name'"
    )
    assert len(story) == 1

    # A booking that disappeared is gone when two listings of its boat in a row missed it.
    del yard.bookings["bt-00003"]["bt-00003/0"]
    for _ in range(2):
        yard.change_boat("bt-00003", name=f"Boat 3 at {yard.now}")
        await synced.sync()
    await synced.daemon.until(synced.equal)


async def test_a_removed_boat_goes_with_its_bookings_after_two_complete_passes_and_not_before(synced: Synced):
    yard, rows = synced.yard, synced.rows
    yard.remove_boat("bt-00005")
    await synced.sync()
    assert "bt-00005" in await rows.live("boatyard", "boats"), "an incremental run proves no absence"
    await synced.reconcile()
    assert "bt-00005" in await rows.live("boatyard", "boats"), "one complete pass is not enough"
    await synced.reconcile()
    await synced.daemon.until(synced.equal)
    tombs = await rows.connection.fetch(
        "SELECT resource, external_id FROM syncd.records WHERE deleted_at IS NOT NULL ORDER BY 1, 2"
    )
    assert [tuple(row) for row in tombs] == [
        ("boats", "bt-00005"), ("bookings", "bt-00005/0"), ("bookings", "bt-00005/1")
    ]  # fmt: skip


async def test_one_boat_is_read_by_its_id_and_found_gone_at_its_own_address(synced: Synced):
    yard = synced.yard
    yard.change_boat("bt-00008", name="By id")
    code, out, err = await synced.daemon.cli("sync", "boatyard/boats", "--id", "bt-00008", "--no-wait")
    assert code == 0, out + err
    await synced.settled()
    assert (await synced.fields("boats", "bt-00008"))["name"] == "By id"
    yard.remove_boat("bt-00009")
    code, out, err = await synced.daemon.cli("sync", "boatyard/boats", "--id", "bt-00009", "--no-wait")
    assert code == 0, out + err
    await synced.settled()
    await synced.daemon.until(synced.equal)
