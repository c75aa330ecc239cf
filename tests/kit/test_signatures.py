"""Signatures of deliveries, checked against the vectors in the partners' facts and against forgeries."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.kit import signatures

ATTIO_SECRET = "5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592"
ATTIO_BODY = (
    b'{"webhook_id":"6f1d2c3b-4a59-4e68-9b7c-0d1e2f3a4b5c","events":[{"event_type":"record.updated","id":{"workspace_id":'
    b'"0a1b2c3d-4e5f-4061-8293-a4b5c6d7e8f9","object_id":"1b2c3d4e-5f60-4172-93a4-b5c6d7e8f90a","record_id":'
    b'"2c3d4e5f-6071-4283-a4b5-c6d7e8f90a1b","attribute_id":"3d4e5f60-7182-4394-b5c6-d7e8f90a1b2c"},"actor":{"type":'
    b'"workspace-member","id":"4e5f6071-8293-44a5-86d7-e8f90a1b2c3d"}}]}'
)
ATTIO_SIGNATURE = "5bf6bedc13def914b010f5f1a126dfa985f334966e83fb5d389a6d3e04a4f828"

GUESTY_SECRET = "whsec_c3ludGhldGljLWd1ZXN0eS13ZWJob29rLWtleS0zMmI="  # not-a-secret
GUESTY_BODY = (
    b'{"event":"listing.updated","listing":{"_id":"64f0c0ffee0000000000a001","accountId":"64f0c0ffee00000000000001",'
    b'"nickname":"Harbour Loft 2B","title":"Bright loft by the old harbour","active":true,"isListed":true},"meta":'
    b'{"eventId":"evt-7d0a5b1e","messageId":"msg-2b91c4f0"}}'
)
GUESTY_ID, GUESTY_TIME = "msg_2abCdEfGhIjKlMnOpQrStUvWxYz", "1795000000"
GUESTY_SIGNATURE = "v1,nJVhmLBEsU8WpC3FP212BLJjb5wY4tMHc0JSL9YAYvU="

MX_SECRET = "mx_whsec_7Qd2vK0rTn"
MX_BODY = (
    b'{"workOrderId":7301245,"orgId":4412,"oldStatus":"IN_PROGRESS","newStatus":"DONE","newSubStatus":"CANCELED",'
    b'"progress":{"inProgressCount":2,"onHoldCount":1,"doneCount":1},"occurredAt":"2026-03-04T09:15:27.311Z","userId":88213}'
)
MX_BODY_MS = (
    b'{"workOrderId":7301302,"orgId":4412,"occurredAt":"2026-03-04T10:02:11.000Z","WorkOrder":{"title":'
    b'"Replace belt guard","priority":"LOW","assetId":null,"assigneeIds":[],"teamIds":[12]}}'
)
MX_URI = b"https://sync.example.com/hooks/maintainx/WORK_ORDER_STATUS_CHANGE"
MX_V1 = "e0c3156146407222b6dbda970c32f1b51a21cd9b4d5015a6b416bc89b593c34c"
MX_URI_V1 = "512b1c5177614ceedf180204ed6cf24766ca421257cad9f7bb5023de1416a0f2"
MX_MS_V1 = "52fce19c9b396af96529c8b0dd543d18bc54b6fcadd44af980d37458f8eee9a9"

HOSTILE = [
    "",
    "é",
    "\udcff",
    "v1,é",
    "t=é,v1=é",
    "t=1" * 100,
    "t=,v1=",
    "=",
    ",",
    "v1,",
    "\0",
    "t=1e9,v1=00",
    "t=-5,v1=0",
]


def test_attios_own_vector_is_accepted() -> None:
    assert signatures.attio(ATTIO_BODY, ATTIO_SIGNATURE, [ATTIO_SECRET])
    assert signatures.attio(ATTIO_BODY, ATTIO_SIGNATURE.upper(), ["other", ATTIO_SECRET])
    assert not signatures.attio(ATTIO_BODY + b"\n", ATTIO_SIGNATURE, [ATTIO_SECRET])
    assert not signatures.attio(ATTIO_BODY, ATTIO_SIGNATURE, ["other"])
    assert not signatures.attio(ATTIO_BODY, ATTIO_SIGNATURE[:-1], [ATTIO_SECRET])
    assert not signatures.attio(ATTIO_BODY, ATTIO_SIGNATURE, [])


def guesty(now: float, **change: object) -> bool:
    given = {"body": GUESTY_BODY, "identifier": GUESTY_ID, "timestamp": GUESTY_TIME, "header": GUESTY_SIGNATURE}
    given |= {"secrets": [GUESTY_SECRET], **change}
    keys = signatures.standard_keys(given.pop("secrets"))  # type: ignore[arg-type]
    return bool(signatures.standard(**given, keys=keys, now=now))  # type: ignore[arg-type]


def test_guestys_own_vector_is_accepted_within_five_minutes_of_its_time() -> None:
    at = float(GUESTY_TIME)
    assert all(guesty(at + seconds) for seconds in (-300, 0, 300))
    assert not any(guesty(at + seconds) for seconds in (-301, 301, 10**9))


def test_a_standard_signature_covers_id_time_and_body_and_any_of_several_may_fit() -> None:
    at = float(GUESTY_TIME)
    other = "v1," + "A" * 43 + "="
    assert guesty(at, header=f"v2,xyz {other} {GUESTY_SIGNATURE}", secrets=["whsec_bm9wZQ==", GUESTY_SECRET])
    assert not guesty(at, identifier=GUESTY_ID + "x")
    assert not guesty(at, timestamp=str(int(at) + 1))
    assert not guesty(at, body=GUESTY_BODY + b" ")
    assert not guesty(at, header=GUESTY_SIGNATURE.replace("v1,", "v2,"))
    assert not guesty(at, header=" ".join([other] * 16 + [GUESTY_SIGNATURE]))
    assert not guesty(at, secrets=["whsec_not base64!", ""])
    assert not guesty(at, header=None)
    assert signatures.sign_standard(GUESTY_BODY, GUESTY_ID, GUESTY_TIME, GUESTY_SECRET) == GUESTY_SIGNATURE


def test_an_empty_key_never_signs() -> None:
    forged = (
        "v1," + b64encode(hmac.digest(b"", f"{GUESTY_ID}.{GUESTY_TIME}.".encode() + GUESTY_BODY, "sha256")).decode()
    )
    assert not guesty(float(GUESTY_TIME), header=forged, secrets=["", "whsec_"])
    assert not signatures.attio(b"{}", hmac.digest(b"", b"{}", "sha256").hex(), [""])
    assert not signatures.stripe(b"{}", signatures.sign_stamped(b"{}", "100", ""), [""], 100.0)
    assert not signatures.twilio(TWILIO_URL, b"", "", signatures.sign_twilio(TWILIO_URL, {}, ""), [""])


def test_maintainxs_own_vectors_are_accepted_in_seconds_and_milliseconds() -> None:
    at = 1772615728.0
    assert signatures.maintainx(MX_BODY, f"t=1772615728,v1={MX_V1}", [MX_SECRET], at)
    assert signatures.maintainx(MX_URI, f"t=1772615728,v1={MX_URI_V1}", [MX_SECRET], at + 299)
    assert signatures.maintainx(MX_BODY_MS, f"t=1772618532000,v1={MX_MS_V1},v9=x", [MX_SECRET], 1772618532.0)
    assert not signatures.maintainx(MX_BODY, f"t=1772615728,v1={MX_V1}", [MX_SECRET], at + 301)
    assert not signatures.maintainx(MX_BODY, f"t=1772615729,v1={MX_V1}", [MX_SECRET], at)


def stripe_header(body: bytes, at: int, *secrets: str) -> str:
    signed = f"{at}.".encode() + body
    return (
        f"t={at},"
        + ",".join(f"v1={hmac.new(s.encode(), signed, hashlib.sha256).hexdigest()}" for s in secrets)
        + ",v0=00"
    )


def test_stripes_scheme_takes_any_of_the_signatures_and_secrets_and_refuses_old_times() -> None:
    body, at = b'{"id": "evt_1"}', 1788336000
    header = stripe_header(body, at, "whsec_old", "whsec_new")
    assert signatures.stripe(body, header, ["whsec_new"], at + 300.0)
    assert signatures.stripe(body, header, ["whsec_x", "whsec_old"], at)
    assert signatures.stripe(body, header, ["whsec_new"], at - 10_000), (
        "its own libraries let a time ahead of ours pass"
    )
    assert not signatures.stripe(body, header, ["whsec_new"], at - 10_000, future=False)
    assert not signatures.stripe(body, header, ["whsec_new"], at + 301)
    assert not signatures.stripe(body + b" ", header, ["whsec_new"], at)
    assert not signatures.stripe(body, header.replace("v1=", "v0="), ["whsec_new"], at)
    assert header.startswith(signatures.sign_stamped(body, str(at), "whsec_old"))


TWILIO_URL = "https://sync.example.com/hooks/twilio?integration=1"
TWILIO_FORM = {"To": "+4520550199", "From": "+4515550100", "MessageStatus": "undelivered", "Body": " kept + "}


def twilio(
    form: dict[str, str], signature: str | None, url: str = TWILIO_URL, secret: str = "token"
) -> signatures.Verdict:
    body = urlencode(form).encode()
    return signatures.twilio(url, body, "application/x-www-form-urlencoded; charset=utf-8", signature, [secret])


def test_twilios_published_example_is_accepted() -> None:
    form = {
        "CallSid": "CA1234567890ABCDE", "Caller": "+14158675310", "Digits": "1234", "From": "+14158675310",
        "To": "+18005551212",
    }  # fmt: skip
    assert twilio(form, "GvWf1cFY/Q7PnoempGyD5oXAezc=", "https://mycompany.com/myapp.php?foo=1&bar=2", "12345")


def test_twilios_form_is_signed_sorted_and_unchanged_with_or_without_the_port() -> None:
    plain = signatures.sign_twilio(TWILIO_URL, TWILIO_FORM, "token")
    with_port = signatures.sign_twilio(TWILIO_URL.replace(".com/", ".com:443/"), TWILIO_FORM, "token")
    assert plain != with_port
    assert twilio(TWILIO_FORM, plain)
    assert twilio(TWILIO_FORM, with_port)
    assert twilio(TWILIO_FORM, plain, TWILIO_URL.replace(".com/", ".com:443/"))
    assert not twilio({**TWILIO_FORM, "Body": "kept + "}, plain)
    assert not twilio(TWILIO_FORM, plain, TWILIO_URL + "&x=1")
    assert not twilio(TWILIO_FORM, plain, secret="other")
    assert not twilio(TWILIO_FORM, None)


def test_a_repeated_parameter_of_a_form_counts_each_value_once() -> None:
    text = TWILIO_URL + "MediaUrla" + "MediaUrlb"
    signature = b64encode(hmac.digest(b"token", text.encode(), "sha1")).decode()
    body = b"MediaUrl=b&MediaUrl=a&MediaUrl=b"
    assert signatures.twilio(TWILIO_URL, body, "application/x-www-form-urlencoded", signature, ["token"])


def test_twilios_json_body_is_covered_by_its_hash_in_the_url() -> None:
    body = b'{"a": 1}'
    url = f"{TWILIO_URL}&bodySHA256={hashlib.sha256(body).hexdigest()}"
    signature = signatures.sign_twilio(url, {}, "token")
    assert signatures.twilio(url, body, "application/json", signature, ["token"])
    assert not signatures.twilio(url, body + b" ", "application/json", signature, ["token"])


def test_a_plain_hmac_comes_in_hex_or_base64_with_or_without_a_prefix() -> None:
    digest = hmac.digest(b"k", b"body", "sha256")
    assert signatures.hmac_body(b"body", "sha256=" + digest.hex(), ["k"], prefix="sha256=")
    assert signatures.hmac_body(b"body", b64encode(digest).decode(), ["x", "k"], encoding="base64")
    assert signatures.hmac_body(b"body", hmac.digest(b"k", b"body", "sha1").hex(), ["k"], algorithm="sha1")
    assert not signatures.hmac_body(b"body", digest.hex(), ["k"], prefix="sha256=")
    assert not signatures.hmac_body(b"body", b64encode(digest).decode().lower(), ["k"], encoding="base64")


def test_a_secret_in_the_url_is_compared_whole() -> None:
    assert signatures.secret_in_url("3kq9Zr0V7sYwT2", ["x", "3kq9Zr0V7sYwT2"])
    assert not any(signatures.secret_in_url(given, ["3kq9Zr0V7sYwT2"]) for given in (None, "", "3kq9", "é\udcff"))
    assert not signatures.secret_in_url("", [""])


def every_verifier(header: str, body: bytes, secret: str, now: float) -> list[bool]:
    return [
        signatures.attio(body, header, [secret]),
        signatures.stripe(body, header, [secret], now),
        signatures.maintainx(body, header, [secret], now),
        signatures.standard(body, header, header, header, signatures.standard_keys([secret]), now),
        signatures.twilio(header, body, "application/x-www-form-urlencoded", header, [secret]),
        signatures.twilio(f"https://x/?bodySHA256={header}", body, "application/json", header, [secret]),
        signatures.hmac_body(body, header, [secret], encoding="base64"),
    ]


@pytest.mark.parametrize("header", HOSTILE)
def test_hostile_headers_are_simply_wrong(header: str) -> None:
    assert not any(every_verifier(header, b"\xff\0", "secret", 1.0))


@given(st.text(max_size=60), st.binary(max_size=40), st.text(max_size=10))
def test_no_input_makes_a_verifier_raise_or_pass(header: str, body: bytes, secret: str) -> None:
    assert not any(every_verifier(header, body, secret, 1795000000.0))


def test_a_form_larger_than_any_of_twilios_is_not_decoded() -> None:
    fits, beyond = b"a=" + b"%41" * 10_500, b"a=" + b"%41" * 11_000
    kind = "application/x-www-form-urlencoded"
    for body, verdict in ((fits, signatures.Verdict.FITS), (beyond, signatures.Verdict.MALFORMED)):
        signature = signatures.sign_twilio(TWILIO_URL, {"a": "A" * ((len(body) - 2) // 3)}, "token")
        assert signatures.twilio(TWILIO_URL, body, kind, signature, ["token"]) is verdict


@pytest.mark.parametrize("form", [b"&".join(b"a%d=forged" % number for number in range(1001)), b"=", b"&&"])
def test_a_signature_of_an_address_alone_fits_no_form(form: bytes) -> None:
    """As of a JSON request: its body is covered by the hash in the address, which a form is not compared with."""
    url = f"{TWILIO_URL}&bodySHA256={hashlib.sha256(b'{}').hexdigest()}"
    signature = signatures.sign_twilio(url, {}, "token")
    kind = "application/x-www-form-urlencoded"
    assert signatures.twilio(url, form, kind, signature, ["token"]) is signatures.Verdict.MALFORMED


def test_every_secret_is_tried_even_after_one_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a comparison must not tell which of two secrets is in use."""
    tried: list[str | bytes] = []
    original = signatures.keyed

    def counted(key: str | bytes, *arguments: object) -> signatures.Hmac:
        tried.append(key)
        return original(key, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(signatures, "keyed", counted)
    assert signatures.attio(ATTIO_BODY, ATTIO_SIGNATURE, [ATTIO_SECRET, "b", "c"])
    assert tried == [ATTIO_SECRET, "b", "c"]


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_a_key_prepared_once_makes_the_same_hmac(key: bytes, message: bytes) -> None:
    for algorithm in ("sha256", "sha1"):
        prepared = signatures.keyed(key, algorithm)  # type: ignore[arg-type]
        assert prepared.digest(message) == prepared.digest(message) == hmac.digest(key, message, algorithm)


@pytest.mark.parametrize("seal", ["abc=", "x" * 28, "A" * 27, "A" * 4000, "GvWf1cFY/Q7PnoempGyD5oXAezc", "é" * 28])
def test_what_cannot_be_a_signature_of_twilios_costs_no_reading_of_the_form(
    seal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(body: bytes) -> str:
        raise AssertionError("the form was read")

    monkeypatch.setattr(signatures, "_form_text", read)
    kind = "application/x-www-form-urlencoded"
    assert not signatures.twilio(TWILIO_URL, b"A=1", kind, seal, ["token"])


def test_a_form_of_more_fields_than_twilio_sends_is_not_read() -> None:
    many = {f"Field{number}": "1" for number in range(signatures.MOST_FIELDS + 1)}
    assert not twilio(many, signatures.sign_twilio(TWILIO_URL, many, "token"))
    some = dict(list(many.items())[: signatures.MOST_FIELDS])
    assert twilio(some, signatures.sign_twilio(TWILIO_URL, some, "token"))
    assert signatures.MOST_FIELDS <= 200
