"""Signatures of deliveries: pure functions over raw bytes. Each compares in constant time and takes several secrets.

The answer is a `Verdict`, true only where the delivery is the partner's and of now. A signature that fits and is too old
is told apart from one that fits nothing: the first is a clock or a replay, the second a wrong secret or a forger. An empty
secret fits nothing; no input raises. Times are Unix seconds, given by the caller. What does not live here: which header
holds what (`verifying.py`).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Final, Literal
from urllib.parse import parse_qs, parse_qsl, urlsplit

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from syncd.kit.macs import Algorithm, Hmac, Verdict, digest, keyed, same, verdict

__all__ = [
    "Algorithm", "Hmac", "Verdict", "airbnb", "attio", "digest", "hmac_body", "keyed", "maintainx", "public_keys",
    "same", "secret_in_url", "sign_stamped", "sign_standard", "sign_twilio", "standard", "standard_keys", "stripe", "twilio",
    "verdict",
]  # fmt: skip

TOLERANCE_SECONDS: Final = 300.0
_MILLISECONDS_FROM: Final = 10**12
"""A timestamp this large counts milliseconds (seconds reach it in the year 33658)."""
MOST_SIGNATURES: Final = 16
"""Signatures looked at in one header: each costs a comparison, and senders put one or two."""
MOST_FORM_BYTES: Final = 32_768
"""Of a form that is decoded before anybody is known to have sent it: a megabyte of escapes takes half a second. Twilio's are
a few kilobytes (a message has at most 1,600 characters, all of them escaped about 20 kB)."""
MOST_FIELDS: Final = 200
"""Twilio sends some tens."""
_TWILIOS: Final = {"sha1": re.compile(r"[A-Za-z0-9+/]{27}="), "sha256": re.compile(r"[A-Za-z0-9+/]{43}=")}
"""What a signature of it looks like: anything else is refused before a form is read for it."""
_AIRBNB: Final = re.compile(r'\b(\w{1,32})="([^"]*)"')
_FORMS: Final = frozenset({"application/x-www-form-urlencoded", ""})
_PORTS: Final = {"https": 443, "http": 80}


def hmac_body(
    body: bytes,
    signature: str | None,
    secrets: Iterable[str],
    *,
    algorithm: Algorithm = "sha256",
    encoding: Literal["hex", "base64"] = "hex",
    prefix: str = "",
) -> Verdict:
    """HMAC over the body alone, as hex (either case) or base64 after an optional prefix such as `sha256=`."""
    if not signature:
        return Verdict.FORGED
    if not signature.startswith(prefix):
        return Verdict.MALFORMED
    given = signature[len(prefix) :].strip()
    if encoding == "hex":
        given = given.lower()
    sent, fits = _bytes(given), False
    for secret in secrets:
        if secret:
            raw = keyed(secret, algorithm).digest(body)
            expected = binascii.b2a_base64(raw, newline=False) if encoding == "base64" else binascii.hexlify(raw)
            fits |= hmac.compare_digest(sent, expected)
    return verdict(fits)


def attio(body: bytes, signature: str | None, secrets: Iterable[str]) -> Verdict:
    """Attio: hex of HMAC-SHA256 over the body, keyed by the secret's own text."""
    return hmac_body(body, signature, secrets)


def stripe(
    body: bytes,
    header: str | None,
    secrets: Iterable[str],
    now: float,
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    future: bool = True,
) -> Verdict:
    """Stripe: `t=…,v1=…[,v1=…]`, hex of HMAC-SHA256 over `t.body`, keyed by the secret's text with its `whsec_`.

    `future` lets a timestamp lie ahead of our clock by any amount, as Stripe's own libraries do.
    """
    return _stamped(header, body, secrets, now, tolerance_seconds, future=future)


def maintainx(
    message: bytes,
    header: str | None,
    secrets: Iterable[str],
    now: float,
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
) -> Verdict:
    """MaintainX: as Stripe's, over the body or over the full URI; `t` may be milliseconds, it is signed as written."""
    return _stamped(header, message, secrets, now, tolerance_seconds, milliseconds=True)


