"""Our binary rows against the library's own, and against hostile values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.store import binary
from syncd.store.binary import RowColumns
from syncd.store.database import prepare

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
JSON = st.sampled_from([b"{}", b"[1,2.5]", '{"ü":"€"}'.encode(), b'"x"', b"null"])
MOMENT = st.integers(-(10**15), 10**15).map(
    lambda number: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=number)
)


def column(values: st.SearchStrategy, nulls: bool = False) -> st.SearchStrategy:
    return st.none() | st.lists(st.none() | values if nulls else values, min_size=1, max_size=6)


COLUMNS = st.builds(
    RowColumns,
    ids=column(TEXT),
    resources=column(TEXT),
    datas=column(JSON),
    raws=column(JSON),
    hashes=column(st.binary(max_size=40)),
    versions=column(st.integers(-(2**63), 2**63 - 1), nulls=True),
    updates=column(MOMENT, nulls=True),
    fetches=column(MOMENT),
    parents=column(TEXT, nulls=True),
    adapters=column(TEXT),
    causes=column(TEXT),
    deletes=column(st.booleans()),
    sparses=column(st.booleans()),
    observeds=column(st.booleans()),
    histories=column(st.integers(0, 2)),
    seen=column(TEXT),
)


@given(columns=COLUMNS)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_both_ways_say_the_same(both: tuple[asyncpg.Connection, asyncpg.Connection], columns: RowColumns):
    ours, theirs = both
    sql = "SELECT ($1::syncd.page_rows)::text"
    assert await ours.fetchval(sql, columns) == await theirs.fetchval(sql, tuple(columns))


@pytest.fixture
async def both(database: str, monkeypatch: pytest.MonkeyPatch):
    """One connection with our encoder, and one with the library's."""
    ours = await asyncpg.connect(database)
    await prepare(ours)

    async def decline(_: object) -> bool:
        return False

    monkeypatch.setattr(binary, "register", decline)
    theirs = await asyncpg.connect(database)
    await prepare(theirs)
    yield ours, theirs
    await ours.close()
    await theirs.close()


async def test_a_library_without_our_level_goes_the_ordinary_way(database: str):
    connection = await asyncpg.connect(database)
    assert await binary.register(connection)

    class Other:
        async def fetchval(self, sql: str) -> int:
            return 1

    assert not await binary.register(Other())  # type: ignore[arg-type]
    await connection.execute("DROP SCHEMA syncd CASCADE")
    assert not await binary.register(connection)
    await connection.close()


@pytest.mark.parametrize(
    "columns",
    [
        RowColumns(ids=["lone\udc00"]),
        RowColumns(versions=[2**63]),
        RowColumns(ids=[7]),  # type: ignore[list-item]
        RowColumns(updates=[datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None)]),
    ],
)
async def test_what_cannot_be_sent_is_an_error_of_the_value_and_the_connection_lives(both, columns: RowColumns):
    ours, _ = both
    with pytest.raises(asyncpg.DataError):
        await ours.fetchval("SELECT ($1::syncd.page_rows)::text", columns)
    assert await ours.fetchval("SELECT 1") == 1


async def test_moments_are_exact_to_the_microsecond(both):
    ours, _ = both
    moments = [datetime(2024, 5, 1, tzinfo=UTC) + timedelta(microseconds=n) for n in (0, 1, 999_999)]
    moments.append(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
    assert await ours.fetchval("SELECT ($1::syncd.page_rows).updates", RowColumns(updates=moments)) == moments


@given(
    texts=st.lists(st.none() | TEXT, max_size=6),
    blobs=st.lists(st.binary(max_size=40), max_size=6),
    moments=st.lists(MOMENT, max_size=6),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_lists_go_the_same_both_ways(
    listed: tuple[asyncpg.Connection, asyncpg.Connection],
    texts: list[str | None],
    blobs: list[bytes],
    moments: list[datetime],
):
    ours, theirs = listed
    sql = "SELECT ROW($1::text[], $2::bytea[], $3::timestamptz[])::text"
    assert await ours.fetchval(sql, texts, blobs, moments) == await theirs.fetchval(sql, texts, blobs, moments)


@pytest.fixture
async def listed(database: str):
    """One connection with our encoders of lists, and one with the library's."""
    ours, theirs = await asyncpg.connect(database), await asyncpg.connect(database)
    assert binary.register_arrays(ours)
    yield ours, theirs
    await ours.close()
    await theirs.close()


def test_lists_go_the_ordinary_way_in_a_library_without_our_level():
    assert not binary.register_arrays(object())  # type: ignore[arg-type]
