"""Each coercion gives a sound value or raises PayloadError that names the type and never shows the value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.codec import dumps, loads
from syncd.errors import PayloadError
from syncd.kit import coerce

SOUND: list[tuple[str, Any, Any]] = [
    ("text", "x", "x"),
    ("text", 5, "5"),
    ("text", True, "true"),
    ("integer", "12", 12),
    ("integer", " 12 ", 12),
    ("integer", 12.0, 12),
    ("integer", "1e3", 1000),
    ("integer", -(2**63), -(2**63)),
    ("number", "12.50", 12.5),
    ("number", "7", 7),
    ("number", 0.1, 0.1),
    ("number", "0.1000000000000000055", "0.1000000000000000055"),
    ("decimal", "12.50", "12.50"),
    ("decimal", 0.1, "0.1"),
    ("decimal", "1E+3", "1000"),
    ("boolean", "Yes", True),
    ("boolean", 0, False),
    ("boolean", "false", False),
    ("timestamp", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
    ("timestamp", "2026-01-02T03:04:05.123456789+02:00", "2026-01-02T01:04:05.123456Z"),
    ("timestamp", "2023-01-01T15:00:00.000000000Z", "2023-01-01T15:00:00Z"),
    ("timestamp", "2026-01-02 03:04:05+0000", "2026-01-02T03:04:05Z"),
    ("epoch", 1788001200, "2026-08-29T11:00:00Z"),
    ("epoch", "1788001200.5", "2026-08-29T11:00:00.500000Z"),
    ("epoch", -1, "1969-12-31T23:59:59Z"),
    ("epoch_ms", 1788001200123, "2026-08-29T11:00:00.123000Z"),
    ("mail_date", "Wed, 02 Sep 2026 09:00:01 +0200", "2026-09-02T07:00:01Z"),
    ("date", "2026-02-28", "2026-02-28"),
    ("date", "2026-02-28T23:30:00-05:00", "2026-02-28"),
    ("json", {"a": [1]}, {"a": [1]}),
    ("list", [1], [1]),
    ("object", {"a": 1}, {"a": 1}),
]


FORMS = ["%Y-%m-%dT%H:%M:%SZ", "%G-W%V-%uT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ", "%Y%m%dT%H%M%S.00000Z"]


@given(st.datetimes(min_value=datetime(1001, 1, 1)), st.sampled_from(FORMS))  # noqa: DTZ001
def test_a_moment_is_written_in_one_way_however_it_came(moment: datetime, form: str) -> None:
    sent = moment.strftime(form)
    assert coerce.timestamp(sent) == coerce.iso(coerce.moment(sent))


@pytest.mark.parametrize(("word", "value", "expected"), SOUND, ids=str)
def test_a_sound_value_becomes_what_is_stored(word: str, value: Any, expected: Any) -> None:
    found = coerce.COERCIONS[word](value)
    assert found == expected
    assert type(found) is type(expected)


UNFIT: list[tuple[str, Any]] = [
    ("text", None), ("text", []), ("text", {"a": 1}),
    ("integer", True), ("integer", "12.5"), ("integer", 12.5), ("integer", "x"), ("integer", 2**63), ("integer", "9" * 5000),
    ("integer", "1e999999999"), ("integer", float("inf")),
    ("number", "NaN"), ("number", float("nan")), ("number", "Infinity"), ("number", "1e99999"), ("number", True),
    ("number", ""),
    ("decimal", "1e999999"), ("decimal", []), ("decimal", "12,50"),
    ("boolean", "maybe"), ("boolean", 2), ("boolean", None),
    ("timestamp", "2026-01-02T03:04:05"), ("timestamp", 1788001200), ("timestamp", "2026-02-30T00:00:00Z"), ("timestamp", ""),
    ("timestamp", "0001-01-01T00:00:00+10:00"),
    ("epoch", True), ("epoch", "soon"), ("epoch", 10**15), ("epoch", "1e300"), ("epoch", None),
    ("epoch_ms", 10**20),
    ("mail_date", "yesterday"), ("mail_date", 5),
    ("date", "28.02.2026"), ("date", "2026-02-30"), ("date", 20260228),
    ("list", {}), ("list", "a,b"), ("object", []),
]  # fmt: skip


@pytest.mark.parametrize(("word", "value"), UNFIT, ids=lambda value: str(value)[:30])
def test_what_does_not_fit_is_refused_in_words(word: str, value: Any) -> None:
    with pytest.raises(PayloadError, match="expected") as caught:
        coerce.COERCIONS[word](value)
    assert len(str(caught.value)) < 120


def test_a_refusal_never_shows_the_value() -> None:
    personal = "anna.schmidt@example.org"
    for word in ("integer", "number", "decimal", "boolean", "timestamp", "epoch", "mail_date", "date", "list"):
        with pytest.raises(PayloadError) as caught:
            coerce.COERCIONS[word](personal)
        assert personal not in str(caught.value) + caught.value.hint


def test_a_moment_without_an_offset_is_read_only_in_a_declared_zone() -> None:
    naive = "2026-07-01T12:00:00"
    with pytest.raises(PayloadError, match="without") as caught:
        coerce.timestamp(naive)
    assert "zone" in caught.value.hint
    assert coerce.timestamp(naive, UTC) == "2026-07-01T12:00:00Z"
    assert coerce.timestamp(naive, ZoneInfo("Europe/Lisbon")) == "2026-07-01T11:00:00Z"
    assert coerce.coercion("timestamp", "Europe/Berlin")(naive) == "2026-07-01T10:00:00Z"
    assert coerce.timestamp("2026-07-01T12:00:00+01:00", UTC) == "2026-07-01T11:00:00Z"


def test_a_number_for_a_moment_is_told_how_to_say_it() -> None:
    with pytest.raises(PayloadError) as caught:
        coerce.moment(1788001200)
    assert "epoch" in caught.value.hint


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown time zone"):
        coerce.zone_named("Europe/Lisboa")


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_every_moment_comes_back_as_the_same_moment(naive: datetime, minutes: int) -> None:
    found = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = coerce.timestamp(found.isoformat())
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == found
    assert coerce.timestamp(text) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**14), max_value=10**14))
def test_no_digit_of_a_number_is_lost(exact: Decimal) -> None:
    assert Decimal(coerce.decimal(str(exact))) == exact
    stored = loads(dumps(coerce.number(str(exact))))
    assert Decimal(str(stored)) == exact


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_64_bit_integer_passes_as_number_and_as_text(value: int) -> None:
    assert coerce.integer(value) == coerce.integer(str(value)) == value


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)


@given(st.sampled_from(sorted(coerce.COERCIONS)), ANYTHING)
def test_nothing_but_a_payload_error_is_ever_raised(word: str, value: Any) -> None:
    try:
        coerce.COERCIONS[word](value)
    except PayloadError:
        return


def test_every_word_has_a_column_type() -> None:
    assert set(coerce.COERCIONS) == set(coerce.SQL_TYPES)
    assert set(coerce.MOMENTS) <= set(coerce.COERCIONS)


def test_maps_and_lists_that_partners_take_for_each_other() -> None:
    assert coerce.values({"a": 1, "b": 2}) == [1, 2]
    assert coerce.values([1]) == [1]
    assert coerce.keyed([]) == {}
    assert coerce.keyed({"a": 1}) == {"a": 1}
    for wrong in ("text", 5, None):
        with pytest.raises(PayloadError):
            coerce.values(wrong)
    with pytest.raises(PayloadError):
        coerce.keyed([1])
