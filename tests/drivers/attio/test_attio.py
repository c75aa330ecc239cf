"""What of Attio no sample can show: resources by configuration, filters, walks, and what its answers mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd import drivers
from syncd.codec import dumps
from syncd.kit import (
    Checkpoint,
    ConfigError,
    Delivery,
    Driver,
    GoneError,
    Headers,
    Mode,
    PayloadError,
    RateLimitError,
    RejectedError,
    Request,
    Response,
    TransientError,
)

NOW = datetime(2026, 3, 4, 9, 15, 20, tzinfo=UTC)
SINCE = datetime(2026, 3, 1, tzinfo=UTC)
BASE = "https://api.attio.com/v2"


@pytest.fixture
def attio() -> Driver:
    return drivers.load("attio")


def checkpoint(resource: str, since: datetime | None = None, cursor: str | None = None) -> Checkpoint:
    mode = Mode.FULL if since is None else Mode.INCREMENTAL
    return Checkpoint("crm", resource, mode=mode, since=since, cursor=cursor)


def answer(body: Any, status: int = 200, path: str = "", **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, Headers({"content-type": "application/json", **named}), dumps(body), url=BASE + path)


def record(number: int, at: datetime = SINCE, **values: Any) -> dict[str, Any]:
    stamp = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}000Z"
    ids = {"workspace_id": "w", "object_id": "o", "record_id": f"r{number}"}
    return {"id": ids, "created_at": stamp, "web_url": "", "values": values}


def value(at: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"active_from": at, "active_until": None, "created_by_actor": {"type": "system", "id": None}, **fields}]


# Resources by configuration


@pytest.mark.parametrize(
    ("objects", "name", "path"),
    [
        (["projects"], "projects", "/objects/projects/records/query"),
        (["Big-Deals"], "big_deals", "/objects/Big-Deals/records/query"),
        (["2nd_hand"], "object_2nd_hand", "/objects/2nd_hand/records/query"),
        (["tasks"], "object_tasks", "/objects/tasks/records/query"),
        (
            ["1B2C3D4E-5f60-4172-93a4-b5c6d7e8f90a"],
            "object_1b2c3d4e5f60417293a4b5c6d7e8f90a",
            "/objects/1B2C3D4E-5f60-4172-93a4-b5c6d7e8f90a/records/query",
        ),
        (
            [{"contracts": "1b2c3d4e-5f60-4172-93a4-b5c6d7e8f90a"}],
            "contracts",
            "/objects/1b2c3d4e-5f60-4172-93a4-b5c6d7e8f90a/records/query",
        ),
    ],
)
def test_an_object_by_configuration_becomes_a_resource_with_a_safe_name(attio, objects, name, path):
    resource = attio.resources({"objects": objects})[name]
    assert (resource.name, resource.path) == (name, path)
    assert attio.one(resource, "a/b").path == path.removesuffix("query") + "a%2Fb"
    assert attio.normalize(resource, record(1, note=value("", value="x"))).data["values"] == {"note": "x"}


def test_naming_a_standard_object_changes_nothing(attio):
    assert set(attio.resources({"objects": ["people", "deals"]})) == set(attio.resources({}))


def test_lists_by_configuration_take_the_place_of_entries_below_every_list(attio):
    resources = attio.resources(
        {"lists": ["sales_pipeline"], "status_attributes": {"entries_sales_pipeline": ["stage"]}}
    )
    assert not resources["list_entries"].enabled
    entries = resources["entries_sales_pipeline"]
    assert entries.parent is None
    body = attio.request(entries, checkpoint(entries.name, SINCE)).json
    moment = {"$gte": "2026-03-01T00:00:00.000000000Z"}
    assert body["filter"] == {"$or": [{"created_at": moment}, {"stage": {"active_from": moment}}]}
    assert attio.many(entries, ["e"]) is None
    assert attio.resources({})["list_entries"].enabled


@pytest.mark.parametrize(
    "options",
    [
        {"objects": ["two words"]},
        {"objects": [7]},
        {"objects": [{"one": "a", "two": "b"}]},
        {"objects": [{"Upper": "a"}]},
        {"objects": ["projects", "Projects"]},
        {"objects": ["x" * 60]},
        {"lists": ["a/b"]},
        {"status_attributes": {"nothing": ["stage"]}},
        {"status_attributes": {"tasks": ["stage"]}},
        {"status_attributes": {"deals": 'sta"ge'}},
        {"status_attributes": {"deals": ['sta"ge']}},
        {"multivalued": {"people": "tags"}},
        {"query_budget": "free"},
        {"score_limit": "many"},
        {"score_limit": 0},
    ],
    ids=str,
)
def test_a_wrong_option_is_told_when_the_configuration_is_checked(attio, options):
    assert attio.facts(options).findings
    with pytest.raises(ConfigError):
        attio.resources(options)


def test_settings_may_name_the_resources_that_options_make_and_no_others(attio):
    assert "projects" in attio.facts({"objects": ["projects"]}).resources
    assert "projects" not in attio.facts({}).resources


@given(st.text(min_size=1, max_size=70))
def test_any_slug_makes_a_usable_name_or_a_clear_refusal(slug):
    driver = drivers.load("attio")
    try:
        made = set(driver.resources({"objects": [slug]})) - set(driver.resources({}))
    except ConfigError:
        return
    assert all(name.isascii() and name == name.lower() and name[0].isalpha() for name in made)


def test_the_score_limit_and_what_a_query_counts_as_are_settings(attio):
    options = {"score_limit": 4000, "query_budget": "write"}
    [score] = [tier for tier in attio.limits(options).tiers if tier.weighted]
    assert (score.rate.limit, score.rate.window_seconds) == (4000, 10.0)
    assert [tier.budget for tier in attio.limits(options).tiers if not tier.weighted] == ["read", "write"]
    resources = attio.resources(options)
    assert {name for name, resource in resources.items() if resource.budget == "write"} == {
        "people", "companies", "deals", "list_entries",
    }  # fmt: skip
    assert attio.one(resources["people"], "r1").budget == "read"


# Asking


def test_the_credential_test_asks_for_objects_and_gives_up_after_five_seconds(attio):
    request = attio.test({})
    assert (request.method, request.path, request.deadline_seconds) == ("GET", "/objects", 5.0)


def test_a_query_is_safe_to_repeat_and_weighs_more_than_one_record(attio):
    people = attio.resources({})["people"]
    request = attio.request(people, checkpoint("people"))
    assert request.safe_to_repeat
    assert request.weight > attio.one(people, "r1").weight == 1.0


def test_records_wanted_by_id_come_in_one_query(attio):
    people = attio.resources({})["people"]
    request = attio.many(people, ["r1", "r2"])
    assert request.path == "/objects/people/records/query"
    assert request.json["filter"] == {"record_id": {"$in": ["r1", "r2"]}}
    assert people.many.max <= 500, "more ids than rows an answer has"


def test_a_walk_goes_on_after_a_full_page_keeps_its_filter_and_ends_with_a_short_one(attio):
    deals = attio.resources({})["deals"]
    walk = attio.pages(deals, attio.request(deals, checkpoint("deals", SINCE)))
    first = next(walk)
    second = walk.send(answer({"data": [record(number) for number in range(500)]}))
    assert "offset" not in first.json
    assert second.json == {**first.json, "offset": 500}
    assert second == attio.request(deals, checkpoint("deals", SINCE, second.cursor))
    with pytest.raises(StopIteration):
        walk.send(answer({"data": [record(501)]}))


@pytest.mark.parametrize(("name", "size"), [("notes", 51), ("people", 501), ("tasks", 1000), ("list_entries", 501)])
def test_a_page_larger_than_attio_gives_is_refused_before_it_looks_like_the_last(attio, name, size):
    resource = attio.resources({})[name].model_copy(update={"page_size": size})
    with pytest.raises(RejectedError, match="at most") as caught:
        ask(attio, resource)
    assert "page_size" in caught.value.hint
    smaller = resource.model_copy(update={"page_size": 20})
    assert ask(attio, smaller).cursor is None


def ask(attio: Driver, resource: Any) -> Request:
    if resource.parent is not None:
        return attio.child_request(resource, "l1")
    return attio.request(resource, checkpoint(resource.name))


# Reading


def test_the_watermark_is_made_of_what_can_be_filtered_by(attio):
    deals = attio.resources({})["deals"]
    moved = record(1, stage=value("2026-03-02T08:00:00.000000001Z", status="s"))
    moved["values"]["name"] = value("2026-03-03T08:00:00.000000000Z", value="x")
    plain = record(2, SINCE + timedelta(seconds=1), stage=[])
    page = answer({"data": [moved, plain]})
    identities = [attio.identify(deals, raw) for raw in (moved, plain)]
    assert attio.newest(deals, page, identities) == datetime(2026, 3, 2, 8, tzinfo=UTC)
    people = attio.resources({})["people"]
    assert attio.newest(people, page, identities) == SINCE + timedelta(seconds=1)
    assert attio.newest(people, answer({"data": []}), []) is None


def test_a_cleared_value_cannot_make_a_record_look_older(attio):
    people = attio.resources({})["people"]
    full = record(1, job_title=value("2026-03-03T08:00:00.000000000Z", value="x"))
    cleared = record(1, job_title=[])
    assert attio.identify(people, full) == attio.identify(people, cleared)
    assert attio.normalize(people, full).data["updated_at"] > attio.normalize(people, cleared).data["updated_at"]


def test_nanoseconds_are_cut_and_do_not_confuse_which_moment_is_newest(attio):
    people = attio.resources({})["people"]
    raw = record(
        1,
        job_title=value("2026-03-03T08:00:00.123456999Z", value="x"),
        description=value("2026-03-03T08:00:00Z", value="y"),
    )
    assert attio.normalize(people, raw).data["updated_at"] == "2026-03-03T08:00:00.123456Z"


def test_attributes_said_to_be_multivalued_are_lists_with_one_value_too(attio):
    people = attio.resources({"multivalued": {"people": ["tags"]}})["people"]
    raw = record(1, tags=value("", value="a"), other=value("", value="b"), none=[])
    assert attio.normalize(people, raw).data["values"] == {"tags": ["a"], "other": "b", "none": None}
    empty = attio.normalize(people, record(2, tags=[]))
    assert empty.data["values"] == {"tags": []}


# What answers mean


def test_a_429_is_waited_for_by_the_partners_own_clock(attio):
    refused = answer(
        {"status_code": 429, "code": "rate_limit_exceeded"},
        429,
        date="Wed, 04 Mar 2026 09:15:27 GMT",
        retry_after="Wed, 04 Mar 2026 09:15:28 GMT",
    )
    error = attio.classify(refused, NOW)  # our clock is 7 s behind theirs
    assert isinstance(error, RateLimitError)
    assert error.retry_at == NOW + timedelta(seconds=1)
    assert not error.hopeless


@pytest.mark.parametrize("told", [{"code": "query_complexity"}, {"message": "Query is too complex."}], ids=str)
def test_a_single_query_over_its_own_limit_is_hopeless(attio, told):
    error = attio.classify(answer({"status_code": 429, **told}, 429), NOW)
    assert isinstance(error, RateLimitError)
    assert error.hopeless
    assert "page_size" in error.hint


@pytest.mark.parametrize("status", [400, 404])
def test_a_merge_in_progress_is_later_and_no_sign_of_sickness(attio, status):
    path = "/objects/people/records/r1"
    error = attio.classify(answer({"status_code": status, "code": "merge_in_progress"}, status, path), NOW)
    assert isinstance(error, TransientError)
    assert not error.breaks


def test_a_missing_record_is_gone_and_a_missing_object_is_our_mistake(attio):
    told = {"status_code": 404, "code": "not_found"}
    assert isinstance(attio.classify(answer(told, 404, "/objects/people/records/r1"), NOW), GoneError)
    assert isinstance(attio.classify(answer(told, 404, "/lists/l1/entries/query"), NOW), GoneError)
    error = attio.classify(answer(told, 404, "/objects/poeple/records/query"), NOW)
    assert isinstance(error, RejectedError)
    assert "options.objects" in error.hint


@pytest.mark.parametrize(
    ("path", "told", "wanted"),
    [
        ("/objects/people/records/query", "no", ["record_permission:read", "object_configuration:read"]),
        ("/lists/l1/entries/query", "no", ["list_entry:read", "list_configuration:read"]),
        ("/tasks", "no", ["task:read", "user_management:read"]),
        ("/notes", "The token lacks note:read-write.", ["note:read-write"]),
        ("/objects", "no", ["object_configuration:read"]),
    ],
)
def test_a_403_names_the_missing_scope(attio, path, told, wanted):
    error = attio.classify(answer({"status_code": 403, "type": "auth_error", "message": told}, 403, path), NOW)
    assert isinstance(error, RejectedError)
    assert all(scope in error.hint for scope in wanted)


def test_a_403_of_the_plan_is_no_missing_scope(attio):
    error = attio.classify(answer({"status_code": 403, "code": "billing_error"}, 403, "/objects"), NOW)
    assert "plan" in error.hint
    assert ":read" not in error.hint


def test_what_support_asks_for_stays_with_the_error(attio):
    error = attio.classify(answer({}, 500, x_attio_execution_id="e-1"), NOW)
    assert error.request_id == "e-1"


# Webhooks


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"events": {}},
        {"events": [{"event_type": "record.updated"}]},
        {"events": [{"event_type": "record.updated", "id": {"record_id": "r1"}}]},
        {"events": [{"event_type": "record.updated", "id": {"record_id": "r1", "object_id": "people"}}]},
        {"events": [{"event_type": "task.updated", "id": {"task_id": 7}}]},
    ],
    ids=str,
)
def test_a_delivery_of_another_shape_is_told_apart(attio, body):
    with pytest.raises(PayloadError):
        attio.events(Delivery(dumps(body), Headers()))


@pytest.mark.parametrize(
    "fact", [None, 7, {}, {"event_type": None}, {"event_type": "comment.created", "id": {}}], ids=str
)
def test_events_that_are_none_of_ours_are_passed_over(attio, fact):
    assert attio.events(Delivery(dumps({"events": [fact]}), Headers())) == []
