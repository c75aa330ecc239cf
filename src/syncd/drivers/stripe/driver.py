"""What of Stripe no description can say: its event log, and its two kinds of 429."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeGuard

from syncd.kit import (
    DriverSpec,
    Identity,
    Item,
    PartnerError,
    Raw,
    Request,
    Resource,
    Response,
    RestDriver,
    Word,
    checked_options,
    coerce,
    error_for,
)

REASONS: Final[dict[str, Word]] = {
    "global-concurrency": "crowded",
    "endpoint-concurrency": "crowded",
    "resource-specific": "locked",
}
"""What a 429 is about by its `Stripe-Rate-Limited-Reason`; the others (`global-rate`, `endpoint-rate`) are about calls in
a time. Without the header it is no limit at all: another request holds the object. docs.stripe.com/rate-limits, 2026."""

LAST_SECOND: Final = 2**33


@dataclass(frozen=True, slots=True)
class Fact:
    """One event, read: this object was so at that second."""

    resource: str
    external_id: str
    second: int
    raw: Raw | None
    """The snapshot; None where it is none or not to be trusted."""
    deleted: bool = False

    @property
    def identity(self) -> Identity:
        moment = coerce.epoch_moment(self.second)
        return Identity(self.external_id, source_updated_at=moment, deleted=self.deleted)


class Stripe(RestDriver):
    """Full listings newest first, and the event log that says what changed since."""

    # What there is.

    def resources(self, options: Mapping[str, Any]) -> Mapping[str, Resource]:
        headers, found = self.headers(options), super().resources(options)
        return {name: resource.model_copy(update={"headers": headers}) for name, resource in found.items()}

    def test(self, options: Mapping[str, Any] | None = None) -> Request:
        path, _, query = checked_options(self.spec, options or {})["test_path"].partition("?")
        params = (pair.partition("=") for pair in query.split("&") if pair)
        return Request(path, params={name: value for name, _, value in params})

    # Reading answers.

    def items(self, resource: Resource, response: Response) -> list[Item]:
        return told_by_events(self.spec, resource, response) if resource.feeds else super().items(resource, response)

    def classify(self, response: Response, now: datetime) -> PartnerError | None:
        status, retry = response.status_code, response.headers.get("stripe-should-retry", "").strip().lower()
        if status == 429:
            reason = response.headers.get("stripe-rate-limited-reason")
            word: Word = "busy" if reason is None else REASONS.get(reason.strip().lower(), "limited")
            return error_for(word, response, now, self.spec.errors)
        if retry == "true" and 400 <= status < 500 and status not in {401, 429}:
            return error_for("busy", response, now, self.spec.errors)
        if retry == "false" and (status >= 500 or status in {409, 424}):
            return error_for("rejected", response, now, self.spec.errors, hint="Stripe asks not to try this again")
        return super().classify(response, now)


def told_by_events(spec: DriverSpec, resource: Resource, response: Response) -> list[Item]:
    """What a page of the event log says: of each object the newest fact.

    Stamps have whole seconds, so two events of one object in the same second cannot be ordered: the object is only
    named, and read. So is one in the page's outermost second, where the neighbouring page may have its twin.
    """
    events = resource.reader.records(response)
    version = resource.headers.get("Stripe-Version", "")
    found: dict[tuple[str, str], list[Fact]] = {}
    unreadable: list[Item] = []
    for event in events:
        thing = thing_of(event)
        if isinstance(kind := thing.get("object"), str) and f"{kind}s" not in spec.resources:
            continue
        fact = read(event, thing, version, disputes="disputes" in resource.feeds)
        if fact is None:
            unreadable.append(Item(resource.name, {"event": event}))  # without an id: it becomes a reject
        elif fact.resource in resource.feeds:
            found.setdefault((fact.resource, fact.external_id), []).append(fact)
    shared = shared_seconds(events, response)
    newest = [newest_of(facts, shared) for facts in found.values()]
    return [item_of(fact, spec.resources[fact.resource], response) for fact in newest] + unreadable


def item_of(fact: Fact, resource: Resource, response: Response) -> Item:
    raw = None if fact.raw is None else resource.reader.completed(fact.raw, response)
    return Item(fact.resource, raw, fact.identity)


def thing_of(event: Any) -> Raw:
    """The object an event is about; nothing for what is no event."""
    data = event.get("data") if isinstance(event, dict) else None
    thing = data.get("object") if isinstance(data, dict) else None
    return thing if isinstance(thing, dict) else {}


def read(event: Any, thing: Raw, version: str, *, disputes: bool = False) -> Fact | None:
    """The fact in an event; None for one that lacks what makes it a fact. `disputes`: of the dispute, not of its charge."""
    if not thing or not is_second(event.get("created")):
        return None
    kind, second, type_ = thing.get("object"), event["created"], event.get("type")
    if kind == "dispute" and not disputes:  # says that its charge changed, not how
        charge = thing.get("charge")
        return Fact("charges", charge, second, None) if is_id(charge) else None
    external_id = thing.get("id")
    if not isinstance(kind, str) or not isinstance(type_, str) or not is_id(external_id):
        return None
    if type_ == f"{kind}.deleted":
        return Fact(f"{kind}s", external_id, second, None, deleted=True)
    # An event keeps the shape of the version at its time, whatever version was asked for. Stripe's OpenAPI, 2026.
    return Fact(f"{kind}s", external_id, second, thing if event.get("api_version") == version else None)


def newest_of(facts: list[Fact], shared: Iterable[int]) -> Fact:
    """The one fact that stands for all of an object on a page. Deletion is final: Stripe gives no id twice."""
    for fact in facts:
        if fact.deleted:
            return fact
    second = max(fact.second for fact in facts)
    last = [fact for fact in facts if fact.second == second]
    if len(last) == 1 and second not in shared:
        return last[0]
    return Fact(last[0].resource, last[0].external_id, second, None)


def shared_seconds(events: list[Any], response: Response) -> set[int]:
    """The seconds this page may share with its neighbours: its newest if a page came before, its oldest if one follows."""
    seconds = [event["created"] for event in events if isinstance(event, dict) and is_second(event.get("created"))]
    if not seconds:
        return set()
    first = "?" in response.url and "starting_after=" not in response.url
    more = response.json().get("has_more") if isinstance(response.json(), dict) else True
    return ({min(seconds)} if more else set()) | (set() if first else {max(seconds)})


def is_second(value: Any) -> bool:
    return type(value) is int and 0 <= value < LAST_SECOND


def is_id(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and value.isascii() and value.isprintable() and 0 < len(value) <= 255
