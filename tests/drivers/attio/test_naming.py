"""An event names what it is of by a UUID: whose record, under which of our names."""

from __future__ import annotations

from typing import Any

import pytest

from syncd import drivers
from syncd.kit import Driver, Event

OBJECT = "1b2c3d4e-5f60-4172-93a4-b5c6d7e8f90a"
LIST = "f5061728-3940-4152-8364-758697081920"


@pytest.fixture(scope="module")
def attio() -> Driver:
    return drivers.load("attio")


def of(uuid: str, prefix: str = "object_") -> Event:
    return Event(prefix + uuid.replace("-", ""), "7a8b9c0d-1e2f-4304-8516-273849506172", "record.updated")


def names(attio: Driver, event: Event, slug: str | None, **options: Any) -> list[tuple[str, str | None]]:
    found = attio.named(event, None if slug == "?" else {"api_slug": slug}, options)
    assert all(one.external_id == event.external_id for one in found)
    return [(one.resource, one.parent_id) for one in found]


def test_the_record_that_names_an_event_is_that_of_its_object_or_list(attio: Driver):
    assert attio.named_by(of(OBJECT)) == ("objects", OBJECT)
    assert attio.named_by(of(LIST, "entries_")) == ("lists", LIST)


@pytest.mark.parametrize("resource", ["tasks", "notes", "object_projects", "entries_sales", "object_", ""])
def test_what_is_no_uuid_is_a_name_already(attio: Driver, resource: str):
    assert attio.named_by(Event(resource, "1")) is None


def test_a_standard_object_is_called_by_its_slug(attio: Driver):
    assert names(attio, of(OBJECT), "people") == [("people", None)]


@pytest.mark.parametrize(
    ("option", "slug", "name"),
    [
        ("projects", "projects", "projects"),
        ("Big-Projects", "big-projects", "big_projects"),
        ({"work": "projects"}, "projects", "work"),
        ({"work": OBJECT}, None, "work"),
        ({"work": OBJECT}, "?", "work"),
        ("notes", "notes", "object_notes"),
    ],
    ids=str,
)
def test_a_further_object_is_called_as_it_was_configured(attio: Driver, option: Any, slug: str | None, name: str):
    assert name in attio.resources({"objects": [option]})
    assert names(attio, of(OBJECT), slug, objects=[option]) == [(name, None)]


def test_an_object_under_two_names_is_told_to_both(attio: Driver):
    found = names(attio, of(OBJECT), "people", objects=[{"contacts": "people"}])
    assert found == [("people", None), ("contacts", None)]


def test_an_object_nobody_configured_keeps_the_name_it_came_with(attio: Driver):
    event = of(OBJECT)
    assert names(attio, event, "projects") == [(event.resource, None)]


def test_entries_are_those_of_their_list_or_lie_below_it(attio: Driver):
    event = of(LIST, "entries_")
    assert names(attio, event, "sales_pipeline", lists=["sales_pipeline"]) == [("entries_sales_pipeline", None)]
    assert names(attio, event, "other", lists=["sales_pipeline"]) == [(event.resource, None)]
    assert names(attio, event, "sales_pipeline") == [("list_entries", LIST)]


def test_what_is_configured_by_uuid_needs_no_name(attio: Driver):
    assert of(OBJECT).resource in attio.resources({"objects": [OBJECT]})
