"""Subscriptions at a partner as its description says: the calls, and what their answers tell. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final

from syncd.errors import PayloadError
from syncd.kit import parts
from syncd.kit.adapter import answer_getter
from syncd.kit.paths import getter
from syncd.kit.placeholders import PREFIX, fill, fill_path, plain_params
from syncd.kit.pushing import form_fields
from syncd.kit.registration import Call, Registration
from syncd.kit.resource import Resource
from syncd.kit.subscriptions import (
    AnySubscriptions,
    ListedSubscriptions,
    Subscription,
    Subscriptions,
    UnlistedSubscriptions,
)
from syncd.model import Request, Response
from syncd.secrets import Secret

NAME: Final = "webhooks"


def described(
    rules: Registration,
    routes: Mapping[str, str],
    resources: Callable[[], Mapping[str, Resource]],
    options: Mapping[str, Any],
) -> Subscriptions:
    """What `webhooks.subscriptions` says of one partner, for one integration's options.

    `routes`: event type to resource. `resources`: those of the integration, asked for only where paths matter.
    """
    kind = _Unlisted if rules.listing is None else _Listed
    return kind(rules, routes, resources, options)


class _Described(AnySubscriptions):
    def __init__(
        self,
        rules: Registration,
        routes: Mapping[str, str],
        resources: Callable[[], Mapping[str, Resource]],
        options: Mapping[str, Any],
    ) -> None:
        self.one_a_url, self.one_an_event, self.own_address = rules.one_a_url, rules.one_an_event, rules.own_address
        self.secret_in_address, self.vanish = rules.secret_in_address, rules.vanish
        self.longest_url = rules.longest_url
        self.waits: Sequence[float] = () if rules.secret_call is None else rules.secret_call.waits
        self._rules, self._routes, self._resources = rules, routes, resources
        self._options = {f"{PREFIX}{name}": value for name, value in options.items()}
        each = rules.each
        given = () if each is None else each.values if each.option is None else options.get(each.option)
        self._each = [str(one) for one in given] if isinstance(given, list | tuple) else []

    def wanted(self, resources: Collection[str]) -> frozenset[str]:
        events = {event for name in resources for event in self._asked(name)} - set(self._rules.without)
        if self._rules.each is None:
            return frozenset(events)
        return frozenset(f"{each}:{event}" for each in self._each for event in events)

    def _asked(self, name: str) -> Collection[str]:
        told = self._rules.asks
        if not told:
            return [event for event, resource in self._routes.items() if resource == name]
        known = (
            () if name in told else (resource for resource in (self._resources().get(name),) if resource is not None)
        )
        return told.get(name) or next((told[at] for one in known for at in told if fnmatchcase(one.path, at)), ())

    def create(self, url: str, events: Collection[str]) -> Request:
        return self._call(self._rules.create, "POST", events, url=url)

    def created(self, response: Response) -> tuple[Subscription, Secret | None]:
        raw = getter(self._rules.create.record)(response.json())
        return self._one(raw), None if self._rules.secret is None else _secret(getter(self._rules.secret)(raw))

    def secret(self, one: Subscription) -> Request | None:
        call = self._rules.secret_call
        return None if call is None else self._call(call, "GET", one.events, id=one.id, url=one.url)

    def secret_in(self, response: Response) -> Secret | None:
        call = self._rules.secret_call
        return None if call is None else _secret(answer_getter(call.secret)(response))

    def change(self, one: Subscription, events: Collection[str]) -> Request | None:
        call = self._rules.change
        if call is None or not (one.active or call.revives):
            return None
        return self._call(call, "PATCH", events, id=one.id, url=one.url)

    def remove(self, one: Subscription) -> Request:
        return self._call(self._rules.remove, "DELETE", one.events, id=one.id, url=one.url)

    def _call(self, call: Call, method: str, events: Collection[str], **known: str) -> Request:
        stands = {**self._options, "each": ",".join(self._each), **known}
        if self._rules.one_an_event and len(events) == 1:
            stands |= self._of(next(iter(events)))
        body = None if call.body is None else self._filled(call.body, sorted(events), stands)
        return Request(
            fill_path(call.path, stands),
            call.method or method,
            route=call.path if "{" in call.path else "",
            params=plain_params(fill(call.params, stands)),
            json=None if call.form else body,
            form=dict(form_fields(body or {})) if call.form else None,
        )

    def _of(self, event: str) -> dict[str, str]:
        """What stands for an event's placeholders."""
        each, _, name = event.partition(":") if self._rules.each is not None else ("", "", event)
        return {"each": each, "event": name, **self._rules.parts(name)}

    def _filled(self, value: Any, events: Sequence[str], known: Mapping[str, Any]) -> Any:
        if value == "{events}":
            return list(events)
        if isinstance(value, Mapping):
            return {name: self._filled(inner, events, known) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            if len(value) == 1 and "{event}" in str(value[0]):
                return [self._filled(value[0], events, {**known, **self._of(event)}) for event in events]
            return [self._filled(inner, events, known) for inner in value]
        return fill(value, known)

    def _each_in(self, raw: Any) -> list[str]:
        """Which of the properties, or the like, one that is listed is for."""
        each = self._rules.each
        assert each is not None
        if each.wide is not None and getter(each.wide)(raw) is True:
            return self._each
        return [_text(getter(each.source)(raw))]

    def _one(self, raw: Any) -> Subscription:
        known = getter(self._rules.id)(raw)
        if isinstance(known, bool) or not isinstance(known, str | int) or known == "":
            raise PayloadError(f"{NAME}: a subscription without an id at `{self._rules.id}`")
        return self._said(Subscription(str(known), "", frozenset()), raw)

    def _said(self, one: Subscription, raw: Any) -> Subscription:
        """One as an answer tells of it; what that leaves out stays as it is."""
        rules = self._rules
        told, status = getter(rules.events)(raw), _text(getter(rules.status)(raw)) if rules.status else ""
        named = told if isinstance(told, list) else [told]
        heads = [""] if rules.each is None else [f"{one}:" for one in self._each_in(raw)]
        events = frozenset(f"{each}{name}" for name in named if isinstance(name, str) and name for each in heads)
        whole = events if events or isinstance(told, list) else one.events
        url = _text(getter(rules.url)(raw)) or one.url
        return replace(
            one, url=url, events=whole, active=status not in rules.off, said=status, pending=status in rules.pending
        )


class _Listed(_Described, ListedSubscriptions):
    @cached_property
    def _list(self) -> Resource:
        return _listing(self._rules, self._each)

    @property
    def lists(self) -> int:
        return max(len(self._each), 1)

    def listing(self) -> Request:
        first = Request(self._list.path, params=plain_params(_sized(self._list)))
        return parts.begun(self._list, first, None, frozenset())

    def following(self, request: Request, response: Response) -> Request | None:
        return parts.following(self._list, request, response, frozenset())

    def found(self, response: Response) -> list[Subscription]:
        paths = self._list.records if isinstance(self._list.records, tuple) else (self._list.records,)
        rows = next((rows for path in paths if isinstance(rows := answer_getter(path)(response), list)), None)
        if rows is None:
            raise PayloadError(f"{NAME}: expected a list of subscriptions at {' or '.join(map(repr, paths))}")
        return [self._one(raw) for raw in rows]


class _Unlisted(_Described, UnlistedSubscriptions):
    @property
    def _reading(self) -> Call:
        assert self._rules.read is not None
        return self._rules.read

    def read(self, one: Subscription) -> Request:
        return self._call(self._reading, "GET", one.events, id=one.id, url=one.url)

    def told(self, one: Subscription, response: Response) -> Subscription:
        return self._said(one, getter(self._reading.record)(response.json()))


def _listing(rules: Registration, each: Sequence[str]) -> Resource:
    """The list, as a resource is listed."""
    assert rules.listing is not None
    walked = None if rules.each is None else rules.each.model_copy(update={"values": tuple(each)})
    given = {name: getattr(rules.listing, name) for name in ("path", "params", "records", "pages", "page_size")}
    return Resource.model_construct(name=NAME, id=rules.id, each=walked, **given)


def _sized(listing: Resource) -> dict[str, Any]:
    size = {} if listing.pages.size is None else {listing.pages.size: listing.page_size}
    return {**listing.params, **size}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _secret(value: Any) -> Secret | None:
    return Secret(value) if isinstance(value, str) and value else None
