"""Deliveries are verified by the scheme a description names, told apart by their id, and read into events."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.codec import dumps
from syncd.errors import PayloadError
from syncd.kit import Delivery, Driver, Event, Headers, RestDriver, Secret, composite_id, signatures
from syncd.kit.reading import parse
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


def test_a_composite_id_tells_its_parts_apart() -> None:
    assert composite_id("a", b"b") == composite_id(b"a", "b")
    assert len({composite_id("ab", "c"), composite_id("a", "bc"), composite_id("abc"), composite_id()}) == 4
