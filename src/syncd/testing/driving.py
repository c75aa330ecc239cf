"""A real driver, a real session and a simulator: every call the driver can make, made once, and every answer read.

No store and no schedule: what an engine would do with the answers is not looked at here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from syncd.client import PartnerTransport, Patience, Session, build
from syncd.clock import SystemClock
from syncd.errors import PartnerError, SyncdError
from syncd.kit import Change, Checkpoint, Driver, ListedSubscriptions, Mode, Request, Resource, Response, look_ups
from syncd.limits import Gate
from syncd.model import Record
from syncd.secrets import Secret
from syncd.testing import driver_calls as calls
from syncd.testing.keeping import Kept
from syncd.testing.process import Served
from syncd.testing.samples import Sample

ROWS: int = 10
"""Records a page while driving, so that few of them make several pages."""
PAGES: int = 4


def session_to(driver: Driver, options: Mapping[str, Any], served: Served) -> Session:
    """A session that the simulator accepts, without limits: those are its own affair here."""
    simulator, clock = served.simulator, SystemClock()
    secrets = {name: Secret(str(simulator.options[option])) for name, option in simulator.credentials.items()}
    auth = build(
        driver.auth(options),
        secrets.__getitem__,
        integration="driven",
        clock=clock,
        keeper=Kept(),
        sign=getattr(driver, "sign", None),
    )
    return Session(
        PartnerTransport(driver.spec.name, clock=clock),
        integration="driven",
        base_url=driver.base_url(options, served.base_url) or served.base_url,
        gate=Gate("driven", (), clock=clock),
        auth=auth,
        classify=driver.classify,
        headers=driver.headers(options),
        patience=Patience(deadline_seconds=10.0),
    )


@dataclass(slots=True)
class Driven:
    """What came of it."""

    session: Session
    driver: Driver
    options: Mapping[str, Any]
    made: list[str] = field(default_factory=list)
    """What was called for, in order."""
    refused: list[str] = field(default_factory=list)
    """What the simulator would not do, in words; a push of made-up fields may be among them."""
    records: dict[str, list[Record]] = field(default_factory=dict)

    async def call(self, what: str, request: Request | None) -> Response | None:
        if request is None:
            return None
        self.made.append(what)
        try:
            return await self.session.call(request)
        except SyncdError as error:
            self.refused.append(f"{what}: {error}")
            return None

    async def walk(self, what: str, resource: Resource, first: Request, pages: int = PAGES) -> list[Record]:
        """Some pages of a listing, and the records on them."""
        found: list[Record] = []
        walk = self.driver.pages(resource, first)
        request = next(walk)
        for number in range(1, pages + 1):
            response = await self.call(f"{what}, page {number}", request)
            if response is None:
                break
            own = [item for item in self.driver.items(resource, response) if item.resource == resource.name]
            read = [self.read(what, self.driver.normalize, resource, item.raw) for item in own if item.raw is not None]
            found += [record for record in read if record is not None]
            try:
                request = walk.send(response)
            except StopIteration:
                break
        return found

    def read(self, what: str, reading: Callable[..., Any], *arguments: Any) -> Any:
        """What an answer says; one that cannot be read is told with the refusals."""
        try:
            return reading(*arguments)
        except PartnerError as error:
            self.refused.append(f"{what}: its answer: {error}")
            return None

    async def aclose(self) -> None:
        await self.session.aclose()
        await self.session.transport.aclose()


async def drive(driver: Driver, served: Served, options: Mapping[str, Any], samples: Sequence[Sample] = ()) -> Driven:
    """Everything a driver can ask of its partner, asked of the simulator."""
    driven = Driven(session_to(driver, options, served), driver, options)
    try:
        resources = await listed(driven)
        for resource in resources.values():
            await _single(driven, resource)
        for resource in resources.values():
            await _push(driven, resource, samples)
        await _subscribe(driven)
    finally:
        await driven.aclose()
    return driven


async def listed(driven: Driven) -> Mapping[str, Resource]:
    """Some pages of everything, and the resources they are of."""
    driver, options = driven.driver, driven.options
    await driven.call("credential test", driver.test(options))
    resources = {name: _short(one) for name, one in driver.resources(options).items()}
    below = [one for one in resources.values() if one.parent is not None]
    for resource in resources.values():
        if resource.parent is None:
            await _list(driven, resource)
    for resource in sorted(below, key=lambda one: _depth(one, resources)):
        await _children(driven, resource)
    return resources


def _short(resource: Resource) -> Resource:
    size = resource.page_size
    small = resource.pages.size is not None and size is not None and size > ROWS
    return resource.model_copy(update={"page_size": ROWS}) if small else resource


def _depth(resource: Resource, resources: Mapping[str, Resource]) -> int:
    above = resources.get(resource.parent or "")
    return 0 if above is None else 1 + _depth(above, resources)


async def _list(driven: Driven, resource: Resource) -> None:
    name, driver = resource.name, driven.driver
    found = await driven.walk(f"{name} in full", resource, driver.request(resource, Checkpoint("driven", name)))
    driven.records[name] = found
    if resource.since is None:
        return
    stamps = sorted(one.identity.source_updated_at for one in found if one.identity.source_updated_at is not None)
    since = stamps[len(stamps) // 2] if stamps else driven.session.clock.now() - timedelta(days=20)
    changed = Checkpoint("driven", name, mode=Mode.INCREMENTAL, since=since, until=driven.session.clock.now())
    await driven.walk(f"{name} changed", resource, driver.request(resource, changed))


async def _children(driven: Driven, resource: Resource) -> None:
    found = driven.records.setdefault(resource.name, [])
    for parent in driven.records.get(resource.parent or "", [])[:3]:
        above = parent.identity.external_id
        try:
            first = driven.driver.child_request(resource, above, None, parent.data)
        except PartnerError as error:
            driven.refused.append(f"{resource.name} below {resource.parent}: {error}")
            continue
        found += await driven.walk(f"{resource.name} below {resource.parent}", resource, first, 2)


async def _single(driven: Driven, resource: Resource) -> None:
    ids = [one.identity.external_id for one in driven.records.get(resource.name, [])]
    if not ids:
        return
    response = await driven.call(f"one of {resource.name}", driven.driver.one(resource, ids[0]))
    if response is not None:
        item = driven.driver.item(resource, response)
        if item.raw is not None:
            driven.read(f"one of {resource.name}", driven.driver.normalize, resource, item.raw)
    if resource.many is not None:
        response = await driven.call(
            f"several of {resource.name}", driven.driver.many(resource, ids[: resource.many.max])
        )
        if response is not None:
            driven.driver.several(resource, response)


async def _push(driven: Driven, resource: Resource, samples: Sequence[Sample]) -> None:
    driver, stored = driven.driver, driven.records.get(resource.name, [])
    pushed = [one for one in calls.pushes(driver, driven.options, samples) if one[0].name == resource.name]
    for _, made in pushed:
        what = f"push {made.kind} of {resource.name}"
        change = possible(driver, resource, made, stored)
        if change is None:
            driven.refused.append(f"{what}: no record here may be changed so")
            continue
        response = await driven.call(what, driver.push(resource, change))
        if response is not None:
            driven.read(what, driver.confirms, resource, change, response)
            driven.read(what, driver.pushed, resource, change, response)
        if look_ups.by_reading(resource, change):
            continue  # a deletion: it was read as `one`, and is not there now
        look_up = await driven.call(f"look-up of {what}", driver.look_up(resource, change))
        if look_up is None:
            continue
        each = driven.read(f"look-up of {what}", driver.look_up_each, resource, change, look_up)
        answers = [look_up] if each is None else [await driven.call(f"candidate of {what}", one) for one in each]
        for one in answers:
            if one is not None:
                driven.read(f"look-up of {what}", driver.already, resource, change, one)


def possible(driver: Driver, resource: Resource, made: Change, stored: Sequence[Record]) -> Change | None:
    """The change, of a record that may be changed so; None where none of those here may."""
    if made.external_id is None:
        return made
    for own in reversed(stored):
        change = _fitting(resource, replace(made, external_id=own.identity.external_id), own.data)
        try:
            driver.check(resource, change, own.data)
        except PartnerError:
            continue
        return change
    return None


def _fitting(resource: Resource, change: Change, stored: Mapping[str, Any] | None) -> Change:
    """Where only some states may follow the one a record is in, one of them."""
    rules = resource.pushes.get(change.kind)
    if rules is None or rules.transitions is None or stored is None:
        return change
    allowed = rules.transitions.allowed.get(str(stored.get(rules.transitions.field)))
    return replace(change, data={**change.data, rules.state_field: allowed[0]}) if allowed else change


async def _subscribe(driven: Driven) -> None:
    rules = driven.driver.subscriptions(driven.options)
    if rules is None:
        return
    for url, events in calls.addresses(rules, driven.driver.resources(driven.options)):
        response = await driven.call("new subscription", rules.create(url, events))
        made = None if response is None else driven.read("new subscription", rules.created, response)
        if made is None:
            continue
        kept, _ = made
        if isinstance(rules, ListedSubscriptions):
            listed = await driven.call("list of subscriptions", rules.listing())
            if listed is not None:
                driven.read("list of subscriptions", rules.found, listed)
        else:
            told = await driven.call("one subscription", rules.read(kept))
            if told is not None:
                driven.read("one subscription", rules.told, kept, told)
        await driven.call("secret of a subscription", rules.secret(kept))
        await driven.call("change of a subscription", rules.change(kept, events))
        await driven.call("end of a subscription", rules.remove(kept))
