"""From a description's rules to a verifier: which header holds what, decided once and not for each delivery.

The mathematics lives in `signatures.py`. A partner that signs nothing (`verify: none`) is known by a secret in its URL:
the last part of `/webhooks/{partner}/{integration}/{secret}`. Its deliveries say only where to look again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from syncd.kit import issuing, signatures
from syncd.kit.deliveries import Webhooks
from syncd.kit.signatures import Verdict
from syncd.kit.webhooks import Delivery

_SHARED_KEY: Final = re.compile(r"(?:^|,)\s*algorithm\s*=\s*HMAC_SHA256\s*(?:,|$)", re.IGNORECASE)
"""Twilio's word, beside a signature, for the longer hash (twilio-python 9.13, 2026)."""

URI_SIGNATURE: Final = "x-maintainx-webhook-uri-signature"

Verifier = Callable[[Delivery, float], Verdict]
"""Takes a delivery and our clock's Unix seconds. Works on the raw bytes, in constant time."""


HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "attio": ("attio-signature", "x-attio-signature"),
    "stripe": ("stripe-signature",),
    "maintainx": ("x-maintainx-webhook-body-signature",),
    "standard": ("webhook-signature", "svix-signature"),
    "twilio": ("x-twilio-signature",),
    "airbnb": ("authorization",),
    "issued_token": ("authorization",),
}
"""By scheme: where the signature stands, where the rules name no other place."""


def signature_headers(rules: Webhooks) -> tuple[str, ...]:
    """Where a delivery bears its signature, in lower case; none where it is known by its address alone."""
    return (rules.header.lower(),) if rules.header else HEADERS.get(rules.verify, ())


def verifier(rules: Webhooks, secrets: Sequence[str], *, tolerance_seconds: float | None = None) -> Verifier:
    """What the rules ask for, with these secrets. Without any, nothing is ever let in."""
    held = tuple(secret for secret in secrets if secret)
    tolerance = rules.tolerance if tolerance_seconds is None else tolerance_seconds
    named = rules.header.lower() if rules.header else None
    match rules.verify:
        case "hmac_sha256" | "hmac_sha1":
            return _hmac(rules, named or "", held)
        case "attio":
            return _attio(signature_headers(rules), held)
        case "stripe":
            return _stripe(signature_headers(rules)[0], held, tolerance)
        case "maintainx":
            return _maintainx(signature_headers(rules)[0], held, tolerance, rules.signed_url)
        case "standard":
            return _standard(named, held, tolerance)
        case "twilio":
            return _twilio(signature_headers(rules)[0], held)
        case "airbnb":
            return _airbnb(signature_headers(rules)[0], held, tolerance_seconds)
        case "issued_token":
            return issuing.verifier(held)
        case "none":
            return _known_by_url(held)


def times(rules: Webhooks) -> bool:
    """Does the scheme sign a time, so that an old delivery can be told?"""
    return rules.verify in {"stripe", "maintainx", "standard"}


def _hmac(rules: Webhooks, header: str, secrets: Sequence[str]) -> Verifier:
    algorithm: signatures.Algorithm = "sha1" if rules.verify == "hmac_sha1" else "sha256"

    def verify(delivery: Delivery, now: float) -> Verdict:
        given = delivery.headers.get(header)
        return signatures.hmac_body(
            delivery.body, given, secrets, algorithm=algorithm, encoding=rules.encoding, prefix=rules.prefix
        )

    return verify


def _attio(headers: Sequence[str], secrets: Sequence[str]) -> Verifier:
    def verify(delivery: Delivery, now: float) -> Verdict:
        given = next((found for header in headers if (found := delivery.headers.get(header))), None)
        return signatures.attio(delivery.body, given, secrets)

    return verify


def _stripe(header: str, secrets: Sequence[str], tolerance: float) -> Verifier:
    def verify(delivery: Delivery, now: float) -> Verdict:
        given = delivery.headers.get(header)
        return signatures.stripe(delivery.body, given, secrets, now, tolerance_seconds=tolerance)

    return verify


def signs_address(rules: Webhooks) -> bool:
    """Is what is judged the address, too?"""
    return rules.verify in {"twilio", "airbnb"} or (rules.verify == "maintainx" and rules.signed_url != "off")


def _maintainx(header: str, secrets: Sequence[str], tolerance: float, signed_url: str) -> Verifier:
    """By the body; what a signature of the address that is not ours means, nobody knows for sure (facts, section 9.4)."""

    def verify(delivery: Delivery, now: float) -> Verdict:
        given = delivery.headers.get(header)
        found = signatures.maintainx(delivery.body, given, secrets, now, tolerance_seconds=tolerance)
        if found is not Verdict.FITS or signed_url == "off" or not delivery.url or delivery.url.startswith("/"):
            return found
        of_url, url = delivery.headers.get(URI_SIGNATURE), delivery.url.encode("utf-8", "surrogateescape")
        if signatures.maintainx(url, of_url, secrets, now, tolerance_seconds=tolerance):
            return found
        return Verdict.FORGED if signed_url == "reject" else Verdict.DOUBTED

    return verify


def _standard(header: str | None, secrets: Sequence[str], tolerance: float) -> Verifier:
    keys = signatures.standard_keys(secrets)
    # Svix writes `svix-`, or `webhook-` for a sender that wants no name of Svix's to be seen.
    svix, plain = (
        (f"{brand}-id", f"{brand}-timestamp", header or f"{brand}-signature") for brand in ("svix", "webhook")
    )

    def verify(delivery: Delivery, now: float) -> Verdict:
        found = delivery.headers.lower
        identifier, stamp, seal = svix if "svix-id" in found else plain
        get = found.get
        return signatures.standard(
            delivery.body, get(identifier), get(stamp), get(seal), keys, now, tolerance_seconds=tolerance
        )

    return verify


def _known_by_url(secrets: Sequence[str]) -> Verifier:
    return lambda delivery, now: signatures.secret_in_url(delivery.route, secrets)


def _airbnb(header: str, secrets: Sequence[str], tolerance: float | None) -> Verifier:
    """With a public key among the secrets a signature is wanted; without, the secret in the address is all there is."""
    pems = [secret for secret in secrets if secret.lstrip().startswith("-----BEGIN")]
    if not pems:
        return _known_by_url(secrets)
    keys = signatures.public_keys(pems)

    def verify(delivery: Delivery, now: float) -> Verdict:
        found = delivery.headers
        return signatures.airbnb(
            delivery.url,
            delivery.body,
            found.get("date"),
            found.get("content-type"),
            found.get(header),
            keys,
            now,
            delivery.method,
            tolerance_seconds=tolerance,
        )

    return verify


def _twilio(header: str, secrets: Sequence[str]) -> Verifier:
    def verify(delivery: Delivery, now: float) -> Verdict:
        found = delivery.headers
        settings = found.get("x-twilio-webhooks-signature-settings")
        algorithm: signatures.Algorithm = "sha256" if settings and _SHARED_KEY.search(settings) else "sha1"
        kind, given = found.get("content-type"), found.get(header)
        return signatures.twilio(
            delivery.url, delivery.body, kind, given, secrets, delivery.method, algorithm=algorithm
        )

    return verify
