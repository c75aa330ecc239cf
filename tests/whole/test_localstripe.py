"""What we rely on about localstripe itself: a changed release shows up here first, not in the sync tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.whole.localstripe import CUSTOMERS, INVOICES, PRODUCTS, LocalStripe


@pytest.fixture
async def stripe() -> AsyncIterator[LocalStripe]:
    async with LocalStripe() as running:
        yield running


async def test_it_lists_what_was_made_there_page_by_page(stripe: LocalStripe) -> None:
    made = await stripe.seed(customers=25, products=12, invoices=5)
    for resource in (CUSTOMERS, PRODUCTS):
        listed = await stripe.list(resource, page=10)
        assert [record["id"] for record in listed] == made[resource], "oldest first, unlike Stripe"
    invoices = await stripe.list(INVOICES, page=2)
    assert sorted(record["id"] for record in invoices) == sorted(made[INVOICES])
    assert {record["customer"] for record in invoices} == set(made[CUSTOMERS][:5])


async def test_an_update_changes_the_record_where_it_stands_in_the_list(stripe: LocalStripe) -> None:
    made = await stripe.seed(customers=3, products=1, invoices=0)
    await stripe.update(CUSTOMERS, made[CUSTOMERS][1], name="Renamed")
    listed = await stripe.list(CUSTOMERS)
    assert [record["name"] for record in listed] == ["Customer 0", "Renamed", "Customer 2"]
    assert all("updated" not in record for record in listed), "nothing tells when a record changed"


async def test_a_deleted_record_is_gone_and_its_own_address_answers_404(stripe: LocalStripe) -> None:
    made = await stripe.seed(customers=3, products=2, invoices=0)
    gone = made[CUSTOMERS][1]
    await stripe.delete(CUSTOMERS, gone)
    assert [record["id"] for record in await stripe.list(CUSTOMERS)] == [made[CUSTOMERS][0], made[CUSTOMERS][2]]
    with pytest.raises(aiohttp.ClientResponseError) as refused:
        await stripe.call("GET", f"{CUSTOMERS}/{gone}")
    assert refused.value.status == 404, "Stripe answers 200 with deleted: true"


@pytest.mark.parametrize(
    "query", ["customers?created[gte]=1", "events?types[]=customer.created", "invoices?created[gt]=1"]
)
async def test_it_refuses_the_filters_an_incremental_run_would_need(stripe: LocalStripe, query: str) -> None:
    with pytest.raises(aiohttp.ClientResponseError) as refused:
        await stripe.call("GET", query)
    assert refused.value.status in {400, 500}


async def test_a_listing_resumed_behind_a_deleted_record_starts_over(stripe: LocalStripe) -> None:
    made = await stripe.seed(customers=5, products=1, invoices=0)
    await stripe.delete(CUSTOMERS, made[CUSTOMERS][2])
    answer = await stripe.call("GET", f"{CUSTOMERS}?limit=2&starting_after={made[CUSTOMERS][2]}")
    assert [record["id"] for record in answer["data"]] == made[CUSTOMERS][:2], "Stripe refuses with 400"
