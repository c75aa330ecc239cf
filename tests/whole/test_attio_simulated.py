"""A whole Attio workspace by the real daemon: imported, changed at the source, and equal to it again, within the limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from syncd.testing.control import Control
from tests.whole.daemon import Daemon, Rows
from tests.whole.warm import spawn

TOKEN = "simulated-attio-token"
SAME: dict[str, str] = {
    "people": "people",
    "companies": "companies",
    "deals": "deals",
    "projects": "projects",
    "tasks": "tasks",
    "notes": "notes",
    "workspace_members": "workspace_members",
    "objects": "objects",
    "lists": "lists",
    "entries_sales_pipeline": "entries:sales_pipeline",
}
"""Our resource -> what the simulator calls it."""


def partner(base_url: str, **resources: Any) -> dict[str, Any]:
    return {
        "driver": "attio",
        "base_url": base_url,
        "options": {
            "objects": ["projects"],
            "lists": ["sales_pipeline"],
            "status_attributes": {"deals": ["stage"], "entries_sales_pipeline": ["stage"]},
        },
        "resources": resources,
        "integrations": {"crm": {"credentials": {"token": TOKEN}}},
    }


@pytest.mark.timeout(120)
async def test_a_workspace_arrives_whole_and_every_change_and_deletion_follows(
    tmp_path: Path, database: str, rows: Rows
):
    options = {"people": 1300, "companies": 700, "deals": 300, "notes": 120, "tasks": 60, "entries": 80}
    with spawn("attio", custom_objects={"projects": 40}, seed=11, **options) as simulator:
        control = Control(simulator.url)
        often: dict[str, Any] = {name: {"every": "1s", "full_every": "4s"} for name in SAME}
        often["list_entries"] = {"enabled": True}  # the same entries, below each list
        async with Daemon(tmp_path, database, {"attio": partner(simulator.base_url, **often)}) as daemon:

            async def differing() -> dict[str, tuple[int, int]]:
                wrong: dict[str, tuple[int, int]] = {}
                for ours, theirs in SAME.items():
                    due, stored = await control.truth(theirs), await rows.live("crm", ours)
                    if stored != due:
                        wrong[ours] = len(stored), len(due)
                return wrong

            async def same() -> bool:
                nonlocal wrong
                wrong = await differing()
                return not wrong

            async def below_too() -> bool:
                return await rows.live("crm", "list_entries") == await control.truth("entries:sales_pipeline")

            wrong: dict[str, tuple[int, int]] = {}
            try:
                await daemon.until(same, seconds=40, every=0.5)
                await daemon.until(below_too, seconds=20, every=0.5)
                await control.mutate(150)
                person = (await control.truth_ids("people"))[3]
                await control.update("people", person, {"job_title": []})  # cleared: nothing newer is left behind
                await daemon.until(same, seconds=40, every=0.5)
            except AssertionError as error:
                raise AssertionError(f"stored and due: {wrong}") from error

        stats = await control.stats()
        assert stats["violations"] == 0
        assert stats["refused_429"] == 0
    rejects = await rows.connection.fetch("SELECT resource, reason FROM syncd.rejects")
    assert [dict(row) for row in rejects] == []
    stages = await rows.connection.fetchval("SELECT count(*) FROM syncd.attio_deals WHERE stage IS NOT NULL")
    assert stages == await rows.count("crm", "deals")
    amounts = await rows.connection.fetchval("SELECT sum(value) FROM syncd.attio_deals WHERE currency = 'EUR'")
    assert amounts > 0
    named = await rows.connection.fetchval("SELECT count(*) FROM syncd.attio_people WHERE name LIKE first_name || ' %'")
    assert named == await rows.count("crm", "people")
