"""Every call a driver can be brought to make: listings in both modes, next pages, single reads, pushes, subscriptions.

Pure. What no description tells (an id, the fields of a change) is made up here, or comes from a sample.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from syncd.client.addresses import encode_params
from syncd.client.dates import dated
from syncd.contract import Problem, Specification
from syncd.errors import RejectedError
from syncd.kit import (
    Change,
    Checkpoint,
    Driver,
    ListedSubscriptions,
    Mode,
    Request,
    Resource,
    Subscription,
    Subscriptions,
    UnlistedSubscriptions,
)
from syncd.kit.pushes import Push, PushField
from syncd.testing.sample_plays import change_of
from syncd.testing.samples import Sample

SINCE: Final = datetime.fromisoformat("2026-11-20T12:00:00.123+00:00")
HOOK: Final = "https://syncd.example/webhooks/partner/integration"
_VALUES: Final[dict[str | None, Any]] = {
    "text": "words",
    "integer": 3,
    "number": 2.5,
    "boolean": True,
    "date": "2026-11-21",
    "timestamp": "2026-11-21T12:00:00Z",
    "email": "ada@example.com",
    "phone": "+351912345678",
    "domain": "example.com",
    "list": [],
    "object": {},
    None: "words",
}


@dataclass(frozen=True, slots=True)
class Made:
    """One call, and what it is for."""

    what: str
    request: Request

    def __str__(self) -> str:
        return self.what


def id_of(resource: Resource, samples: Sequence[Sample]) -> str:
    """An id as the partner writes them: of a sample of the resource, where there is one."""
    return next((str(one.content["id"]) for one in _records(resource.name, samples)), "1")


def _records(name: str, samples: Sequence[Sample]) -> list[Sample]:
    return [one for one in samples if one.kind == "record" and one.resource == name and "id" in one.content]


def reads(driver: Driver, options: Mapping[str, Any], samples: Sequence[Sample]) -> Iterator[Made]:
    """The credential test, and of each resource its listing in full, of changes, further on, one record and several."""
    yield Made("credential test", driver.test(options))
    resources = driver.resources(options)
    for name, resource in resources.items():
        own = id_of(resource, samples)
        if resource.parent is None:
            yield Made(f"{name} in full", driver.request(resource, Checkpoint("test", name)))
            since = Checkpoint("test", name, mode=Mode.INCREMENTAL, since=SINCE)
            if resource.reads != "full":
                yield Made(f"{name} changed", driver.request(resource, since))
        else:
            parent = resources.get(resource.parent)
            above = id_of(parent, samples) if parent is not None else "1"
            known: Mapping[str, Any] = next(
                (one.content.get("data", {}) for one in _records(resource.parent, samples)), {}
            )
            fields = {**dict.fromkeys(resource.placeholders, "1"), **{k: v for k, v in known.items() if v is not None}}
            yield Made(f"{name} below {resource.parent}", driver.child_request(resource, above, None, fields))
        one = driver.one(resource, own)
        if one is not None:
            yield Made(f"one of {name}", one)
        if resource.many is not None:
            several = driver.many(resource, [own] * min(2, resource.many.max))
            if several is not None:
                yield Made(f"several of {name}", several)
    for sample in samples:
        if sample.kind == "pages":
            yield from _sampled(driver, sample)


def _sampled(driver: Driver, sample: Sample) -> Iterator[Made]:
    """The calls of a sample's pages, as the sample states them."""
    resource = driver.resources(sample.options)[sample.resource]
    for number, page in enumerate(sample.content["pages"], 1):
        told = page.get("request", {})
        path = told.get("path", resource.path)
        if "params" in told and "{" not in path:
            method = told.get("method", resource.method)
            request = Request(path, method, params=told["params"], json=told.get("json"))
            if method == "GET" or "json" in told:
                yield Made(f"{sample} call {number}", request)


