"""Guesty's walks: hidden listings, reservations by their stamp, two routes; and its errors."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd import drivers
from syncd.errors import AuthError, ConfigError, GoneError, PayloadError, RejectedError
from syncd.kit import Checkpoint, Delivery, Event, Headers, Mode, Request, Resource, Response
from syncd.testing.samples import answer

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SINCE = datetime(2026, 11, 20, 19, 0, tzinfo=UTC)


@pytest.fixture
def guesty() -> Any:
    return drivers.load("guesty")


def walk(guesty, resource: Resource, pages: list[Any], since: datetime | None = None) -> list[Request]:
    """The calls of one listing; each is also rebuilt from its cursor, as after a crash."""
    mode = Mode.FULL if since is None else Mode.INCREMENTAL
    begun = Checkpoint("acme", resource.name, mode=mode, since=since)
    going = guesty.pages(resource, guesty.request(resource, begun))
    request = next(going)
    calls = [request]
    for body in pages:
        again = Checkpoint("acme", resource.name, mode=mode, since=since, cursor=request.cursor)
        assert guesty.request(resource, again) == request
        try:
            request = going.send(answer({"body": body}))
        except StopIteration:
            return calls
        calls.append(request)
    raise AssertionError(f"the listing goes on with {request}")


def listings(count: int, start: int = 0) -> dict[str, Any]:
    return {"results": [{"_id": f"{start + number:024x}"} for number in range(count)], "count": 999}


def reservations(*stamps: str) -> dict[str, Any]:
    return {"results": [{"_id": f"r{n}{stamp}", "lastUpdatedAt": stamp} for n, stamp in enumerate(stamps)]}


def minute(number: int) -> str:
    return f"2026-11-20T19:{number // 60:02d}:{number % 60:02d}.000Z"


def after(request: Request) -> str:
    (wanted,) = json.loads(dict(request.params)["filters"])
    assert (wanted["field"], wanted["operator"]) == ("lastUpdatedAt", "$gt")
    return str(wanted["value"])


def test_listings_are_asked_for_in_every_state_that_may_hide_them(guesty):
    resource = guesty.resources({})["listings"]
    pages = [listings(100), listings(3, 100), *([listings(0)] * 7)]
    calls = walk(guesty, resource, pages)
    asked = [tuple(dict(call.params)[name] for name in ("active", "listed", "pmsActive")) for call in calls]
    assert asked[0] == asked[1] == ("true", "true", "true")
    assert len(set(asked)) == 8 and len(calls) == 9
    assert [dict(call.params).get("skip") for call in calls] == [None, "100", *([None] * 7)]
    parts = [",".join(part) for part in dict.fromkeys(asked)]
    assert [call.cursor for call in calls] == [None, f"{parts[0]}/0|100", *(f"{part}/0|" for part in parts[1:])]


def test_a_bare_list_of_listings_is_read_as_well(guesty):
    resource = guesty.resources({})["listings"]
    assert len(guesty.items(resource, answer({"body": listings(3)["results"]}))) == 3


def test_plain_listings_send_no_filter(guesty):
    (call,) = walk(guesty, guesty.resources({"listings": "plain"})["listings"], [listings(3)])
    assert dict(call.params) == {"sort": "_id", "limit": "100"}


@pytest.mark.parametrize(
    "cursor", ["0:100", "x", "yes,true,true/0|100", "true,true,true/1|", "true,true,true/0|x", "|"]
)
def test_a_cursor_of_another_walk_is_refused_and_never_guessed(guesty, cursor):
    with pytest.raises(PayloadError, match="stored cursor"):
        guesty.request(guesty.resources({})["listings"], Checkpoint("acme", "listings", cursor=cursor))


def test_changed_reservations_are_read_on_from_the_last_stamp_and_not_from_an_offset(guesty):
    resource = guesty.resources({})["reservations"]
    full = reservations(*(minute(number) for number in range(100)))
    rest = reservations(minute(99), minute(100))
    first, second = walk(guesty, resource, [full, rest], SINCE)
    assert after(first) == "2026-11-20T19:00:00.000Z" and dict(first.params)["sort"] == "lastUpdatedAt"
    assert after(second) == "2026-11-20T19:01:38.999Z", "the last stamp itself is asked for again: it may have twins"
    assert "skip" not in dict(second.params)


def test_more_reservations_of_one_stamp_than_a_page_holds_are_all_read(guesty):
    resource = guesty.resources({})["reservations"]
    same = reservations(*[minute(5)] * 100)
    calls = walk(guesty, resource, [same, same, reservations(minute(5), minute(6))], SINCE)
    assert [after(call) for call in calls[1:]] == ["2026-11-20T19:00:04.999Z"] * 2
    assert [dict(call.params).get("skip") for call in calls] == [None, None, "100"]


def test_a_page_without_readable_stamps_goes_on_by_offset(guesty):
    resource = guesty.resources({})["reservations"]
    calls = walk(guesty, resource, [reservations(*["soon"] * 100), reservations(minute(1))], SINCE)
    assert [dict(call.params).get("skip") for call in calls] == [None, "100"]


def test_a_complete_pass_of_reservations_is_sorted_by_what_does_not_change(guesty):
    (call,) = walk(guesty, guesty.resources({})["reservations"], [reservations(minute(1))])
    assert dict(call.params)["sort"] == "_id" and "filters" not in dict(call.params)


def test_the_third_version_asks_for_what_is_new_and_then_for_what_is_not_long_over(guesty):
    resource = guesty.resources({"reservations": "v3", "window_days": 10})["reservations"]
    empty = {"results": [], "pagination": {"hasMore": False}}
    first, second = walk(guesty, resource, [empty, empty], SINCE)
    assert first.path == second.path == "/reservations-v3/search"
    assert dict(first.params)["filter[createdAt][gte]"] == "2026-11-20T19:00:00.000Z"
    assert dict(second.params)["filter[checkOut][gte]"] == "2026-11-10"
    assert "filter[createdAt][gte]" not in dict(second.params)


def test_each_part_of_the_third_versions_walk_has_pages_of_its_own(guesty):
    resource = guesty.resources({"reservations": "v3"})["reservations"]
    more, last = ({"results": [{"_id": "a"}], "pagination": {"hasMore": more}} for more in (True, False))
    calls = walk(guesty, resource, [more, last, more, last], SINCE)
    assert [dict(call.params).get("skip") for call in calls] == [None, "1", None, "1"]
    assert [call.cursor for call in calls] == [None, "1", "then|", "then|1"]
    assert [name for name in dict(calls[3].params) if "filter" in name] == ["filter[checkOut][gte]"]


def test_a_complete_pass_of_the_third_version_has_no_filter(guesty):
    resource = guesty.resources({"reservations": "v3"})["reservations"]
    (call,) = walk(guesty, resource, [{"results": [], "pagination": {"hasMore": False}}])
    assert dict(call.params) == {"sort": "_id", "limit": "100"}


def test_the_third_version_reads_ten_ids_a_call_and_knows_who_is_missing(guesty):
    resource = guesty.resources({"reservations": "v3"})["reservations"]
    many = guesty.many(resource, ["a", "b"])
    assert many.path == "/reservations-v3" and dict(many.params)["reservationIds[]"] == ["a", "b"]
    with pytest.raises(RejectedError, match="at most 10"):
        guesty.many(resource, [str(number) for number in range(11)])
    one = guesty.one(resource, "a")
    assert dict(one.params)["reservationIds[]"] == "a"
    assert guesty.record(resource, answer({"body": [{"_id": "a"}]})) == {"_id": "a"}
    with pytest.raises(GoneError):
        guesty.record(resource, answer({"body": []}))


def test_both_routes_are_one_resource_and_share_their_main_fields(guesty):
    legacy, third = (guesty.resources({"reservations": route}) for route in ("legacy", "v3"))
    assert set(legacy) == set(third) == {"listings", "reservations", "guests", "calendar", "custom_fields"}
    assert third["reservations"].sparse and not legacy["reservations"].sparse
    shared = set(legacy["reservations"].fields) & set(third["reservations"].fields)
    assert {"listing_id", "status", "check_in_date", "check_out_date", "created_at", "updated_at"} <= shared


def test_only_the_name_in_use_may_stand_in_a_file(guesty):
    assert set(guesty.facts({}).resources) == {"listings", "reservations", "guests", "calendar", "custom_fields"}


def test_custom_fields_stand_below_an_account_that_has_to_be_named(guesty):
    named = guesty.resources({"account_id": "64f0c0ffee/1"})["custom_fields"]
    request = guesty.request(named, Checkpoint("acme", "custom_fields"))
    assert request.path == "/accounts/64f0c0ffee%2F1/custom-fields"
    with pytest.raises(RejectedError, match=r"\{option.account_id\}"):
        guesty.request(guesty.resources({})["custom_fields"], Checkpoint("acme", "custom_fields"))


def test_a_calendar_is_told_of_by_its_days_and_read_below_its_listing(guesty):
    body = b'{"listingId":"L1","accountId":"1","dateRange":{"start":"2026-12-01","end":"2026-12-02"}}'
    assert guesty.events(Delivery(body, Headers())) == [Event("calendar", "L1", "calendar.updated.v2", parent_id="L1")]
    wanted = guesty.subscriptions({}).wanted({"listings", "calendar"})
    assert wanted == {"listing.new", "listing.updated", "listing.removed", "calendar.updated.v2"}


def test_guests_go_on_until_an_empty_page_since_their_largest_page_is_not_stated(guesty):
    resource = guesty.resources({})["guests"]
    calls = walk(guesty, resource, [listings(50), listings(50, 50), listings(0)])
    assert [dict(call.params).get("skip") for call in calls] == [None, "50", "100"]
    assert all(dict(call.params)["columns"] for call in calls)


def test_the_end_of_the_legacy_route_says_which_option_to_set(guesty):
    gone = Response(410, Headers({"content-type": "application/json"}), b'{"message": "retired"}',
                    url="https://open-api.guesty.com/v1/reservations?limit=100")  # fmt: skip
    found = guesty.classify(gone, NOW)
    assert isinstance(found, RejectedError) and "reservations: v3" in found.hint
    single = Response(410, gone.headers, gone.content, url="https://open-api.guesty.com/v1/reservations/r1")
    assert isinstance(guesty.classify(single, NOW), GoneError)


def test_a_403_may_be_an_expired_token_and_quotes_a_plain_text(guesty):
    found = guesty.classify(answer({"status": 403, "body": "Forbidden"}), NOW)
    assert isinstance(found, AuthError) and not found.permanent and "Forbidden" in str(found)


def test_tokens_are_few_slow_and_renewed_early(guesty):
    auth = guesty.auth({})
    assert [str(tier.rate) for tier in auth.tiers] == ["5/d", "10/h"]
    assert (auth.timeout, auth.early, auth.token_path) == (45.0, 2700.0, "/oauth2/token")


def test_an_unknown_route_is_refused(guesty):
    with pytest.raises(ConfigError, match="legacy, v3"):
        guesty.resources({"reservations": "v4"})
