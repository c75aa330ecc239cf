"""`syncd plan` against what really happens: its calls are those the partner counts, its times those of the runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows


async def planned(daemon: Daemon, *words: str, code: int = 0) -> dict[str, Any]:
    """The plan as JSON; its exit code is what the caller expects."""
    ended, out, err = await daemon.cli("plan", *words, "--json")
    assert ended == code, out + err + daemon.log()[-3000:]
    found: dict[str, Any] = json.loads(out)
    return found


def resources(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        each["name"]: each
        for scope in plan["scopes"]
        for integration in scope["integrations"]
        for each in integration["resources"]
    }


async def settled(daemon: Daemon, rows: Rows, passes: int, *names: str) -> None:
    """Every one of these has so many complete passes behind it, and no work is left."""

    async def done() -> bool:
        counted = await rows.connection.fetch("SELECT resource, passes, run_id FROM syncd.checkpoints")
        known = {row["resource"]: row["passes"] if row["run_id"] is None else -1 for row in counted}
        left = await rows.connection.fetchval("SELECT count(*) FROM syncd.tasks")
        return left == 0 and all(known.get(name, 0) >= passes for name in names)

    await daemon.until(done, seconds=120)


async def reconciled(daemon: Daemon, *names: str) -> None:
    status, told = await daemon.post("reconcile", {"integration": "acme", **({"resource": names[0]} if names else {})})
    assert status == 202, told


@pytest.mark.timeout(180)
async def test_the_calls_of_a_complete_pass_are_those_the_partner_then_counts(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, control = plain(things=230, notes=2)
    body = partner(simulator.base_url, resources={name: {"every": "1h", "full_every": "1d"} for name in only()})
    body["resources"]["flow"]["page_size"] = 40
    async with Daemon(tmp_path, database, {"plain": body}) as daemon:
        await settled(daemon, rows, 1, "things", "flow")
        plan = await planned(daemon)
        told = resources(plan)
        assert plan["source"] == "daemon"
        assert told["things"]["full_calls"] == {"value": 3.0, "known": "measured"}
        assert told["things"]["records"] == {"value": 230.0, "known": "measured"}
        assert told["flow"]["full_calls"] == {"value": 6.0, "known": "measured"}
        assert told["notes"]["full_calls"] == {"value": 230.0, "known": "assumed"}  # one below each thing
        asked = sum(each["full_calls"]["value"] for each in told.values())
        before = (await control.stats())["calls"]
        await reconciled(daemon)
        await settled(daemon, rows, 2, "things", "flow")
        await settled(daemon, rows, 1, "notes")
        assert (await control.stats())["calls"] - before == asked

        told = resources(await planned(daemon, "acme/notes"))
        assert list(told) == ["notes"]
        assert told["notes"]["full_calls"] == {"value": 230.0, "known": "measured"}

        created = await control.create("things", count=150)
        assert len(created) == 150
        assert await daemon.stop() == 0
        blind = await planned(daemon, "acme/things")  # nobody runs: the database tells the same
        assert blind["source"] == "database"
        assert resources(blind)["things"]["full_calls"] == {"value": 3.0, "known": "measured"}


@pytest.mark.timeout(180)
async def test_the_time_of_a_complete_pass_under_a_tight_limit_is_what_the_run_then_takes(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, control = plain(things=840, latency=(0.04, 0.06), tiers=["40/3s"])
    body = partner(
        simulator.base_url,
        limits={"tiers": [{"rate": "20/3s"}]},
        resources=only("flow", every="18s", page_size=12),  # by schedule: what a person asks for may use more
    )
    async with Daemon(tmp_path, database, {"plain": body}) as daemon:
        await settled(daemon, rows, 1, "flow")
        told = resources(await planned(daemon))["flow"]
        assert told["full_calls"]["value"] in (70, 71)
        assert told["full"]["binding"] == "20/3s"
        await settled(daemon, rows, 2, "flow")
        took = await rows.connection.fetchval(
            "SELECT extract(epoch FROM ended_at - started_at)::float8 FROM syncd.runs WHERE resource = 'flow'"
            " AND outcome = 'done' ORDER BY id LIMIT 1 OFFSET 1"
        )
        assert told["full"]["seconds"] == pytest.approx(took, rel=0.15)
        assert (await control.stats())["violations"] == 0


@pytest.mark.timeout(120)
async def test_a_schedule_that_cannot_fit_is_refused_with_the_line_that_can(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, _ = plain(things=300)
    body = partner(
        simulator.base_url,
        limits={"tiers": ["12/10s", "30/s"]},
        resources={**only("flow", page_size=10, full_every="1h"), "flow": {"every": "10s", "page_size": 10}},
    )
    async with Daemon(tmp_path, database, {"plain": body}) as daemon:

        async def passed() -> bool:  # the next run follows at once: it is never at rest
            return bool(await rows.connection.fetchval("SELECT sum(passes) FROM syncd.checkpoints"))

        await daemon.until(passed)
        plan = await planned(daemon, "acme", code=1)
        [scope] = plan["scopes"]
        assert plan["fits"] is False
        [line] = scope["advice"]["lines"]
        assert line == {"below": "", "yaml": "resources: {flow: {every: 30s}}"}
        [flow] = (await daemon.integration("acme"))["resources"]
        assert "longer than every: 10s" in flow["hint"]
        _, out, _ = await daemon.cli("status")
        assert "see syncd plan acme" in out
        body["resources"]["flow"]["every"] = "30s"
        daemon.write_partner("plain", body)
        code, out, err = await daemon.cli("reload", "--wait")
        assert code == 0, out + err
        assert (await planned(daemon, "acme"))["fits"] is True
        code, out, _ = await daemon.cli("plan", "acme")
        assert code == 0
        assert "it fits" in out
        code, _, err = await daemon.cli("plan", "acmee")
        assert code == 2
        assert "did you mean 'acme'?" in err


@pytest.mark.timeout(120)
async def test_while_the_first_pass_goes_on_the_partner_has_stated_how_long_it_will_be(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, _ = plain(things=900)
    body = partner(
        simulator.base_url,
        limits={"tiers": ["60/10s"]},
        resources=only("things", every="1h", page_size=10),
    )
    async with Daemon(tmp_path, database, {"plain": body}) as daemon:

        async def stated() -> dict[str, Any]:
            told = resources(await planned(daemon, "acme"))["things"]
            return told if told["records"]["known"] != "unknown" else {}

        told = await daemon.until(stated)
        assert told["records"] == {"value": 900.0, "known": "stated"}
        assert told["full_calls"] == {"value": 90.0, "known": "assumed"}
        assert told["full"]["binding"] == "60/10s"
        # 59 as fast as they answer, one slot being kept for what is urgent; the rest a window later, well before a second.
        assert 10 <= told["full"]["seconds"] < 20
        assert told["fits"] is None  # no incremental run was measured yet
        assumed = await planned(daemon, "acme", "--assume", "things=5000")
        assert assumed["source"] == "daemon"
        assert resources(assumed)["things"]["records"] == {"value": 5000.0, "known": "assumed"}


@pytest.mark.soak
@pytest.mark.timeout(180)
async def test_a_first_import_takes_as_long_as_was_planned_before_it(tmp_path: Path, database: str, rows: Rows, plain):
    simulator, control = plain(things=180, notes=1, latency=(0.04, 0.06), tiers=["80/4s"])
    body = partner(
        simulator.base_url,
        limits={"tiers": ["40/4s"]},
        resources={"flow": {"enabled": False}, "things": {"every": "1h"}, "notes": {"every": "1d"}},
    )
    daemon = Daemon(tmp_path, database, {"plain": body})
    plan = await planned(daemon, "acme", "--files", "--assume", "things=180")
    [told] = plan["scopes"][0]["integrations"]
    assert told["calls"] == {"value": 182.0, "known": "assumed"}  # two pages, and a list of notes below each thing
    assert told["backfill"]["binding"] == "40/4s"
    async with daemon:
        await settled(daemon, rows, 1, "things")
        arrived = await control.arrivals()
        assert len(arrived) == 182
        assert told["backfill"]["seconds"] == pytest.approx(max(arrived) - min(arrived), rel=0.15)


@pytest.mark.timeout(120)
async def test_a_limit_that_turned_out_lower_is_what_the_plan_reckons_with(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, control = plain(things=400, tiers=["30/2s"])
    body = partner(
        simulator.base_url,
        limits={"tiers": ["30/2s"]},
        resources=only("flow", every="30s", page_size=10),
    )
    async with Daemon(tmp_path, database, {"plain": body}) as daemon:
        await settled(daemon, rows, 1, "flow")
        [tier] = [t for t in (await planned(daemon))["scopes"][0]["tiers"] if t["window_seconds"] == 2]
        assert not tier["learned"]
        await control.tighten(0.3, silent=True)

        async def learned() -> dict[str, Any]:
            found = (await planned(daemon, "acme"))["scopes"][0]["tiers"]
            return next((tier for tier in found if tier["learned"]), {})

        await reconciled(daemon, "flow")
        lower = await daemon.until(learned)
        assert lower["budget"] <= 0.5 * tier["budget"]
        assert lower["share"] > 1.5 * tier["share"]
        _, out, _ = await daemon.cli("plan", "acme")
        assert ", as learned" in out
