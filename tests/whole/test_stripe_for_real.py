"""Real input from a server nobody here wrote: localstripe, by an ordinary partner file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.whole.daemon import Daemon, Rows
from tests.whole.localstripe import CUSTOMERS, INVOICES, PRODUCTS, LocalStripe

FILE = """
# localstripe lists oldest first and refuses the `created` and `types[]` filters: everything is a full pass there.
driver: stripe
base_url: {base_url}
resources:
  customers: {{strategy: full, every: 3s}}
  products: {{strategy: full, every: 10m}}
  invoices: {{strategy: full, every: 10m}}
  charges: {{enabled: false}}
  events: {{enabled: false}}
integrations:
  shop:
    credentials: {{api_key: {key}}}
"""


@pytest.mark.timeout(480)
async def test_localstripe_arrives_whole_and_its_updates_and_deletions_follow(
    tmp_path: Path, database: str, rows: Rows
):
    async with LocalStripe() as stripe:
        made = await stripe.seed(customers=500, products=2000, invoices=500)  # its customers are slow to list
        text = FILE.format(base_url=stripe.base_url, key=stripe.KEY)
        async with Daemon(tmp_path, database, {"stripe": text}) as daemon:

            async def same(*resources: str) -> bool:
                for resource in resources:
                    listed = {record["id"]: record for record in await stripe.list(resource)}
                    if await rows.live("shop", resource) != listed:
                        return False
                return True

            async def all_here() -> bool:
                counts = [await rows.count("shop", resource) for resource in (CUSTOMERS, PRODUCTS, INVOICES)]
                return counts == [500, 2000, 500]

            await daemon.until(all_here, seconds=120, every=0.5)
            assert await same(CUSTOMERS, PRODUCTS, INVOICES), "ids and fields are what the server itself lists"

            changed, gone = made[CUSTOMERS][7], made[CUSTOMERS][11]
            await stripe.update(CUSTOMERS, changed, name="Renamed at the source")
            await stripe.delete(CUSTOMERS, gone)

            async def updated() -> bool:
                name = "SELECT data->>'name' FROM syncd.records WHERE external_id = $1"
                return await rows.connection.fetchval(name, changed) == "Renamed at the source"

            async def deleted() -> bool:
                tombstone = "SELECT deleted_at IS NOT NULL FROM syncd.records WHERE external_id = $1"
                return bool(await rows.connection.fetchval(tombstone, gone))

            await daemon.until(updated, seconds=120, every=0.5)
            await daemon.until(deleted, seconds=180, every=0.5)  # the second complete pass without it
            assert await same(CUSTOMERS)
            feed = await rows.connection.fetch(
                "SELECT kind, field FROM syncd.changes WHERE external_id = ANY($1) ORDER BY id", [changed, gone]
            )
            assert {row["kind"] for row in feed} == {"update", "delete"}
            view = await rows.connection.fetchval(
                "SELECT name FROM syncd.stripe_customers WHERE external_id = $1", changed
            )
            assert view == "Renamed at the source"


async def test_localstripes_own_webhooks_bring_its_changes_without_a_poll(tmp_path: Path, database: str, rows: Rows):
    """It signs as Stripe does, `t=...,v1=...` over `t.body`, a second after the fact, and never tries again."""
    secret = "whsec_only-localstripe-and-we-know"
    text = FILE.replace("every: 3s", "every: 10m")
    async with LocalStripe() as stripe:
        made = await stripe.seed(customers=60, products=20, invoices=20)
        body = text.format(base_url=stripe.base_url, key=stripe.KEY) + f"    webhook: {{secrets: [{secret}]}}\n"
        async with Daemon(tmp_path, database, {"stripe": body}) as daemon:

            async def same() -> bool:
                for resource in (CUSTOMERS, PRODUCTS, INVOICES):
                    listed = {record["id"]: record for record in await stripe.list(resource)}
                    if await rows.live("shop", resource) != listed:
                        return False
                return True

            await daemon.until(same, seconds=60, every=0.3)
            await asyncio.sleep(2.0)  # whatever was made until now is told by then, to nobody
            pages = "SELECT coalesce(sum(pages), 0) FROM syncd.runs"
            before = await rows.connection.fetchval(pages)
            await stripe.send_webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/stripe/shop", secret)
            for number, customer in enumerate(made[CUSTOMERS][:10]):
                await stripe.update(CUSTOMERS, customer, name=f"Renamed {number}")
            await stripe.delete(CUSTOMERS, made[CUSTOMERS][11])
            await stripe.seed_more(customers=5, products=3)
            await daemon.until(same, seconds=30, every=0.3)
            kinds = await rows.connection.fetch("SELECT event_type, count(*) FROM syncd.inbox GROUP BY 1 ORDER BY 1")
            assert [tuple(row) for row in kinds] == [
                ("customer.created", 5),
                ("customer.deleted", 1),
                ("customer.updated", 10),
                ("product.created", 3),
            ]
            assert await rows.connection.fetchval(pages) == before, "a poll did the work of a webhook"
            assert await rows.connection.fetchval("SELECT count(*) FROM syncd.dead_letters") == 0
            gone = "SELECT deleted_at IS NOT NULL FROM syncd.records WHERE external_id = $1"
            assert await rows.connection.fetchval(gone, made[CUSTOMERS][11])