def standard(
    body: bytes,
    identifier: str | None,
    timestamp: str | None,
    header: str | None,
    keys: Sequence[bytes],
    now: float,
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
) -> Verdict:
    """Standard Webhooks and Svix: base64 of HMAC-SHA256 over `id.timestamp.body`. `keys`: of `standard_keys`."""
    if not header:
        return Verdict.FORGED
    sent = _seconds(timestamp or "")
    if not identifier or not timestamp or sent is None:
        return Verdict.MALFORMED
    given = [_bytes(part[3:]) for part in header.split(None, MOST_SIGNATURES)[:MOST_SIGNATURES] if part[:3] == "v1,"]
    message = b".".join((_bytes(identifier), timestamp.encode(), body))
    fits = False
    for key in keys:
        expected = binascii.b2a_base64(keyed(key).digest(message), newline=False)
        for one in given:
            fits |= hmac.compare_digest(one, expected)
    return _in_time(fits, sent, now, tolerance_seconds)


def standard_keys(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """The keys in secrets of Standard Webhooks: base64 after `whsec_`. What is none is left out."""
    keys = []
    for secret in secrets:
        text = secret.removeprefix("whsec_")
        with contextlib.suppress(binascii.Error, ValueError):
            keys.append(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))  # some leave the padding out
    return tuple(key for key in keys if key)


def twilio(
    url: str,
    body: bytes,
    content_type: str | None,
    signature: str | None,
    secrets: Iterable[str],
    method: str = "POST",
    *,
    algorithm: Algorithm = "sha1",
) -> Verdict:
    """Twilio: base64 of HMAC-SHA1 over the public URL and, of a form, its sorted parameters.

    A body that is no form is covered by its SHA-256 in the URL's `bodySHA256`, and refused without it: a signature of the
    address alone would fit any body. The URL is tried with and without the port, since Twilio signs either. Requests signed
    with a shared key use SHA-256 (twilio-python 9.13, 2026).
    """
    if not signature or not _TWILIOS[algorithm].fullmatch(signature.strip()):
        return Verdict.FORGED
    try:
        query = parse_qs(urlsplit(url).query, max_num_fields=MOST_FIELDS)
        urls = _with_and_without_port(url)
    except ValueError:
        return Verdict.MALFORMED
    tail = ""
    if method.upper() == "POST" and (content_type or "").partition(";")[0].strip().lower() in _FORMS:
        if len(body) > MOST_FORM_BYTES:
            return Verdict.MALFORMED
        tail = _form_text(body)
        if body and not tail:  # nothing of it would be signed
            return Verdict.MALFORMED
    elif body and not same(query.get("bodySHA256", [""])[0].lower(), hashlib.sha256(body).hexdigest().encode()):
        return Verdict.FORGED
    given, fits = _bytes(signature.strip()), False
    for secret in secrets:
        if secret:
            for one in urls:
                expected = binascii.b2a_base64(keyed(secret, algorithm).digest(_bytes(one + tail)), newline=False)
                fits |= hmac.compare_digest(given, expected)
    return verdict(fits)


def airbnb(
    url: str,
    body: bytes,
    date: str | None,
    content_type: str | None,
    header: str | None,
    keys: Iterable[RSAPublicKey],
    now: float,
    method: str = "POST",
    *,
    tolerance_seconds: float | None = None,
) -> Verdict:
    """Airbnb: `Signature …,algorithm="rsa-sha256",…,signature="<base64>"` over host, path, method, date, type and body.

    Joined by `|`, the host without its port. What is known of it comes from public connectors, none of it from Airbnb itself
    (facts of 2026-11, section 9.2), and none names a tolerance: the date is looked at only where one is given.
    """
    if not header:
        return Verdict.FORGED
    told = dict(_AIRBNB.findall(header))
    try:
        parts = urlsplit(url)
        raw = base64.b64decode(told.get("signature", ""), validate=True)
        sent = parsedate_to_datetime(date or "").timestamp() if tolerance_seconds is not None else now
    except (ValueError, TypeError, OverflowError):
        return Verdict.MALFORMED
    if not raw or told.get("algorithm") != "rsa-sha256":
        return Verdict.MALFORMED
    signed = (parts.hostname or "", parts.path, method.upper(), date or "", content_type or "")
    if any("|" in one for one in signed):  # else what was signed could be cut anew, with another body
        return Verdict.MALFORMED
    said = "|".join(signed)
    message, fits = _bytes(said) + b"|" + body, False
    for key in keys:
        with contextlib.suppress(InvalidSignature):
            key.verify(raw, message, PKCS1v15(), SHA256())
            fits = True
    return _in_time(fits, sent, now, tolerance_seconds or 0.0)


