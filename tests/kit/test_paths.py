"""Paths into a partner's JSON never raise, and a missing key is told from a null one."""

from __future__ import annotations

from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.kit.paths import MISSING, getter, kind, put, steps

RAW = {
    "a": {"b": {"c": 1}, "n": None, "f": False},
    "rows": [{"id": "x"}, {"id": "y"}],
    "$type": "t",
    "@id": "i",
    "dash-ed": 2,
    "ns:key": 3,
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcx"), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.b.c", 1),
        ("a.n", None),
        ("a.f", False),
        ("a.missing", MISSING),
        ("a.b.c.d", MISSING),
        ("rows[1].id", "y"),
        ("rows[2].id", MISSING),
        ("rows.id", MISSING),
        ("$type", "t"),
        ("@id", "i"),
        ("dash-ed", 2),
        ("ns:key", 3),
        ("", RAW),
        ("@", RAW),
        ("rows[*].id", ["x", "y"]),
        ("rows[?id=='y'] | [0].id", "y"),
        ("length(rows)", 2),
        ("length(a.f)", MISSING),
        ("nothing.at.all", MISSING),
    ],
)
def test_a_path_finds_what_sits_there(path: str, expected: Any) -> None:
    assert getter(path)(RAW) is expected or getter(path)(RAW) == expected


@pytest.mark.parametrize("path", ["a..b", "a.", ".a", "a[", "a[x]", "a b", "a[1"])
def test_what_is_no_path_is_refused_with_the_path_in_the_message(path: str) -> None:
    with pytest.raises(ValueError, match="not a path"):
        getter(path)


@given(JSON, st.sampled_from(["a", "a.b", "a.b.c", "a[0]", "a[0].b", "[0]", "x.a[1].b"]))
def test_a_plain_path_agrees_with_jmespath_on_any_json(value: Any, path: str) -> None:
    found = getter(path)(value)
    assert (None if found is MISSING else found) == jmespath.search(path, value)


@given(st.sampled_from(["a.b", "a[3]", "length(a)", "a[?b>`1`]"]), st.integers() | st.none() | st.text())
def test_no_shape_of_input_makes_a_path_raise(path: str, value: Any) -> None:
    getter(path)(value)


def test_only_plain_paths_are_compiled_to_look_ups() -> None:
    assert steps("a.b[2].c") == ["a", "b", 2, "c"]
    assert steps("a[*].b") is None
    assert steps("@.a") is None


def test_putting_makes_the_objects_on_the_way_and_replaces_what_is_none() -> None:
    body: dict[str, Any] = {"filter": "none"}
    put(body, "filter.created_at.$gte", 5)
    put(body, "limit", 10)
    assert body == {"filter": {"created_at": {"$gte": 5}}, "limit": 10}


def test_kinds_are_named_as_a_person_would() -> None:
    values = [MISSING, None, True, 1, 1.5, "x", "", [], {}]
    named = ["nothing", "null", "a boolean", "an integer", "a number", "text", "empty text", "a list", "an object"]
    assert [kind(value) for value in values] == named


@given(
    value=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-1, 1), st.sampled_from(["", "x"]), st.floats(0, 1)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    path=st.sampled_from(["a || b", "a.b || b.c || c", "a || b[0] || a.c", "c||a"]),
)
def test_the_first_of_several_plain_paths_is_found_as_jmespath_would(value: Any, path: str) -> None:
    expected = jmespath.search(path, value)
    assert getter(path)(value) == (MISSING if expected is None else expected)
