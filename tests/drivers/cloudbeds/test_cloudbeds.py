"""What of Cloudbeds its samples cannot show: credentials, limits, time zones, and what may stand in a custom field."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd import drivers
from syncd.codec import dumps
from syncd.errors import ConfigError, PayloadError, RejectedError
from syncd.kit import Change, Checkpoint, Headers, Mode, Resource, Response, is_card_number
from syncd.kit.listing import Since
from syncd.sync.subscribed import compare_each, without_secret

P, Q = "900000000101", "900000000102"
BOTH = {"properties": [P, Q]}
DRIVER = drivers.load("cloudbeds")


def resource(name: str, **options: Any) -> Resource:
    return DRIVER.resources({**BOTH, **options})[name]


def answer(body: Any, url: str = "") -> Response:
    return Response(200, Headers({"content-type": "application/json"}), dumps(body), url)


def test_the_option_decides_what_credentials_a_file_gives() -> None:
    assert dict(DRIVER.facts(BOTH).credentials or {}) == {"api_key": True}
    assert DRIVER.auth(BOTH).kind == "bearer"
    oauth = {**BOTH, "auth": "oauth"}
    assert dict(DRIVER.facts(oauth).credentials or {}) == {
        "client_id": True, "client_secret": True, "refresh_token": False,  # a login gets it
    }  # fmt: skip
    assert DRIVER.auth(oauth).token_path == "/api/v1.3/access_token"
    assert DRIVER.facts({**BOTH, "auth": "magic"}).findings


def test_a_file_names_its_properties() -> None:
    for wrong in ({}, {"properties": []}, {"properties": [P, P]}, {"properties": "all"}):
        with pytest.raises(ConfigError, match="properties"):
            DRIVER.resources(wrong)
        assert DRIVER.facts(wrong).findings


@pytest.mark.parametrize(("client", "rate"), [("property", 5), ("partner", 10)])
def test_a_technology_partner_may_call_twice_as_often(client: str, rate: int) -> None:
    limits = DRIVER.limits({**BOTH, "client": client})
    (tier,) = limits.tiers
    assert (tier.rate.limit, tier.rate.window_seconds, limits.share) == (rate, 1.0, 0.7)


@given(
    hours=st.integers(-12 * 4, 14 * 4).map(lambda quarters: quarters / 4),
    changed=st.integers(0, 330 * 86400).map(
        lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    ),
    later=st.timedeltas(timedelta(0), timedelta(days=3)),
)
def test_wherever_the_property_is_nothing_changed_after_the_watermark_is_left_out(
    hours: float, changed: datetime, later: timedelta
) -> None:
    """The filter may be read by the property's clock; what changed at the watermark or later must pass it."""
    reservations = resource("reservations")
    assert isinstance(reservations.since, Since)
    since = changed - timedelta(seconds=reservations.since.overlap)
    request = DRIVER.request(reservations, Checkpoint("inn", "reservations", mode=Mode.INCREMENTAL, since=since))
    asked = dict(request.params)
    stamp = f"{changed + later + timedelta(hours=hours):%Y-%m-%d %H:%M:%S}"
    assert stamp >= asked["modifiedFrom"]
    assert "modifiedTo" not in asked, "it would cut off what a clock to the east calls tomorrow"
    assert asked["includeDeleted"] == "true" and "status" not in asked


def test_one_reservation_is_read_in_the_shape_of_the_list_and_an_empty_answer_is_its_end() -> None:
    reservations = resource("reservations")
    request = DRIVER.one(reservations, f"{Q}:7100000000011")
    assert request is not None
    listed = DRIVER.request(reservations, Checkpoint("inn", "reservations"))
    own = {"propertyID": Q, "reservationID": "7100000000011"}
    assert request.path == listed.path and dict(request.params).items() >= {**own, "includeDeleted": "true"}.items()
    with pytest.raises(Exception, match="no such record"):
        DRIVER.record(reservations, answer({"success": True, "data": []}))


