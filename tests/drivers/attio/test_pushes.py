"""What Attio is sent: asserts by a unique attribute, values in lists, names whole; and what is refused before."""

from __future__ import annotations

from typing import Any

import pytest

from syncd import drivers
from syncd.kit import Change, Driver, Headers, RejectedError, Response


@pytest.fixture
def attio() -> Driver:
    return drivers.load("attio")


def change(resource: str, kind: str, external_id: str | None = None, **data: Any) -> Change:
    return Change(resource, external_id, kind, data, "k1")


def sent(attio: Driver, wanted: Change, **options: Any) -> Any:
    resource = attio.resources(options)[wanted.resource]
    attio.check(resource, wanted, None)
    return attio.push(resource, wanted)


def test_people_are_asserted_by_email_with_every_value_in_a_list(attio: Driver):
    name = {"first_name": "Ada", "last_name": "Lovelace"}
    call = sent(
        attio, change("people", "upsert", email_addresses="ada@x.co", name=name, job_title="Countess", company=None)
    )
    assert (call.method, call.path) == ("PUT", "/objects/people/records")
    assert call.params == {"matching_attribute": "email_addresses"}
    assert call.json == {
        "data": {
            "values": {
                "email_addresses": ["ada@x.co"],
                "name": [{**name, "full_name": "Ada Lovelace"}],
                "job_title": ["Countess"],
                "company": [],
            }
        }
    }
    assert (call.budget, call.weight) == ("write", 1.0)


def test_companies_are_asserted_by_domain_and_objects_of_the_options_are_updated(attio: Driver):
    call = sent(attio, change("companies", "upsert", domains=["x.co", "x.org"], name="X"))
    assert (call.path, call.params) == ("/objects/companies/records", {"matching_attribute": "domains"})
    assert call.json["data"]["values"] == {"domains": ["x.co", "x.org"], "name": ["X"]}
    call = sent(attio, change("projects", "update", "p1", stage="Won"), objects=["projects"])
    assert (call.method, call.path) == ("PUT", "/objects/projects/records/p1")
    assert call.json == {"data": {"values": {"stage": ["Won"]}}}
    resources = attio.resources({"lists": ["sales"]})
    asserted = [name for name, one in resources.items() if "upsert" in one.pushes]
    assert asserted == ["people", "companies", "list_entries", "entries_sales"], "a deal has nothing unique"


def test_an_entry_is_moved_in_its_list_and_asserted_by_its_record(attio: Driver):
    call = sent(attio, change("entries_sales", "update", "e1", values={"stage": "Won"}), lists=["sales"])
    assert (call.method, call.path) == ("PUT", "/lists/sales/entries/e1")
    assert call.json == {"data": {"entry_values": {"stage": ["Won"]}}}
    record = {"parent_object": "people", "parent_record_id": "p1"}
    call = sent(attio, change("list_entries", "upsert", list_id="sales", values={"stage": None}, **record))
    assert (call.method, call.path) == ("PUT", "/lists/sales/entries")
    assert call.json == {"data": {**record, "entry_values": {"stage": []}}}
    with pytest.raises(RejectedError, match="field list_id"):
        sent(attio, change("list_entries", "delete", "e1"))


def test_a_new_task_has_all_its_keys_and_is_looked_for_among_the_newest(attio: Driver):
    resource = attio.resources({})["tasks"]
    wanted = change("tasks", "create", content="Call back")
    assert set(sent(attio, wanted).json["data"]) == {
        "content", "format", "deadline_at", "is_completed", "linked_records", "assignees",
    }  # fmt: skip
    asked = attio.look_up(resource, wanted)
    assert asked is not None
    assert dict(asked.params) == {"sort": "created_at:desc", "limit": "100"}
    assert not attio.idempotent(resource, wanted)
    with pytest.raises(RejectedError, match="field content: is longer than 2000"):
        sent(attio, change("tasks", "create", content="x" * 2001))


def test_a_comment_is_by_a_member_and_of_a_record(attio: Driver):
    call = sent(attio, change("deals", "comment", "d1", content="Late", author_id="m1"))
    assert call.json["data"]["record"] == {"object": "deals", "record_id": "d1"}
    assert call.json["data"]["author"] == {"type": "workspace-member", "id": "m1"}
    with pytest.raises(RejectedError, match="field author_id"):
        sent(attio, change("deals", "comment", "d1", content="Late"))


def test_a_task_is_changed_in_what_can_be_changed(attio: Driver):
    call = sent(attio, change("tasks", "update", "t1", is_completed=True, deadline_at=None))
    assert (call.method, call.path, call.json) == (
        "PATCH",
        "/tasks/t1",
        {"data": {"is_completed": True, "deadline_at": None}},
    )
    with pytest.raises(RejectedError, match="field content: tasks update has no such field"):
        sent(attio, change("tasks", "update", "t1", content="new words"))


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "email_addresses"),
        ({"email_addresses": ["nobody"]}, "email_addresses"),
        ({"email_addresses": "a@x.co", "phone_numbers": ["0171 555"]}, "phone_numbers"),
        ({"email_addresses": "a@x.co", "name": "Ada Lovelace"}, "name"),
        ({"email_addresses": "a@x.co", "name": ["Ada"]}, "name"),
    ],
)
def test_what_attio_would_refuse_or_misread_is_refused_with_its_field(attio: Driver, data: dict[str, Any], field: str):
    with pytest.raises(RejectedError, match=f"field {field}: "):
        sent(attio, change("people", "upsert", **data))


def test_a_name_with_a_comma_and_a_companys_name_are_texts(attio: Driver):
    call = sent(attio, change("people", "upsert", email_addresses="a@x.co", name="Lovelace, Ada"))
    assert call.json["data"]["values"]["name"] == ["Lovelace, Ada"]
    assert sent(attio, change("companies", "upsert", domains="x.co", name="Ada Lovelace")).json


def test_all_of_it_may_be_repeated_and_the_answer_is_the_record(attio: Driver):
    resource = attio.resources({})["people"]
    wanted = change("people", "upsert", email_addresses="a@x.co")
    assert attio.idempotent(resource, wanted)
    assert attio.order_key(resource, wanted) == "email_addresses=a@x.co"
    answer = Response(200, Headers(), b'{"data": {"id": {"record_id": "r1"}, "values": {}}}')
    item = attio.pushed(resource, wanted, answer)
    assert item is not None
    assert item.raw is not None
    assert attio.identify(resource, item.raw).external_id == "r1"
