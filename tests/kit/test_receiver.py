"""A receiver lets in what is its partner's, names it, and never raises, whatever the bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.codec import dumps
from syncd.kit import Accepted, Delivery, Headers, Receiver, Refused, RestDriver, Secret, signatures
from syncd.kit.reading import parse

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
KEY = "whsec_c3ludGhldGljLXdlYmhvb2sta2V5LTAwMDAwMDAx"


def receiver(rules: dict[str, Any], *secrets: str, **more: Any) -> Receiver:
    driver = RestDriver(parse({"name": "acme", "webhooks": rules}))
    return Receiver("acme", "one", driver, [Secret(secret) for secret in secrets], **more)


def signed(body: bytes, *, key: str = KEY, at: str = STAMP, **headers: str) -> Delivery:
    stamped = {"stripe-signature": signatures.sign_stamped(body, at, key), **headers}
    return Delivery(body, Headers(stamped))


STRIPE: dict[str, Any] = {"verify": "stripe", "event_id": "id", "type": "type"}


def test_the_partners_own_delivery_is_named() -> None:
    delivery = signed(dumps({"id": "evt_1", "type": "invoice.paid"}), **{"content-type": "application/json", "x": "y"})
    assert receiver(STRIPE, KEY).judge(delivery, NOW) == Accepted(
        "evt_1", "invoice.paid", {"content-type": "application/json"}
    )


def test_during_a_rotation_either_secret_fits() -> None:
    for key in (KEY, "whsec_new"):
        assert isinstance(receiver(STRIPE, KEY, "whsec_new").judge(signed(b"{}", key=key), NOW), Accepted)


@pytest.mark.parametrize(
    ("reason", "delivery"),
    [
        ("signature", Delivery(b"{}", Headers())),
        ("signature", signed(b"{}", key="whsec_other")),
        ("stale", signed(b"{}", at=str(int(STAMP) - 301))),
        ("signature", signed(b"{}", key="whsec_other", at="1")),
        ("malformed", Delivery(b"{}", Headers({"stripe-signature": "t=soon,v1=00"}))),
        ("malformed", Delivery(b"{}", Headers({"stripe-signature": "\udcff"}))),
    ],
)
def test_a_stale_delivery_is_told_from_a_forged_one(reason: Any, delivery: Delivery) -> None:
    assert receiver(STRIPE, KEY).judge(delivery, NOW) == Refused(reason)


def test_the_file_may_allow_another_tolerance() -> None:
    late = signed(b"{}", at=str(int(STAMP) - 400))
    assert isinstance(receiver(STRIPE, KEY, tolerance_seconds=500).judge(late, NOW), Accepted)
    assert receiver(STRIPE, KEY, tolerance_seconds=10).judge(signed(b"{}"), NOW + timedelta(seconds=11)) == Refused(
        "stale"
    )


def test_without_a_secret_or_switched_off_nothing_is_let_in() -> None:
    assert receiver(STRIPE).judge(signed(b"{}"), NOW) == Refused("disabled")
    assert receiver(STRIPE, KEY, enabled=False).judge(signed(b"{}"), NOW) == Refused("disabled")
    assert receiver({"verify": "none"}).judge(Delivery(b"{}", Headers(), route="x"), NOW) == Refused("disabled")


def test_what_makes_no_id_gets_a_random_one_and_is_stored() -> None:
    judge = receiver(STRIPE, KEY).judge
    first, second = judge(signed(b"not json"), NOW), judge(signed(b"not json"), NOW)
    assert isinstance(first, Accepted) and isinstance(second, Accepted)
    assert first.event_id != second.event_id
    assert first.event_type == ""


def test_all_text_of_an_accepted_delivery_can_be_stored() -> None:
    hostile = receiver({**STRIPE, "type": "type", "event_id": "id", "composite": ["header:x-odd"]}, KEY)
    body = dumps({"id": "a\0b", "type": "t\0" + "x" * 5000})
    found = hostile.judge(signed(body, **{"x-odd": "\udc80" + "y" * 5000}), NOW)
    assert isinstance(found, Accepted)
    for text in (found.event_id, found.event_type, *found.headers.values()):
        assert "\0" not in text and len(text) <= 1000
        text.encode()
    again = hostile.judge(signed(body), NOW)
    assert isinstance(again, Accepted) and again.event_id == found.event_id
    long = signed(dumps({"id": "i" * 3000}))
    named = hostile.judge(long, NOW)
    assert isinstance(named, Accepted) and len(named.event_id) < 100


def test_a_signed_address_is_the_one_the_partner_called_whatever_a_proxy_made_of_it() -> None:
    public = "https://sync.example.com/hooks/acme/one"
    address = f"{public}/sms?x=1"
    headers = Headers({
        "x-twilio-signature": signatures.sign_twilio(address, {"a": "1"}, "tok"),
        "content-type": "application/x-www-form-urlencoded",
    })  # fmt: skip
    judge = receiver({"verify": "twilio"}, "tok", url=public).judge
    assert isinstance(judge(Delivery(b"a=1", headers, "/webhooks/acme/one/sms?x=1", route="sms"), NOW), Accepted)
    assert judge(Delivery(b"a=1", headers, "/webhooks/acme/one/sms?x=2", route="sms"), NOW) == Refused("signature")


SCHEMES = ["hmac_sha256", "hmac_sha1", "standard", "stripe", "attio", "maintainx", "twilio", "none"]
NAMES = ["x-signature", "stripe-signature", "svix-id", "svix-timestamp", "svix-signature", "webhook-id",
         "webhook-timestamp", "webhook-signature", "attio-signature", "x-twilio-signature", "content-type",
         "x-maintainx-webhook-body-signature"]  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=40),
    st.text(alphabet=st.characters(codec=None), max_size=10),
    st.from_regex(r"t=[0-9]{1,20},v1=[0-9a-f]{0,70}", fullmatch=True),
    st.from_regex(r"v1,[A-Za-z0-9+/=]{0,50}", fullmatch=True),
)


@given(
    scheme=st.sampled_from(SCHEMES),
    body=st.binary(max_size=200),
    headers=st.dictionaries(st.sampled_from(NAMES), VALUES),
    url=st.one_of(
        st.just(""), st.text(max_size=40).map(lambda text: "/webhooks/acme/one/" + text), st.text(max_size=40)
    ),
    route=st.text(alphabet=st.characters(codec=None), max_size=10),
)
def test_no_bytes_of_a_stranger_are_let_in_or_raise(
    scheme: str, body: bytes, headers: dict[str, str], url: str, route: str
) -> None:
    rules = {"verify": scheme, "header": "x-signature" if scheme.startswith("hmac") else None, "event_id": "id"}
    judge = receiver(rules, KEY, url="https://sync.example.com/webhooks/acme/one").judge
    verdict = judge(Delivery(body, Headers(headers), url, route=route), NOW)
    assert isinstance(verdict, Refused)
    assert verdict.reason in {"signature", "stale", "malformed"}