def test_one_property_after_the_other_and_no_record_of_one_is_taken_for_the_other() -> None:
    housekeeping = resource("housekeeping")
    walk = DRIVER.pages(housekeeping, DRIVER.request(housekeeping, Checkpoint("inn", "housekeeping")))
    request, ids = next(walk), []
    with pytest.raises(StopIteration):
        while True:
            url = f"https://x.example/api?propertyID={dict(request.params)['propertyID']}"
            told = answer({"success": True, "data": [{"roomID": "410001-1"}], "total": 1}, url)
            ids += [
                DRIVER.identify(housekeeping, item.raw or {}).external_id for item in DRIVER.items(housekeeping, told)
            ]
            request = walk.send(told)
    assert ids == [f"{P}:410001-1", f"{Q}:410001-1"]


@pytest.mark.parametrize(
    "fields",
    [
        [{"customFieldName": "code", "customFieldValue": "4111111111111111"}],
        [
            {"customFieldName": "a", "customFieldValue": ""},
            {"customFieldName": "c", "customFieldValue": "4111-1111 11111111"},
        ],
        [{"customFieldValue": "b"}],
        [{"customFieldName": "code"}],
        {"customFieldName": "code", "customFieldValue": 4111111111111111},
    ],
)  # fmt: skip
def test_a_custom_field_without_its_name_or_with_a_card_number_is_refused_here(fields: Any) -> None:
    change = Change("reservations", f"{P}:1", "custom_fields", {"custom_fields": fields})
    with pytest.raises(RejectedError, match="custom_fields") as found:
        DRIVER.check(resource("reservations"), change, None)
    assert "4111" not in str(found.value)


@given(st.text("0123456789", min_size=12, max_size=30))
def test_of_any_number_exactly_one_last_digit_makes_a_card(digits: str) -> None:
    assert sum(is_card_number(digits + last) for last in "0123456789") == 1
    assert not is_card_number(digits[:11])


def test_each_event_of_each_property_is_a_subscription_of_its_own() -> None:
    rules = DRIVER.subscriptions(BOTH)
    assert rules is not None
    wanted = rules.wanted(["reservations"])
    assert len(wanted) == 16 and f"{Q}:reservation/deleted" in wanted
    assert f"{P}:reservation/notes_changed" in rules.wanted(["reservation_notes"])
    request = rules.create("https://hooks.example/x", [f"{Q}:reservation/deleted"])
    assert request.form == {
        "propertyID": Q, "object": "reservation", "action": "deleted", "endpointUrl": "https://hooks.example/x",
    }  # fmt: skip
    first = rules.listing()
    second = rules.following(first, answer({}))
    assert (
        second is not None and dict(second.params) == {"propertyID": Q} and rules.following(second, answer({})) is None
    )


OURS = "https://hooks.example/webhooks/cloudbeds/inn"


def row(number: int, key: str, of: str, event: str) -> dict[str, Any]:
    entity, _, action = event.partition("/")
    return {"id": str(number), "key": {"type": key, "id": of}, "event": {"entity": entity, "action": action},
            "subscriptionType": "webhook", "subscriptionData": {"endpoint": f"{OURS}/s3cret"}}  # fmt: skip


def looked(*rows: dict[str, Any], wanted: Collection[str]) -> tuple[list[str], list[str]]:
    """How each stands, and what is due, where each property's list shows all of them."""
    rules = DRIVER.subscriptions(BOTH)
    assert rules is not None
    told = rules.found(answer({"success": True, "data": list(rows)})) * 2
    found, due = compare_each(
        [without_secret(one, OURS) for one in told], OURS, wanted, {str(n) for n in range(10)},
        readable=False, in_file=False, own_address=False,
    )  # fmt: skip
    return [one.state for one in found], [step.would for step in due]


