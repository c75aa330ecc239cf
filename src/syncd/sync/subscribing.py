"""Subscriptions at a partner: what is there compared with what is wanted, and the least that makes them equal.

A subscription is ours when it leads to our address; no other is ever touched. Its secret is sealed as soon as it is known:
what dies between the partner's answer and the sealing leaves a subscription nobody has the secret of, which the next repair
replaces. Every call goes through the integration's own gate.
"""

from __future__ import annotations

import contextlib
import os
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from syncd.errors import GoneError, OwnershipError, PayloadError, RejectedError
from syncd.kit import Request, Response, Secret, Subscription, Subscriptions
from syncd.model import Lane
from syncd.sync.account import Account

KIND: Final = "webhook"
"""Of the sealed row of an integration: by subscription, its secret."""
MOST_PAGES: Final = 50
SEALING_TRIES: Final = 5
SECRET_BYTES: Final = 24
"""Of a secret that an address ends in."""


class Held(StrEnum):
    """Where the secret of a subscription is."""

    SEALED = "sealed"
    """In table credentials, by the subscription's id."""
    FILE = "file"
    """In the integration's file, as far as can be told: a file does not say which subscription a secret is of."""
    NOBODY = "nobody"


class Action(StrEnum):
    """What may be done about a subscription."""

    CREATE = "create"
    READ = "read"
    """Read its secret and seal it."""
    CHANGE = "change"
    REPLACE = "replace"
    REMOVE = "remove"


REGISTERING: Final = frozenset({Action.CREATE, Action.READ})
"""What changes nothing that is there."""


@dataclass(frozen=True, slots=True)
class Found:
    """One subscription that the partner keeps."""

    subscription: Subscription
    ours: bool
    held: Held
    troubles: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        if not self.ours:
            return "foreign"
        waits = self.subscription.pending
        return "broken" if len(self.troubles) > waits else "pending" if waits else "sound"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do."""

    action: Action
    would: str
    """In words, after "would"."""
    done: str
    """In words, once it was done."""
    subscription: Subscription | None = None
    events: frozenset[str] = frozenset()
    """All it has to bring afterwards."""
    url: str = ""
    """Where the one that is made leads."""


def compare(
    told: Iterable[Subscription],
    url: str,
    wanted: Collection[str],
    sealed: Collection[str],
    *,
    readable: bool,
    in_file: bool,
) -> tuple[list[Found], list[Step]]:
    """What is there, and the least that has to be done. `sealed` are the ids whose secret we hold, `readable` says that the
    partner tells a secret again, `in_file` that the integration's file has one."""
    every = list(told)
    ours = [one for one in every if same_address(one.url, url)]
    main = max(ours, key=lambda one: (one.id in sealed, one.active, -len(one.lacks(wanted)), one.id), default=None)
    found, steps = [], []
    for one in every:
        held = Held.SEALED if one.id in sealed else Held.FILE if in_file and one is main else Held.NOBODY
        if one not in ours:
            found.append(Found(one, False, Held.NOBODY))
            continue
        if one is not main:
            found.append(Found(one, True, held, ("a second one to the same address",)))
            would = f"remove {one.id}, a second one to the same address"
            steps.append(Step(Action.REMOVE, would, f"removed {one.id}, a second one to the same address", one))
            continue
        found.append(Found(one, True, held, tuple(_troubles(one, held, wanted))))
        steps[:0] = _mending(one, held, wanted, readable=readable)
    if main is None and wanted:
        events = frozenset(wanted)
        text = f"a subscription of {_of(events)} to {url}"
        steps.append(Step(Action.CREATE, f"make {text}", f"made {text}", None, events, url))
    return found, [replace(step, url=url) for step in steps]


def compare_each(
    told: Iterable[Subscription],
    url: str,
    wanted: Collection[str],
    sealed: Collection[str],
    *,
    readable: bool,
    in_file: bool,
    own_address: bool = True,
) -> tuple[list[Found], list[Step]]:
    """The same for a partner that wants one for each kind of event: at an address that ends in it, or all at one."""
    every, steps = list(told), []
    ours: dict[str, Found] = {}
    for event in sorted(wanted):
        some = every if own_address else [one for one in every if event in one.events]
        where = f"{url}/{event}" if own_address else url
        found, due = compare(some, where, {event}, sealed, readable=readable, in_file=in_file)
        ours |= {each.subscription.id: each for each in found if each.ours}
        steps += due
    for one in every if own_address else ():
        event = next(iter(one.events), "")
        if event not in wanted and same_address(one.url, f"{url}/{event}"):
            ours[one.id] = Found(
                one, True, Held.SEALED if one.id in sealed else Held.NOBODY, (f"nothing here wants {event}",)
            )
            text = f"{one.id}: nothing here wants {event}"
            steps.append(Step(Action.REMOVE, f"remove {text}", f"removed {text}", one))
    return [ours.get(one.id) or Found(one, False, Held.NOBODY) for one in every], steps