def public_keys(secrets: Iterable[str]) -> tuple[RSAPublicKey, ...]:
    """The RSA keys among secrets, each a PEM text. What is none is left out."""
    found = []
    for secret in secrets:
        if secret.lstrip().startswith("-----BEGIN"):
            with contextlib.suppress(ValueError, UnsupportedAlgorithm):
                key = load_pem_public_key(secret.strip().encode())
                if isinstance(key, RSAPublicKey):
                    found.append(key)
    return tuple(found)


def secret_in_url(given: str | None, secrets: Iterable[str]) -> Verdict:
    """For a partner that signs nothing: the unguessable part of the URL we gave it."""
    if not given:
        return Verdict.FORGED
    sent, fits = _bytes(given), False
    for secret in secrets:
        if secret:
            fits |= hmac.compare_digest(sent, _bytes(secret))
    return Verdict.KNOWN if fits else Verdict.FORGED


def sign_standard(body: bytes, identifier: str, timestamp: str, secret: str) -> str:
    """The signature header a Standard Webhooks sender would send. For samples and simulators."""
    key = next(iter(standard_keys([secret])), b"")
    return "v1," + digest(key, b".".join((_bytes(identifier), _bytes(timestamp), body)), encoding="base64").decode()


def sign_stamped(body: bytes, timestamp: str, secret: str) -> str:
    """The header Stripe and MaintainX would send. For samples and simulators."""
    return f"t={timestamp},v1={digest(secret.encode(), _bytes(timestamp) + b'.' + body).decode()}"


def sign_twilio(url: str, parameters: Mapping[str, str], secret: str) -> str:
    """The header Twilio would send for a form. For samples and simulators."""
    text = url + "".join(name + parameters[name] for name in sorted(parameters))
    return digest(secret.encode(), text.encode(), "sha1", "base64").decode()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _stamped(
    header: str | None,
    body: bytes,
    secrets: Iterable[str],
    now: float,
    tolerance: float,
    *,
    future: bool = False,
    milliseconds: bool = False,
) -> Verdict:
    if not header:
        return Verdict.FORGED
    stamp, given = "", []
    for part in header.split(",", 2 * MOST_SIGNATURES)[: 2 * MOST_SIGNATURES]:
        name, _, value = part.partition("=")
        name = name.strip()
        if name == "v1":
            given.append(_bytes(value))
        elif name == "t" and not stamp:
            stamp = value
    sent = _seconds(stamp, milliseconds=milliseconds)
    if sent is None or not given:
        return Verdict.MALFORMED
    message = stamp.encode() + b"." + body
    fits = False
    for secret in secrets:
        if secret:
            expected = binascii.hexlify(keyed(secret).digest(message))
            for one in given[:MOST_SIGNATURES]:
                fits |= hmac.compare_digest(one, expected)
    return _in_time(fits, sent, now, tolerance, future=future)


def _in_time(fits: bool, sent: float, now: float, tolerance: float, *, future: bool = False) -> Verdict:
    if not fits:
        return Verdict.FORGED
    return Verdict.FITS if now - sent <= tolerance and (future or sent - now <= tolerance) else Verdict.STALE


def _seconds(stamp: str, *, milliseconds: bool = False) -> float | None:
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 16):
        return None
    sent: float = int(stamp)
    return sent / 1000 if milliseconds and sent >= _MILLISECONDS_FROM else sent


def _form_text(body: bytes) -> str:
    """What Twilio signs of a form; empty where there is nothing, or more than we read."""
    try:
        pairs = parse_qsl(body.decode("utf-8", "surrogateescape"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        return ""
    values: dict[str, set[str]] = {}
    for name, value in pairs:
        values.setdefault(name, set()).add(value)
    return "".join(name + value for name in sorted(values) for value in sorted(values[name]))


def _with_and_without_port(url: str) -> tuple[str, ...]:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    standard_port = _PORTS.get(parts.scheme)
    if standard_port is None:
        return (url,)
    _, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        other = parts.netloc[: -len(port) - 1]
    elif host.endswith("]") or not colon:
        other = f"{parts.netloc}:{standard_port}"
    else:
        return (url,)
    return (url, url.replace(parts.netloc, other, 1))
