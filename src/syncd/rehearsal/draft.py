"""A delivery as a partner would send it, made from its driver's samples: for `syncd webhook send`.

The body is that of a sample of the type asked for, of a sample of another type with this type's name in it, or the least
that the description can read; with ids and times of its own. Nothing is sent or stored here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from syncd import codec, drivers
from syncd.errors import AskedWrongError, ConfigError, SyncdError
from syncd.kit import Driver
from syncd.kit.coerce import EPOCH
from syncd.kit.deliveries import Webhooks
from syncd.kit.paths import MISSING, getter, steps
from syncd.kit.shapes import HEADER
from syncd.kit.signing import signed
from syncd.kit.verifying import times
from syncd.kit.webhooks import FORM, Delivery, Event
from syncd.model import Headers
from syncd.rehearsal.places import has, instead, moment_like, put, put_one
from syncd.secrets import Secret

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Sample:
    """One `samples/*.webhook.json`."""

    name: str
    body: str
    headers: Mapping[str, str]
    event_id: str | None
    external_id: str | None
    """Of the first record it tells of."""
    url: str = ""
    route: str = ""
    """The last part of the address it came to, where that says its type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to send."""

    type: str
    external_id: str | None = None
    """The record it is to tell of; None: the sample's."""
    renames: Mapping[str, str] = field(default_factory=dict)
    """Texts of the sample and what is to stand in their place."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values by their path in the body."""
    forged: bool = False
    stale_seconds: float = 0.0
    """So long ago it was signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """A delivery, ready to be posted."""

    delivery: Delivery
    sample: str
    """The sample it was made from; empty where there was none."""
    events: Sequence[Event]
    event_id: str | None


def webhooks_of(driver: Driver) -> Webhooks:
    """How its partner's deliveries are described. Raises ConfigError where it sends none."""
    rules = driver.spec.webhooks
    if rules is None:
        raise ConfigError(f"driver {driver.spec.name} takes no webhooks", hint="its file may describe them: webhooks:")
    return rules


def samples_of(driver_name: str) -> list[Sample]:
    """A driver's sample deliveries, by name. Raises DriverError for an unknown driver."""
    return [_sample(file.name, codec.loads(file.read_bytes())) for file in _files(driver_name)]


def _files(driver_name: str) -> Iterator[Any]:
    yield from sorted((drivers.folder(driver_name) / "samples").glob("*.webhook.json"))


def _sample(name: str, told: Mapping[str, Any]) -> Sample:
    events = told.get("events") or [{}]
    return Sample(
        name.removesuffix(".webhook.json"),
        str(told["body"]),
        {key.lower(): str(value) for key, value in told.get("headers", {}).items()},
        told.get("event_id"),
        events[0].get("external_id"),
        str(told.get("url", "")),
        str(told.get("route", "")),
    )


def types_of(driver: Driver, samples: Sequence[Sample]) -> list[str]:
    """The types that can be sent, sorted: of those that lead somewhere and those of the samples, what there is a body for."""
    rules = webhooks_of(driver)
    with drivers.asking(driver.spec.name, "asked which events it knows"):
        asked = driver.subscriptions({})
        wanted = asked.wanted(driver.spec.resources) if asked is not None else ()
    told = {_type(driver, one) for one in _singly(driver, rules, samples)}
    return sorted(
        kind for kind in {*rules.routes, *told, *wanted} if kind and _drafted(driver, samples, Wish(type=kind))
    )


def rehearse(
    driver: Driver,
    samples: Sequence[Sample],
    wish: Wish,
    secret: Secret,
    now: datetime,
    fresh: str,
    *,
    url: str = "",
) -> Rehearsal:
    """The delivery, signed at `now` less what the wish says. `fresh`: hexadecimal digits nobody has used before.

    `url`: the public URL, for schemes that sign it. Raises AskedWrongError for a type nothing is known of, and for a
    stale one where the partner signs no time.
    """
    rules = webhooks_of(driver)
    if wish.stale_seconds and not times(rules):
        raise AskedWrongError(
            f"{driver.spec.title or driver.spec.name} signs no time, so no delivery of it is ever too old",
            hint="leave --stale out",
        )
    if wish.type not in types_of(driver, samples):
        raise _unknown(driver, samples, wish.type)  # a slip must not become some other event of the same family
    found = _drafted(driver, samples, wish, now, fresh, url)
    if found is None:
        raise _unknown(driver, samples, wish.type)
    draft, name = found
    delivery = draft.delivery(f"{url}/{draft.route}" if url and draft.route else url)  # the whole address is signed
    at = now.timestamp() - wish.stale_seconds
    route = delivery.route if not rules.known_by_url else secret.reveal() + ("0" if wish.forged else "")
    seal = signed(rules, delivery, secret.reveal(), at, forged=wish.forged)
    sent = Delivery(delivery.body, Headers({**draft.headers, **seal}), url, route=route)
    with drivers.asking(driver.spec.name, "reading the id of the delivery"):
        event_id = driver.event_id(sent)
    return Rehearsal(delivery=sent, sample=name, events=_events(driver, sent), event_id=event_id)


