"""The shape of raw records: what is told apart, what is no news, and when something is gone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.kit import inferred
from syncd.kit.inferred import ABSENT_LEAST, Departure, Inferred, difference, missing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c", "[]", "*", "a.b", "17"]), inner, max_size=4)
    ),
    max_leaves=10,
)
RECORDS = st.lists(st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4), max_size=8)


def kinds(shape: Inferred) -> dict[str, dict[str, int]]:
    return {field.path: field.kinds for field in shape.paths()}


def told(known: Inferred, now: Inferred) -> list[tuple[str, str]]:
    return [(each.path, each.what) for each in difference(known, now)]


def test_a_shape_has_each_place_with_its_kinds_and_how_often_they_came() -> None:
    shape = Inferred.of(
        [
            {"id": "a", "at": {"city": "Lisbon"}, "rooms": [{"beds": 2}, {"beds": 1.5}], "tags": ["x"]},
            {"id": 7, "at": None, "rooms": [], "on": True},
        ]
    )
    assert kinds(shape) == {
        "id": {"text": 1, "number": 1},
        "at": {"object": 1},
        "at.city": {"text": 1},
        "rooms": {"list": 2},
        "rooms[]": {"object": 2},
        "rooms[].beds": {"number": 2},
        "tags": {"list": 1},
        "tags[]": {"text": 1},
        "on": {"boolean": 1},
    }
    by_path = {field.path: (field.present, field.of) for field in shape.paths()}
    assert by_path["at"] == (1, 2), "null counts as not there"
    assert by_path["at.city"] == (1, 1), "counted below the objects that could have had it"
    assert by_path["rooms[].beds"] == (2, 2)


def test_names_that_are_data_are_one_field() -> None:
    shape = Inferred.of([{"prices": {"2026-01-01": 5, "2026-01-02": 6}, "by_user": {"ann@example.com": "x"}, "17": 1}])
    assert set(kinds(shape)) == {"prices", "prices.*", "by_user", "by_user.*", "*"}
    assert told(shape, Inferred.of([{"prices": {"2027-05-05": 9}}])) == []


def test_a_name_with_a_dot_is_written_in_quotes() -> None:
    assert [field.path for field in Inferred.of([{"a.b": {"c": 1}}]).paths()] == ['"a.b"', '"a.b".c']


def test_unknown_and_retyped_fields_are_told_with_what_was_expected_and_never_a_value() -> None:
    known = Inferred.of([{"id": "a", "price": 10.5, "at": {"city": "x"}}] * 3)
    now = Inferred.of([{"id": "b", "price": "secret", "at": {"city": "y", "zip": "1"}}] * 2)
    assert difference(known, now) == [
        Departure("at.zip", "unknown", got="text", count=2),
        Departure("price", "retyped", expected="number", got="text", count=2),
    ]
    assert [str(each) for each in difference(known, now)] == [
        "field at.zip: unknown (text)",
        "field price: expected number, got text",
    ]


def test_null_is_no_kind_and_the_first_value_of_a_field_that_was_always_null_is_unknown() -> None:
    known = Inferred.of([{"id": "a", "note": None}] * 3)
    assert told(known, Inferred.of([{"id": None, "note": None}])) == []
    assert told(known, Inferred.of([{"id": "b", "note": "x"}])) == [("note", "unknown")]


def test_below_an_unknown_field_nothing_more_is_told() -> None:
    assert told(Inferred.of([{"id": 1}]), Inferred.of([{"id": 1, "new": {"a": {"b": 1}}}])) == [("new", "unknown")]


def test_a_field_that_was_always_there_is_missing_after_so_many_records_without_it_and_not_before() -> None:
    known = Inferred.of([{"id": "a", "name": "x"}] * 100)
    assert told(known, Inferred.of([{"id": "b"}] * (ABSENT_LEAST - 1))) == []
    assert difference(known, Inferred.of([{"id": "b"}] * ABSENT_LEAST)) == [
        Departure("name", "missing", expected="text", count=ABSENT_LEAST)
    ]
    assert told(known, Inferred.of([{"id": "b", "name": None}] * ABSENT_LEAST)) == [("name", "missing")]


def test_a_seldom_field_is_missed_only_after_twenty_times_the_distance_at_which_it_comes() -> None:
    known = Inferred.of([{"id": "a", **({"gift": 1} if n % 10 == 9 else {})} for n in range(300)])
    assert told(known, Inferred.of([{"id": "b"}] * 150)) == []
    assert told(known, Inferred.of([{"id": "b"}] * 201)) == [("gift", "missing")]


def test_a_field_that_comes_and_goes_in_blocks_is_missing_only_after_twice_its_longest_absence() -> None:
    known = Inferred()
    for _ in range(3):
        known.merge(Inferred.of([{"id": "a", "old": 1}] * 500))
        known.merge(Inferred.of([{"id": "b"}] * 500))
        known.merge(Inferred.of([{"id": "a", "old": 1}] * 10))
    assert told(known, Inferred.of([{"id": "b"}] * 1_000)) == []
    assert told(known, Inferred.of([{"id": "b"}] * 1_001)) == [("old", "missing")]


def test_what_was_forgiven_is_not_missed_again_until_it_has_come_back() -> None:
    shape = Inferred.of([{"id": "a", "name": "x"}] * 50)
    shape.merge(Inferred.of([{"id": "b"}] * 30))
    assert [each.path for each in missing(shape)] == ["name"]
    shape.forgive("name")
    shape.merge(Inferred.of([{"id": "b"}] * 3_000))
    assert missing(shape) == []
    shape.merge(Inferred.of([{"id": "a", "name": "x"}]))
    shape.merge(Inferred.of([{"id": "b"}] * 6_000))
    assert missing(shape) == [], "an absence it came back from is one it may have"
    shape.merge(Inferred.of([{"id": "b"}] * 100))
    assert [each.path for each in missing(shape)] == ["name"]


def test_what_a_listing_in_the_order_of_age_has_at_its_beginning_alone_is_not_missed_at_its_end() -> None:
    shape = Inferred.of([{"id": "a", "old": 1}] * 300)
    shape.merge(Inferred.of([{"id": "b", "new": 1}] * 300))
    shape.grant()
    assert told(shape, Inferred.of([{"id": "b", "new": 1}] * 299)) == []
    assert told(shape, Inferred.of([{"id": "a", "old": 1}] * 299)) == []
    assert told(shape, Inferred.of([{"id": "b", "new": 1}] * 301)) == [("old", "missing")]


def test_one_record_departs_by_unknown_and_retyped_fields_and_by_what_is_established_as_missing() -> None:
    shape = Inferred.of([{"id": "a", "at": {"city": "x"}, "rooms": [{"beds": 1}], "n": 1}] * 30)
    assert shape.departures({"id": "b", "at": None}) == []
    found = shape.departures(
        {"id": 1, "at": {"city": 2, "zip": "z"}, "rooms": [{"beds": 1}, {"beds": "two"}, {"odd": "not looked at"}]}
    )
    assert {(each.path, each.what) for each in found} == {
        ("id", "retyped"),
        ("at.city", "retyped"),
        ("at.zip", "unknown"),
        ("rooms[].beds", "retyped"),
    }
    shape.merge(Inferred.of([{"id": "b", "at": {"city": "x"}, "rooms": []}] * ABSENT_LEAST))
    assert [str(each) for each in shape.departures({"id": "c"})] == ["field n: missing"]


def test_a_page_is_looked_at_in_a_few_places_which_move_and_wherever_the_number_of_fields_is_new() -> None:
    page: list[dict[str, Any]] = [{"id": n} for n in range(100)]
    shape = Inferred()
    shape.sample(page)
    assert shape.records == inferred.SAMPLE + 1  # and the first of its size
    odd = [*page[:41], {"id": 41, "extra": True}, *page[42:]]
    shape.sample(odd)
    assert kinds(shape)["extra"] == {"boolean": 1}

    same_size: list[dict[str, Any]] = [*page[:41], {"di": 41}, *page[42:]]
    turns = Inferred()
    for turn in range(25):
        turns.sample(same_size, turn=turn)
    assert "di" in kinds(turns), "25 places of four look at all hundred"


def test_an_empty_page_is_nothing() -> None:
    shape = Inferred()
    shape.sample([])
    assert shape.records == 0 and list(shape.paths()) == []


def test_a_shape_is_bounded_whatever_comes() -> None:
    shape = Inferred.of([{f"name_{n}_{k}": {"deep": n} for n in range(400)} for k in range(5)])
    assert shape.fields == inferred.MOST_FIELDS == len(list(shape.paths()))
    wide = Inferred.of([{f"name_{n}": n for n in range(50_000)}] * 3)
    assert wide.fields == inferred.MOST_NAMES
    assert len(wide.departures({f"other_{n}": n for n in range(50_000)})) == inferred.MOST_NAMES
    nested: Any = 1
    for _ in range(500):
        nested = {"a": nested}
    assert Inferred.of([nested]).fields == inferred.DEEPEST
    assert Inferred.of([{"a": nested, "b": [[[[[[[[[[[[1]]]]]]]]]]]]}]).departures({"a": nested}) == []


@given(RECORDS, RECORDS)
def test_merging_two_shapes_is_looking_at_all_records(some: list[Any], others: list[Any]) -> None:
    merged = Inferred.of(some)
    merged.merge(Inferred.of(others))
    whole = Inferred.of([*some, *others])
    assert {(f.path, f.present, f.of, f.absent, str(f.kinds)) for f in merged.paths() if f.present} == {
        (f.path, f.present, f.of, f.absent, str(f.kinds)) for f in whole.paths() if f.present
    }
    assert missing(merged) == missing(whole)


@given(RECORDS)
def test_a_shape_is_written_down_and_read_again(records: list[Any]) -> None:
    shape = Inferred.of(records)
    again = Inferred.from_json(json.loads(json.dumps(shape.as_json())))
    assert again.as_json() == shape.as_json()
    assert list(again.paths()) == list(shape.paths())
    assert again.fields == shape.fields


@given(RECORDS, RECORDS)
def test_what_was_looked_at_is_no_news(records: list[Any], others: list[Any]) -> None:
    known = Inferred.of([*records, *others])
    assert [each for each in difference(known, Inferred.of(records)) if each.what != "missing"] == []
    assert [each for record in records for each in known.departures(record) if each.what != "missing"] == []


@pytest.mark.parametrize("stored", [None, [], "x", {}, {"fields": {}}])
def test_what_is_no_stored_shape_is_an_empty_one(stored: Any) -> None:
    assert Inferred.from_json(stored).records == 0
