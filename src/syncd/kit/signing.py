"""The sender's side of `verifying.py`: the headers a delivery carries when its partner signs it.

For samples that `syncd webhook send` posts to our own endpoint; nothing that reaches a partner is signed here.
"""

from __future__ import annotations

from typing import Final

from syncd.errors import ConfigError
from syncd.kit import issuing, signatures
from syncd.kit.deliveries import Webhooks
from syncd.kit.signatures import Algorithm
from syncd.kit.verifying import URI_SIGNATURE, signature_headers
from syncd.kit.webhooks import Delivery

_FLIPPED_AT: Final = -6
"""The character a forged signature differs in: far enough from the end that base64 gives it no idle bits."""


def signed(rules: Webhooks, delivery: Delivery, secret: str, at: float, *, forged: bool = False) -> dict[str, str]:
    """The headers that make the delivery its partner's, sent at that Unix second, by names in lower case.

    `forged`: the same with one character of the signature wrong. Of a partner that is known by its URL: none. A Standard
    Webhooks delivery has its `svix-id` or `webhook-id` already. Raises ConfigError where all we have is a public key.
    """
    if rules.known_by_url:
        if secret.lstrip().startswith("-----BEGIN"):
            raise ConfigError("only the partner can sign for this integration: we have its public key")
        return {}
    if rules.verify == "issued_token":
        return {"authorization": _sealed(f"Bearer {issuing.issue(secret, at)}", forged)}
    body, stamp = delivery.body, str(int(at))
    if rules.verify == "standard":
        brand = "svix" if "svix-id" in delivery.headers else "webhook"
        identifier = delivery.headers.get(f"{brand}-id", "")
        seal = signatures.sign_standard(body, identifier, stamp, secret)
        others = {f"{brand}-id": identifier, f"{brand}-timestamp": stamp}
        return {**others, (rules.header or f"{brand}-signature").lower(): _sealed(seal, forged)}
    header = next(iter(signature_headers(rules)), "")
    match rules.verify:
        case "maintainx":
            of_url = signatures.sign_stamped(delivery.url.encode(), stamp, secret)
            seal = signatures.sign_stamped(body, stamp, secret)
            return {header: _sealed(seal, forged), URI_SIGNATURE: of_url}
        case "stripe":
            seal = signatures.sign_stamped(body, stamp, secret)
        case "twilio":
            values = delivery.json() if "form" in delivery.headers.get("content-type", "") else {}
            seal = signatures.sign_twilio(delivery.url, values, secret)
        case "attio":
            seal = signatures.digest(secret.encode(), body).decode()
        case _:
            algorithm: Algorithm = "sha1" if rules.verify == "hmac_sha1" else "sha256"
            seal = rules.prefix + signatures.digest(secret.encode(), body, algorithm, rules.encoding).decode()
    return {header: _sealed(seal, forged)}


def _sealed(seal: str, forged: bool) -> str:
    if not forged:
        return seal
    other = "b" if seal[_FLIPPED_AT] == "a" else "a"
    return seal[:_FLIPPED_AT] + other + seal[_FLIPPED_AT + 1 :]