def test_a_list_that_shows_every_property_whichever_is_asked_for_makes_no_second_ones() -> None:
    wanted = [f"{P}:guest/created", f"{Q}:guest/created"]
    both = row(7, "property", P, "guest/created"), row(8, "property", Q, "guest/created")
    assert looked(*both, wanted=wanted) == (["sound", "sound"], [])
    states, due = looked(*both, row(9, "property", Q, "guest/created"), wanted=wanted)
    assert len(due) == 1 and due[0].startswith("remove"), "a real second one"
    assert sorted(states) == ["broken", "sound", "sound"]


@pytest.mark.parametrize("key", ["association", "user"])
def test_one_of_an_association_is_of_all_its_properties_and_stays(key: str) -> None:
    wanted = [f"{P}:guest/created", f"{Q}:guest/created"]
    assert looked(row(7, key, "4400", "guest/created"), wanted=wanted) == (["sound"], [])
    two = row(7, key, "4400", "guest/created"), row(8, key, "4400", "guest/created")
    assert looked(*two, wanted=wanted) == (["sound", "sound"], [])
    assert looked(*two, wanted=[*wanted, f"{P}:guest/removed"])[1][0].startswith(f"make a subscription of {P}:guest")


def test_an_end_names_its_property_and_as_many_lists_are_read_as_there_are_properties() -> None:
    many = {"properties": [str(900000000101 + n) for n in range(60)]}
    rules = DRIVER.subscriptions(many)
    assert rules is not None and rules.lists == 60
    one, wide = rules.found(
        answer({"data": [row(7, "property", P, "guest/created"), row(8, "user", "1", "guest/created")]})
    )
    assert dict(rules.remove(one).params) == {"subscriptionID": "7", "propertyIDs": P}
    assert dict(rules.remove(wide).params)["propertyIDs"].count(",") == 59


@pytest.mark.parametrize("key", ["endpoint", "url"])
def test_a_subscription_has_its_address_under_either_name(key: str) -> None:
    rules = DRIVER.subscriptions(BOTH)
    assert rules is not None
    row = {"id": "7", "key": {"type": "property", "id": P}, "event": {"entity": "guest", "action": "created"},
           "subscriptionType": "webhook", "subscriptionData": {key: "https://hooks.example/x"}}  # fmt: skip
    (one,) = rules.found(answer({"success": True, "data": [row]}))
    assert (one.id, one.url, one.events) == ("7", "https://hooks.example/x", {f"{P}:guest/created"})


@pytest.mark.parametrize("body", [None, [], {}, {"data": [{}]}, {"data": {"id": {}}}, [7], "x", {"data": [7]}])
def test_an_answer_of_another_shape_is_a_payload_error_and_nothing_else(body: Any) -> None:
    rules = DRIVER.subscriptions(BOTH)
    assert rules is not None
    for read in (rules.found, rules.created):
        with pytest.raises(PayloadError):
            read(answer(body))


def test_what_an_anonymized_guest_was_called_is_not_kept_although_it_is_sent() -> None:
    guests = resource("guests")
    sent = {
        "guestID": "5",
        "guestName": "Ada",
        "guestEmail": "ada@example.com",
        "isAnonymized": True,
        "status": "canceled",
    }
    (item,) = DRIVER.items(guests, answer({"data": {"5": sent}}, f"https://x.example/getGuestList?propertyIDs={P}"))
    assert item.raw == {"propertyID": P, "guestID": "5", "isAnonymized": True, "status": "canceled"}


@pytest.mark.parametrize(("house", "ours"), [("900000000101", True), ("900000000102", True), ("900000000999", False)])
def test_an_event_of_a_property_that_is_not_configured_is_none_of_ours(house: str, ours: bool) -> None:
    driver = drivers.load("cloudbeds")
    resources = driver.resources({"properties": ["900000000101", 900000000102]})
    for name in ("reservations", "guests", "room_blocks", "housekeeping"):
        assert driver.covers(resources[name], f"{house}:7") is ours
    assert driver.covers(resources["hotels"], house) is ours
