"""Deliveries and what is in them: the nouns of webhooks and pushes, and the verifiers a description can name.

Pure; the store keeps deliveries, the server answers them. The mathematics of signatures: `signatures.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from syncd.codec import loads
from syncd.errors import PayloadError
from syncd.kit import coerce, signatures
from syncd.kit.coerce import EPOCH
from syncd.kit.paths import MISSING, getter
from syncd.kit.shapes import HEADER
from syncd.kit.spec import Webhooks
from syncd.model import Headers, Raw


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook request as it came, nothing decoded."""

    body: bytes
    headers: Headers
    url: str = ""
    """The public URL the partner called, from configuration: a proxy may have changed what we see."""
    method: str = "POST"
    route: str = ""
    """The last part of our URL, where a partner needs one per event family."""

    def json(self) -> Any:
        """The parsed body. Raises PayloadError."""
        return loads(self.body)


@dataclass(frozen=True, slots=True)
class Event:
    """One fact in a delivery: this record of that resource is new, changed or gone."""

    resource: str
    external_id: str
    type: str = ""
    at: datetime | None = None
    """When it happened, by the partner's clock."""
    deleted: bool = False
    raw: Raw | None = None
    """The whole record, where the event carries one that can be trusted; else it has to be read."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of ours a partner should learn."""

    resource: str
    external_id: str | None
    """None: a record the partner does not have yet."""
    kind: str
    """What is to be done, in the driver's words: `upsert`, `status`, `note`."""
    data: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str = ""
    """The same on every try."""


def verified(rules: Webhooks, delivery: Delivery, secrets: Sequence[str], now: datetime) -> bool:
    """Does the delivery carry the signature its partner's rules ask for? `verify: none` is never verified here."""
    headers, body = delivery.headers, delivery.body
    seconds = (now - EPOCH).total_seconds()
    header = headers.get(rules.header) if rules.header else None
    match rules.verify:
        case "hmac_sha256" | "hmac_sha1":
            algorithm = "sha1" if rules.verify == "hmac_sha1" else "sha256"
            return signatures.hmac_body(
                body,
                header,
                secrets,
                algorithm=algorithm,  # type: ignore[arg-type]
                encoding=rules.encoding,
                prefix=rules.prefix,
            )
        case "attio":
            given = header or headers.get("attio-signature") or headers.get("x-attio-signature")
            return signatures.attio(body, given, secrets)
        case "stripe":
            given = header or headers.get("stripe-signature")
            return signatures.stripe(body, given, secrets, seconds, tolerance_seconds=rules.tolerance)
        case "maintainx":
            given = header or headers.get("x-maintainx-webhook-body-signature")
            return signatures.maintainx(body, given, secrets, seconds, tolerance_seconds=rules.tolerance)
        case "standard":
            brand = "svix" if "svix-id" in headers else "webhook"
            return signatures.standard(
                body,
                headers.get(f"{brand}-id"),
                headers.get(f"{brand}-timestamp"),
                header or headers.get(f"{brand}-signature"),
                secrets,
                seconds,
                tolerance_seconds=rules.tolerance,
            )
        case "twilio":
            given = header or headers.get("x-twilio-signature")
            kind = headers.get("content-type")
            return signatures.twilio(delivery.url, body, kind, given, secrets, delivery.method)
    return False


def event_id(rules: Webhooks, delivery: Delivery) -> str | None:
    """What is the same on every try of this delivery; None where the partner sends nothing of the kind."""
    if rules.event_id is None:
        return None
    if rules.event_id.startswith(HEADER):
        return delivery.headers.get(rules.event_id.removeprefix(HEADER).strip()) or None
    try:
        value = getter(rules.event_id)(delivery.json())
    except PayloadError:
        return None
    return None if value is None or value is MISSING or isinstance(value, dict | list) else coerce.text(value)


def composite_id(*parts: str | bytes) -> str:
    """An id for a delivery without one: a hash of the parts that make it that delivery."""
    whole = hashlib.sha256()
    for part in parts:
        piece = part.encode() if isinstance(part, str) else part
        whole.update(len(piece).to_bytes(8, "big") + piece)
    return whole.hexdigest()


def events(rules: Webhooks, delivery: Delivery) -> list[Event]:
    """The facts in a delivery, by the description's paths. Types without a route are none of ours and left out."""
    body = delivery.json()
    facts = [body] if rules.events is None else getter(rules.events)(body)
    if not isinstance(facts, list):
        raise PayloadError(f"expected a list of events at `{rules.events}`")
    return [found for fact in facts if (found := _event(rules, fact, delivery)) is not None]


def _event(rules: Webhooks, fact: Any, delivery: Delivery) -> Event | None:
    if rules.type is None:
        kind = delivery.route
    elif rules.type.startswith(HEADER):
        kind = delivery.headers.get(rules.type.removeprefix(HEADER).strip(), "")
    else:
        kind = getter(rules.type)(fact)
    if not isinstance(kind, str) or kind not in rules.routes:
        return None
    found = getter(rules.id or "id")(fact)
    if found is None or found is MISSING or found == "":
        raise PayloadError(f"event {kind}: no record id at `{rules.id or 'id'}`")
    record = getter(rules.record)(fact) if rules.record else None
    return Event(
        rules.routes[kind],
        coerce.text(found),
        kind,
        _moment(getter(rules.at)(fact)) if rules.at else None,
        kind in rules.deletes,
        record if isinstance(record, dict) else None,
    )


def _moment(value: Any) -> datetime | None:
    if value is None or value is MISSING:
        return None
    return coerce.moment(value) if isinstance(value, str) else coerce.epoch_moment(value)