def without_secret(one: Subscription, url: str) -> Subscription:
    """One that leads to our address and ends in a secret, as leading to the address alone: it is shown to people."""
    base, _, secret = one.url.rpartition("/")
    return replace(one, url=url) if secret and same_address(base, url) else one


def _of(events: Collection[str]) -> str:
    return f"{len(events)} kinds of events" if len(events) != 1 else next(iter(events))


def same_address(one: str, other: str) -> bool:
    """Do both lead to the same place, however scheme, host, the port that is meant anyway, and the end are written?"""
    return _plain(one) == _plain(other)


def _plain(url: str) -> tuple[str, ...]:
    try:
        parts = urlsplit(url.strip())
        scheme = parts.scheme.lower()
        port = parts.port or {"https": 443, "http": 80}.get(scheme)
    except ValueError:  # no address of ours is written so
        return (url.rstrip("/"),)
    return scheme, (parts.hostname or "").lower(), str(port), parts.path.rstrip("/"), parts.query


def _troubles(one: Subscription, held: Held, wanted: Collection[str]) -> Iterable[str]:
    if held is Held.NOBODY:
        yield "nobody has its secret: its deliveries are refused"
    if not one.active:
        yield f"the partner switched it off{f' ({one.said})' if one.said else ''}"
    if one.pending:
        yield f"the partner has to let it through first{f' ({one.said})' if one.said else ''}"
    missing = sorted(one.lacks(wanted))
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        yield f"it does not bring {', '.join(missing[:3])}{more}"


def _mending(one: Subscription, held: Held, wanted: Collection[str], *, readable: bool) -> list[Step]:
    events = one.events | frozenset(wanted)
    if held is Held.NOBODY and not readable:
        text = f"{one.id}, whose secret nobody has, by a new one of {_of(events)}"
        return [Step(Action.REPLACE, f"replace {text}", f"replaced {text}", one, events)]
    steps = []
    if held is Held.NOBODY:
        steps.append(
            Step(Action.READ, f"read the secret of {one.id} and seal it", f"sealed the secret of {one.id}", one)
        )
    missing = len(one.lacks(wanted))
    what = [
        *(["switch it on again"] if not one.active else []),
        *([f"add {missing} kinds of events"] if missing else []),
    ]
    if what:
        did = " and ".join(what).replace("switch it on", "switched on").replace("add", "added")
        steps.append(Step(Action.CHANGE, f"change {one.id}: {' and '.join(what)}", f"{one.id}: {did}", one, events))
    return steps


def among(steps: Sequence[Step], actions: Collection[Action]) -> list[Step]:
    """The steps of these kinds, in order. The secret of one that lacks events is not read before those are there: that syncd
    has it means that it brings everything."""
    lacking = {step.subscription.id for step in steps if step.action not in actions and step.subscription}
    return [
        step
        for step in steps
        if step.action in actions and (step.subscription is None or step.subscription.id not in lacking)
    ]


