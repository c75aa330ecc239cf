"""The airbnb driver's own words: versions and windows by option, what a 403 means where, odd deliveries, pushes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from syncd import drivers
from syncd.client.dates import dated
from syncd.codec import dumps
from syncd.config import PartnerConfig
from syncd.errors import AuthError, ConfigError, GoneError, PayloadError, RateLimitError, RejectedError
from syncd.kit import Accepted, Change, Delivery, Event, Headers, Receiver, Refused, Response, Secret
from syncd.kit.webhooks import KNOWN_BY, believed

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DRIVER = drivers.load("airbnb")
RESOURCES = DRIVER.resources({})
NO_ACCESS = dumps({"error_code": 403, "error_type": "no_access"})


def test_the_version_is_an_option_and_always_sent() -> None:
    assert DRIVER.headers({})["X-AIRBNB-REQ-API-VERSION"] == "2024.06.30"
    assert DRIVER.headers({"version": "2025.06.30"})["X-AIRBNB-REQ-API-VERSION"] == "2025.06.30"


def test_windows_are_days_from_the_day_a_call_leaves() -> None:
    found = DRIVER.resources({"past_days": 7, "future_days": 60})
    request = dated(DRIVER.child_request(found["reservations"], "88"), NOW)
    assert (request.params["start_date"], request.params["end_date"]) == ("2026-11-15", "2027-01-21")
    request = DRIVER.child_request(found["calendar_days"], "40")
    assert request.route == "/calendars/{parent.id}/{today}/{today+60d}"
    assert dated(request, NOW).path == "/calendars/40/2026-11-22/2027-01-21"


def test_a_newer_version_reads_messages_apart_and_may_want_a_filter_for_the_inbox() -> None:
    found = DRIVER.resources({"version": "2025.06.30", "inbox_filter": "all", "locale": "da"})
    assert DRIVER.child_request(found["messages"], "77").path == "/threads/77/messages"
    assert found["threads"].params["_inbox_filter"] == "all"
    assert "_inbox_filter" not in RESOURCES["threads"].params
    assert DRIVER.child_request(found["listing_descriptions"], "40").path == "/listing_descriptions/40/da"


def test_a_mistake_in_what_reads_otherwise_is_one_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"fields\.status\.as"):
        DRIVER.resources({"reservations": {"fields": {"status": {"as": "nonsense"}}}})
    assert DRIVER.facts({"reservations": {"nothing": 1}}).findings


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("https://api.airbnb.com/v2/users/me", AuthError),
        ("https://api.airbnb.com/v2/listings?_limit=50", RejectedError),
        ("https://api.airbnb.com/v2/reservations?host_id=1", RejectedError),
        ("https://api.airbnb.com/v2/listings/40", GoneError),
        ("https://api.airbnb.com/v2/listing_photos?listing_id=40", GoneError),
    ],
)
def test_a_403_means_gone_where_one_object_was_asked_for(url: str, error: type[Exception]) -> None:
    found = DRIVER.classify(Response(403, Headers({"content-type": "application/json"}), NO_ACCESS, url=url), NOW)
    assert type(found) is error


def test_a_lock_on_one_listing_slows_nobody_else() -> None:
    body = dumps({"error_code": 429, "error_class": "ConcurrencyLimitError"})
    found = DRIVER.classify(Response(429, Headers({"content-type": "application/json"}), body), NOW)
    assert isinstance(found, RateLimitError)
    assert found.about == "object"


def told(body: dict[str, Any], *, known_by: str = "") -> list[Event]:
    headers = {KNOWN_BY: known_by} if known_by else {}
    delivery = Delivery(dumps(body), Headers(headers))
    return believed(delivery, DRIVER.events(delivery))


def test_a_message_names_its_reservation_in_passing() -> None:
    thread = {"id": 77, "attachment": {"booking_details": {"reservation_confirmation_code": "HMX"}}}
    found = told({"action": "message_added", "thread": thread, "message": {"id": 1}})
    assert [(one.resource, one.external_id, one.unless_stored) for one in found] == [
        ("threads", "77", False),
        ("reservations", "HMX", True),
    ]


def test_a_reservation_without_its_code_is_a_dead_letter_and_an_unknown_body_of_a_listing_is_not() -> None:
    with pytest.raises(PayloadError, match="no record id"):
        told({"action": "reservation_requested", "reservation": {"code": "HMX"}})
    assert told({"action": "listing_takedown_notification", "reason": "unknown"}) == []
    for named in ({"listing_id": 0}, {"listing_id_str": "0"}):
        test = {"confirmation_code": "TEST000000", **named}
        assert told({"action": "reservation_requested", "reservation": test}) == [], "a test"
    [found] = told({"action": "listing_edited", "listing_id": 1200345678901234567})
    assert (found.resource, found.external_id) == ("listings", "1200345678901234567")


def test_new_credentials_are_announced_by_the_generic_body_and_by_nothing_else() -> None:
    [found] = told({"integration_id": "acme", "secret": "new"})
    assert found.credentials == {"client_secret": Secret("new")}
    assert told({"action": "test_notification", "secret": "new"}) == []
    assert told({"integration_id": "acme", "secret": 7}) == []


@pytest.mark.parametrize("signed", [True, False])
def test_that_access_was_revoked_is_asked_and_not_believed_since_another_host_may_have_left(signed: bool) -> None:
    body = {"action": "authorization_revoked", "host_id": 88, "listing_ids": [40]}
    found = told(body) if signed else told(body, known_by="url")
    assert [(one.resource, one.external_id, one.revoked) for one in found] == [
        ("listings", "40", False),
        ("hosts", "88", False),
    ]


def ids(**parts: Any) -> str | None:
    return DRIVER.event_id(Delivery(dumps(parts), Headers()))


def test_one_delivery_is_its_action_its_record_and_that_records_stamp() -> None:
    one = {"confirmation_code": "HMX", "updated_at": "2026-08-30T06:12:00+00:00"}
    accepted = ids(action="reservation_acceptance_confirmation", reservation=one)
    assert accepted == ids(action="reservation_acceptance_confirmation", reservation=dict(one))
    assert accepted != ids(action="reservation_acceptance_confirmation", reservation={**one, "nights": 2}), (
        "that second"
    )
    assert accepted != ids(action="reservation_alteration_confirmation", reservation=one)
    assert accepted != ids(action="reservation_acceptance_confirmation", reservation={**one, "updated_at": "later"})
    message = ids(action="message_added", message={"id": 5}, thread={"id": 1, "updated_at": "a"})
    assert message == ids(action="message_added", message={"id": 5}, thread={"id": 1, "updated_at": "b"})
    assert ids(action="listings_unlinked", listing_ids=[1]) != ids(action="listings_unlinked", listing_ids=[2])
    assert ids(integration_id="a", secret="b") != ids(integration_id="a", secret="c")
    settings = dumps({"action": "listing_synchronization_settings_updated", "updates": [{"listing_id": 4}]})
    first, again, later = (
        DRIVER.event_id(Delivery(settings, Headers({"Date": f"Sat, 21 Nov 2026 11:59:{second} GMT"})))
        for second in (10, 10, 11)
    )
    assert first == again != later, "the same words later are another event"


def change(kind: str, resource: str = "reservations", **data: Any) -> Change:
    return Change(resource, "40", kind, data, "key")


def test_a_denial_wants_a_reason_and_a_word_to_the_guest() -> None:
    with pytest.raises(RejectedError, match="decline_message_to_guest: is required"):
        DRIVER.check(RESOURCES["reservations"], change("deny", decline_reason="not_a_good_fit"), None)
    sound = change("deny", decline_reason="not_a_good_fit", decline_message_to_guest="Sorry")
    DRIVER.check(RESOURCES["reservations"], sound, None)
    assert DRIVER.push(RESOURCES["reservations"], sound).json == {
        "attempt_action": "deny",
        "decline_reason": "not_a_good_fit",
        "decline_message_to_guest": "Sorry",
    }


BLOCK = {"dates": ["2026-10-01:2026-10-05", "2026-10-09"], "availability": "unavailable"}


@pytest.mark.parametrize(
    ("operation", "trouble"),
    [
        (BLOCK, "needs busy_subtype"),
        ({**BLOCK, "busy_subtype": "OUTSIDE_RESERVATION"}, "needs platform"),
        ({"dates": ["2026-01-01:2028-01-02"], "daily_price": 90}, "more than 731 dates"),
        ({"dates": ["tomorrow"], "daily_price": 90}, "dates are YYYY-MM-DD"),
        ({"daily_price": 90}, "dates are YYYY-MM-DD"),
    ],
)
def test_a_calendar_operation_airbnb_would_refuse_is_not_sent(operation: dict[str, Any], trouble: str) -> None:
    with pytest.raises(RejectedError, match=trouble):
        DRIVER.check(RESOURCES["listings"], change("calendar", "listings", operations=[operation]), None)


def test_a_calendar_operation_names_its_listing() -> None:
    sound = {**BLOCK, "busy_subtype": "BLOCKED_BY_HOST"}
    wanted = change("calendar", "listings", operations=sound)
    DRIVER.check(RESOURCES["listings"], wanted, None)
    assert DRIVER.push(RESOURCES["listings"], wanted).json == {"listing_id": 40, "operations": [sound]}
    written = Change("threads", "1200345678901234567", "message", {"message": "Welcome"})
    assert DRIVER.push(RESOURCES["threads"], written).json == {"thread_id": 1200345678901234567, "message": "Welcome"}
    year = {"dates": ["2026-01-01:2028-01-01"], "min_nights": 2}
    DRIVER.check(RESOURCES["listings"], change("calendar", "listings", operations=[year]), None)


def partner(**hook: Any) -> PartnerConfig:
    integration = {"credentials": {}, "webhook": hook}
    return PartnerConfig.model_validate({"name": "airbnb", "driver": "airbnb", "integrations": {"acme": integration}})


def test_how_new_credentials_are_announced_is_a_matter_of_the_file() -> None:
    rotation = {
        "type": "credentials_rotated",
        "credentials": {"client_secret": "new.secret", "refresh_token": "new.refresh"},
    }
    own = drivers.of_integration(partner(rules={"rotation": rotation}), "acme", DRIVER)
    body = {"action": "credentials_rotated", "new": {"secret": "s", "refresh": "r"}}
    [found] = own.events(Delivery(dumps(body), Headers({})))
    assert found.credentials == {"client_secret": Secret("s"), "refresh_token": Secret("r")}
    assert own.events(Delivery(dumps({"secret": "s"}), Headers({}))) == []
    assert drivers.of_integration(partner(), "acme", DRIVER) is DRIVER
    with pytest.raises(drivers.DriverError, match=r"webhook\.rules of acme"):
        drivers.of_integration(partner(rules={"rotation": {"type": "x"}}), "acme", DRIVER)


def test_without_a_key_the_address_is_the_secret_and_nothing_is_believed() -> None:
    receiver = Receiver("airbnb", "acme", DRIVER, [Secret("a-long-part-of-the-url")])
    body = dumps({"integration_id": "acme", "secret": "forged"})
    judged = receiver.judge(Delivery(body, Headers({}), route="a-long-part-of-the-url"), NOW)
    assert isinstance(judged, Accepted)
    assert judged.headers[KNOWN_BY] == "url"
    assert receiver.answer == (200, b'{"succeed":true}', "application/json")
    assert isinstance(receiver.judge(Delivery(body, Headers({}), route="another"), NOW), Refused)


def test_what_support_asks_for_stands_in_the_reason() -> None:
    body = dumps(
        {"error_code": 404, "error_type": "record_not_found", "error_message": "Gone.", "error_id": "api_frwrk_7"}
    )
    found = DRIVER.classify(Response(404, Headers({"content-type": "application/json"}), body), NOW)
    assert "Gone. error_id api_frwrk_7" in str(found)
