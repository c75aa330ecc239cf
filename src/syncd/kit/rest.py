"""The driver for every partner a description fits: all of `Driver` from a `DriverSpec`.

A partner with one oddity subclasses it and overrides one method; the rest stays as described.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

from syncd import markup
from syncd.errors import GoneError, PartnerError, PayloadError, RejectedError
from syncd.kit import changes, look_ups, paging, parts, pushing, variants, webhooks
from syncd.kit.adapter import answer_getter
from syncd.kit.auth import Auth
from syncd.kit.classify import classify, succeeded
from syncd.kit.driver import Beyond, Driver, Part, Reading
from syncd.kit.identity import id_parts
from syncd.kit.limits import Limits
from syncd.kit.moments import since_param, since_value, until_value
from syncd.kit.options import checked
from syncd.kit.paths import kind, put
from syncd.kit.placeholders import OPTION, fill, fill_path, plain_params
from syncd.kit.registering import described
from syncd.kit.resource import Resource
from syncd.kit.signatures import Verdict
from syncd.kit.subscriptions import Subscriptions
from syncd.kit.verifying import Verifier, verifier
from syncd.kit.webhooks import Change, Delivery, Event
from syncd.model import Checkpoint, Identity, Item, Raw, Record, Request, Response
from syncd.secrets import Secret


class RestDriver(Driver):
    """A partner as its description says."""

    # What there is.

    def resources(self, options: Mapping[str, Any]) -> Mapping[str, Resource]:
        settings = checked(self.spec, options)
        if any(resource.format == "xml" for resource in self.spec.resources.values()):
            markup.need()
        found = variants.chosen(self.spec, settings)
        return {
            name: variants.stated(parts.for_options(resource, settings), settings) for name, resource in found.items()
        }

    def auth(self, options: Mapping[str, Any]) -> Auth:
        return variants.proving(self.spec, options)

    def headers(self, options: Mapping[str, Any]) -> Mapping[str, str]:
        if not any(OPTION.search(value) for value in self.spec.headers.values()):
            return self.spec.headers
        return variants.with_settings(self.spec.headers, checked(self.spec, options))

    def limits(self, options: Mapping[str, Any]) -> Limits:
        if not any(tier.option or tier.when for tier in self.spec.limits.tiers):
            return self.spec.limits
        return variants.limited(self.spec, checked(self.spec, options))

    def test(self, options: Mapping[str, Any] | None = None) -> Request:
        probe = self.spec.test
        if probe is not None:
            return Request(probe.path, probe.method, params=plain_params(probe.params), json=deepcopy(probe.body))
        for resource in self.resources(options or {}).values():
            if resource.parent is None:
                return self.request(_smallest(resource), Checkpoint("", resource.name))
        raise RejectedError(f"{self.spec.name} has nothing to ask: give `test`, a path")

    # Asking.

    def request(self, resource: Resource, checkpoint: Checkpoint) -> Request:
        return self._listing(resource, checkpoint, None)

    def child_request(
        self,
        child: Resource,
        parent_id: str,
        checkpoint: Checkpoint | None = None,
        parent: Mapping[str, Any] | None = None,
    ) -> Request:
        if child.parent is None:
            return super().child_request(child, parent_id, checkpoint, parent)
        known = {f"parent.{name}": value for name, value in (parent or {}).items()}
        known["parent.id"] = parent_id
        return self._listing(child, checkpoint or Checkpoint("", child.name), known)

    def pages(self, resource: Resource, first: Request) -> Generator[Request, Response, None]:
        guard = paging.LoopGuard(resource.name)
        request: Request | None = first
        while request is not None:
            guard.turn(request.cursor)
            response = yield request
            request = self.following(resource, request, response)
            if request is not None:
                records = resource.reader.records(response)
                ends = (self._tag(resource, records[0]), self._tag(resource, records[-1])) if records else ("", "")
                # The same page in another part is no loop: a thing that lasts shows in each stretch of days.
                guard.page(records, (parts.part_at(resource, request.cursor), ends[0]), ends[1])

    def following(self, resource: Resource, request: Request, response: Response) -> Request | None:
        return parts.following(resource, request, response, self._hidden)

    def spread(self, resource: Resource, first: Request, response: Response) -> list[Request] | None:
        together = parts.parts(resource) or changes.walked(resource, first)
        return None if together else paging.spread(resource, first, response)

    def one(self, resource: Resource, external_id: str) -> Request | None:
        one = resource.one
        if one is None:
            return None
        # An id that is none of this resource makes a call the partner refuses: who asks whether records can be read has none.
        several = dict.fromkeys(resource.id, external_id) if isinstance(resource.id, tuple) else {}
        known = {f"id.{path}": part for path, part in (several | id_parts(resource, external_id)).items()}
        known["id"] = external_id
        return Request(
            fill_path(one.path, known),
            route=one.path,
            params=plain_params(fill(one.params, known)),
            headers=resource.headers,
            reads=self.reads(resource.format),
            weight=resource.weight,
            budget=resource.budget,
            group=resource.group,
        )

    def many(self, resource: Resource, ids: Sequence[str]) -> Request | None:
        many = resource.many
        if many is None:
            return None
        if len(ids) > many.max:
            raise RejectedError(f"{resource.name}: {len(ids)} ids in one call, at most {many.max} allowed")
        request = Request(
            many.path or resource.path,
            resource.method,
            params=plain_params({**({} if many.path else resource.params), **many.params}),
            headers=resource.headers,
            json=deepcopy(resource.body) if many.path is None or many.place == "body" else None,
            reads=self.reads(resource.format),
            weight=resource.weight,
            budget=resource.budget,
            group=resource.group,
            repeatable=True,
        )
        if many.place == "body":
            body = request.json if isinstance(request.json, dict) else {}
            put(body, many.param, list(ids))
            return replace(request, json=body, method="POST")
        value: Any = list(ids) if many.join == "repeat" else many.join.join(ids)
        return paging.with_params(request, {many.param: value})

    # Reading answers.

    def items(self, resource: Resource, response: Response) -> list[Item]:
        found = resource.reader.items(response)
        if resource.ends is None:
            return found
        ended = [self._tag(resource, item.raw) for item in found]
        return found + [Item(resource.ends, None, Identity(one, deleted=True)) for one in ended if isinstance(one, str)]

    def record(self, resource: Resource, response: Response) -> Raw:
        where = resource.one.records if resource.one is not None else ""
        found = answer_getter(where)(response)
        if found == [] and resource.one is not None and resource.one.empty_is_gone:
            raise GoneError(f"{resource.name}: the partner has no such record", status=response.status_code)
        if isinstance(found, list) and len(found) == 1:
            found = found[0]
        if not isinstance(found, dict):
            raise PayloadError(f"{resource.name}: expected one record, got {kind(found)}", resource=resource.name)
        whole: Raw = resource.reader.completed(found, response)
        return whole

    def item(self, resource: Resource, response: Response) -> Item:
        raw = self.record(resource, response)
        if resource.deleted is not None and resource.deleted.bare:
            known = self.identify(resource, raw)
            if known.deleted:
                return Item(resource.name, None, Identity(known.external_id, deleted=True))
        return Item(resource.name, raw)

    def several(self, resource: Resource, response: Response) -> list[Item]:
        if resource.many is None or resource.many.records is None:
            return self.items(resource, response)
        return resource.reader_of_many.items(response)

    def total(self, resource: Resource, response: Response) -> int | None:
        return None if len(parts.parts(resource)) > 1 else resource.reader.total(response)

    def part(self, resource: Resource, cursor: str | None, response: Response) -> Part | None:
        walk = parts.parts(resource)
        if not walk and not resource.repeats:
            return None
        name = walk[parts.placed(resource, cursor)[0]][0] if walk else ""
        return Part(name, resource.reader.total(response))

    def places(self, resource: Resource) -> Sequence[str]:
        return list(dict.fromkeys(name.partition("/")[0] for name, _ in parts.parts(resource)))

    def beyond(self, resource: Resource, refused: Request) -> Beyond | None:
        return parts.beyond(resource, refused, self._hidden)

    def covers(self, resource: Resource, external_id: str) -> bool:
        return parts.covers(resource, external_id)

    def newest(self, resource: Resource, response: Response, identities: Sequence[Identity]) -> datetime | None:
        reader = resource.reader
        if not reader.has_order:
            return super().newest(resource, response, identities)
        moments = (reader.ordered_at(raw) for raw in reader.records(response))
        return max((moment for moment in moments if moment), default=None)

    def identify(self, resource: Resource, raw: Raw, adapter: str = "") -> Identity:
        return resource.reader.identify(raw, adapter)

    def normalize(self, resource: Resource, raw: Raw, adapter: str = "") -> Record:
        return resource.reader.normalize(raw, adapter)

    def fields(self, resource: Resource, raw: Raw, adapter: str = "") -> dict[str, Any]:
        if type(self).normalize is not RestDriver.normalize:
            return self.normalize(resource, raw, adapter).data
        return resource.reader.shape(adapter).normalize(raw)

    def hashable(self, resource: Resource, raw: Raw) -> Raw:
        return resource.reader.hashable(raw)

    def reading(self, resource: Resource, adapter: str = "") -> Reading:
        """What the description decides is handed out compiled; what a subclass decides goes through its method."""
        own, mine, shape = super().reading(resource, adapter), type(self), resource.reader.shape(adapter)
        as_described = mine.fields is RestDriver.fields and mine.normalize is RestDriver.normalize
        return Reading(
            shape.identify if mine.identify is RestDriver.identify else own.identify,
            shape.normalize if as_described else own.fields,
            None
            if mine.hashable is RestDriver.hashable and not (resource.volatile or resource.compared)
            else own.hashable,
        )

    def tenant(self, resource: Resource, raw: Raw) -> str | None:
        return resource.reader.tenant(raw)

    def classify(self, response: Response, now: datetime) -> PartnerError | None:
        return classify(response, now, self.spec.errors, dialect=self.spec.limits.waits)

    # Webhooks.

    @property
    def takes_webhooks(self) -> bool:
        return self.spec.webhooks is not None or type(self).verify is not Driver.verify

    def verifier(self, secrets: Sequence[Secret], *, tolerance_seconds: float | None = None) -> Verifier:
        rules = self.spec.webhooks
        if type(self).verify is not Driver.verify:
            return super().verifier(secrets, tolerance_seconds=tolerance_seconds)
        if rules is None:
            return lambda delivery, now: Verdict.FORGED
        return verifier(rules, [secret.reveal() for secret in secrets], tolerance_seconds=tolerance_seconds)

    def event_id(self, delivery: Delivery) -> str | None:
        return self._event_ids(delivery)

    def accounts(self, delivery: Delivery) -> tuple[str, ...]:
        return self._accounts(delivery)

    def event_type(self, delivery: Delivery) -> str:
        return self._event_types(delivery)

    def kept_headers(self) -> tuple[str, ...]:
        return () if self.spec.webhooks is None else webhooks.kept_headers(self.spec.webhooks)

    def subscriptions(self, options: Mapping[str, Any]) -> Subscriptions | None:
        rules = self.spec.webhooks
        if rules is None or rules.subscriptions is None:
            return None
        known = {name: options.get(name, option.default) for name, option in self.spec.options.items()}
        return described(rules.subscriptions, rules.routes, lambda: self.resources(options), known)

    def events(self, delivery: Delivery) -> list[Event]:
        return [] if self.spec.webhooks is None else webhooks.events(self.spec.webhooks, delivery, self._listed)

    # Pushes.

    def check(self, resource: Resource, change: Change, stored: Mapping[str, Any] | None) -> None:
        pushing.check(resource, change, stored)

    def by_state(self, resource: Resource, change: Change) -> bool:
        return pushing.by_state(resource, change)

    def expects(self, resource: Resource, change: Change) -> bool:
        return pushing.expects(resource, change)

    def push(self, resource: Resource, change: Change) -> Request:
        request = pushing.push(resource, change)
        return request if request.xml is None else replace(request, reads=self.reads("xml"))

    def idempotent(self, resource: Resource, change: Change, unsure_seconds: float = 0.0) -> bool:
        return pushing.idempotent(resource, change, unsure_seconds)

    def deletes(self, resource: Resource, change: Change) -> bool:
        return pushing.deletes(resource, change)

    def look_up(self, resource: Resource, change: Change) -> Request | None:
        one = self.one(resource, change.external_id) if change.external_id else None
        return look_ups.look_up(resource, change, one)

    def look_up_each(self, resource: Resource, change: Change, response: Response) -> Sequence[Request] | None:
        ids = look_ups.candidates(resource, change, response)
        if ids is not None:
            look_ups.be_whole(resource, change, response)
        return None if ids is None else [call for each in ids if (call := self.one(resource, each)) is not None]

    def look_first(self, resource: Resource, change: Change) -> bool:
        rules = resource.pushes.get(change.kind)
        return rules is not None and rules.look_first

    def look_up_after(self, resource: Resource, change: Change) -> float:
        rules = resource.pushes.get(change.kind)
        return rules.look_up.after if rules is not None and rules.look_up is not None else 0.0

    def already(self, resource: Resource, change: Change, response: Response) -> bool:
        if not look_ups.by_reading(resource, change):
            arrived = look_ups.already(resource, change, response)
            if arrived is resource.pushes[change.kind].is_deletion:  # it is not shown, as far as the answer goes
                look_ups.be_whole(resource, change, response)
            return arrived
        item = self.item(resource, response)
        identity = item.identity or self.identify(resource, item.raw or {})
        return identity.deleted

    def confirms(self, resource: Resource, change: Change, response: Response) -> bool:
        return succeeded(response, self.spec.errors) and pushing.confirms(resource, change, response)

    def pushed(self, resource: Resource, change: Change, response: Response) -> Item | None:
        item = pushing.pushed(resource, change, response)
        return None if item is None else Item(item.resource, resource.reader.completed(item.raw, response))

    def made_id(self, resource: Resource, change: Change, response: Response) -> str | None:
        return pushing.made_id(resource, change, response)

    def replaces(self, resource: Resource, change: Change) -> bool:
        rules = resource.pushes.get(change.kind)
        return rules is not None and rules.idempotency == "natural"

    def settled(self, resource: Resource, change: Change, refused: PartnerError) -> bool:
        return pushing.settled(resource, change, refused)

    def order_key(self, resource: Resource, change: Change) -> str:
        return pushing.order_key(resource, change)

    @cached_property
    def _listed(self) -> frozenset[str]:
        """Resources that only a listing of them shows."""
        found = self.spec.resources.items()
        return frozenset(name for name, one in found if one.one is None and one.many is None and one.parent is None)

    @cached_property
    def _event_ids(self) -> Callable[[Delivery], str | None]:
        rules = self.spec.webhooks
        return (lambda _: None) if rules is None else webhooks.event_ids(rules)

    @cached_property
    def _accounts(self) -> Callable[[Delivery], tuple[str, ...]]:
        rules = self.spec.webhooks
        return (lambda _: ()) if rules is None else webhooks.accounts(rules)

    @cached_property
    def _event_types(self) -> Callable[[Delivery], str]:
        rules = self.spec.webhooks
        return (lambda _: "") if rules is None else webhooks.event_types(rules)

    # How a listing's call is put together.

    def _listing(self, resource: Resource, checkpoint: Checkpoint, known: Mapping[str, Any] | None) -> Request:
        params, body = dict(resource.params), deepcopy(resource.body)
        if resource.page_size is not None and resource.pages.size is not None:
            if resource.pages.place == "body":
                body = {} if body is None else body
                put(body, resource.pages.size, resource.page_size)
            else:
                params[resource.pages.size] = resource.page_size
        if resource.since is not None and checkpoint.since is not None:
            params.update(resource.since.params)
            if resource.since.param is not None:
                params[resource.since.param] = since_param(resource.since, checkpoint.since)
            else:
                body = {} if body is None else body
                put(body, resource.since.body or "", since_value(checkpoint.since, resource.since.format))
            if checkpoint.until is not None and resource.since.until is not None:
                bound = until_value(checkpoint.until, resource.since.format)
                if resource.since.param is not None:
                    params[resource.since.until] = str(bound)
                elif body is not None:
                    put(body, resource.since.until, bound)
        path = resource.path
        if OPTION.search(path):
            raise variants.unstated(resource)
        if known is not None:
            path, params, body = fill_path(path, known), fill(params, known), fill(body, known)
        request = Request(
            f"{resource.host}{path}",
            resource.method,
            route=resource.path,
            params=plain_params(params),
            headers=resource.headers,
            dated=resource.dated,
            json=body if resource.method == "POST" and resource.format == "json" else None,
            xml=body if resource.method == "POST" and resource.format == "xml" else None,
            reads=self.reads(resource.format),
            weight=resource.weight,
            budget=resource.budget,
            group=resource.group,
            repeatable=resource.queue is None,  # the next poll is soon enough, and one that removes must not come twice
        )
        return parts.begun(resource, request, checkpoint.cursor, self._hidden)

    def reads(self, form: str) -> markup.Markup | None:
        """How an answer of this format is read."""
        return self.spec.xml.markup if form == "xml" else None

    @property
    def _hidden(self) -> frozenset[str]:
        query = self.spec.auth.query
        return frozenset() if query is None else frozenset({query})

    @staticmethod
    def _tag(resource: Resource, raw: Any) -> object:
        try:
            return resource.reader.identify(raw).external_id
        except PayloadError:
            return None


def _smallest(resource: Resource) -> Resource:
    return resource if resource.pages.size is None else resource.model_copy(update={"page_size": 1})