class Subscribing:
    """One look at the subscriptions of one integration, and what is done about it."""

    def __init__(self, account: Account, api: Subscriptions, url: str, *, in_file: bool) -> None:
        self._account = account
        self._api = api
        self._url = url
        self._in_file = in_file
        self.wanted = api.wanted(list(account.plans))
        self.found: list[Found] = []
        self.steps: list[Step] = []
        self.done: list[Step] = []
        self._lost: list[str] = []
        """Of a partner without a list: what is sealed for subscriptions that it no longer has."""

    async def look(self) -> None:
        """Ask the partner, and compare. Raises what the call may raise."""
        sealed = await self._sealed()
        told = await (self._listed() if self._api.listed else self._read(sealed))
        readable = bool(told) and self._api.secret(told[0]) is not None
        ids = frozenset(key.rpartition("/")[2] for key in sealed) if not self._api.listed else sealed
        if self._api.secret_in_address:
            told = [without_secret(one, self._url) for one in told]
        look = partial(compare_each, own_address=self._api.own_address) if self._api.one_an_event else compare
        self.found, self.steps = look(told, self._url, self.wanted, ids, readable=readable, in_file=self._in_file)

    async def _listed(self) -> list[Subscription]:
        told: list[Subscription] = []
        request: Request | None = self._api.listing()
        for _ in range(MOST_PAGES):
            if request is None:
                return told
            response = await self._call(request)
            told += self._api.found(response)
            request = self._api.following(request, response)
        raise PayloadError(f"the list of subscriptions has more than {MOST_PAGES} pages")

    async def _read(self, sealed: Collection[str]) -> list[Subscription]:
        """Each that we hold a secret of, asked for by its id."""
        told = []
        self._lost = []
        for key in sorted(sealed):
            event, _, known = key.rpartition("/")
            url = f"{self._url}/{event}" if self._api.one_an_event else self._url
            one = Subscription(known, url, frozenset({event} if event else self.wanted))
            try:
                told.append(self._api.told(one, await self._call(self._api.read(one))))
            except GoneError:
                self._lost.append(key)
        return told

    async def act(self, actions: Collection[Action]) -> None:
        """Take the steps of these kinds, in order; `done` holds those that were taken, also when one fails."""
        for step in among(self.steps, actions):
            waits = await self._take(step)
            self.done.append(replace(step, done=f"{step.done}; {waits}") if waits else step)
        for key in self._lost:
            await self._seal(key, None)

    async def _take(self, step: Step) -> str:
        """Returns what is still to happen before it works, if anything."""
        one = step.subscription
        match step.action:
            case Action.CREATE:
                return await self._create(step.events, step.url)
            case Action.READ if one is not None:
                await self._seal(self._key(one), await self._secret_of(one))
            case Action.CHANGE if one is not None:
                request = self._api.change(one, step.events)
                if request is None:
                    return await self._replace(one, step.events, step.url)
                await self._call(request)
            case Action.REPLACE if one is not None:
                return await self._replace(one, step.events, step.url)
            case Action.REMOVE if one is not None:
                await self._remove(one)
        return ""

    async def _replace(self, one: Subscription, events: frozenset[str], url: str) -> str:
        """The new one before the old one goes, so that nothing is missed between; where the partner allows it."""
        if self._api.one_a_url:
            await self._remove(one)
        waits = await self._create(events, url)
        if not self._api.one_a_url:
            await self._remove(one)
        return waits

    async def _create(self, events: frozenset[str], url: str) -> str:
        longest = self._api.longest_url
        if longest is not None and len(url) > longest:
            raise RejectedError(
                f"{url} has {len(url)} characters, and the partner takes {longest}",
                hint="a shorter public_url under server in syncd.yaml, or webhook: {url: ...} in the integration",
            )
        if self._api.secret_in_address:
            await self._create_secret(events, url)
            return ""
        made, secret = self._api.created(await self._call(self._api.create(url, events)))
        made = replace(made, url=url, events=events)
        await self._seal(self._key(made), secret if secret is not None else await self._secret_of(made))
        return f"the partner has to let it through first ({made.said})" if made.pending else ""

    async def _create_secret(self, events: frozenset[str], url: str) -> None:
        """Where the address ends in the secret: ours, the same for all subscriptions of the integration."""
        stored = await self._account.store.credentials.get(self._account.name, KIND)
        held = sorted(stored.value.values()) if stored is not None else []
        secret = held[0] if held else urlsafe_b64encode(os.urandom(SECRET_BYTES)).decode().rstrip("=")
        known = Secret(secret)  # masked in the log from here on
        made, _ = self._api.created(await self._call(self._api.create(f"{url}/{secret}", events)))
        await self._seal(made.id, known)

    async def _remove(self, one: Subscription) -> None:
        with contextlib.suppress(GoneError):  # somebody was faster
            await self._call(self._api.remove(one))
        await self._seal(self._key(one), None)

    def _key(self, one: Subscription) -> str:
        """Under what its secret is sealed: its id; where nothing but that row knows of it, what it brings before that."""
        if self._api.listed:
            return one.id
        return f"{next(iter(one.events), '') if self._api.one_an_event else ''}/{one.id}"

    async def _secret_of(self, one: Subscription) -> Secret:
        """Ask for it, and again after each wait: some partners have it only a while after the making."""
        request = self._api.secret(one)
        if request is None:
            raise PayloadError(f"the partner gave no secret for {one.id}", hint=self._again)
        for wait in (*self._api.waits, None):
            try:
                secret = self._api.secret_in(await self._call(request))
            except (GoneError, RejectedError) as error:
                if error.status != 404 or wait is None:
                    raise
                secret = None
            if secret is not None:
                return secret
            if wait is not None:
                await self._account.clock.sleep(wait)
        raise PayloadError(f"the partner gave no secret for {one.id}", hint=self._again)

    @property
    def _again(self) -> str:
        return f"syncd webhook repair {self._account.name}"

    async def _call(self, request: Request) -> Response:
        return await self._account.session.call(request, lane=Lane.HIGH)

    async def _sealed(self) -> frozenset[str]:
        stored = await self._account.store.credentials.get(self._account.name, KIND)
        return frozenset(stored.value) if stored is not None else frozenset()

    async def _seal(self, subscription: str, secret: Secret | None) -> None:
        """Keep the secret of a subscription, or (None) forget it. Committed before anything else is done."""
        credentials, name = self._account.store.credentials, self._account.name
        for tries in range(SEALING_TRIES):
            stored = await credentials.get(name, KIND)
            before: Mapping[str, str] = stored.value if stored is not None else {}
            after = {known: value for known, value in before.items() if known != subscription}
            if secret is not None:
                after[subscription] = secret.reveal()
            if after == before:
                return
            try:
                version = stored.version if stored is not None else None
                if after:
                    await credentials.put(name, KIND, after, expires_at=None, replaces=version)
                elif not await credentials.remove(name, KIND, version=version):
                    raise OwnershipError(f"the secrets of {name}'s webhooks were replaced by somebody else")
                return
            except OwnershipError:  # another one sealed meanwhile: what it sealed stays
                if tries == SEALING_TRIES - 1:
                    raise
