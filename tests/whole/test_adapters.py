"""Adapters of the guesty driver on their way from v1 to v2 and back: in shadow, by percent, and over what is stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from syncd.testing.control import Control
from tests.whole.daemon import Daemon, Rows
from tests.whole.warm import spawn

CREDENTIALS = {"client_id": "simulated-client", "client_secret": "simulated-secret"}
LISTINGS = 120


def partner(base_url: str, **said: Any) -> dict[str, Any]:
    return {
        "driver": "guesty",
        "base_url": base_url,
        "resources": {
            "listings": {"every": "1h"},
            "reservations": {"enabled": False},
            "guests": {"enabled": False},
        },
        "integrations": {"acme": {"credentials": CREDENTIALS, **said}},
    }


async def made_by(rows: Rows) -> dict[str, int]:
    found = await rows.connection.fetch("SELECT adapter, count(*) FROM syncd.records GROUP BY 1")
    return {row[0]: row[1] for row in found}


@pytest.mark.timeout(180)
async def test_guesty_goes_from_v1_to_v2_by_percent_and_back_without_a_call(tmp_path: Path, database: str, rows: Rows):
    with spawn("guesty", listings=LISTINGS, guests=0, reservations=0) as simulated:
        control = Control(simulated.url)
        daemon = Daemon(tmp_path, database, {"guesty": partner(simulated.base_url, adapter="v1", shadow="v2")})

        async def report() -> dict[str, Any]:
            status, body = await daemon.get("/api/v1/adapters?integration=acme", admin=True)
            assert status == 200
            (one,) = json.loads(body)["resources"]
            return dict(one)

        async def renormalized(**said: Any) -> dict[str, Any]:
            _, begun = await daemon.post("renormalize", {"integration": "acme", **said})
            (row,) = begun["renormalizations"]

            async def ended() -> dict[str, Any] | None:
                _, body = await daemon.get(f"/api/v1/renormalizations?id={row['id']}", admin=True)
                (now,) = json.loads(body)["renormalizations"]
                return now if now["state"] in ("done", "failed") else None

            found: dict[str, Any] = await daemon.until(ended)
            assert found["state"] == "done", found
            return found

        async def turned(**settings: Any) -> str:
            daemon.write_partner("guesty", partner(simulated.base_url, **settings))
            _, told = await daemon.post("reload")
            assert told["ok"], told
            return "\n".join(told["changes"])

        async with daemon:

            async def imported() -> bool:
                return await made_by(rows) == {"v1": LISTINGS}

            await daemon.until(imported)

            # In shadow: what v2 would make of the same records is counted, and no row is touched.
            async def compared() -> bool:
                one = await report()
                return one["trial"] is not None and one["trial"]["compared"] == LISTINGS

            await daemon.until(compared)
            one = await report()
            assert (one["in_force"], one["in_use"], one["shadow"]) == ({"v1": 100.0}, {"v1": LISTINGS}, "v2")
            trial = one["trial"]
            dry = await renormalized(adapter="v2", dry=True)
            assert (dry["seen"], dry["changed"] + dry["rejected"]) == (LISTINGS, trial["differing"])
            assert await made_by(rows) == {"v1": LISTINGS}
            status, refused = await daemon.post("renormalize", {"integration": "acme", "adapter": "v2"})
            assert status == 400 and "its next pass would undo" in json.dumps(refused)

            # By percent, and each step takes what the one before had and more.
            calls = (await control.stats())["routes"]
            before = await rows.live("acme", "listings")
            moved: set[str] = set()
            for share in (10, 50, 100):
                adapter = {"v1": 100 - share, "v2": share} if share < 100 else "v2"
                assert "do: syncd renormalize acme" in await turned(adapter=adapter)
                done = await renormalized()
                now = await rows.connection.fetch("SELECT external_id FROM syncd.records WHERE adapter = 'v2'")
                ids = {row[0] for row in now}
                assert moved <= ids and done["seen"] == LISTINGS and not done["rejected"]
                assert abs(len(ids) - LISTINGS * share / 100) <= 15
                moved = ids
            assert await made_by(rows) == {"v2": LISTINGS}
            assert await rows.live("acme", "listings") == before, "what the partner sent stays as it was"
            code, out, err = await daemon.cli("renormalize", "acme")  # as a person does
            assert (code, out.strip()) == (
                0,
                f"acme/listings  done: {LISTINGS} read, 0 changed, {LISTINGS} the same",
            ), err

            # A pass finds all of it known, and nothing is written.
            await turned(adapter="v1")
            back = await renormalized()
            assert await made_by(rows) == {"v1": LISTINGS} and back["seen"] == LISTINGS
            versions = await rows.connection.fetchval("SELECT sum(row_version) FROM syncd.records")
            listed = {route: count for route, count in (await control.stats())["routes"].items() if "listings" in route}
            assert listed == {route: count for route, count in calls.items() if "listings" in route}, "not one call"
            assert (await daemon.cli("sync", "acme/listings"))[0] == 0
            assert await rows.connection.fetchval("SELECT sum(row_version) FROM syncd.records") == versions
            causes = await rows.connection.fetch("SELECT DISTINCT cause FROM syncd.changes")
            assert causes and all(row[0].startswith("renormalize ") for row in causes)
            assert (await control.stats())["violations"] == 0
