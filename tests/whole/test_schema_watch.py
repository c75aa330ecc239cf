"""What partners send, watched by the real daemon: new fields, gone ones, other kinds; and too many rejects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from syncd.testing.control import Control
from syncd.testing.process import Spawned
from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows

Start = Callable[..., tuple[Spawned, Control]]


async def explained(daemon: Daemon) -> tuple[str, dict[str, Any]]:
    one = await daemon.integration("acme")
    return one["state"], one["explanation"] or {}


async def learned(daemon: Daemon, rows: Rows) -> None:
    async def done() -> bool:
        return await rows.connection.fetchval(
            "SELECT count(*) FROM syncd.schemas WHERE resource = 'things' AND learned_at IS NOT NULL"
        )

    await daemon.until(done)


async def test_a_change_of_shape_is_told_once_and_stays_until_it_is_accepted_over_restarts(
    tmp_path: Path, database: str, rows: Rows, plain: Start
):
    spawned, control = plain(things=60)
    daemon = Daemon(tmp_path, database, {"plain": partner(spawned.base_url, resources=only("things", every="1s"))})
    async with daemon:
        await learned(daemon, rows)
        first, second, *_ = sorted(await control.truth_ids("things"))
        await control.update("things", first, {"colour": "red"})

        async def new_field() -> bool:
            state, why = await explained(daemon)
            return state == "healthy" and why.get("code") == "schema-changed" and "colour: unknown" in why["reason"]

        await daemon.until(new_field)  # a field nobody asked for is worth a word, and no trouble
        await control.update("things", second, {"pad": 7})

        async def retyped() -> bool:
            state, why = await explained(daemon)
            return state == "degraded" and "field pad: expected text, got number" in why["reason"]

        await daemon.until(retyped)
        _, why = await explained(daemon)
        assert why["action"] == "syncd schema accept acme/things"
        assert await rows.count("acme", "things") == 60, "with `warn` nothing is kept out"
        assert (await rows.live("acme", "things"))[second]["pad"] == 7
        metric = 'syncd_schema_changes{integration="acme",resource="things",what="retyped"}'
        assert await daemon.metric(metric) == 1
        await daemon.stop()
        assert daemon.log().count('"schema_changed"') == 2, "each said once"
        await daemon.start()
        await daemon.until(retyped)  # it is a row
        _, body = await daemon.get("/api/v1/shapes?integration=acme", admin=True)
        (shown,) = json.loads(body)["resources"]
        assert {(one["path"], one["what"]) for one in shown["news"]} == {("colour", "unknown"), ("pad", "retyped")}
        code, out, _ = await daemon.cli("schema", "accept", "acme/things")
        assert (code, out.strip()) == (0, "things: 2 changes accepted")

        async def healthy() -> bool:
            return await explained(daemon) == ("healthy", {})

        await daemon.until(healthy)
        await control.update("things", first, {"pad": 8, "colour": "blue"})

        async def stored() -> bool:
            return (await rows.live("acme", "things"))[first].get("colour") == "blue"

        await daemon.until(stored)
        assert await explained(daemon) == ("healthy", {})
        assert daemon.log().count('"schema_changed"') == 2


async def test_a_frozen_resource_keeps_out_what_differs_and_lets_it_in_once_it_is_accepted(
    tmp_path: Path, database: str, rows: Rows, plain: Start
):
    spawned, control = plain(things=60)
    settings = only("things", every="1s", schema="freeze")
    async with Daemon(tmp_path, database, {"plain": partner(spawned.base_url, resources=settings)}) as daemon:
        await learned(daemon, rows)
        first, second, *_ = sorted(await control.truth_ids("things"))
        await control.update("things", first, {"colour": "red"})
        await control.update("things", second, {"number": 4711})

        async def kept_out() -> bool:
            state, why = await explained(daemon)
            return state == "degraded" and "colour: unknown" in why.get("reason", "")

        await daemon.until(kept_out)
        live = await rows.live("acme", "things")
        assert "colour" not in live[first], "the stored version stays as it was"

        async def others_go_on() -> bool:
            return (await rows.live("acme", "things"))[second]["number"] == 4711

        await daemon.until(others_go_on)
        reject = await rows.connection.fetchrow("SELECT * FROM syncd.rejects")
        assert reject["external_id"] == first
        assert reject["reason"] == "schema frozen: field colour: unknown (text)"
        status, _ = await daemon.post("shapes/accept", {"integration": "acme", "resource": "things"})
        assert status == 202

        async def let_in() -> bool:
            return (await rows.live("acme", "things"))[first].get("colour") == "red"

        await daemon.until(let_in)
        assert await rows.connection.fetchval("SELECT count(*) FROM syncd.rejects") == 0


async def test_too_many_rejects_degrade_the_resource_with_the_fields_name_and_heal_by_themselves(
    tmp_path: Path, database: str, rows: Rows, plain: Start
):
    spawned, control = plain(things=40)
    settings = only("things", every="1s", rejects={"records": 3, "share": 0.05})
    async with Daemon(tmp_path, database, {"plain": partner(spawned.base_url, resources=settings)}) as daemon:
        await learned(daemon, rows)
        ids = sorted(await control.truth_ids("things"))[:4]
        for external_id in ids:
            await control.update("things", external_id, {"number": "many"})

        async def degraded() -> bool:
            state, why = await explained(daemon)
            told = "things: schema changed: field number: expected a whole number, got text" in why.get("reason", "")
            return state == "degraded" and told

        await daemon.until(degraded)
        _, why = await explained(daemon)
        assert why["action"] == "syncd dlq list acme"
        for external_id in ids:
            await control.update("things", external_id, {"number": 5})
        await daemon.post("shapes/accept", {"integration": "acme"})  # the watch saw it too

        async def healthy() -> bool:
            return (await explained(daemon))[0] == "healthy"

        await daemon.until(healthy)
        assert await rows.connection.fetchval("SELECT count(*) FROM syncd.rejects") == 0
