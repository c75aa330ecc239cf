"""A receiver lets in what is its partner's, names it, and never raises, whatever the bytes."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
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


def test_in_the_place_of_another_it_does_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the time it takes would tell that there is no such integration."""
    made: list[int] = []
    original = signatures.keyed

    def counted(*arguments: Any) -> signatures.Hmac:
        made[-1] += 1
        return original(*arguments)

    monkeypatch.setattr(signatures, "keyed", counted)
    headers = Headers({"x-twilio-signature": "A" * 27 + "=", "content-type": "application/x-www-form-urlencoded"})
    judge = receiver({"verify": "twilio"}, "tok", url="https://sync.example.com/webhooks/acme/one").judge
    for path in ("/webhooks/acme/one", "/webhooks/acme/two", "/webhooks/nobody/nobody/sms?x=1"):
        made.append(0)
        assert judge(Delivery(b"a=1", headers, path), NOW) == Refused("signature")
    assert made == [2, 2, 2], "with and without the port"


def test_a_partner_that_signs_nothing_is_known_by_its_address_which_is_stored_nowhere() -> None:
    rules = {"verify": "none", "type": "event", "composite": ["event", "id", "timestamp || @body"]}
    judge = receiver(rules, "3kq9Zr0V7sYwT2mXbN5uLd8E", "older").judge
    for route in ("3kq9Zr0V7sYwT2mXbN5uLd8E", "older"):
        delivery = Delivery(b'{"event": "reservation/created", "id": 1}', Headers({"syncd-known-by": "x"}), route=route)
        found = judge(delivery, NOW)
        assert isinstance(found, Accepted) and found.event_type == "reservation/created"
        assert found.headers == {"syncd-known-by": "url"}
        assert delivery.route == "" and route not in found.event_id
        assert not Delivery(delivery.body, Headers(found.headers)).signed
    ids = [judge(Delivery(body, Headers(), route="older"), NOW) for body in (
        b'{"event": "a", "id": 1, "timestamp": 5}', b'{"event":"a","id":1,"timestamp":5}',
        b'{"event": "a", "id": 1, "more": 1}', b'{"event": "a", "id": 1, "more": 2}')]  # fmt: skip
    assert [one == ids[0] for one in ids] == [True, True, False, False] and ids[2] != ids[3]
    for route in ("", "3kq9Zr0V7sYwT2mXbN5uLd8", "3kq9Zr0V7sYwT2mXbN5uLd8E "):
        assert judge(Delivery(b"{}", Headers(), route=route), NOW) == Refused("signature")