def pushes(driver: Driver, options: Mapping[str, Any], samples: Sequence[Sample]) -> Iterator[tuple[Resource, Change]]:
    """A change of each kind a driver takes: those of its samples, else one with every field there is."""
    number = 0
    for resource in driver.resources(options).values():
        for kind in driver.push_kinds(resource):
            number += 1
            told = [one for one in samples if one.kind == "push" and one.resource == resource.name]
            stated = [one for one in told if one.content["kind"] == kind and "reject" not in one.content]
            if stated:
                for one in stated:
                    yield resource, change_of(one)
                continue
            rules = resource.pushes.get(kind)
            if rules is not None:
                yield resource, made_up(resource, kind, rules, samples, number)


def made_up(resource: Resource, kind: str, rules: Push, samples: Sequence[Sample], number: int) -> Change:
    """A change of a kind with every field its description names; another number makes another person of it."""
    data = {name: _value(field, number) for name, field in rules.fields.items()}
    own = id_of(resource, samples) if rules.needs_id or rules.method == "DELETE" else None
    return Change(resource.name, own, kind, data, f"0f6d3a52-7f0e-4f0f-9a46-{number:012d}", SINCE)


def _value(field: PushField, number: int) -> Any:
    value: Any = field.choices[0] if field.choices else _VALUES[field.kind]
    if field.kind in {"email", "domain"}:
        value = value.replace("example", f"example{number}")
    if isinstance(value, str) and field.longest is not None:
        value = value[: field.longest]
    return [value] if field.many else value


def writes(driver: Driver, options: Mapping[str, Any], samples: Sequence[Sample]) -> Iterator[Made]:
    """The call of each push, and the look-up after it where there is one."""
    for resource, change in pushes(driver, options, samples):
        what = f"push {change.kind} of {resource.name}"
        try:
            driver.check(resource, change, None)
        except RejectedError as error:
            raise AssertionError(f"{what}: the change made up for it is refused: {error}; add a sample of it") from None
        yield Made(what, driver.push(resource, change))
        look_up = driver.look_up(resource, change)
        if look_up is not None:
            yield Made(f"look-up of {what}", look_up)


def subscribing(driver: Driver, options: Mapping[str, Any], own: str) -> Iterator[Made]:
    """The calls of registering where we want to be told. `own`: the id of a subscription."""
    rules = driver.subscriptions(options)
    if rules is None:
        return
    if isinstance(rules, ListedSubscriptions):
        yield Made("list of subscriptions", rules.listing())
    for url, events in addresses(rules, driver.resources(options)):
        yield Made("new subscription", rules.create(url, events))
        kept = Subscription(own, url, frozenset(events))
        if isinstance(rules, UnlistedSubscriptions):
            yield Made("one subscription", rules.read(kept))
        for what, request in (
            ("secret of a subscription", rules.secret(kept)),
            ("change of a subscription", rules.change(kept, events)),
            ("end of a subscription", rules.remove(kept)),
        ):
            if request is not None:
                yield Made(what, request)


def addresses(rules: Subscriptions, resources: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Where we want to be told of what: one address for all, or one for each event."""
    wanted = sorted(rules.wanted(list(resources)))
    if getattr(rules, "one_an_event", False):
        return [(f"{HOOK}/{event}", [event]) for event in wanted]
    return [(HOOK, wanted)]


def problems(specification: Specification, base_url: str, made: Made) -> list[Problem]:
    """What of a call is not as the document says. `base_url`: where the driver's paths start."""
    request = dated(made.request, SINCE)
    path, _, own = request.path.partition("?")
    whole = urlsplit(path).path if "://" in path else urlsplit(base_url).path.rstrip("/") + "/" + path.lstrip("/")
    query = parse_qsl("&".join(filter(None, (own, encode_params(request.params)))), keep_blank_values=True)
    body = None if request.json is None else json.loads(json.dumps(request.json))
    form = None if request.form is None else list(request.form.items())
    return specification.request(request.method, whole, query, json=body, form=form, headers=request.headers)
