"""A description becomes calls: the first of a listing, one record, several, the children of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from syncd.codec import dumps
from syncd.errors import ConfigError, PayloadError, RejectedError
from syncd.kit import (
    Checkpoint,
    Driver,
    DriverSpec,
    Headers,
    Identity,
    PartnerError,
    RateLimitError,
    Raw,
    Record,
    Request,
    Resource,
    Response,
    RestDriver,
    since_value,
)
from syncd.kit.reading import parse

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SPEC: dict[str, Any] = {
    "name": "acme",
    "base_url": "https://api.acme.example/v2",
    "auth": {"kind": "bearer"},
    "headers": {"Acme-Version": "7"},
    "page_size": 50,
    "options": {
        "region": {"about": "Where the account lives.", "choices": ["eu", "us"], "default": "eu"},
        "objects": {"about": "What to sync.", "as": "list"},
        "account": {"about": "The account.", "required": True},
    },
    "resources": {
        "listings": {
            "path": "/listings",
            "params": {"active": True, "sort": "_id", "tags": ["a", "b"], "nothing": None},
            "records": "results",
            "id": "_id",
            "updated": "updatedAt",
            "pages": {"kind": "offset", "param": "skip", "size": "limit"},
            "since": {"param": "changed[gte]", "params": {"sort": "updatedAt"}},
            "one": {"path": "/listings/{id}", "records": "data", "params": {"expand": "all"}},
            "many": {"param": "ids", "max": 3},
            "fields": {"slug": "slug", "name": "title"},
            "group": "listings",
            "budget": "heavy",
            "weight": 2,
        },
        "reviews": {
            "path": "/listings/{parent.id}/reviews",
            "params": {"slug": "{parent.slug}"},
            "parent": "listings",
            "records": "data",
            "pages": {"kind": "page", "param": "page", "size": "per_page"},
        },
        "records": {
            "path": "/records/query",
            "method": "POST",
            "body": {"sorts": [{"direction": "asc"}]},
            "records": "data",
            "order": "created",
            "pages": {"kind": "offset", "in": "body", "param": "offset", "size": "limit"},
            "since": {"body": "filter.created_at.$gte", "format": "iso_ns"},
            "many": {"param": "filter.id.$in", "in": "body", "max": 2, "records": "found"},
        },
    },
}
DRIVER = RestDriver(parse(SPEC))
LISTINGS, REVIEWS, RECORDS = (DRIVER.spec.resources[name] for name in ("listings", "reviews", "records"))


def page(body: Any, status: int = 200, **headers: str) -> Response:
    return Response(status, Headers(headers), dumps(body))


def start(resource: Resource, **more: Any) -> Checkpoint:
    return Checkpoint("acme", resource.name, **more)


def test_a_full_listing_asks_for_everything() -> None:
    assert DRIVER.request(LISTINGS, start(LISTINGS)) == Request(
        "/listings",
        route="/listings",
        params={"active": "true", "sort": "_id", "tags": ["a", "b"], "limit": "50"},
        weight=2,
        budget="heavy",
        group="listings",
        repeatable=True,
    )


def test_an_incremental_listing_asks_for_what_changed_and_sorts_by_it() -> None:
    request = DRIVER.request(LISTINGS, start(LISTINGS, since=NOW, cursor="100"))
    params = dict(request.params)
    assert params["changed[gte]"] == "2026-11-21T12:00:00.000Z"
    assert (params["sort"], params["skip"], request.cursor) == ("updatedAt", "100", "100")


def test_since_and_page_go_into_the_body_where_the_partner_wants_them_there() -> None:
    request = DRIVER.request(RECORDS, start(RECORDS, since=NOW, cursor="50"))
    assert request.method == "POST"
    assert request.params == {}
    assert request.safe_to_repeat
    assert request.json == {
        "sorts": [{"direction": "asc"}],
        "filter": {"created_at": {"$gte": "2026-11-21T12:00:00.000000000Z"}},
        "limit": 50,
        "offset": 50,
    }


MOMENT = datetime(2026, 11, 21, 13, 2, 3, 456789, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("iso", "2026-11-21T12:02:03.456Z"),
        ("iso_seconds", "2026-11-21T12:02:03Z"),
        ("iso_ns", "2026-11-21T12:02:03.456789000Z"),
        ("plain", "2026-11-21 12:02:03"),
        ("epoch", 1795262523),
        ("epoch_ms", 1795262523456),
        ("date", "2026-11-21"),
    ],
)
def test_a_moment_is_written_as_the_partner_wants_it_and_never_rounded_up(form: str, expected: Any) -> None:
    assert since_value(MOMENT, form) == expected


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)))  # noqa: DTZ001
def test_no_format_asks_for_later_than_was_meant(naive: datetime) -> None:
    moment = naive.replace(tzinfo=UTC)
    for form in ("iso", "iso_seconds", "iso_ns", "plain", "date"):
        text = str(since_value(moment, form))
        asked = datetime.fromisoformat(text[:26] + "+00:00" if form == "iso_ns" else text).replace(tzinfo=UTC)
        assert asked <= moment < asked + timedelta(days=1)
    assert int(since_value(moment, "epoch")) <= moment.timestamp() + 1e-6
    assert int(since_value(moment, "epoch_ms")) <= moment.timestamp() * 1000 + 1e-3


def test_one_record_is_asked_by_its_quoted_id() -> None:
    request = DRIVER.one(LISTINGS, "a/b c?d#é")
    assert request is not None
    assert request.path == "/listings/a%2Fb%20c%3Fd%23%C3%A9"
    assert (request.route, request.params) == ("/listings/{id}", {"expand": "all"})
    assert DRIVER.one(REVIEWS, "1") is None


@pytest.mark.parametrize("identifier", ["", ".", ".."])
def test_an_id_that_would_climb_out_of_its_segment_is_refused(identifier: str) -> None:
    with pytest.raises(RejectedError):
        DRIVER.one(LISTINGS, identifier)


def test_several_records_are_asked_at_once_up_to_the_partners_number() -> None:
    request = DRIVER.many(LISTINGS, ["a", "b"])
    assert request is not None
    assert dict(request.params)["ids"] == "a,b"
    with pytest.raises(RejectedError, match="at most 3"):
        DRIVER.many(LISTINGS, list("abcd"))
    assert DRIVER.many(REVIEWS, ["1"]) is None


def test_ids_may_be_repeated_or_stand_in_the_body() -> None:
    assert LISTINGS.many is not None
    repeated = LISTINGS.model_copy(
        update={"many": LISTINGS.many.model_copy(update={"join": "repeat", "param": "ids[]"})}
    )
    request = DRIVER.many(repeated, ["a", "b"])
    assert request is not None
    assert dict(request.params)["ids[]"] == ["a", "b"]
    inside = DRIVER.many(RECORDS, ["a", "b"])
    assert inside is not None
    assert inside.json == {"sorts": [{"direction": "asc"}], "filter": {"id": {"$in": ["a", "b"]}}}
    assert RECORDS.body == {"sorts": [{"direction": "asc"}]}


def test_an_answer_to_several_may_have_another_shape_than_the_listing() -> None:
    assert [item.raw for item in DRIVER.several(RECORDS, page({"found": [{"id": 1}]}))] == [{"id": 1}]
    assert [item.raw for item in DRIVER.several(LISTINGS, page({"results": [{"_id": 1}]}))] == [{"_id": 1}]


def test_children_are_listed_below_their_parent() -> None:
    request = DRIVER.child_request(REVIEWS, "a/b", None, {"slug": "x y"})
    assert request.path == "/listings/a%2Fb/reviews"
    assert request.route == "/listings/{parent.id}/reviews"
    assert request.params == {"slug": "x y", "per_page": "50"}
    resumed = DRIVER.child_request(REVIEWS, "a/b", start(REVIEWS, cursor="3"), {"slug": "x y"})
    assert resumed == replace(request, params={**dict(request.params), "page": "3"}, cursor="3")
    assert DRIVER.children(LISTINGS) == [REVIEWS]
    assert REVIEWS.placeholders == {"id", "slug"}


def test_a_child_without_what_it_needs_of_its_parent_is_not_asked_for() -> None:
    with pytest.raises(RejectedError, match=r"parent\.slug"):
        DRIVER.child_request(REVIEWS, "a")
    with pytest.raises(RejectedError):
        DRIVER.child_request(LISTINGS, "a")


def test_the_record_of_an_answer_about_one_is_found_and_anything_else_refused() -> None:
    assert DRIVER.record(LISTINGS, page({"data": {"_id": "1"}})) == {"_id": "1"}
    assert DRIVER.record(LISTINGS, page({"data": [{"_id": "1"}]})) == {"_id": "1"}
    assert DRIVER.item(LISTINGS, page({"data": {"_id": "1"}})).raw == {"_id": "1"}
    for body in ({}, {"data": None}, {"data": []}, {"data": [{}, {}]}, [], "x"):
        with pytest.raises(PayloadError, match="expected one record"):
            DRIVER.record(LISTINGS, page(body))


def test_the_newest_stamp_is_of_the_kind_the_filter_goes_by() -> None:
    moments = [Identity("1", None, NOW), Identity("2"), Identity("3", None, NOW + timedelta(1))]
    assert DRIVER.newest(LISTINGS, page({"results": []}), moments) == NOW + timedelta(1)
    assert DRIVER.newest(LISTINGS, page({"results": []}), []) is None
    body = {"data": [{"created": "2026-01-01T00:00:00Z"}, {"created": None}, {"created": "x"}, 5]}
    assert DRIVER.newest(RECORDS, page(body), moments) == datetime(2026, 1, 1, tzinfo=UTC)


def test_the_credential_test_is_the_stated_call_or_the_smallest_page() -> None:
    assert dict(DRIVER.test({"account": "a"}).params)["limit"] == "1"
    stated = RestDriver(parse({**SPEC, "test": {"path": "/me", "params": {"full": False}}}))
    assert stated.test() == Request("/me", params={"full": "false"})
    assert RestDriver(parse({**SPEC, "test": "/me"})).test().path == "/me"
    with pytest.raises(RejectedError, match="give `test`"):
        RestDriver(DriverSpec(name="empty")).test()


def test_options_are_checked_all_at_once() -> None:
    assert set(DRIVER.resources({"account": "a"})) == {"listings", "reviews", "records"}
    with pytest.raises(ConfigError) as caught:
        DRIVER.resources({"regoin": "eu", "region": "asia", "objects": "people"})
    told = str(caught.value)
    for words in ("did you mean 'region'", "one of eu, us", "must be list, it is text", "'account' is missing"):
        assert words in told


def test_wrong_options_are_a_finding_for_the_configuration() -> None:
    facts = DRIVER.facts({"account": 5})
    assert [finding.path for finding in facts.findings] == [("options",)]
    assert DRIVER.facts({"account": "a"}).findings == ()


@pytest.mark.parametrize("default", ["", "en", "2024.06", "2024-06-30", "no", 20, 0.5, False, [], {}, {"a": [1, "x"]}])
def test_an_option_that_was_left_empty_is_told_with_what_may_be_written_there(default: Any) -> None:
    kinds = {str: "text", int: "integer", float: "number", bool: "boolean", list: "list", dict: "object"}
    option = {"about": "Something.", "as": kinds[type(default)], "default": default}
    driver = RestDriver(parse({**SPEC, "options": {**SPEC["options"], "own": option}}))
    (finding,) = driver.facts({"account": "a", "own": None}).findings
    written, _, otherwise = finding.help.rpartition(", or ")
    assert yaml.safe_load(written) == {"own": default}
    assert otherwise == "leave it out"


class Busy(RestDriver):
    """Answers 200 with {"error": "busy"} when it means 429."""

    def classify(self, response: Response, now: datetime) -> PartnerError | None:
        if response.status_code == 200 and response.json().get("error") == "busy":
            return RateLimitError("busy inside a 200", retry_at=now + timedelta(seconds=30))
        return super().classify(response, now)

    def headers(self, options: Mapping[str, Any]) -> Mapping[str, str]:
        return {**super().headers(options), "Acme-Account": options["account"]}


def test_one_quirk_is_one_method() -> None:
    driver: Driver = Busy(parse(SPEC))
    found = driver.classify(page({"error": "busy"}), NOW)
    assert isinstance(found, RateLimitError)
    assert found.retry_at == NOW + timedelta(seconds=30)
    assert driver.classify(page({"results": []}), NOW) is None
    assert driver.headers({"account": "a"}) == {"Acme-Version": "7", "Acme-Account": "a"}


def test_an_overridden_next_page_is_walked_with_loops_noticed() -> None:
    class Odd(RestDriver):
        def following(self, resource: Resource, request: Request, response: Response) -> Request | None:
            return replace(request, cursor="same")

    walk = Odd(parse(SPEC)).pages(LISTINGS, DRIVER.request(LISTINGS, start(LISTINGS)))
    next(walk)
    assert walk.send(page({"results": [{"_id": 1}]})).cursor == "same"
    with pytest.raises(PayloadError, match="goes round"):
        walk.send(page({"results": [{"_id": 2}]}))


class Opinionated(RestDriver):
    """Decides all three things that `reading` hands out."""

    def identify(self, resource: Resource, raw: Raw, adapter: str = "") -> Identity:
        return Identity(f"{raw['id']}/{adapter}")

    def normalize(self, resource: Resource, raw: Raw, adapter: str = "") -> Record:
        return Record(self.identify(resource, raw, adapter), {"of": adapter}, adapter)

    def hashable(self, resource: Resource, raw: Raw) -> Raw:
        return {"id": raw["id"]}


@pytest.mark.parametrize("kind", [RestDriver, Opinionated])
@pytest.mark.parametrize("volatile", [(), ("seen",)])
def test_a_reading_says_what_the_methods_say(kind: type[RestDriver], volatile: tuple[str, ...]) -> None:
    resource = Resource(name="rows", path="/rows", id="id", fields={"x": "x"}, volatile=volatile)
    driver, raw = kind(DriverSpec(name="acme", resources={"rows": resource})), {"id": "a", "x": 1, "seen": 2}
    reading = driver.reading(resource, "v2")
    assert reading.identify(raw) == driver.identify(resource, raw, "v2")
    assert reading.fields(raw) == driver.normalize(resource, raw, "v2").data
    assert (reading.hashable or (lambda itself: itself))(raw) == driver.hashable(resource, raw)
