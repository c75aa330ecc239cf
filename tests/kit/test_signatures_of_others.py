"""Our verifiers against the senders' own packages, both ways: what they sign we take, what we sign they take, and what one
refuses the other does too."""

from __future__ import annotations

import base64
import hashlib
import time
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
import stripe
from hypothesis import example, given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError
from twilio.request_validator import RequestValidator

from syncd.kit import Delivery, Headers, RestDriver, Secret, Verdict, signatures
from syncd.kit.reading import parse
from syncd.kit.verifying import Verifier

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
KEYS = st.binary(min_size=1, max_size=64)
AGES = st.integers(-290, 290)


def verifier(scheme: str, *secrets: str) -> Verifier:
    driver = RestDriver(parse({"name": "acme", "webhooks": {"verify": scheme}}))
    return driver.verifier([Secret(secret) for secret in secrets])


# Stripe


@given(body=TEXT, secret=SECRETS, other=SECRETS, age=AGES)
def test_what_stripe_signs_is_taken_and_what_we_sign_stripe_takes(body: str, secret: str, other: str, age: int) -> None:
    now = time.time()
    stamp = int(now) - age
    header = stripe.WebhookSignature.generate_signature_header(body, f"whsec_{secret}", stamp)
    delivery = Delivery(body.encode(), Headers({"Stripe-Signature": header}))
    assert verifier("stripe", f"whsec_{secret}")(delivery, now) is Verdict.FITS
    assert verifier("stripe", f"whsec_{other}")(delivery, now) is (Verdict.FITS if other == secret else Verdict.FORGED)
    ours = signatures.sign_stamped(body.encode(), str(stamp), f"whsec_{secret}")
    assert stripe.WebhookSignature.verify_header(body, ours, f"whsec_{secret}", 300)


@given(body=TEXT, flipped=st.integers(0, 200), age=st.integers(310, 10**6))
def test_what_stripe_refuses_is_refused(body: str, flipped: int, age: int) -> None:
    now = time.time()
    late = signatures.sign_stamped(body.encode(), str(int(now) - age), "whsec_x")
    with pytest.raises(stripe.SignatureVerificationError, match="tolerance"):
        stripe.WebhookSignature.verify_header(body, late, "whsec_x", 300)
    assert (
        verifier("stripe", "whsec_x")(Delivery(body.encode(), Headers({"stripe-signature": late})), now)
        is Verdict.STALE
    )
    sound = signatures.sign_stamped(body.encode(), str(int(now)), "whsec_x")
    at = flipped % len(sound)
    broken = sound[:at] + ("0" if sound[at] != "0" else "1") + sound[at + 1 :]
    try:
        theirs = bool(stripe.WebhookSignature.verify_header(body, broken, "whsec_x", 300))
    except stripe.SignatureVerificationError:
        theirs = False
    ours = verifier("stripe", "whsec_x")(Delivery(body.encode(), Headers({"stripe-signature": broken})), now)
    assert bool(ours) == theirs


# Standard Webhooks and Svix


@given(body=TEXT, key=KEYS, other=KEYS, identifier=st.from_regex(r"[A-Za-z0-9_]{1,30}", fullmatch=True), age=AGES)
@example(body="{}", key=b"x", other=b"y", identifier="msg_1", age=0)
@pytest.mark.parametrize("brand", ["svix", "webhook"])
@pytest.mark.parametrize("padded", [True, False])
def test_what_standard_webhooks_signs_is_taken_and_the_other_way_round(
    brand: str, padded: bool, body: str, key: bytes, other: bytes, identifier: str, age: int
) -> None:
    now = time.time()
    stamp = int(now) - age
    secret = "whsec_" + base64.b64encode(key).decode()
    secret = secret if padded else secret.rstrip("=")
    signed = Webhook(secret).sign(identifier, datetime.fromtimestamp(stamp, UTC), body)
    told = {f"{brand}-id": identifier, f"{brand}-timestamp": str(stamp), f"{brand}-signature": signed}
    delivery = Delivery(body.encode(), Headers(told))
    assert verifier("standard", secret)(delivery, now) is Verdict.FITS
    fits = verifier("standard", "whsec_" + base64.b64encode(other).decode())(delivery, now)
    # HMAC pads a key with zeroes: two that differ by nothing else are one.
    assert bool(fits) == (other.rstrip(b"\0") == key.rstrip(b"\0"))
    ours = {
        "webhook-id": identifier,
        "webhook-timestamp": str(stamp),
        "webhook-signature": "v1a,x " + signatures.sign_standard(body.encode(), identifier, str(stamp), secret),
    }
    Webhook(secret).verify(body, ours, json_parse=False)


