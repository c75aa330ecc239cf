"""Deliveries and what is in them: the nouns of webhooks and pushes, and how a description reads a delivery.

Pure; the store keeps deliveries, the server answers them. Whether one is the partner's: `verifying.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from syncd.codec import canonical, loads
from syncd.errors import PayloadError
from syncd.kit import coerce
from syncd.kit.deliveries import Webhooks
from syncd.kit.identity import joined_id
from syncd.kit.paths import MISSING, getter
from syncd.kit.shapes import BODY, HEADER, ROUTE, places
from syncd.model import Headers, Raw
from syncd.secrets import Secret

KNOWN_BY: Final = "syncd-known-by"
"""Among the headers stored with a delivery, never sent by anybody: how the partner was known, where not by a signature."""
FORM: Final = "application/x-www-form-urlencoded"


_UNREAD: Final = object()


# Not frozen because one is made for every request, and a frozen dataclass takes five times as long to make.
@dataclass(slots=True)
class Delivery:
    """One webhook request as it came, nothing decoded."""

    body: bytes
    headers: Headers
    url: str = ""
    """The path and query the partner called, as they came; or the whole public URL, where that is known."""
    method: str = "POST"
    route: str = ""
    """The last part of our URL, where a partner needs one per event family."""
    _parsed: Any = field(default=_UNREAD, init=False, repr=False, compare=False)

    def json(self) -> Any:
        """The parsed body, parsed once; of a form its parameters by name. Raises PayloadError."""
        if self._parsed is _UNREAD:
            self._parsed = _form(self.body) if self._is_form else _loads(self.body)
        return self._parsed

    @property
    def signed(self) -> bool:
        """False where the partner was known by its address alone: then nothing it says is believed, only looked up."""
        return bool(self.headers.get(KNOWN_BY) != "url")

    @property
    def _is_form(self) -> bool:
        kind: str = self.headers.get("content-type", "")
        return kind.partition(";")[0].strip().lower() == FORM


@dataclass(frozen=True, slots=True)
class Event:
    """One fact in a delivery: this record of that resource is new, changed or gone."""

    resource: str
    external_id: str
    """Empty where it does not say which: something of the resource has changed, which only its listing shows."""
    type: str = ""
    at: datetime | None = None
    """When it happened, by the partner's clock."""
    deleted: bool = False
    raw: Raw | None = None
    """The whole record, where the event carries one that can be trusted; else it has to be read."""
    revoked: bool = False
    """The account took our access away; resource and id are empty."""
    credentials: Mapping[str, Secret] | None = None
    """New ones the partner hands us, by the names of the integration's `credentials`; resource and id are empty."""
    parent_id: str | None = None
    """The record it is listed below, where the event says so and it cannot be read by its own id."""
    unless_stored: bool = False
    """Only named in passing: it is read where nothing is stored of it yet."""


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
    sent_at: datetime | None = None
    """When it may have arrived first, by our clock; of one that never left when it was written."""
    others_made: frozenset[str] = frozenset()
    """Of one that makes a record, when it is looked up: what other pushes are known to have made. None of that is its."""


def event_ids(rules: Webhooks) -> Callable[[Delivery], str | None]:
    """What is the same on every try of a delivery: the partner's own id, else the stated parts as one; compiled.

    None where neither is there. A part that is missing makes no id: two deliveries that lack it are not one.
    """
    own = _part_of(rules.event_id, rules) if rules.event_id is not None else None
    stated = [_part_of(place, rules) for place in rules.composite]

    def identify(delivery: Delivery) -> str | None:
        if own is not None:
            found = own(delivery)
            if isinstance(found, str) and found:
                return found
        parts = [part(delivery) for part in stated]
        known = [part for part in parts if part is not None]
        return composite_id(*known) if parts and len(known) == len(parts) else None

    return identify


