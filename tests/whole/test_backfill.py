"""A time range read again by the real daemon: cheap, in the lowest lane, through kills, without moving anything else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from syncd.testing.control import Control
from tests.whole.conftest import PLAIN, only, partner
from tests.whole.daemon import Daemon, Rows

THINGS = 1000


def described(**since: Any) -> dict[str, Any]:
    """The plain API, with the listing of changes described as these keys say."""
    things = {**PLAIN["resources"]["things"], "since": {"param": "updated_since", "format": "iso_ns", **since}}
    return {**PLAIN, "resources": {**PLAIN["resources"], "things": things}}


async def imported(daemon: Daemon, rows: Rows, count: int = THINGS) -> None:
    async def all_there() -> bool:
        done = await rows.connection.fetchval(
            "SELECT passed_at IS NOT NULL FROM syncd.checkpoints WHERE resource = 'things'"
        )
        return bool(done) and await rows.count("acme", "things") == count

    await daemon.until(all_there)


async def span(rows: Rows, start: float, end: float) -> tuple[datetime, datetime, list[str]]:
    """Of the stored things by their stamps: the moments at these shares of them, and the ids in between."""
    found = await rows.connection.fetch(
        "SELECT external_id, source_updated_at AS at FROM syncd.records WHERE resource = 'things' ORDER BY at"
    )
    low, high = int(len(found) * start), int(len(found) * end)
    return found[low]["at"], found[high]["at"], [row["external_id"] for row in found[low:high]]


async def listings_of(control: Control) -> int:
    """Calls of the listing itself."""
    return sum((await control.stats())["routes"]["GET /v1/things"].values())


async def forget(rows: Rows, ids: list[str]) -> None:
    await rows.connection.execute("DELETE FROM syncd.records WHERE external_id = ANY($1::text[])", ids)


async def stood(rows: Rows) -> Mapping[str, Any]:
    return dict(
        await rows.connection.fetchrow(
            "SELECT watermark, passed_at, passes, cursor, run_id FROM syncd.checkpoints WHERE resource = 'things'"
        )
    )


async def test_a_range_is_read_again_children_included_and_nothing_else_moves(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, control = plain(things=THINGS, notes=2)
    resources = only("things", "notes", every="1h")
    async with Daemon(
        tmp_path,
        database,
        {"plain": partner(simulator.base_url, rest=described(until="updated_before"), resources=resources)},
    ) as daemon:
        await imported(daemon, rows)

        async def idle() -> bool:
            return not await rows.connection.fetchval("SELECT count(*) FROM syncd.tasks")

        await daemon.until(idle)
        since, until, lost = await span(rows, 0.0, 0.25)
        before = await stood(rows)
        await forget(rows, lost)
        await rows.connection.execute("DELETE FROM syncd.records WHERE resource = 'notes'")
        words = ("backfill", "acme/things", "--since", since.isoformat(), "--until", until.isoformat())
        code, out, err = await daemon.cli(*words, "--dry-run", "--json")
        assert code == 0, err
        plan = orjson.loads(out)
        assert plan["schema"] == "syncd.backfill-plan/1"
        assert plan["resources"][0]["bounds"] == "both"
        code, out, err = await daemon.cli(*words)
        assert code == 2, "nobody there to be asked"
        assert await rows.connection.fetchval("SELECT count(*) FROM syncd.backfills") == 0
        listings = await listings_of(control)
        code, out, err = await daemon.cli(*words, "--yes", "--follow", "--json")
        assert code == 0, err
        done = orjson.loads(out)["backfills"][0]
        assert (done["state"], done["added"], done["seen"]) == ("done", len(lost), len(lost))
        assert await listings_of(control) - listings == done["calls"] == -(-len(lost) // 100)
        assert await rows.count("acme", "things") == THINGS
        await daemon.until(idle)
        assert await rows.count("acme", "notes") == 100, "unchanged parents in the range are listed below as well"
        assert await stood(rows) == before


async def test_a_kill_costs_a_page_and_no_more(tmp_path: Path, database: str, rows: Rows, plain):
    simulator, control = plain(things=THINGS, latency=(0.02, 0.04))
    spec = {**described(until="updated_before"), "page_size": 25}
    daemon = Daemon(
        tmp_path, database, {"plain": partner(simulator.base_url, rest=spec, resources=only("things", every="1h"))}
    )
    await daemon.start()
    await imported(daemon, rows)
    since, until, lost = await span(rows, 0.0, 0.9)
    await forget(rows, lost)
    began = await listings_of(control)
    code, _, err = await daemon.cli(
        "backfill", "acme/things", "--since", since.isoformat(), "--until", until.isoformat(), "--yes"
    )
    assert code == 0, err
    kills = 0
    for pages in (10, 30):

        async def further(pages: int = pages) -> bool:
            return await rows.connection.fetchval("SELECT pages FROM syncd.backfills") >= pages

        await daemon.until(further)
        await daemon.kill()
        await daemon.start()
        kills += 1

    async def ended() -> Any:
        found = await rows.connection.fetchrow("SELECT * FROM syncd.backfills")
        return found if found["state"] == "done" else None

    done = await daemon.until(ended)
    assert done["added"] == done["seen"] == len(lost)
    assert await rows.count("acme", "things") == THINGS
    assert done["calls"] == done["pages"] == len(lost) // 25
    spent = await listings_of(control) - began
    # A page asked for at each kill, and the incremental or complete run that was due at a start.
    assert spent <= done["calls"] + kills * 2
    await daemon.stop()


@pytest.mark.parametrize(("since", "bounds"), [({"ascending": True}, "both"), ({}, "since")])
async def test_where_the_partner_takes_no_upper_bound_the_order_ends_it_or_it_reads_on(
    since: dict[str, Any], bounds: str, tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, _ = plain(things=1000)
    async with Daemon(
        tmp_path,
        database,
        {"plain": partner(simulator.base_url, rest=described(**since), resources=only("things", every="1h"))},
    ) as daemon:
        await imported(daemon, rows, 1000)
        low, high, _ = await span(rows, 0.2, 0.4)
        _, asked = await daemon.post("backfill", {
            "integration": "acme", "resource": "things", "since": low.isoformat(), "until": high.isoformat(),
        })  # fmt: skip
        assert asked["backfills"][0]["new"]

        async def ended() -> Any:
            found = await rows.connection.fetchrow("SELECT * FROM syncd.backfills")
            return found if found["state"] == "done" else None

        done = await daemon.until(ended)
        assert done["calls"] == (3 if bounds == "both" else 8)
        assert done["expected_calls"] == (2 if bounds == "both" else 8)


async def test_live_work_is_not_held_up_by_a_backfill(tmp_path: Path, database: str, rows: Rows, plain):
    """One worker and a tight limit: the schedule goes on while a backfill waits for what is left."""
    simulator, _ = plain(things=900)
    spec = {**described(until="updated_before"), "page_size": 5, "limits": {"tiers": ["20/s"], "share": 1.0}}
    body = partner(
        simulator.base_url,
        rest=spec,
        workers=1,
        resources={**only("things", every="1h"), "flow": {"every": "3s", "page_size": 100}},
    )
    async with Daemon(tmp_path, database, {"plain": body}) as daemon:
        await imported(daemon, rows, 900)
        since, until, _ = await span(rows, 0.0, 0.99)
        code, _, err = await daemon.cli(
            "backfill", "acme/things", "--since", since.isoformat(), "--until", until.isoformat(), "--yes"
        )
        assert code == 0, err
        runs = "SELECT count(*) FROM syncd.runs WHERE resource = 'flow' AND outcome = 'done'"
        before = await rows.connection.fetchval(runs)

        async def two_more() -> bool:
            return await rows.connection.fetchval(runs) >= before + 2

        await daemon.until(two_more)
        found = await rows.connection.fetchrow("SELECT * FROM syncd.backfills")
        assert found["state"] == "running"
        assert found["pages"] > 0
        code, out, _ = await daemon.cli("backfill", "acme", "--stop", "--json")
        assert code == 0
        assert orjson.loads(out)["backfills"][0]["state"] == "cancelled"
        pages = await rows.connection.fetchval("SELECT pages FROM syncd.backfills")
        assert datetime.now(UTC) - found["started_at"] < timedelta(minutes=5)
        # The same range goes on where it was stopped.
        code, out, _ = await daemon.cli(
            "backfill", "acme/things", "--since", since.isoformat(), "--until", until.isoformat(), "--yes", "--json"
        )
        assert orjson.loads(out)["backfills"][0]["pages"] >= pages > 0
