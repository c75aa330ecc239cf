"""Typed views: what others query."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import asyncpg
import pytest

from syncd.errors import StoreError
from syncd.store import Store, view_name

from .parts import Desk, row

FIELDS = {
    "title": "text",
    "size": "bigint",
    "price": "numeric",
    "ratio": "double precision",
    "open": "boolean",
    "changed": "timestamptz",
    "day": "date",
    "tags": "jsonb",
    "rooms": "integer",
}


async def select(store: Store, sql: str) -> list[asyncpg.Record]:
    return await store._database.fetch(sql)


async def test_a_view_shows_live_records_of_its_partner_with_typed_columns(desk: Desk):
    store = desk.store
    await desk.put(
        row(
            "1",
            {
                "title": "One",
                "size": 3,
                "price": 1.5,
                "ratio": 0.25,
                "open": True,
                "rooms": 2,
                "changed": "2024-05-01T12:00:00Z",
                "day": "2024-05-01",
                "tags": ["a"],
            },
        )
    )
    await desk.put(row("2", deleted=True), row("3", resource="others"))
    other = await Desk.open(store, "elsewhere")
    await store.pages.commit_one(other.page(row("9"), partner="another", run_id=None, seen_ids=None))
    assert await store.views.refresh("partner", "things", FIELDS) == "partner_things"
    [found] = await select(store, "SELECT * FROM syncd.partner_things")
    assert dict(found) | {"_synced_at": None} == {
        "integration": "acme",
        "external_id": "1",
        "title": "One",
        "size": 3,
        "price": Decimal("1.5"),
        "ratio": 0.25,
        "open": True,
        "changed": datetime(2024, 5, 1, 12, tzinfo=UTC),
        "day": date(2024, 5, 1),
        "tags": ["a"],
        "rooms": 2,
        "_parent_id": None,
        "_source_updated_at": None,
        "_synced_at": None,
        "_row_version": 1,
    }


HOSTILE = [
    None,
    "",
    "abc",
    1,
    -1,
    1.5,
    1e300,
    10**30,
    True,
    [],
    {},
    ["x"],
    {"a": 1},
    "12",
    "1.5",
    "true",
    "2024-02-31",
    "2024-05-01",
    "2024-05-01T25:00:00Z",
    "9999999999-01-01",
    "infinity",
    "NaN",
    "-0",
    "1" * 300,
]


async def test_no_value_breaks_a_view(desk: Desk):
    await desk.put(*(row(str(number), dict.fromkeys(FIELDS, value)) for number, value in enumerate(HOSTILE)))
    await desk.store.views.refresh("partner", "things", FIELDS)
    found = {int(each["external_id"]): each for each in await select(desk.store, "SELECT * FROM syncd.partner_things")}
    assert len(found) == len(HOSTILE)
    assert found[HOSTILE.index("12")]["size"] == 12
    assert found[HOSTILE.index(10**30)]["size"] is None
    assert found[HOSTILE.index(10**30)]["price"] == 10**30
    assert found[HOSTILE.index("2024-02-31")]["day"] is None
    assert found[HOSTILE.index("true")]["open"] is True
    assert found[HOSTILE.index(None)]["title"] is None
    assert found[HOSTILE.index({"a": 1})]["title"] == '{"a": 1}'


async def test_refreshing_changes_columns_and_only_when_there_is_need(store: Store):
    async def oid() -> int:
        return await store._database.fetchval("SELECT 'syncd.p_r'::regclass::oid::bigint")

    await store.views.refresh("p", "r", {"a": "text"})
    first = await oid()
    await store.views.refresh("p", "r", {"a": "text"})
    assert await oid() == first
    await store.views.refresh("p", "r", {"b": "bigint", "a": "bigint"})
    columns = await select(
        store, "SELECT attname FROM pg_attribute WHERE attrelid = 'syncd.p_r'::regclass AND attnum > 0"
    )
    assert [each[0] for each in columns][:4] == ["integration", "external_id", "b", "a"]
    assert await store.views.list() == ["p_r"]
    await store.views.drop("p", "r")
    assert await store.views.list() == []


async def test_odd_names_are_quoted_shortened_and_kept_apart(desk: Desk):
    long = "x" * 70
    fields = {
        'we"ird': "text",
        "it's": "text",
        "back\\slash": "text",
        "Größe": "bigint",
        "external_id": "text",
        "_row_version": "text",
        "field_external_id": "text",
        long + "1": "text",
        long + "2": "text",
        "": "text",
    }
    await desk.put(row("1", dict.fromkeys(fields, "7")))
    name = await desk.store.views.refresh("my-Partner", "odd things/2", fields)
    assert name == "my_partner_odd_things_2"
    await desk.store.views.refresh("partner", "things", fields)
    [found] = await select(desk.store, "SELECT * FROM syncd.partner_things")
    assert len(found) == len(fields) + 6
    assert [found[each] for each in ('we"ird', "it's", "back\\slash", "Größe")] == ["7", "7", "7", 7]
    assert found["external_id"] == "1"
    assert found["field_external_id"] == "7"
    assert view_name("p", "r" * 100) != view_name("p", "r" * 99 + "s")
    assert len(view_name("p", "r" * 100)) <= 63


async def test_what_is_not_ours_is_never_replaced(store: Store):
    with pytest.raises(StoreError, match="not a typed view"):
        await store.views.refresh("schema", "migrations", {})
    await store._database.execute("CREATE VIEW syncd.p_mine AS SELECT 1 AS n")
    with pytest.raises(StoreError, match="not a typed view"):
        await store.views.refresh("p", "mine", {})


async def test_a_view_others_build_on_is_not_dropped_from_under_them(store: Store):
    await store.views.refresh("p", "r", {"a": "text"})
    await store._database.execute("CREATE VIEW public.report AS SELECT a FROM syncd.p_r")
    await store.views.refresh("p", "r", {"a": "text"})
    with pytest.raises(StoreError, match="report"):
        await store.views.refresh("p", "r", {"b": "text"})
    assert await select(store, "SELECT * FROM public.report") == []


async def test_an_unknown_type_is_refused(store: Store):
    with pytest.raises(StoreError, match="no SQL type"):
        await store.views.refresh("p", "r", {"a": "text); DROP SCHEMA syncd"})
