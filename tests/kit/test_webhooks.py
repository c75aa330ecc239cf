"""Deliveries are verified by the scheme a description names, told apart by their id, and read into events."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.codec import dumps
from syncd.errors import PayloadError
from syncd.kit import Delivery, Driver, Event, Headers, RestDriver, Secret, Webhooks, composite_id, signatures
from syncd.kit.reading import parse
from syncd.kit.webhooks import KNOWN_BY, believed, event_ids, event_types, events
from tests.kit.test_signatures import (
    ATTIO_BODY,
    ATTIO_SECRET,
    ATTIO_SIGNATURE,
    GUESTY_BODY,
    GUESTY_ID,
    GUESTY_SECRET,
    GUESTY_SIGNATURE,
    GUESTY_TIME,
    MX_BODY,
    MX_SECRET,
    MX_V1,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def driver(**webhooks: Any) -> Driver:
    webhooks.setdefault("verify", "attio")
    return RestDriver(parse({"name": "acme", "webhooks": webhooks}))


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


TWILIO_URL = "https://sync.example.com/webhooks/twilio/one"
CASES: list[tuple[dict[str, Any], dict[str, str], bytes, str, datetime]] = [
    ({"verify": "attio"}, {"Attio-Signature": ATTIO_SIGNATURE}, ATTIO_BODY, ATTIO_SECRET, NOW),
    ({"verify": "attio"}, {"X-Attio-Signature": ATTIO_SIGNATURE}, ATTIO_BODY, ATTIO_SECRET, NOW),
    (
        {"verify": "standard"},
        {"svix-id": GUESTY_ID, "svix-timestamp": GUESTY_TIME, "svix-signature": GUESTY_SIGNATURE},
        GUESTY_BODY,
        GUESTY_SECRET,
        at(1795000100),
    ),
    (
        {"verify": "standard"},
        {"webhook-id": GUESTY_ID, "webhook-timestamp": GUESTY_TIME, "webhook-signature": GUESTY_SIGNATURE},
        GUESTY_BODY,
        GUESTY_SECRET,
        at(1795000100),
    ),
    (
        {"verify": "maintainx"},
        {"x-maintainx-webhook-body-signature": f"t=1772615728,v1={MX_V1}"},
        MX_BODY,
        MX_SECRET,
        at(1772615728),
    ),
    (
        {"verify": "stripe", "tolerance": "10m"},
        {"Stripe-Signature": signatures.sign_stamped(b"{}", "1788336000", "whsec_x")},
        b"{}",
        "whsec_x",
        at(1788336600),
    ),
    (
        {"verify": "twilio"},
        {"X-Twilio-Signature": signatures.sign_twilio(TWILIO_URL, {"a": "1"}, "tok"),
         "Content-Type": "application/x-www-form-urlencoded"},
        b"a=1",
        "tok",
        NOW,
    ),
    (
        {"verify": "hmac_sha256", "header": "X-Acme-Signature", "prefix": "sha256="},
        {"x-acme-signature": "sha256=" + hmac.digest(b"k", b"{}", "sha256").hex()},
        b"{}",
        "k",
        NOW,
    ),
    (
        {"verify": "hmac_sha1", "header": "X-Acme-Signature"},
        {"x-acme-signature": hmac.digest(b"k", b"{}", "sha1").hex()},
        b"{}",
        "k",
        NOW,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "headers", "body", "secret", "now"), CASES, ids=lambda value: str(value)[:40])
def test_every_named_scheme_accepts_its_own_and_nothing_else(
    rules: dict[str, Any], headers: dict[str, str], body: bytes, secret: str, now: datetime
) -> None:
    verify = driver(**rules).verify
    delivery = Delivery(body, Headers(headers), TWILIO_URL)
    assert verify(delivery, [Secret(secret)], now)
    assert verify(delivery, [Secret("another-one"), Secret(secret)], now)
    assert not verify(delivery, [Secret("another-one")], now)
    assert not verify(delivery, [], now)
    assert not verify(Delivery(body + b"&x", Headers(headers), TWILIO_URL), [Secret(secret)], now)
    assert not verify(Delivery(body, Headers(), TWILIO_URL), [Secret(secret)], now)


def test_a_partner_that_signs_nothing_verifies_nothing() -> None:
    delivery = Delivery(b"{}", Headers())
    assert not driver(verify="none").verify(delivery, [Secret("another-one")], NOW)
    bare = RestDriver(parse({"name": "acme"}))
    assert not bare.verify(delivery, [Secret("another-one")], NOW)
    assert bare.events(delivery) == []
    assert bare.event_id(delivery) is None


def test_the_event_id_is_in_a_header_or_in_the_body() -> None:
    delivery = Delivery(b'{"event": {"id": 7}, "x": {}}', Headers({"Idempotency-Key": "k-1"}))
    assert driver(event_id="header:idempotency-key").event_id(delivery) == "k-1"
    assert driver(event_id="event.id").event_id(delivery) == "7"
    assert driver(event_id="event.none").event_id(delivery) is None
    assert driver(event_id="x").event_id(delivery) is None
    assert driver(event_id="header:nope").event_id(delivery) is None
    assert driver(event_id="event.id").event_id(Delivery(b"not json", Headers())) is None
    assert driver().event_id(delivery) is None


RULES: dict[str, Any] = {
    "events": "events",
    "type": "event_type",
    "id": "id.record_id",
    "record": "record",
    "at": "happened",
    "routes": {"record.updated": "people", "record.deleted": "people"},
    "deletes": ["record.deleted"],
}


def deliver(body: Any, route: str = "") -> Delivery:
    return Delivery(dumps(body), Headers({"x-type": "listing.updated"}), route=route)


def test_events_name_record_kind_time_and_deletion() -> None:
    facts = [
        {
            "event_type": "record.updated",
            "id": {"record_id": 5},
            "happened": "2026-01-01T00:00:00Z",
            "record": {"a": 1},
        },
        {"event_type": "record.deleted", "id": {"record_id": "x"}, "happened": 0},
        {"event_type": "note.created", "id": {}},
        "nonsense",
    ]
    assert driver(**RULES).events(deliver({"events": facts})) == [
        Event("people", "5", "record.updated", datetime(2026, 1, 1, tzinfo=UTC), False, {"a": 1}),
        Event("people", "x", "record.deleted", datetime(1970, 1, 1, tzinfo=UTC), True),
    ]


@pytest.mark.parametrize("time", ["soon", 1e300, True, [], "2026-02-30T00:00:00Z", None])
def test_a_time_that_is_none_costs_the_time_and_not_the_event(time: Any) -> None:
    fact = {"event_type": "record.updated", "id": {"record_id": 5}, "happened": time}
    assert driver(**RULES).events(deliver({"events": [fact]})) == [Event("people", "5", "record.updated")]


def test_the_type_may_stand_in_a_header_or_in_our_own_url() -> None:
    routes = {"listing.updated": "listings", "calendar": "calendar"}
    in_header = driver(type="header:X-Type", id="listing._id", routes=routes)
    assert in_header.events(deliver({"listing": {"_id": "a"}})) == [Event("listings", "a", "listing.updated")]
    in_url = driver(id="listingId", routes=routes)
    assert in_url.events(deliver({"listingId": "b"}, route="calendar")) == [Event("calendar", "b", "calendar")]
    assert in_url.events(deliver({"listingId": "b"}, route="unknown")) == []


def test_an_event_of_ours_without_an_id_is_refused_and_not_lost() -> None:
    with pytest.raises(PayloadError, match="no record id"):
        driver(**RULES).events(deliver({"events": [{"event_type": "record.updated", "id": {}}]}))
    with pytest.raises(PayloadError, match="list of events"):
        driver(**RULES).events(deliver({"events": {}}))
    with pytest.raises(PayloadError):
        driver(**RULES).events(Delivery(b"{", Headers()))


def test_an_event_of_what_only_a_listing_shows_may_name_no_record() -> None:
    resources = {"seats": {"path": "/seats", "id": "id"}, "halls": {"path": "/halls", "id": "id", "one": "/halls/{id}"}}
    routes = {"seat.moved": "seats", "seat.gone": "seats", "hall.shut": "halls"}
    hooks = {"verify": "none", "type": "type", "id": "id", "routes": routes, "deletes": ["seat.gone"]}
    theatre = RestDriver(parse({"name": "theatre", "resources": resources, "webhooks": hooks}))
    assert theatre.events(deliver({"type": "seat.moved", "id": 4})) == [Event("seats", "4", "seat.moved")]
    assert theatre.events(deliver({"type": "seat.moved"})) == [Event("seats", "", "seat.moved")]
    for kind in ("hall.shut", "seat.gone"):
        with pytest.raises(PayloadError, match="no record id"):
            theatre.events(deliver({"type": kind}))


def test_what_an_unsigned_partner_says_is_only_where_to_look() -> None:
    unsigned = driver(**RULES, verify="none")
    facts = [
        {"event_type": "record.updated", "id": {"record_id": 5}, "record": {"a": 1}},
        {"event_type": "record.deleted", "id": {"record_id": 6}},
    ]
    assert unsigned.events(deliver({"events": facts}, route="the-secret")) == [
        Event("people", "5", "record.updated"),
        Event("people", "6", "record.deleted"),
    ]
    assert unsigned.event_type(deliver({"events": facts}, route="the-secret")) == "record.updated"
    assert driver(verify="none").event_type(deliver({}, route="the-secret")) == ""
    there = deliver({}, route="the-secret")
    assert unsigned.verify(there, [Secret("old-secret"), Secret("the-secret")], NOW)
    assert not unsigned.verify(there, [Secret("old-secret")], NOW)


def test_of_an_unsigned_delivery_no_record_end_or_revocation_is_believed() -> None:
    told = [
        Event("people", "5", "updated", None, False, {"a": 1}),
        Event("people", "6", "deleted", None, True),
        Event("", "", "access_revoked", revoked=True),
        Event("", "", "rotated", credentials={"token": Secret("a-new-one-of-somebody")}),
    ]
    assert believed(Delivery(b"{}", Headers()), told) == told
    unsigned = Delivery(b"{}", Headers({KNOWN_BY: "url"}))
    looked_up = [Event("people", "5", "updated"), Event("people", "6", "deleted")]
    assert believed(unsigned, told) == [*looked_up, told[3]], "whoever is handed credentials refuses them, and says so"


def test_stated_parts_make_an_id_where_the_partner_sends_none() -> None:
    stated = driver(event_id="header:x-id", composite=["@route", "header:x-type", "id", "@body"])
    one = deliver({"id": 1}, route="a")
    assert stated.event_id(one) == stated.event_id(deliver({"id": 1}, route="a"))
    others = [deliver({"id": 1}, route="b"), deliver({"id": 2}, route="a"), deliver({"id": "1"}, route="a")]
    assert len({stated.event_id(each) for each in [one, *others]}) == 4
    assert stated.event_id(deliver({"no": "id"}, route="a")) is None, "two that lack a part would count as one"
    assert stated.event_id(Delivery(b"{}", Headers({"x-id": "own"}))) == "own"
    assert driver(composite=["a"]).event_id(deliver({"a": {"y": 1, "x": 2}})) == driver(composite=["a"]).event_id(
        deliver({"a": {"x": 2, "y": 1}})
    )


def test_a_body_is_parsed_once_and_a_form_by_its_names() -> None:
    delivery = Delivery(b'{"a": [1]}', Headers())
    assert delivery.json() is delivery.json()
    form = Delivery(
        b"SmsSid=SM1&To=%2B1", Headers({"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})
    )
    assert form.json() == {"SmsSid": "SM1", "To": "+1"}
    assert driver(type="SmsSid").event_type(form) == "SM1"


def test_a_composite_id_tells_its_parts_apart() -> None:
    assert composite_id("a", b"b") == composite_id(b"a", "b")
    assert len({composite_id("ab", "c"), composite_id("a", "bc"), composite_id("abc"), composite_id()}) == 4


def test_what_is_no_json_is_said_of_a_delivery():
    with pytest.raises(PayloadError, match="the delivery is not JSON"):
        Delivery(b"{", Headers()).json()


SPELLED = Webhooks(
    verify="none",
    any_case=True,
    type="event",
    composite=("event", "hallid || hall", "seatid || @body", "timestamp || @body"),
    ids={"seats": ("hallid_str || hallid", "seatid"), "halls": "hallid"},
    below=("halls",),
    routes={"seat/moved": "seats", "hall/shut": "halls"},
    at="timestamp",
)


@pytest.mark.parametrize("keys", [("hallID", "hallID_str", "seatId"), ("hallId", "hallId_str", "SeatID")])
def test_keys_that_are_spelled_now_so_now_so_are_read_all_the_same(keys: tuple[str, str, str]) -> None:
    body = {"event": "seat/moved", keys[0]: 7, keys[1]: "7:x", keys[2]: "3", "timestamp": 1795000000.431234}
    delivery = Delivery(dumps(body), Headers(), route="secret")
    (event,) = events(SPELLED, delivery)
    assert (event.resource, event.external_id, event.at is not None) == ("seats", "7%3Ax:3", True)
    assert event.parent_id is None
    same = Delivery(
        dumps(
            {
                "timestamp": 1795000000.431234,
                **{key.upper(): value for key, value in body.items() if key != "timestamp"},
            }
        ),
        Headers(),
    )
    assert event_ids(SPELLED)(delivery) == event_ids(SPELLED)(same) is not None
    assert event_types(SPELLED)(delivery) == "seat/moved"


def test_events_of_one_resource_may_name_their_record_elsewhere() -> None:
    (event,) = events(SPELLED, Delivery(dumps({"event": "hall/shut", "hallID": 9}), Headers()))
    assert (event.resource, event.external_id, event.at, event.parent_id) == ("halls", "9", None, "9")
    with pytest.raises(PayloadError, match="no record id"):
        events(SPELLED, Delivery(dumps({"event": "seat/moved", "hallID": 9}), Headers()))


def test_without_a_time_the_whole_body_makes_a_delivery_that_one() -> None:
    one, other = ({"event": "hall/shut", "hallID": 9, "why": why} for why in ("fire", "rain"))
    ids = {event_ids(SPELLED)(Delivery(dumps(body), Headers())) for body in (one, other)}
    assert len(ids) == 2 and None not in ids