def _part_of(stated: str, rules: Webhooks) -> Callable[[Delivery], str | bytes | None]:
    """What stands at a stated place of a delivery, compiled; None where nothing does."""
    several = [_place(one, rules) for one in places(stated)]
    if len(several) == 1:
        return several[0]

    def first(delivery: Delivery) -> str | bytes | None:
        return next((found for one in several if (found := one(delivery))), None)

    return first


def _place(place: str, rules: Webhooks) -> Callable[[Delivery], str | bytes | None]:
    if place == BODY:
        return lambda delivery: delivery.body
    if place == ROUTE:
        return lambda delivery: delivery.route
    if place.startswith(HEADER):
        name = place.removeprefix(HEADER).strip().lower()
        return lambda delivery: delivery.headers.get(name) or None
    get = getter(place)

    def inside(delivery: Delivery) -> str | bytes | None:
        try:
            value = get(_told(rules, delivery))
        except PayloadError:
            return None
        if value is None or value is MISSING:
            return None
        return canonical(value) if isinstance(value, dict | list) else coerce.text(value)

    return inside


def accounts(rules: Webhooks) -> Callable[[Delivery], tuple[str, ...]]:
    """The accounts a delivery may be of, as text, the likeliest first; none where it names none. Compiled."""
    if rules.account is None:
        return lambda delivery: ()
    named = getter(rules.account.named)

    def read(delivery: Delivery) -> tuple[str, ...]:
        try:
            found = named(_told(rules, delivery))
            several = found if isinstance(found, list) else [found]
            told = [coerce.text(one) for one in several if one is not None and one is not MISSING]
        except PayloadError:
            return ()
        return tuple(dict.fromkeys(one for one in told if one))

    return read


def event_types(rules: Webhooks) -> Callable[[Delivery], str]:
    """What the partner calls what happened, as far as one word can say it of a delivery; "" where it says nothing."""
    if rules.type is None or rules.type.startswith(HEADER):
        return lambda delivery: _type(rules, None, delivery)
    listed, named = getter(rules.events or ""), getter(rules.type)

    def read(delivery: Delivery) -> str:
        try:
            facts = listed(_told(rules, delivery))
        except PayloadError:
            return ""
        kind = named(facts[0] if isinstance(facts, list) and facts else facts)
        return kind if isinstance(kind, str) else ""

    return read


def kept_headers(rules: Webhooks) -> tuple[str, ...]:
    """The headers a delivery is read by once it is stored, in lower case. Signatures are not among them."""
    stated = [part for part in (rules.event_id, rules.type, *rules.composite) if part]
    named = [place for part in stated for place in places(part) if place.startswith(HEADER)]
    own = [place.removeprefix(HEADER).strip().lower() for place in named]
    signed = ["svix-id", "svix-timestamp", "webhook-id", "webhook-timestamp"] if rules.verify == "standard" else []
    return tuple(dict.fromkeys(["content-type", "user-agent", *own, *signed]))


def composite_id(*parts: str | bytes) -> str:
    """An id for a delivery without one: a hash of the parts that make it that delivery."""
    whole = hashlib.sha256()
    for part in parts:
        piece = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(len(piece).to_bytes(8, "big") + piece)
    return whole.hexdigest()


def events(rules: Webhooks, delivery: Delivery, listed: Collection[str] = ()) -> list[Event]:
    """The facts in a delivery, by the description's paths. Types without a route are none of ours and left out.

    Of resources among `listed` an event starts a listing, whichever record it is of: it may leave out the id.
    """
    body = _told(rules, delivery)
    announced = _announced(rules, body, delivery)
    if announced is not None:
        return [announced]
    facts = [body] if rules.events is None else getter(rules.events)(body)
    if not isinstance(facts, list):
        raise PayloadError(f"expected a list of events at `{rules.events}`")
    return [found for fact in facts if (found := _event(rules, fact, delivery, listed)) is not None]


