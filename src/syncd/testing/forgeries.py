"""Deliveries as any driver must judge them: really signed ones come in, altered, forged and stale ones do not.

Each function raises AssertionError when a driver does otherwise. What a partner would send is signed here by every scheme
there is, with secrets and keys of our own.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from syncd.kit import Delivery, Driver, Headers, Secret
from syncd.kit.deliveries import Webhooks
from syncd.kit.signing import signed
from syncd.kit.verifying import URI_SIGNATURE, times
from syncd.testing.sample_plays import NOW
from syncd.testing.samples import Sample

_SECRET: Final = "whsec_dGhlLXNlY3JldC1vZi1vdXItc3VpdGU="  # noqa: S105 - nobody's: not-a-secret
_OTHER: Final = "whsec_bm90LXRoZS1zZWNyZXQ="
_URL: Final = "https://syncd.example/webhooks/partner/integration"


def knows_its_own_deliveries(driver: Driver, samples: Sequence[Sample]) -> None:
    """What is really signed is let in; the same with anything changed is not, nor with another secret."""
    rules = driver.spec.webhooks
    if rules is None or _verifies_itself(driver):
        return
    for delivery in _deliveries(rules, samples):
        true, secret = _signed(rules, delivery, NOW)
        what = delivery.body[:40]
        assert driver.verify(true, [Secret(secret)], NOW), f"{what!r}: signed, and refused"
        assert driver.verify(true, [Secret(_OTHER), Secret(secret)], NOW), f"{what!r}: refused while two are valid"
        wrong = [Secret(_other(rules))]
        assert not driver.verify(true, wrong, NOW), f"{what!r}: let in with another secret"
        for how, forged in _forgeries(rules, true, secret):
            assert not driver.verify(forged, [Secret(secret)], NOW), f"{what!r}: let in with {how}"


def refuses_what_is_stale(driver: Driver, samples: Sequence[Sample]) -> None:
    """Where a time is signed, a delivery of long ago is not let in."""
    rules = driver.spec.webhooks
    if rules is None or not times(rules) or _verifies_itself(driver):
        return
    for delivery in _deliveries(rules, samples):
        stale, secret = _signed(rules, delivery, NOW - timedelta(seconds=rules.tolerance + 60))
        assert not driver.verify(stale, [Secret(secret)], NOW), "let in long after it was signed"
        late, secret = _signed(rules, delivery, NOW - timedelta(seconds=rules.tolerance / 2))
        assert driver.verify(late, [Secret(secret)], NOW), "refused although it is in time"


def knows_a_second_try(driver: Driver, samples: Sequence[Sample]) -> None:
    """A delivery that comes again, signed anew, has the id it had."""
    rules = driver.spec.webhooks
    if rules is None:
        return
    for sample in samples:
        if sample.kind != "webhook" or not sample.content.get("event_id"):
            continue
        delivery = _of(sample)
        known = driver.event_id(delivery)
        again = replace_headers(delivery, _again(rules, delivery))
        assert driver.event_id(again) == known, f"{sample}: signed anew it is another delivery"


def _again(rules: Webhooks, delivery: Delivery) -> dict[str, str]:
    """Its headers a minute later: the time and the signature are others, the id is not."""
    if rules.known_by_url:
        return dict(delivery.headers)
    fresh = signed(rules, delivery, _SECRET, (NOW + timedelta(minutes=1)).timestamp())
    return {**delivery.headers, **fresh}


def replace_headers(delivery: Delivery, headers: Mapping[str, str]) -> Delivery:
    """The delivery with other headers."""
    return Delivery(delivery.body, Headers(dict(headers)), delivery.url, delivery.method, delivery.route)


def _verifies_itself(driver: Driver) -> bool:
    """Has it a scheme of its own? Then its samples say what is let in."""
    kind = type(driver)
    return any(not getattr(kind, name).__module__.startswith("syncd.kit.") for name in ("verify", "verifier"))


def _of(sample: Sample) -> Delivery:
    told = sample.content
    body, url = str(told["body"]).encode(), str(told.get("url", ""))
    return Delivery(body, Headers(told["headers"]), url, route=str(told.get("route", "")))


def _deliveries(rules: Webhooks, samples: Sequence[Sample]) -> Iterator[Delivery]:
    """Those of the samples, else one of nothing; without their signatures."""
    stated = [_of(one) for one in samples if one.kind == "webhook"]
    form = rules.verify == "twilio"
    plain = (b"a=1", "application/x-www-form-urlencoded") if form else (b'{"a": 1}', "application/json")
    for one in stated or [Delivery(plain[0], Headers({"content-type": plain[1]}), _URL)]:
        kept = {name: value for name, value in one.headers.items() if not _seals(rules, name)}
        if rules.verify == "standard":
            kept["svix-id"] = one.headers.get("svix-id") or one.headers.get("webhook-id") or "msg_1"
        if rules.verify == "airbnb":
            kept |= {"date": _http(NOW), "content-type": one.headers.get("content-type") or "application/json"}
        yield Delivery(one.body, Headers(kept), one.url or _URL, one.method)


def _seals(rules: Webhooks, name: str) -> bool:
    return "signature" in name or name in {(rules.header or "").lower(), "webhook-id", "webhook-timestamp"}


def _signed(rules: Webhooks, delivery: Delivery, at: datetime) -> tuple[Delivery, str]:
    """The delivery as its partner would send it at that moment, and the secret it is known by."""
    if rules.verify == "airbnb":
        private, public = _keys()
        return replace_headers(delivery, {**delivery.headers, **_by_rsa(delivery, private)}), public
    if rules.known_by_url:
        return Delivery(delivery.body, delivery.headers, delivery.url, delivery.method, _SECRET), _SECRET
    return replace_headers(delivery, {**delivery.headers, **signed(rules, delivery, _SECRET, at.timestamp())}), _SECRET


def _other(rules: Webhooks) -> str:
    return _keys(1)[1] if rules.verify == "airbnb" else _OTHER


def _forgeries(rules: Webhooks, true: Delivery, secret: str) -> Iterator[tuple[str, Delivery]]:
    """Everything anybody on the way could change."""
    if rules.known_by_url and rules.verify != "airbnb":
        for route in ("", secret[:-1], secret + "x", secret.swapcase()):
            yield f"the address {route[:4]}...", Delivery(true.body, true.headers, true.url, true.method, route)
        return
    if rules.verify != "issued_token":  # which says who sends, not what
        yield "another body", Delivery(true.body + b" ", true.headers, true.url, true.method)
        yield "no body", Delivery(b"", true.headers, true.url, true.method)
    yield "no headers", Delivery(true.body, Headers(), true.url, true.method)
    own = {"authorization"} if rules.verify == "airbnb" else set(signed(rules, true, secret, NOW.timestamp()))
    if rules.signed_url != "reject":
        own.discard(URI_SIGNATURE)  # an address that does not fit costs what was told, and not the delivery
    for name in sorted(own):
        value = true.headers[name]
        cut = len(value) - 6 if len(value) > 8 else 0
        other = value[:cut] + ("b" if value[cut] != "b" else "c") + value[cut + 1 :]
        for changed in (other, value[:cut], ""):
            yield f"{name} changed", replace_headers(true, {**true.headers, name: changed})
        if "t=" in value:
            stamp = value.partition("t=")[2].partition(",")[0]
            later = value.replace(f"t={stamp}", f"t={int(stamp) + 1}", 1)
            yield "another time", replace_headers(true, {**true.headers, name: later})
    if rules.verify in {"twilio", "airbnb"}:
        elsewhere = urlsplit(true.url)._replace(path=urlsplit(true.url).path + "x").geturl()
        yield "another address", Delivery(true.body, true.headers, elsewhere, true.method)
    if rules.verify == "twilio" and "form" in str(true.headers.get("content-type", "")):
        pairs = parse_qsl(true.body.decode(), keep_blank_values=True)
        more = urlencode([*pairs, ("MessageStatus", "delivered")]).encode()
        yield "one parameter more", Delivery(more, true.headers, true.url, true.method)


@cache
def _keys(number: int = 0) -> tuple[Any, str]:
    """A pair of RSA keys of our own: the private one, and the public one as text."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private, public.decode()


def _by_rsa(delivery: Delivery, private: Any) -> dict[str, str]:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    parts = urlsplit(delivery.url)
    said = (
        parts.hostname or "",
        parts.path,
        delivery.method,
        delivery.headers["date"],
        delivery.headers["content-type"],
    )
    seal = private.sign("|".join(said).encode() + b"|" + delivery.body, PKCS1v15(), SHA256())
    told = f'Signature keyId="k",algorithm="rsa-sha256",signature="{base64.b64encode(seal).decode()}"'
    return {"authorization": told}


def _http(at: datetime) -> str:
    return format_datetime(at.astimezone(UTC), usegmt=True)
