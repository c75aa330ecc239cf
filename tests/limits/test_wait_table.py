"""The table of waits (conformance/waits.yaml): each answer read as it asks, and kept by a real session."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from conformance.ours import measured
from conformance.rows import Row, rows
from syncd import drivers
from syncd.codec import loads
from syncd.limits.waits import DEFAULT, WaitDialect, read_wait
from syncd.model import Headers

NOW = datetime(2026, 3, 4, 9, 15, 0, tzinfo=UTC)
TABLE = rows()
A_LITTLE = 2.0
"""Seconds by which a call may come later than asked, because others wait for the same gate or it has just slowed down."""


def dialect_of(row: Row) -> WaitDialect:
    return drivers.load(row.driver).spec.limits.waits if row.driver else WaitDialect.parse(row.dialect)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_an_answer_is_read_as_it_asks(row: Row) -> None:
    headers, body = row.answer(NOW)
    found = read_wait(Headers(headers), loads(body), NOW, dialect_of(row), limited=row.status == 429)
    assert (None if found is None else found.asked_seconds) == (None if row.wait is None else pytest.approx(row.wait))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
async def test_a_call_comes_again_when_it_was_asked_to_and_not_before(row: Row) -> None:
    found = await measured(row)
    if row.wait is None:
        assert 0 < found.seconds <= 60
    else:
        asked = min(max(row.wait, DEFAULT.floor_seconds), DEFAULT.cap_seconds)
        assert asked - 0.001 <= found.seconds <= asked + A_LITTLE


def test_each_row_says_where_it_is_from() -> None:
    assert len(TABLE) == len({row.says for row in TABLE}) >= 50
    for row in TABLE:
        assert row.source[:3] in ("[D]", "[C]", "[R]", "[U]"), row.name
        assert row.headers or row.wait is None or row.body is not None or row.dialect
