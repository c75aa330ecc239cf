"""From a raw record to its identity and fields: compiled paths, adapters, and refusals that name the field."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.codec import dumps
from syncd.errors import PayloadError
from syncd.kit import Headers, Identity, Resource, Response
from syncd.markup import Markup

LISTING = Resource(
    name="listings",
    path="/listings",
    records="results",
    id="_id",
    updated="updatedAt",
    fields={
        "name": "title",
        "address": "address.full",
        "capacity": {"from": "accommodates", "as": "integer"},
        "active": {"as": "boolean", "default": False},
        "street": {"from": "address.street", "as": "text", "required": True},
    },
    adapters={
        "v2": {"id": "id", "updated": {"from": "changed", "as": "epoch"}, "fields": {"name": "nickname"}},
        "v3": {"fields": {"label": "title"}},
    },
)
RAW: dict[str, Any] = {
    "_id": "a1",
    "updatedAt": "2026-01-02T03:04:05.120Z",
    "title": "Loft",
    "address": {"full": "Rua 1", "street": "Rua"},
    "accommodates": "4",
}


def page(body: Any, **headers: str) -> Response:
    return Response(200, Headers(headers), dumps(body))


def test_a_record_has_its_identity_and_its_coerced_fields() -> None:
    record = LISTING.reader.normalize(RAW)
    assert record.identity == Identity("a1", None, datetime(2026, 1, 2, 3, 4, 5, 120000, tzinfo=UTC))
    assert record.data == {"name": "Loft", "address": "Rua 1", "capacity": 4, "active": False, "street": "Rua"}
    assert record.adapter == "v1"


def test_an_adapter_replaces_what_it_names_and_keeps_the_rest() -> None:
    record = LISTING.reader.normalize({"id": 7, "changed": 1788001200, "nickname": "L"}, "v2")
    assert record.identity == Identity("7", None, datetime(2026, 8, 29, 11, tzinfo=UTC))
    assert record.data == {"name": "L"}
    assert record.adapter == "v2"
    third = LISTING.reader.normalize(RAW, "v3")
    assert (third.identity.external_id, third.data) == ("a1", {"label": "Loft"})


def test_an_adapter_a_resource_does_not_have_is_its_own_shape() -> None:
    assert LISTING.reader.normalize(RAW, "v9").data == LISTING.reader.normalize(RAW).data


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"accommodates": "four"}, "field capacity: expected a whole number, got text"),
        ({"address": None}, "field street: required, got nothing"),
        ({"address": {"street": None}}, "field street: required, got null"),
        ({"updatedAt": "yesterday"}, "updated: expected a moment in ISO 8601, got text"),
        ({"_id": None}, "id: expected text or a whole number at `_id`, got null"),
        ({"_id": ""}, "got empty text"),
        ({"_id": True}, "got a boolean"),
        ({"_id": 1.5}, "got a number"),
        ({"_id": {"x": 1}}, "got an object"),
        ({"_id": "x" * 513}, "at most 512 characters"),
        ({"_id": "a\0b"}, "NUL"),
        ({"_id": "a\ud800"}, "half a character"),
    ],
)
def test_a_refusal_names_the_field_and_the_kind_of_thing_that_came(change: dict[str, Any], words: str) -> None:
    with pytest.raises(PayloadError) as caught:
        LISTING.reader.normalize({**RAW, **change})
    assert words in str(caught.value)


def test_the_hint_of_a_coercion_survives() -> None:
    with pytest.raises(PayloadError) as caught:
        LISTING.reader.identify({**RAW, "updatedAt": 1788001200})
    assert "epoch" in caught.value.hint


def test_version_parent_and_deletion_are_read() -> None:
    resource = Resource(
        name="r",
        path="/r",
        id="id.record_id",
        version="rev",
        parent_id="listing.id",
        deleted={"from": "status", "values": ["gone", "merged"]},
    )
    identify = resource.reader.identify
    raw = {"id": {"record_id": "x"}, "rev": "12", "listing": {"id": 9}, "status": "merged"}
    assert identify(raw) == Identity("x", 12, None, "9", deleted=True)
    assert identify({**raw, "status": "live", "rev": None}) == Identity("x", None, None, "9")
    assert not identify({**raw, "status": ["gone"]}).deleted
    with pytest.raises(PayloadError, match="version: expected a whole number"):
        identify({**raw, "rev": "a"})


def test_a_parent_that_no_id_is_as_long_as_is_refused() -> None:
    resource = Resource(name="r", path="/r", parent_id="parent")
    with pytest.raises(PayloadError, match="parent: expected at most 512 characters, got 513"):
        resource.reader.identify({"id": "1", "parent": "x" * 513})


def test_any_true_value_means_gone_where_no_values_are_named() -> None:
    identify = Resource(name="r", path="/r", deleted="deleted").reader.identify
    gone = [identify({"id": "1", "deleted": value}).deleted for value in (True, 1, "2026-01-01", False, 0, None, "")]
    assert gone == [True, True, True, False, False, False, False]
    assert not identify({"id": "1"}).deleted


def test_joined_ids_never_meet() -> None:
    identify = Resource(name="r", path="/r", id=("a", "b")).reader.identify
    ids = {identify({"a": a, "b": b}).external_id for a in ("x", "x:", "x::", "x%3A") for b in ("y", ":y", "::y")}
    assert len(ids) == 12
    assert identify({"a": 1, "b": "2"}).external_id == "1:2"


def test_a_sparse_record_leaves_out_what_it_was_not_told() -> None:
    fields: dict[str, Any] = {"a": "a", "b": {"from": "b", "as": "integer"}, "c": {"from": "c", "default": 1}}
    sparse = Resource(name="r", path="/r", sparse=True, fields=fields).reader
    whole = Resource(name="r", path="/r", fields=fields).reader
    assert sparse.normalize({"id": "1"}).data == {"c": 1}
    assert sparse.normalize({"id": "1", "a": None, "b": 2}).data == {"a": None, "b": 2, "c": 1}
    assert whole.normalize({"id": "1"}).data == {"a": None, "b": None, "c": 1}


def test_records_are_the_first_list_that_is_there() -> None:
    reader = Resource(name="r", path="/r", records=("results", "@")).reader
    assert reader.records(page({"results": [1]})) == [1]
    assert reader.records(page([{"id": 1}])) == [{"id": 1}]


def test_a_null_list_is_empty_and_a_missing_one_is_not() -> None:
    assert LISTING.reader.records(page({"results": None})) == []
    for body in ({}, {"result": []}, [], "x", None, {"results": {}}, {"results": "x"}):
        with pytest.raises(PayloadError, match="expected a list at `results`"):
            LISTING.reader.records(page(body))


def test_what_is_no_object_becomes_a_reject_and_not_an_exception() -> None:
    items = LISTING.reader.items(page({"results": [RAW, None, 5, ["x"]]}))
    assert [item.raw for item in items] == [RAW, {"value": None}, {"value": 5}, {"value": ["x"]}]
    for item in items[1:]:
        assert item.raw is not None
        with pytest.raises(PayloadError, match="id"):
            LISTING.reader.identify(item.raw)


def test_totals_come_from_body_or_header_and_nonsense_is_no_total() -> None:
    body = Resource(name="r", path="/r", total="meta.total").reader
    header = Resource(name="r", path="/r", total="header:X-Total-Count").reader
    assert body.total(page({"meta": {"total": "17"}})) == 17
    assert header.total(page([], **{"x-total-count": "5"})) == 5
    for nonsense in (None, "many", -1, 1.5, []):
        assert body.total(page({"meta": {"total": nonsense}})) is None
    assert header.total(page([])) is None
    assert LISTING.reader.total(page({})) is None


def test_volatile_keys_are_left_out_of_what_is_hashed_and_the_raw_stays_whole() -> None:
    resource = Resource(name="r", path="/r", volatile=("seen", "meta.views", "a.b.c", "x.y"))
    raw = {"id": 1, "seen": 2, "meta": {"views": 3, "kept": 4}, "a": {"b": 5}, "x": None}
    assert resource.reader.hashable(raw) == {"id": 1, "meta": {"kept": 4}, "a": {"b": 5}, "x": None}
    assert raw["meta"] == {"views": 3, "kept": 4}
    assert LISTING.reader.hashable(RAW) is RAW


def test_the_order_stamp_is_read_where_the_filter_goes_by_another_moment() -> None:
    resource = Resource(name="r", path="/r", order={"from": "created", "as": "epoch"})
    assert resource.reader.ordered_at({"created": 0}) == datetime(1970, 1, 1, tzinfo=UTC)
    assert resource.reader.ordered_at({"created": "x"}) is None
    assert resource.reader.ordered_at({}) is None


def test_a_tenant_is_text() -> None:
    reader = Resource(name="r", path="/r", tenant="account.id").reader
    assert reader.tenant({"account": {"id": 5}}) == "5"
    assert reader.tenant({}) is None
    assert LISTING.reader.tenant(RAW) is None


def test_a_copied_resource_is_compiled_anew() -> None:
    assert LISTING.reader is LISTING.reader
    copy = LISTING.model_copy(update={"id": "title"})
    assert copy.reader.identify(RAW).external_id == "Loft"
    assert LISTING.reader.identify(RAW).external_id == "a1"


def test_columns_follow_from_the_declared_kinds() -> None:
    assert LISTING.columns() == {
        "name": "text", "address": "text", "capacity": "bigint", "active": "boolean", "street": "text",
    }  # fmt: skip
    assert LISTING.columns("v2") == {"name": "text"}


@pytest.mark.parametrize(
    "empty", [b"", b"<RS/>", b'<RS V="1"/>', b"<RS><Rooms/></RS>", b"<RS>\n<Rooms>\n</Rooms></RS>"]
)
def test_xml_without_the_element_of_a_record_is_an_empty_list(empty: bytes) -> None:
    resource = Resource(name="rooms", path="/rooms", format="xml", records="RS.Rooms.Room")
    assert resource.reader.records(Response(200, Headers(), empty, reads=Markup(frozenset({"Room"})))) == []


@pytest.mark.parametrize("other", [b"<Maintenance/>", b"<RS><Rooms><Room>1</Room></Rooms></RS>", b"<RS>text</RS>"])
def test_xml_of_another_shape_is_none(other: bytes) -> None:
    resource = Resource(name="rooms", path="/rooms", format="xml", records="RS.Rooms.Room")
    if b"text" in other:
        resource = resource.model_copy(update={"records": "RS"})
    with pytest.raises(PayloadError):
        resource.reader.records(Response(200, Headers(), other, reads=Markup()))
