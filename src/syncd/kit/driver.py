"""What syncd has to know about one partner, and nothing about when or how it is asked.

A driver is pure: data in, data out. No `await`, no sleep, no clock, no store, no log. The engine owns time and I/O, so
every driver tests without an event loop. `RestDriver` does all of this from a description; `Driver` is for a partner no
description fits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from syncd.client.auth import Sign
from syncd.config.facts import Facts, Finding
from syncd.errors import ConfigError, PartnerError, RejectedError
from syncd.kit import coerce
from syncd.kit.auth import Auth
from syncd.kit.facts import homes, under
from syncd.kit.limits import Limits
from syncd.kit.options import with_options
from syncd.kit.resource import Resource
from syncd.kit.signatures import verdict
from syncd.kit.spec import DriverSpec
from syncd.kit.subscriptions import Subscriptions
from syncd.kit.verifying import Verifier
from syncd.kit.webhooks import Change, Delivery, Event
from syncd.model import Checkpoint, Identity, Item, Raw, Record, Request, Response
from syncd.secrets import Secret


class Part(NamedTuple):
    """Of a listing that is walked in parts, or has a row for each of several places of a record."""

    name: str
    """VALUE/WINDOW; what stands before the stroke is a property, an account or the like, and empty where there is none."""
    stated: int | None
    """How many rows the partner says it has."""


class Beyond(NamedTuple):
    """Where a listing that is walked in parts goes on when one of its properties (accounts, ...) refuses to be listed."""

    name: str
    """Which one it is."""
    following: Request | None
    """The first call of the next one; None: it is the last."""


class Reading(NamedTuple):
    """How the records of one resource are read, with all decided beforehand that does not depend on the record."""

    identify: Callable[[Raw], Identity]
    fields: Callable[[Raw], dict[str, Any]]
    hashable: Callable[[Raw], Raw] | None
    """None: the record itself."""


class Driver(ABC):
    """One partner. Methods get what they need as arguments and keep nothing between calls."""

    needs_spec: ClassVar[bool] = False
    """True where the description does not stand beside the class but in the partner's own file (`rest:`)."""

    sign: ClassVar[Sign | None] = None
    """For `auth: {kind: signer}` a method: of the call, its secrets and the time, pure."""

    spec: DriverSpec

    def __init__(self, spec: DriverSpec) -> None:
        self.spec = spec

    # What there is.

    def facts(self, options: Mapping[str, Any]) -> Facts:
        """What checking a configuration needs to know under these options. Never raises: a mistake is a finding."""
        known = replace(self.spec.facts(), registers=self.subscriptions({}) is not None)
        try:
            return under(self, options, known)
        except ConfigError as error:
            return replace(known, findings=(Finding(("options",), str(error), error.hint),))

    @abstractmethod
    def resources(self, options: Mapping[str, Any]) -> Mapping[str, Resource]:
        """The resources of one integration by name; its options may add some. Raises ConfigError for wrong options."""

    def base_url(self, options: Mapping[str, Any], given: str | None = None) -> str | None:
        """Where an integration's paths start: what its file gives, else the description's; None where neither says.

        In both `{option.NAME}` is an option's value, as one segment: an account that stands in every path. Raises
        ConfigError.
        """
        text = given or self.spec.base_url
        return text if text is None else with_options(self.spec, text, options)

    def homes(self, options: Mapping[str, Any], given: str | None = None) -> Sequence[str]:
        """Further origins that an integration's credential goes to, where its file gives this `base_url`, or none."""
        return homes(self, options, given)

    def auth(self, options: Mapping[str, Any]) -> Auth:
        """How an integration's calls prove who we are."""
        return self.spec.auth

    def headers(self, options: Mapping[str, Any]) -> Mapping[str, str]:
        """Headers of every call of an integration."""
        return self.spec.headers

    def limits(self, options: Mapping[str, Any]) -> Limits:
        """What the partner allows an integration with these options."""
        return self.spec.limits

    @abstractmethod
    def test(self, options: Mapping[str, Any] | None = None) -> Request:
        """A cheap call that an accepted credential answers with 2xx."""

    def children(self, resource: Resource, resources: Mapping[str, Resource] | None = None) -> list[Resource]:
        """The resources listed below each record of this one."""
        among = self.spec.resources if resources is None else resources
        return [child for child in among.values() if child.parent == resource.name]

    # Asking.

    @abstractmethod
    def request(self, resource: Resource, checkpoint: Checkpoint) -> Request:
        """The listing's first call, or the one at `checkpoint.cursor`, for what changed since `checkpoint.since`.

        A pure function of its arguments: after a crash it rebuilds the call that was due from what is stored.
        """

    @abstractmethod
    def pages(self, resource: Resource, first: Request) -> Generator[Request, Response, None]:
        """The walk over a listing: yields `first`, is sent its answer, yields the next call, and so on to the end.

        Each call's `cursor` is where the walk resumes with it. Raises PayloadError for a listing that goes round.
        """

    def following(self, resource: Resource, request: Request, response: Response) -> Request | None:
        """The call after one that was answered; None at the end. The pages, for whoever does not keep a generator."""
        walk = self.pages(resource, request)
        next(walk)
        try:
            return walk.send(response)
        except StopIteration:
            return None

    def spread(self, resource: Resource, first: Request, response: Response) -> list[Request] | None:
        """Calls after `first` that do not hang on each other, at most a thousand; None where each needs the one before.

        A prediction: the listing may go on after the last of them (ask `following`), the last ones may come empty, and
        a page whose `following` is not the next of them means that rows are missing in between.
        """
        return None

    def one(self, resource: Resource, external_id: str) -> Request | None:
        """The call that reads one record by its id; None where the partner has none."""
        return None

    def many(self, resource: Resource, ids: Sequence[str]) -> Request | None:
        """The call that reads these records at once (at most `resource.many.max`); None where the partner has none."""
        return None

    def child_request(
        self,
        child: Resource,
        parent_id: str,
        checkpoint: Checkpoint | None = None,
        parent: Mapping[str, Any] | None = None,
    ) -> Request:
        """The first call of `child`'s listing below one parent, or the one at `checkpoint.cursor`.

        `parent` are the parent's normalized fields, needed where `child.placeholders` names more than `id`.
        """
        raise RejectedError(f"{child.name} is not listed below another resource", resource=child.name)

    # Reading answers.

    @abstractmethod
    def items(self, resource: Resource, response: Response) -> list[Item]:
        """What a listing's page (or an answer to `many`) holds. Raises PayloadError when it is not such a page."""

    @abstractmethod
    def record(self, resource: Resource, response: Response) -> Raw:
        """The raw record an answer to `one` holds. Raises PayloadError when it is not one."""

    def item(self, resource: Resource, response: Response) -> Item:
        """What an answer to `one` holds, as an item."""
        return Item(resource.name, self.record(resource, response))

    def several(self, resource: Resource, response: Response) -> list[Item]:
        """What an answer to `many` holds."""
        return self.items(resource, response)

    def total(self, resource: Resource, response: Response) -> int | None:
        """How many records the whole listing has, where the partner says it."""
        return None

    def part(self, resource: Resource, cursor: str | None, response: Response) -> Part | None:
        """Which part of the listing the page at this cursor is of, and how many rows the partner says that part has.

        None where the listing is one, of which each record is one row.
        """
        return None

    def places(self, resource: Resource) -> Sequence[str]:
        """The properties, accounts or the like that its listing is walked for, each once; none where it is one listing."""
        return ()

    def beyond(self, resource: Resource, refused: Request) -> Beyond | None:
        """Where the listing goes on when this call was refused. None: nowhere, it is not the first of a part of several."""
        return None

    def newest(self, resource: Resource, response: Response, identities: Sequence[Identity]) -> datetime | None:
        """The newest moment on a page, of the kind `since` filters by: what the watermark is made from."""
        return max((known.source_updated_at for known in identities if known.source_updated_at), default=None)

    def covers(self, resource: Resource, external_id: str) -> bool:
        """Is this one of the records that the options ask for? An event of another one is none of ours."""
        return True

    @abstractmethod
    def identify(self, resource: Resource, raw: Raw, adapter: str = "") -> Identity:
        """Who a raw record is. Raises PayloadError when it has no usable id."""

    @abstractmethod
    def normalize(self, resource: Resource, raw: Raw, adapter: str = "") -> Record:
        """The record syncd stores. Raises PayloadError naming the field that does not fit."""

    def fields(self, resource: Resource, raw: Raw, adapter: str = "") -> dict[str, Any]:
        """Only the normalized fields of `normalize`: what the engine asks of each record whose identity it knows."""
        return self.normalize(resource, raw, adapter).data

    def hashable(self, resource: Resource, raw: Raw) -> Raw:
        """The raw record without what changes and means nothing: what the content hash is taken of."""
        return raw

    def reading(self, resource: Resource, adapter: str = "") -> Reading:
        """`identify`, `fields` and `hashable` of one resource, for whoever reads many records of it.

        Says what those three say; a driver overrides them and not this.
        """
        return Reading(
            lambda raw: self.identify(resource, raw, adapter),
            lambda raw: self.fields(resource, raw, adapter),
            lambda raw: self.hashable(resource, raw),
        )

    def tenant(self, resource: Resource, raw: Raw) -> str | None:
        """The account at the partner that the record says it belongs to."""
        return None

    def tenant_by(self, options: Mapping[str, Any]) -> tuple[str, str] | None:
        """The option that says which account records must name, and that account; None where a file gives none such."""
        stated = ((name, one.tenant.get(str(options.get(name)))) for name, one in self.spec.options.items())
        found = next(((name, tenant) for name, tenant in stated if tenant is not None), None)
        rules, own = self.spec.webhooks, self.account(options)
        return (rules.account.option, own) if found is None and own and rules and rules.account else found

    @abstractmethod
    def classify(self, response: Response, now: datetime) -> PartnerError | None:
        """None for a sound answer, else what went wrong: its 4xx, its 5xx, its odd 200s."""

    # Webhooks and pushes.

    @property
    def takes_webhooks(self) -> bool:
        """Does its partner send us anything?"""
        mine = type(self)
        return (
            self.spec.webhooks is not None or mine.verify is not Driver.verify or mine.verifier is not Driver.verifier
        )

    def subscriptions(self, options: Mapping[str, Any]) -> Subscriptions | None:
        """How its partner is asked to send us what changes; None where only a person can."""
        return None

    def verifier(self, secrets: Sequence[Secret], *, tolerance_seconds: float | None = None) -> Verifier:
        """What tells whether a delivery is really the partner's: on the raw bytes, in constant time, with any of the secrets.

        Made once for many deliveries. `tolerance_seconds`: how far a signed time may be from ours, where a file says so.
        """
        return lambda delivery, now: verdict(self.verify(delivery, secrets, coerce.epoch_moment(now)))

    def verify(self, delivery: Delivery, secrets: Sequence[Secret], now: datetime) -> bool:
        """The same of one delivery. A driver with a scheme of its own overrides this, or `verifier`."""
        if type(self).verifier is Driver.verifier:
            return False
        return bool(self.verifier(secrets)(delivery, now.timestamp()))

    def event_id(self, delivery: Delivery) -> str | None:
        """What is the same on every try of one delivery; None where the partner sends nothing of the kind."""
        return None

    def account(self, options: Mapping[str, Any]) -> str:
        """The account at the partner that an integration is of, as deliveries name it; "" where its file does not say."""
        rules = self.spec.webhooks
        value = options.get(rules.account.option) if rules is not None and rules.account is not None else None
        return "" if value is None else str(value)

    def accounts(self, delivery: Delivery) -> tuple[str, ...]:
        """The accounts a delivery may be of, the likeliest first; none where it names none. Never raises PayloadError."""
        return ()

    def event_type(self, delivery: Delivery) -> str:
        """What the partner calls what happened, for counting; "" where it does not say. Never raises PayloadError."""
        return ""

    def kept_headers(self) -> tuple[str, ...]:
        """Names of the headers a stored delivery is read by, in lower case."""
        return ()

    def events(self, delivery: Delivery) -> list[Event]:
        """The facts in a verified delivery."""
        return []

    def named_by(self, event: Event) -> tuple[str, str] | None:
        """The stored record (resource, id) that tells which of our resources an event is of, where it does not say so."""
        return None

    def named(self, event: Event, record: Raw | None, options: Mapping[str, Any]) -> Sequence[Event]:
        """The event once for each resource that holds what it is of; as it came where none does.

        `record` is the one `named_by` asked for, None where none is stored.
        """
        return (event,)

    # Pushes: changes of ours. All get the resource as the integration has it.

    def push_kinds(self, resource: Resource) -> Sequence[str]:
        """What may be pushed of a resource."""
        return tuple(resource.pushes)

    def check(self, resource: Resource, change: Change, stored: Mapping[str, Any] | None) -> None:
        """Raises RejectedError, naming the field, for a change that must not be sent. Asked before it is sent first.

        `stored` are the record's normalized fields, where they are known.
        """
        raise RejectedError(f"{self.spec.name} takes no changes of {change.resource}", resource=change.resource)

    def by_state(self, resource: Resource, change: Change) -> bool:
        """Does `check` have to know the record as the partner has it? What is not stored is read first then."""
        return False

    def expects(self, resource: Resource, change: Change) -> bool:
        """Does the change say how the record was when it was written? Then `check` is held against it as it is just now."""
        return False

    def push(self, resource: Resource, change: Change) -> Request:
        """The call that brings a change to the partner, with the change's idempotency key where it honours one."""
        raise RejectedError(f"{self.spec.name} takes no changes of {change.resource}", resource=change.resource)

    def idempotent(self, resource: Resource, change: Change, unsure_seconds: float = 0.0) -> bool:
        """May it be sent again, so long after it may have arrived, without being done twice?"""
        return False

    def look_up(self, resource: Resource, change: Change) -> Request | None:
        """The call by whose answer `already` tells whether the change has arrived; None where nothing tells."""
        return None

    def look_up_each(self, resource: Resource, change: Change, response: Response) -> Sequence[Request] | None:
        """The calls by whose answers `already` tells, where the one to `look_up` only says which records to look at.

        None: `already` is asked of that answer itself. Raises PayloadError, UnknownOutcomeError.
        """
        return None

    def look_first(self, resource: Resource, change: Change) -> bool:
        """Is it looked up before it is sent, so that what the partner has already is not sent?"""
        return False

    def look_up_after(self, resource: Resource, change: Change) -> float:
        """Seconds after it left before a look-up is believed: it may still be on its way."""
        return 2.0

    def already(self, resource: Resource, change: Change, response: Response) -> bool:
        """Does the answer to `look_up` show that the change has arrived?"""
        return False

    def confirms(self, resource: Resource, change: Change, response: Response) -> bool:
        """Does the answer to `push` say that the change was made, where a 2xx alone does not prove it?"""
        return True

    def pushed(self, resource: Resource, change: Change, response: Response) -> Item | None:
        """The whole record in the answer to `push`; None where there is none, and it is read anew."""
        return None

    def made_id(self, resource: Resource, change: Change, response: Response) -> str | None:
        """The id of what `push` made, where its answer has no more of it than that."""
        return None

    def settled(self, resource: Resource, change: Change, refused: PartnerError) -> bool:
        """Does this refusal say that nothing is left to do? Then the push is done, as if it had been taken."""
        return False

    def deletes(self, resource: Resource, change: Change) -> bool:
        """Is the record gone once it is done? Then "there is no such record" tells of a lost answer that it has arrived."""
        return False

    def acknowledgement(self, resource: Resource, response: Response) -> Mapping[str, Any]:
        """Of a queue: what the push that acknowledges an answer's messages says beside their `ids`.

        `queue` names which of several queues it came from: what waits to be acknowledged there is not acknowledged again.
        """
        return {}

    def replaces(self, resource: Resource, change: Change) -> bool:
        """Does it set a state, so that a newer change of its kind to the same record makes it moot?"""
        return False

    def order_key(self, resource: Resource, change: Change) -> str:
        """What identifies the record of a change without an id, so that changes of one record keep their order."""
        return ""
