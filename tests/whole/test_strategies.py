"""`strategy: webhooks` in the real daemon: polled until deliveries come, seldom from then on, and what passes had to mend."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson

from tests.whole.conftest import hooked, only, partner
from tests.whole.daemon import Daemon, Rows
from tests.whole.plain import WEBHOOK_SECRET

THINGS = 400


async def ended(rows: Rows) -> int:
    return int(await rows.connection.fetchval("SELECT count(*) FROM syncd.runs WHERE outcome = 'done'"))


async def things(daemon: Daemon) -> dict[str, Any]:
    found = (await daemon.integration("acme"))["resources"]
    return next(one for one in found if one["name"] == "things")


async def same(control: Any, rows: Rows) -> bool:
    return await control.truth("things") == await rows.live("acme", "things")


async def test_polls_end_with_the_first_delivery_and_what_was_lost_is_found_by_the_next_pass(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, control = plain(things=THINGS)
    resources = only("things", strategy="webhooks", every="1s", jitter="0s", full_every="1h", backup_every="1h")
    async with Daemon(tmp_path, database, {"plain": hooked(simulator.base_url, resources=resources)}) as daemon:

        async def polled_thrice() -> bool:
            return await ended(rows) >= 3

        await daemon.until(polled_thrice)
        shown = await things(daemon)
        assert (shown["strategy"], shown["fed"]) == ("webhooks", False)
        assert "no webhook has told of things yet: polled as before (every: 1s)" in shown["remarks"][0]
        _, out, _ = await daemon.cli("status")
        assert "no webhook has told of things yet" in out

        await control.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/plain/acme", WEBHOOK_SECRET)
        await control.update("things", (await control.truth_ids("things"))[0], {"name": "told"})

        async def fed() -> bool:
            return bool((await things(daemon))["fed"])

        await daemon.until(fed)
        await asyncio.sleep(1.5)  # a poll that was due already goes
        before = await ended(rows)
        await control.mutate(30, "things")
        await daemon.until(lambda: same(control, rows))
        await asyncio.sleep(2.5)
        assert await ended(rows) == before, "no poll while deliveries come"
        shown = await things(daemon)
        assert shown["remarks"] == []
        _, out, _ = await daemon.cli("plan", "--json")
        planned = orjson.loads(out)["scopes"][0]["integrations"][0]["resources"][0]
        assert planned["strategy"] == "webhooks"
        assert planned["every_seconds"] == 3600.0
        # A backup an hour, each of them the complete pass that is due, and the reads that deliveries caused.
        assert 24 * 4 <= planned["calls_a_day"] <= 24 * 6 + 31 * 24

        # The copy is harmed where no webhook tells of it: a pass finds it, and says how much.
        await rows.connection.execute(
            "DELETE FROM syncd.records WHERE external_id IN "
            "(SELECT external_id FROM syncd.records ORDER BY source_updated_at LIMIT 25)"
        )
        await rows.connection.execute(
            "UPDATE syncd.records SET content_hash = 'x', data = '{}', source_updated_at = '2020-01-01' "
            "WHERE external_id IN (SELECT external_id FROM syncd.records ORDER BY source_updated_at LIMIT 15)"
        )
        code, _, err = await daemon.cli("reconcile", "acme/things")
        assert code == 0, err

        async def told() -> Any:
            return (await things(daemon))["drift"]

        drift = await daemon.until(told)
        assert drift == {"added": 25, "updated": 15, "deleted": 0}
        run = await rows.connection.fetchrow("SELECT * FROM syncd.runs WHERE drift_added > 0")
        assert (run["drift_added"], run["drift_updated"], run["drift_deleted"]) == (25, 15, 0)
        sample = 'syncd_drift_records{integration="acme",kind="added",resource="things"}'
        assert await daemon.metric(sample) == 25
        remarks = (await things(daemon))["remarks"]
        assert remarks == [
            "drift: the last complete pass of things found 25 missing, 15 outdated that fresher ways had missed"
        ]
        await daemon.kill()
        await daemon.start()

        async def remembered() -> Any:
            return (await things(daemon))["drift"]

        assert await daemon.until(remembered) == drift
        assert (await things(daemon))["fed"]
        # What deliveries told of is known to the next process: it does not poll.
        before = await ended(rows)
        await asyncio.sleep(2.5)
        assert await ended(rows) == before


async def test_without_a_webhook_section_it_is_polled_and_check_says_so(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, _ = plain(things=20)
    body = partner(simulator.base_url, resources=only("things", strategy="webhooks", every="1s"))
    async with Daemon(tmp_path, database, {"plain": body}) as daemon:
        _, out, err = await daemon.cli("check")
        assert "things is polled" in out + err
        code, _, _ = await daemon.cli("check", "--strict")
        assert code == 78

        async def polled() -> bool:
            return await ended(rows) >= 3

        await daemon.until(polled)
        assert "strategy webhooks, but" in (await things(daemon))["remarks"][0]
