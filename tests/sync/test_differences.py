"""One record here and there: exactly what differs is told, whatever shape it has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from syncd import codec
from syncd.kit import DriverSpec, Item, Resource, RestDriver
from syncd.store.comparisons import Kept
from syncd.sync.differences import ALTERED, Difference, Kind, differing, seen_there, shown

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
FIELDS = {"name": "name", "size": "size", "tags": "tags"}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=12) | st.floats(allow_nan=False, width=32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
RAWS = st.fixed_dictionaries(
    {"id": st.just("r1")}, optional=dict.fromkeys(("name", "size", "tags", "extra", "more"), VALUES)
)


def driver_of(**more: Any) -> tuple[RestDriver, Resource]:
    spec = DriverSpec.model_validate(
        {"name": "acme", "resources": {"things": {"path": "/things", "fields": FIELDS, **more}}}
    )
    return RestDriver(spec), spec.resources["things"]


def kept(driver: RestDriver, resource: Resource, raw: dict[str, Any], **more: Any) -> Kept:
    """As the store gives it back after such a record was stored."""
    _, fields, hashable = driver.reading(resource, "v1")
    told = raw if hashable is None else hashable(raw)
    values: dict[str, Any] = {
        "data": codec.loads(codec.dumps_storable(fields(raw))),
        "raw": codec.loads(codec.dumps(raw)),
        "content_hash": codec.fingerprint(told, "v1")[1],
        "source_version": None, "source_updated_at": None, "fetched_at": NOON, "synced_at": NOON, "row_version": 1,
        "deleted_at": None, "adapter": "v1",
    }  # fmt: skip
    return Kept("r1", **{**values, **more})


def found(here: dict[str, Any] | None, there: dict[str, Any], **more: Any) -> Difference | None:
    driver, resource = driver_of(**more)
    shown_there = seen_there(driver, resource, Item("things", there), "v1")
    return differing(driver, resource, None if here is None else kept(driver, resource, here), shown_there, "v1")


@given(RAWS)
def test_what_is_the_same_differs_in_nothing(raw: dict[str, Any]):
    assert found(raw, raw) is None


@given(RAWS)
def test_what_is_the_same_is_so_without_the_hash_too(raw: dict[str, Any]):
    driver, resource = driver_of()
    there = seen_there(driver, resource, Item("things", raw), "v1")
    assert differing(driver, resource, kept(driver, resource, raw, content_hash=b"?"), there, "v1") is None


@given(RAWS, RAWS)
def test_every_field_that_differs_is_told_and_no_other(here: dict[str, Any], there: dict[str, Any]):
    difference = found(here, there)
    mapped = {name for name in FIELDS if here.get(name) != there.get(name)}
    told = {each.field for each in difference.fields} if difference is not None else set()
    if mapped:
        assert told == mapped
    else:
        missing = object()
        raw = {f"raw.{name}" for name in ("extra", "more") if here.get(name, missing) != there.get(name, missing)}
        raw |= {f"raw.{name}" for name in FIELDS if (name in here) != (name in there)}
        assert told == raw


def test_fields_that_were_altered_in_the_database_differ_although_the_hash_does_not():
    driver, resource = driver_of()
    raw = {"id": "r1", "name": "a", "size": 3}
    there = seen_there(driver, resource, Item("things", raw), "v1")
    whole = kept(driver, resource, raw).data
    for data, differs in [
        ({**whole, "size": 99}, [("size", 99, 3)]),
        ({name: value for name, value in whole.items() if name != "name"}, [("name", None, "a")]),
        ({**whole, "more": 1}, [("more", 1, None)]),
    ]:
        told = differing(driver, resource, kept(driver, resource, raw, data=data), there, "v1")
        assert told is not None
        assert (told.kind, [(each.field, each.here, each.there) for each in told.fields]) == (Kind.DIFFERS, differs)
        assert told.note == ALTERED


def test_what_changed_at_the_partner_was_not_altered_here():
    told = found({"id": "r1", "size": 3}, {"id": "r1", "size": 4})
    assert told is not None
    assert told.note == ""


def test_volatile_keys_are_no_difference():
    assert found({"id": "r1", "seen": 1}, {"id": "r1", "seen": 2}, volatile=["seen"]) is None
    assert found({"id": "r1", "seen": 1}, {"id": "r1", "seen": 2}) is not None


def test_of_a_partial_view_only_what_it_tells_is_compared():
    here = {"id": "r1", "name": "a", "size": 3}
    assert found(here, {"id": "r1", "name": "a"}, sparse=True) is None
    difference = found(here, {"id": "r1", "size": 4}, sparse=True)
    assert difference is not None
    assert [(each.field, each.here, each.there) for each in difference.fields] == [("size", 3, 4)]


def test_missing_here_missing_there_and_buried_here():
    assert found(None, {"id": "r1"}).kind is Kind.MISSING_HERE  # type: ignore[union-attr]
    driver, resource = driver_of(deleted="gone")
    gone = seen_there(driver, resource, Item("things", {"id": "r1", "gone": True}), "v1")
    alive = kept(driver, resource, {"id": "r1"})
    told = differing(driver, resource, alive, gone, "v1")
    assert told is not None
    assert told.kind is Kind.MISSING_THERE
    buried = kept(driver, resource, {"id": "r1"}, deleted_at=NOON)
    assert differing(driver, resource, buried, gone, "v1") is None
    there = seen_there(driver, resource, Item("things", {"id": "r1"}), "v1")
    told = differing(driver, resource, buried, there, "v1")
    assert told is not None
    assert (told.kind, told.note) == (Kind.MISSING_HERE, "buried here at 2026-11-22 12:00 UTC")


def test_the_copy_is_compared_in_the_words_of_the_adapter_that_made_it():
    driver, resource = driver_of(adapters={"v2": {"fields": {"label": "name"}}})
    raw = {"id": "r1", "name": "a"}
    there = seen_there(driver, resource, Item("things", raw), "v2")
    assert differing(driver, resource, kept(driver, resource, raw), there, "v2") is None


@given(VALUES)
def test_a_masked_value_shows_nothing_of_itself(value: Any):
    text = shown(value, values=False)
    assert len(text) < 40
    if isinstance(value, str) and len(value) > 4:
        assert value not in text


def test_long_values_are_cut():
    assert shown("x" * 1000, values=True) == "x" * 200 + "… (1000 characters)"
    assert shown({"a": [1]}, values=True) == '{"a":[1]}'
