"""Tokens of ours for partners that ask for one before they deliver (`verify: issued_token`): made, and known again.

Nothing is stored. A token is a JWT under a key made of the secret it was given for, so any instance knows it, a restart ends
none, and who is rid of the secret is rid of its tokens. A form as in RFC 6749, 4.4: the client's secret is one of the
integration's `webhook.secrets`; its id is a name that says nothing, and is not looked at.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import parse_qs

from syncd.codec import dumps, loads
from syncd.errors import PayloadError
from syncd.kit import signatures
from syncd.kit.signatures import Verdict
from syncd.kit.webhooks import Delivery

ROUTE: Final = "token"
"""The last part of the address at which tokens are issued."""
LASTS_SECONDS: Final = 3600.0
CLOCKS_DIFFER_SECONDS: Final = 300.0
_HEADER: Final = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
_LONGEST: Final = 2_000


def issue(secret: str, now: float) -> str:
    """A token for who has this secret, from now on."""
    claims = dumps({"iss": "syncd", "iat": int(now), "exp": int(now + LASTS_SECONDS)})
    said = _HEADER + b"." + base64.urlsafe_b64encode(claims).rstrip(b"=")
    return (said + b"." + _seal(_key(secret), said)).decode()


def answer(delivery: Delivery, secrets: Sequence[str], now: float) -> bytes | None:
    """What the request for a token is answered; None where it is refused. Looks at every secret, whichever fits."""
    try:
        form = parse_qs(delivery.body[:_LONGEST].decode("ascii"), max_num_fields=10)
    except (UnicodeDecodeError, ValueError):
        form = {}
    given = form.get("client_secret", [""])[0].encode()
    fitting = [secret for secret in secrets if secret and hmac.compare_digest(secret.encode(), given)]
    if not fitting or form.get("grant_type", [""])[0] != "client_credentials":
        return None
    token = issue(fitting[0], now)
    # Both spellings, beside RFC 6749's own: who asks may read any of them.
    return dumps({"jwt": token, "access_token": token, "token_type": "Bearer", "expires_in": int(LASTS_SECONDS)})


def verifier(secrets: Sequence[str]) -> Callable[[Delivery, float], Verdict]:
    """Whether a delivery brings a token of ours that has not ended, issued for any of these secrets."""
    keys = [_key(secret) for secret in secrets if secret]

    def verify(delivery: Delivery, now: float) -> Verdict:
        scheme, _, token = (delivery.headers.get("authorization") or "").partition(" ")
        said, _, seal = token.strip().encode("ascii", "replace").rpartition(b".")
        fitting = [key for key in keys if signatures.same(_seal(key, said), seal)]  # each is looked at, whichever fits
        if not fitting or len(token) > _LONGEST or scheme.lower() != "bearer":
            return Verdict.FORGED
        try:
            claims = loads(base64.urlsafe_b64decode(said.partition(b".")[2] + b"=="))
            return Verdict.FITS if claims["iat"] - CLOCKS_DIFFER_SECONDS <= now < claims["exp"] else Verdict.STALE
        except (ValueError, KeyError, TypeError, PayloadError):
            return Verdict.MALFORMED

    return verify


def _key(secret: str) -> bytes:
    return hmac.new(secret.encode(), b"syncd: tokens for deliveries", hashlib.sha256).digest()


def _seal(key: bytes, said: bytes) -> bytes:
    return base64.urlsafe_b64encode(hmac.new(key, said, hashlib.sha256).digest()).rstrip(b"=")