def believed(delivery: Delivery, events: Iterable[Event]) -> list[Event]:
    """What may be taken from a delivery: all that a signed one says; of another one only where to look again.

    Anybody who once saw the address may have written it, so no record, no end of one and no revoked access is taken from it.
    (If access is gone, the next call says so.) New credentials are refused by whoever is handed them, for a person to see.
    """
    if delivery.signed:
        return list(events)
    return [replace(event, deleted=False, raw=None) for event in events if not event.revoked]


def _type(rules: Webhooks, fact: Any, delivery: Delivery) -> str:
    if rules.type is None:
        # The route of a partner that may be known by nothing else is a secret, and no type.
        return delivery.route if not rules.known_by_url else ""
    if rules.type.startswith(HEADER):
        kind = delivery.headers.get(rules.type.removeprefix(HEADER).strip())
    else:
        kind = getter(rules.type)(fact)
    return kind if isinstance(kind, str) else ""


def _event(rules: Webhooks, fact: Any, delivery: Delivery, listed: Collection[str]) -> Event | None:
    kind = _type(rules, fact, delivery)
    if kind in rules.revokes:
        return Event("", "", kind, _moment(getter(rules.at)(fact)) if rules.at else None, revoked=True)
    if kind not in rules.routes:
        return None
    may_lack = rules.routes[kind] in listed and kind not in rules.deletes
    found = _id_in(rules, fact, kind, may_lack=may_lack)
    signed = delivery.signed and rules.verify != "none"
    # What anybody may have written is no record and no deletion: it says where to look.
    record = getter(rules.record)(fact) if rules.record and signed else None
    return Event(
        rules.routes[kind],
        found,
        kind,
        _moment(getter(rules.at)(fact)) if rules.at else None,
        signed and kind in rules.deletes,
        record if isinstance(record, dict) and found else None,
        parent_id=found if rules.routes[kind] in rules.below else None,
    )


def _id_in(rules: Webhooks, fact: Any, kind: str, *, may_lack: bool) -> str:
    """The id of the record an event is of; empty where it may lack. Raises PayloadError."""
    stated = rules.ids.get(rules.routes[kind], rules.id or "id")
    parts = []
    for path in (stated,) if isinstance(stated, str) else stated:
        found = getter(path)(fact)
        if found is None or found is MISSING or found == "":
            if may_lack:
                return ""
            raise PayloadError(f"event {kind}: no record id at `{path}`")
        parts.append(coerce.text(found))
    return parts[0] if isinstance(stated, str) else joined_id(parts)


def _told(rules: Webhooks, delivery: Delivery) -> Any:
    """What a delivery says, as the description's paths read it. Raises PayloadError."""
    return _lower(delivery.json()) if rules.any_case else delivery.json()


def _lower(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.lower() if isinstance(key, str) else key: _lower(inner) for key, inner in value.items()}
    return [_lower(inner) for inner in value] if isinstance(value, list) else value


def _announced(rules: Webhooks, body: Any, delivery: Delivery) -> Event | None:
    """The new credentials a delivery hands us; None for any other delivery."""
    rotation = rules.rotation
    if rotation is None:
        return None
    kind = _type(rules, body, delivery)
    known = {name: value for name, path in rotation.credentials.items() if isinstance(value := getter(path)(body), str)}
    if rotation.type not in {kind, delivery.route} if rotation.type else kind or len(known) < len(rotation.credentials):
        return None
    at = _moment(getter(rotation.at)(body)) if rotation.at else None
    return Event("", "", kind or delivery.route, at, credentials={name: Secret(value) for name, value in known.items()})


def _moment(value: Any) -> datetime | None:
    """When it happened; a time that is none costs the time and not the event, whose record is read anyway."""
    if value is None or value is MISSING:
        return None
    try:
        return coerce.moment(value) if isinstance(value, str) else coerce.epoch_moment(value)
    except PayloadError:
        return None


def _loads(body: bytes) -> Any:
    try:
        return loads(body)
    except PayloadError as error:
        raise PayloadError(str(error).replace("the answer", "the delivery", 1)) from None


def _form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000))
    except ValueError:
        raise PayloadError("the form has too many fields") from None