def test_airbnb_is_believed_by_its_key_and_only_looked_up_without_one() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pems = [
        one.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() for one in (other, key)
    ]
    body, date = b'{"action": "reservation_requested"}', "Sat, 21 Nov 2026 12:00:00 GMT"
    said = b"|".join([b"sync.example.com", b"/webhooks/acme/one", b"POST", date.encode(), b"application/json", body])
    seal = base64.b64encode(key.sign(said, padding.PKCS1v15(), hashes.SHA256())).decode()
    header = ('Signature keyId="booking_web_hooks",algorithm="rsa-sha256",headers="host url method date content-type '
              f'body",delimiter="|",signature="{seal}"')  # fmt: skip
    told = {"authorization": header, "date": date, "content-type": "application/json"}

    def at(body: bytes, headers: dict[str, str], route: str = "") -> Delivery:
        return Delivery(body, Headers(headers), "/webhooks/acme/one" + (f"/{route}" if route else ""), route=route)

    rules = {"verify": "airbnb", "type": "action", "composite": ["action", "reservation.confirmation_code || @body"]}
    public = "https://sync.example.com:8443/webhooks/acme/one"
    signing = receiver(rules, *pems, "a-secret-route", url=public).judge
    found = signing(at(body, told), NOW)
    assert isinstance(found, Accepted) and found.event_type == "reservation_requested"
    assert Delivery(body, Headers(found.headers)).signed
    for changed in ({**told, "date": "Sat, 21 Nov 2026 12:00:01 GMT"}, {**told, "content-type": "text/plain"}):
        assert signing(at(body, changed), NOW) == Refused("signature")
    assert signing(at(body + b" ", told), NOW) == Refused("signature")
    # What was signed, cut anew: words of a guest's with a `|` in them would else be a body of their own.
    cut = b'{"action": "message_added", "message": "a|[1]"}'
    signed = b"|".join([*said.split(b"|")[:5], cut])
    again = base64.b64encode(key.sign(signed, padding.PKCS1v15(), hashes.SHA256())).decode()
    cuts = {**told, "authorization": header.replace(seal, again)}
    assert isinstance(signing(at(cut, cuts), NOW), Accepted)
    front, _, rest = cut.partition(b"|")
    moved = {**cuts, "content-type": f"application/json|{front.decode()}"}
    assert signing(at(rest, moved), NOW) == Refused("malformed")
    assert signing(at(body, {}, "a-secret-route"), NOW) == Refused("signature"), "with a key a signature is wanted"
    assert signing(at(body, {**told, "authorization": header.replace("sha256", "sha1")}), NOW) == Refused("malformed")
    aged = receiver(rules, *pems, url=public, tolerance_seconds=300).judge
    assert isinstance(aged(at(body, told), NOW), Accepted)
    assert aged(at(body, told), NOW + timedelta(seconds=301)) == Refused("stale")
    unsigned = receiver(rules, "a-secret-route", url=public).judge
    found = unsigned(at(body, told, "a-secret-route"), NOW)
    assert isinstance(found, Accepted) and not Delivery(body, Headers(found.headers)).signed
    assert unsigned(at(body, told), NOW) == Refused("signature")


SCHEMES = ["airbnb", "hmac_sha256", "hmac_sha1", "standard", "stripe", "attio", "maintainx", "twilio", "none"]
NAMES = ["x-signature", "authorization", "date", "stripe-signature", "svix-id", "svix-timestamp", "svix-signature",
         "webhook-id", "webhook-timestamp", "webhook-signature", "attio-signature", "x-twilio-signature", "content-type",
         "x-maintainx-webhook-body-signature"]  # fmt: skip
PEM = """-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALuU4vV+nUuC3l3KNWvS3bzbtNPUCjCbA2oAVo0wJcKrUEKLIYJUSDyl
-----END PUBLIC KEY-----"""
"""Not a key: with it nothing may fit."""
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
    judge = receiver(
        rules, KEY, PEM if scheme == "airbnb" else KEY, url="https://sync.example.com/webhooks/acme/one"
    ).judge
    verdict = judge(Delivery(body, Headers(headers), url, route=route), NOW)
    assert isinstance(verdict, Refused)
    assert verdict.reason in {"signature", "stale", "malformed"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "a", "at"]), inner, max_size=4)
    ),
    max_leaves=12,
)
BODIES = st.one_of(
    JSON.map(dumps), st.binary(max_size=60), st.sampled_from([b"[" * 2000, b'{"id": "\\ud800", "type": "\\u0000"}'])
)


@given(body=BODIES, odd=st.text(alphabet=st.characters(codec=None, exclude_characters="\r\n"), max_size=20))
def test_whatever_the_partner_signed_is_let_in_named_alike_each_time_and_can_be_stored(body: bytes, odd: str) -> None:
    rules = {**STRIPE, "composite": ["a", "at || @body"], "routes": {"x": "things"}, "id": "id"}
    judged = receiver(rules, KEY).judge
    first, again = (judged(signed(body, **{"content-type": odd}), NOW) for _ in range(2))
    assert isinstance(first, Accepted) and isinstance(again, Accepted)
    assert first.event_id == again.event_id or first.event_id[0] == again.event_id[0] == "~"
    for text in (first.event_id, first.event_type, *first.headers.values()):
        text.encode()  # PostgreSQL's text is UTF-8, without NUL
        assert "\0" not in text and len(text) <= 1_000
    assert 0 < len(first.event_id) <= 200
