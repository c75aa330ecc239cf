"""The guesty driver against two simulated accounts with their true limits (84 calls a minute, one token each)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syncd.testing.control import Control
from tests.whole.daemon import Daemon, Rows
from tests.whole.warm import spawn

CREDENTIALS = {"client_id": "simulated-client", "client_secret": "simulated-secret"}
RESOURCES = ("listings", "reservations", "guests")
FEW = {"listings": 40, "guests": 50, "reservations": 130}


def partner(base_url: str, name: str, adapter: str, **options: str) -> dict[str, Any]:
    return {
        "driver": "guesty",
        "base_url": base_url,
        "options": options,
        "resources": {"listings": {"every": "6s"}, "reservations": {"every": "3s"}, "guests": {"every": "6s"}},
        "integrations": {name: {"credentials": CREDENTIALS, "adapter": adapter}},
    }


async def wrong(control: Control, rows: Rows, integration: str, resource: str, truth: str = "") -> list[str]:
    """Ids that only one side has, or of which a stored field differs (we ask for some of the fields only)."""
    there, here = await control.truth(truth or resource), await rows.live(integration, resource)
    if resource == "guests":  # columns have further names for the same
        there = {
            i: {**raw, "id": i, "guestEmail": raw["email"], "guestPhone": raw["phone"]} for i, raw in there.items()
        }
    differing = [i for i in here.keys() & there.keys() if here[i] != {name: there[i].get(name) for name in here[i]}]
    return [*(there.keys() ^ here.keys()), *differing]


@pytest.mark.timeout(180)
async def test_guesty_converges_on_both_routes_and_adapters_within_its_limits(
    tmp_path: Path, database: str, rows: Rows
):
    with spawn("guesty", hide_inactive=True, **FEW) as old, spawn("guesty", shape="v2", seed=8, **FEW) as new:
        accounts = {"acme": (Control(old.url), "reservations"), "nova": (Control(new.url), "reservations-v3")}
        partners = {
            "guesty": partner(old.base_url, "acme", "v1"),
            "guesty_v3": partner(new.base_url, "nova", "v2", reservations="v3"),
        }

        async def same() -> bool:
            for name, (control, route) in accounts.items():
                for resource in RESOURCES:
                    if await wrong(control, rows, name, resource, route if resource == "reservations" else ""):
                        return False
            return True

        async with Daemon(tmp_path, database, partners) as daemon:
            await daemon.until(same, seconds=60, every=0.5)
            today = f"{datetime.now(UTC):%Y-%m-%d}"
            gone = {}
            for name, (control, _) in accounts.items():
                listings = list(await control.truth("listings"))
                await control.update("listings", listings[0], {"nickname": "Renamed at the source"})
                await control.update("listings", listings[1], {"active": False, "isListed": False})
                await control.delete("listings", listings[2])
                gone[name] = listings[2]
                to_come = [
                    i
                    for i, raw in (await control.truth("reservations")).items()
                    if raw["checkOutDateLocalized"] >= today
                ]
                for external_id in to_come[:5]:
                    await control.update("reservations", external_id, {"status": "canceled"})
                await control.create("reservations", count=2)
                await control.mutate(3, "guests")
            await daemon.until(same, seconds=60, every=0.5)
            for name, external_id in gone.items():
                row = await rows.connection.fetchrow(
                    "SELECT deleted_at FROM syncd.records WHERE integration = $1 AND external_id = $2",
                    name,
                    external_id,
                )
                assert row["deleted_at"] is not None
            renamed = await rows.connection.fetchval(
                "SELECT count(*) FROM syncd.records WHERE resource = 'listings' AND data->>'nickname' = $1",
                "Renamed at the source",
            )
            assert renamed == 2
            assert await rows.connection.fetchval("SELECT count(*) FROM syncd.rejects") == 0
        for control, _ in accounts.values():
            stats = await control.stats()
            assert (stats["violations"], stats["refused_429"], stats["tokens_issued"]) == (0, 0, 1)
