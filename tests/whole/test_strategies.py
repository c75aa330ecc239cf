"""`strategy: webhooks` in the real daemon: polled until deliveries come, seldom from then on, and what passes had to mend."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson

from syncd.testing.control import Control
from tests.whole.conftest import hooked, only, partner
from tests.whole.daemon import Daemon, Rows
from tests.whole.plain import WEBHOOK_SECRET
from tests.whole.warm import spawn

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

        drift = {"added": 25, "updated": 15, "deleted": 0}

        async def told() -> bool:
            return (await things(daemon))["drift"] == drift

        await daemon.until(told)
        run = await rows.connection.fetchrow("SELECT * FROM syncd.runs WHERE drift_added > 0")
        assert (run["drift_added"], run["drift_updated"], run["drift_deleted"]) == (25, 15, 0)
        sample = 'syncd_drift_records{integration="acme",kind="added",resource="things"}'
        assert await daemon.metric(sample) == 25
        remarks = (await things(daemon))["remarks"]
        assert remarks == [
            "drift: the last pass or backup of things found 25 missing, 15 outdated that fresher ways had missed"
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


async def test_a_partners_event_log_is_read_seldom_while_deliveries_tell_the_same(
    tmp_path: Path, database: str, rows: Rows
):
    """Stripe's events come by webhook as well: while they do, the log is a backup; before that it is the fresh way."""
    seldom: dict[str, Any] = {"every": "12h", "jitter": "0s"}
    off: dict[str, Any] = {"enabled": False}
    with spawn("stripe", key="sk_live_simulated_key_1", customers=40, products=5, payment_intents=5) as simulator:
        control = Control(simulator.url)
        body = {
            "driver": "stripe",
            "base_url": simulator.base_url,
            "options": {"mode": "live"},
            "resources": {
                "customers": seldom, "products": off, "invoices": off, "charges": off, "payment_intents": off, "refunds": off,
                "events": {"strategy": "webhooks", "every": "1s", "jitter": "0s", "backup_every": "6h"},
                "payment_events": off,
            },
            "integrations": {
                "shop": {"credentials": {"api_key": "sk_live_simulated_key_1"}, "webhook": {"secrets": [WEBHOOK_SECRET]}}
            },
        }  # fmt: skip

        async def looks() -> int:
            found = "SELECT count(*) FROM syncd.runs WHERE resource = 'events' AND outcome = 'done'"
            return int(await rows.connection.fetchval(found))

        async def here(name: str) -> bool:
            return name in {raw.get("name") for raw in (await rows.live("shop", "customers")).values()}

        async with Daemon(tmp_path, database, {"stripe": body}) as daemon:

            async def looked_thrice() -> bool:
                return await looks() >= 3

            await daemon.until(looked_thrice)
            first = (await control.truth_ids("customers"))[0]
            await control.update("customers", first, {"name": "By the log"})
            await daemon.until(lambda: here("By the log"))
            await control.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/stripe/shop", WEBHOOK_SECRET)
            await control.update("customers", first, {"name": "By webhook"})
            await daemon.until(lambda: here("By webhook"))

            async def fed() -> bool:
                found = (await daemon.integration("shop"))["resources"]
                return bool(next(one for one in found if one["name"] == "events")["fed"])

            await daemon.until(fed)
            await asyncio.sleep(1.5)
            before = await looks()
            await control.update("customers", first, {"name": "By webhook alone"})
            await daemon.until(lambda: here("By webhook alone"))
            await asyncio.sleep(2.0)
            assert await looks() == before
            code, out, err = await daemon.cli("drift", "shop/customers", "--json")
            assert code == 0, out + err
            code, out, err = await daemon.cli("drift", "shop")
            assert "not compared: events (an event log: nothing to compare)" in err
