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
    assert [name for name, one in resources.items() if "upsert" in one.pushes] == ["people", "companies"]
    assert resources["entries_sales"].pushes == {}


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