@given(body=TEXT, age=st.integers(310, 10**6), sign=st.sampled_from([1, -1]))
def test_what_standard_webhooks_calls_too_old_or_too_new_is_stale(body: str, age: int, sign: int) -> None:
    now, secret = time.time(), "whsec_" + base64.b64encode(b"a key of ours").decode()
    stamp = str(int(now) - sign * age)
    told = {
        "webhook-id": "m", "webhook-timestamp": stamp,
        "webhook-signature": signatures.sign_standard(body.encode(), "m", stamp, secret),
    }  # fmt: skip
    with pytest.raises(WebhookVerificationError, match=r"too (old|new)"):
        Webhook(secret).verify(body, told, json_parse=False)
    assert verifier("standard", secret)(Delivery(body.encode(), Headers(told)), now) is Verdict.STALE


# Twilio

FORM = "application/x-www-form-urlencoded"
HOSTS = st.sampled_from(["https://sync.example.com", "https://sync.example.com:443", "http://sync.example.com",
                         "http://sync.example.com:80", "https://sync.example.com:8443"])  # fmt: skip
QUERIES = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "x y", "é"]), max_size=2).map(
    lambda found: f"?{urlencode(found)}" if found else ""
)
FORMS = st.dictionaries(TEXT.filter(bool), TEXT, max_size=5)


def twilio(secret: str, url: str, body: bytes, kind: str, **headers: str) -> Verdict:
    delivery = Delivery(
        body, Headers({"content-type": kind, **{k.replace("_", "-"): v for k, v in headers.items()}}), url
    )
    return verifier("twilio", secret)(delivery, 0.0)


@given(host=HOSTS, query=QUERIES, form=FORMS, secret=SECRETS, other=SECRETS, shared=st.booleans())
def test_what_twilio_signs_is_taken_and_what_we_sign_twilio_takes(
    host: str, query: str, form: dict[str, str], secret: str, other: str, shared: bool
) -> None:
    url = f"{host}/webhooks/twilio/one{query}"
    body = urlencode(form).encode()
    algorithm = "HMAC_SHA256" if shared else "HMAC_SHA1"
    settings = (
        {"x_twilio_webhooks_signature_settings": f"key=webhooks_sharedkey_1,algorithm={algorithm}"} if shared else {}
    )
    signed = RequestValidator(secret).compute_signature(url, form, algorithm)
    told = {"x_twilio_signature": signed, **settings}
    assert twilio(secret, url, body, FORM, **told) is Verdict.FITS
    assert bool(twilio(other, url, body, FORM, **told)) == (other == secret)
    assert twilio(secret, url, body + b"&x=1", FORM, **told) is Verdict.FORGED
    assert RequestValidator(secret).validate(url, form, signatures.sign_twilio(url, form, secret))


@given(body=TEXT.filter(bool), secret=SECRETS)
def test_twilios_json_is_covered_by_its_hash_in_the_address_and_refused_without_one(body: str, secret: str) -> None:
    validator = RequestValidator(secret)
    url = f"https://sync.example.com/hooks?bodySHA256={hashlib.sha256(body.encode()).hexdigest()}"
    signed = validator.compute_signature(url, {})
    assert validator.validate(url, body, signed)
    assert twilio(secret, url, body.encode(), "application/json", x_twilio_signature=signed) is Verdict.FITS
    assert not validator.validate(url, body + " ", signed)
    assert twilio(secret, url, body.encode() + b" ", "application/json", x_twilio_signature=signed) is Verdict.FORGED
    # Of an address alone, as of a GET to it, a signature would fit any body.
    plain = "https://sync.example.com/hooks"
    bare = validator.compute_signature(plain, {})
    assert twilio(secret, plain, body.encode(), "application/json", x_twilio_signature=bare) is Verdict.FORGED
    assert twilio(secret, plain, body.encode(), "text/plain", x_twilio_signature=bare) is Verdict.FORGED


@given(pairs=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), max_size=6))
def test_a_repeated_name_counts_once_for_each_of_its_values(pairs: list[tuple[str, str]]) -> None:
    class Many(dict[str, str]):
        def getall(self, name: str) -> list[str]:
            return [value for known, value in pairs if known == name]

    url = "https://sync.example.com/hooks"
    signed = RequestValidator("token").compute_signature(url, Many(pairs))
    assert twilio("token", url, urlencode(pairs).encode(), FORM, x_twilio_signature=signed) is Verdict.FITS