def accounts_of(driver: Driver, delivery: Delivery) -> tuple[str, ...]:
    """The accounts it may be of, as far as it says."""
    with drivers.asking(driver.spec.name, "reading whose the delivery is"):
        return driver.accounts(delivery)


def of_account(driver: Driver, found: Rehearsal, wish: Wish, own: str) -> Wish:
    """The wish, with the account `own` in the place of the one that the sample names. What was set stays."""
    named = accounts_of(driver, found.delivery)
    if not named or own in named or named[0] in map(str, wish.settings.values()):
        return wish
    return replace(wish, renames={**wish.renames, named[0]: own})


def _drafted(
    driver: Driver, samples: Sequence[Sample], wish: Wish, now: datetime = EPOCH, fresh: str = "", url: str = ""
) -> tuple[_Draft, str] | None:
    """The first body that says what is wished, and the name of the sample it is from; None where none does."""
    rules = webhooks_of(driver)
    for sure, body, headers, sample in _bodies(driver, rules, samples, wish.type):
        draft = _Draft(rules, body, headers, wish.type)
        draft.freshen(sample, fresh, now)
        if wish.external_id is not None:
            draft.about(wish.external_id, sample)
        for old, new in wish.renames.items():
            draft.body = instead(draft.body, old, new)
        for path, value in wish.settings.items():
            put(draft.body, path, value)
        if sure or _events(driver, draft.delivery(url)):
            return draft, sample.name if sample is not None else ""
    return None


def _events(driver: Driver, delivery: Delivery) -> Sequence[Event]:
    """What it says; nothing where it is not of the type it claims, or was made so by the settings."""
    try:
        with drivers.asking(driver.spec.name, "reading the delivery"):
            return list(driver.events(delivery))
    except drivers.DriverFaultError:
        raise
    except SyncdError:
        return []


def _type(driver: Driver, sample: Sample) -> str:
    with drivers.asking(driver.spec.name, "reading the type of a sample delivery"):
        return driver.event_type(_delivery(sample))


def _unknown(driver: Driver, samples: Sequence[Sample], kind: str) -> AskedWrongError:
    from syncd.config import did_you_mean

    known = types_of(driver, samples)
    hint = did_you_mean(kind, known) or f"it has: {', '.join(known)}"
    return AskedWrongError(f"{driver.spec.title or driver.spec.name} is not known to send {kind!r}", hint=hint)


def _delivery(sample: Sample) -> Delivery:
    return Delivery(sample.body.encode(), Headers(sample.headers), sample.url, route=sample.route)


def _singly(driver: Driver, rules: Webhooks, samples: Sequence[Sample]) -> list[Sample]:
    """The samples, those with several events once for each of them."""
    found = []
    for one in samples:
        body = _delivery(one).json()
        facts = getter(rules.events)(body) if rules.events is not None else None
        if not isinstance(facts, list) or len(facts) < 2:
            found.append(one)
            continue
        for number, fact in enumerate(facts, 1):
            whole = codec.loads(codec.dumps(body))
            put(whole, str(rules.events), [fact])
            alone = replace(one, name=f"{one.name}, event {number}", body=codec.dumps(whole).decode())
            about = _events(driver, _delivery(alone))
            found.append(replace(alone, external_id=about[0].external_id if about else None))
    return found


def _bodies(
    driver: Driver, rules: Webhooks, samples: Sequence[Sample], kind: str
) -> Iterator[tuple[bool, dict[str, Any], dict[str, str], Sample | None]]:
    """What the delivery may be made from, the likeliest first: is it surely of this type, body, headers, sample."""
    typed = [(_type(driver, one), one) for one in _singly(driver, rules, samples)]
    near = [one for told, one in typed if told != kind and _family(told) == _family(kind)]
    for sure, one in [*((True, one) for told, one in typed if told == kind), *((False, one) for one in near)]:
        body = _delivery(one).json()
        if isinstance(body, dict):
            yield sure, body, dict(one.headers), one
    if kind in rules.routes:
        yield True, {}, {"content-type": JSON}, None


