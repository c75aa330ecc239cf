"""Subscriptions that a partner keeps against those that are wanted: what is there, and the least that makes them equal. Pure.

A subscription is ours when it leads to our address; no other is ever touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from syncd.kit import Subscription


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
    every = _once(told)
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
    every, steps = _once(told), []
    ours: dict[str, Found] = {}
    for event in sorted(wanted):
        some = every if own_address else [one for one in every if event in one.events]
        where = f"{url}/{event}" if own_address else url
        if wide := [one for one in some if len(one.events) > 1 and same_address(one.url, where)]:
            # Made for more than one: what it is good for nobody can tell better, and its end might be that of all.
            for one in wide:
                ours[one.id] = compare([one], where, {event}, sealed, readable=readable, in_file=in_file)[0][0]
            continue
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


def _once(told: Iterable[Subscription]) -> list[Subscription]:
    """Each once, though several lists may show it: what is asked for of one property may be told of all."""
    found: dict[str, Subscription] = {}
    for one in told:
        found.setdefault(one.id, one)
    return list(found.values())


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