def _family(kind: str) -> str:
    """What an event is about, by the first word of its type."""
    return re.split(r"[.-]", kind, maxsplit=1)[0]


class _Draft:
    """A body and headers on their way to being a delivery."""

    def __init__(self, rules: Webhooks, body: dict[str, Any], headers: dict[str, str], kind: str) -> None:
        self.rules = rules
        self.headers = {"content-type": JSON, **headers, "user-agent": "syncd webhook send"}
        self.body = body
        self.route = ""
        self.kind = kind
        self._name_the_type()

    @property
    def _fact(self) -> dict[str, Any]:
        """The event in the body: the first of a list, or the body itself."""
        if self.rules.events is None:
            return self.body
        found = getter(self.rules.events)(self.body)
        if not (isinstance(found, list) and found and isinstance(found[0], dict)):
            found = [{}]
            put(self.body, self.rules.events, found)
        first: dict[str, Any] = found[0]
        return first

    def _name_the_type(self) -> None:
        if self.rules.type is None:
            self.route = self.kind
        else:
            self._say(self.rules.type, self.kind, self._fact)

    def _say(self, place: str, value: str, body: dict[str, Any]) -> None:
        """Write a text where the description reads it: in each alternative that is there already, else in the first."""
        ways = [each.strip() for each in place.split("||")]
        named = {each: each.removeprefix(HEADER).strip().lower() for each in ways if each.startswith(HEADER)}
        plain = [each for each in ways if each not in named and steps(each)]
        there = [each for each in ways if named.get(each) in self.headers or has(body, each, plain)]
        for each in there or [way for way in ways if way in named or way in plain][:1]:
            if each in named:
                self.headers[named[each]] = value
            else:
                put(body, each, value)

    def freshen(self, sample: Sample | None, fresh: str, now: datetime) -> None:
        """An id of its own, or it would be a duplicate of the last one sent; and the time of now."""
        if self.rules.event_id is not None:
            self._say(self.rules.event_id, f"sample_{fresh}", self.body)
        elif self.rules.composite and not self._say_apart(fresh):
            now -= timedelta(seconds=sum(fresh.encode()) % 60)
        for brand in ("svix", "webhook"):
            if f"{brand}-id" in self.headers or (self.rules.verify == "standard" and sample is None):
                self.headers[f"{brand}-id"] = f"sample_{fresh}"
                break
        fact = self._fact
        for each in (self.rules.at or "").split("||"):
            found = getter(each.strip())(fact) if each.strip() else MISSING
            if found is not MISSING and found is not None:
                put(fact, each.strip(), moment_like(found, now))
        if sample is None:
            if self.rules.at:
                put_one(fact, self.rules.at, now.astimezone(UTC).isoformat())
            put_one(fact, self.rules.id or "id", f"sample-{fresh}")

    def _say_apart(self, fresh: str) -> bool:
        """Of a delivery that is known by several parts, change one that says neither its type nor its record.

        False where only its time is left for that.
        """
        at = {each.strip() for each in (self.rules.at or "").split("||")}
        told = {each.strip() for place in (self.rules.type, self.rules.id) for each in (place or "").split("||")}
        free = [part for part in self.rules.composite if not told & {each.strip() for each in part.split("||")}]
        by_place = [part for part in free if any(steps(each.strip()) for each in part.split("||"))]
        timed = at & {each.strip() for each in by_place[-1].split("||")} if by_place else set()
        if any(getter(each)(self._fact) not in (MISSING, None) for each in timed):
            return False
        if timed or not by_place:  # it is known by all of it
            put(self.body, "sample", fresh)
        else:
            self._say(by_place[-1], f"sample_{fresh}", self.body)
        return True

    def about(self, external_id: str, sample: Sample | None) -> None:
        """Tell of this record instead."""
        if sample is None:
            put_one(self._fact, self.rules.id or "id", external_id)
        elif sample.external_id is not None:
            self.body = instead(self.body, sample.external_id, external_id)

    def delivery(self, url: str) -> Delivery:
        if self.headers["content-type"].partition(";")[0].strip() == FORM:
            body = urlencode({key: str(value) for key, value in self.body.items()}).encode()
        else:
            body = codec.dumps(self.body)
        return Delivery(body, Headers(self.headers), url, route=self.route)
