"""Pages in, rows out: who each record is, whether it changed, what it looks like normalized, and what is unsound.

Work is per page where it can be: one query asks which contents are known on all pages that came together, and only what
changed is normalized. A bad record ends as a reject, never as an exception (R15); the other records of its page go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from syncd import codec
from syncd.clock import SystemClock
from syncd.errors import PayloadError
from syncd.kit import Driver, Identity, Item, Raw, Reading, Resource
from syncd.kit.assembling import Forgetting
from syncd.kit.unsettled import has_some
from syncd.model import Lane
from syncd.store import Known, NewTask, Reject, Row, Store
from syncd.sync.aside import Aside
from syncd.sync.page import PageIn, PageRead
from syncd.sync.resource_watch import ResourceWatch
from syncd.sync.rollout import Rollout
from syncd.sync.schema_watch import SchemaWatch
from syncd.sync.shadow import Trial
from syncd.sync.turns import Slices, Turn, Turns
from syncd.sync.unsettled import look_at

MAX_REASON = 500
AT_ONCE = 100
"""Records read in one piece; between two pieces others may have a turn."""
FAULTS = (Exception, SystemExit)
"""What a driver may do to one record: also `sys.exit` is a fault of this record, and no reason to go."""

_UNSURE = Known(b"", False)
"""Of a record with a row under way: whatever comes is news, and the store judges it."""

_Group = dict[str, tuple[Identity, Raw | None]]
"""The records of one resource on a page, by id: the newest where one stands there twice."""


@dataclass(frozen=True, slots=True)
class Target:
    """One resource as this integration takes it in."""

    resource: Resource
    adapter: str = "v1"
    children: tuple[str, ...] = ()
    """Child resources to list below each changed record."""
    lane: Lane = Lane.NORMAL
    """Of listings of this resource below a changed parent."""
    media: bool = False
    """The files of its records are fetched."""
    expires_seconds: float | None = None
    """How long derived work of this resource may wait before it is dropped; None: it is never too late."""
    rollout: Rollout | None = None
    """Which adapter reads which record, where there are several; `adapter` says who a record is then."""

    def until(self, moment: datetime) -> datetime | None:
        """When work that arises at this moment is dropped."""
        return moment + timedelta(seconds=self.expires_seconds) if self.expires_seconds is not None else None


class Processor:
    """Reads pages of one integration. Holds no page after it is done with it."""

    def __init__(
        self,
        driver: Driver,
        integration: str,
        targets: Mapping[str, Target],
        store: Store,
        watch: SchemaWatch | None = None,
        trials: Mapping[str, Trial] | None = None,
        turn: Turn | None = None,
    ) -> None:
        self._turn = turn or Turns(SystemClock()).of(integration)
        self._driver = driver
        self._integration = integration
        self._targets = targets
        self._store = store
        self._forgets = {name: Forgetting.of(target.resource) for name, target in targets.items()}
        self._readings: dict[tuple[str, str], Reading] = {}
        self.watch = watch
        """What is known of the shape of the records."""
        self.trials = dict(trials or {})
        """By resource: the adapter that runs in shadow."""
        self.aside = Aside(driver, integration, store)
        """Records that are not handed to the driver."""

    async def read(self, listed: str, page: PageIn, *, rejected: set[tuple[str, str]]) -> PageRead:
        """Turn the items of one answer into rows; see `read_all`."""
        return (await self.read_all(listed, [page], rejected=rejected))[0]

    async def read_all(
        self,
        listed: str,
        pages: Sequence[PageIn],
        *,
        rejected: set[tuple[str, str]],
        unstored: Counter[tuple[str, str]] | None = None,
        empty: bool = False,
    ) -> list[PageRead]:
        """Turn the items of answers into rows, page by page.

        `rejected` names records with a reject row, so that only those are healed; it is kept up. `unstored` counts rows
        that earlier calls gave and that are not stored yet; those of this call are added. `empty`: of the listed resource
        nothing was stored but by this run. Items of resources that this integration does not sync are passed over.
        """
        if not self.aside.loaded:
            await self.aside.load(self.resources)
        if self.watch is not None and not self.watch.loaded:
            await self.watch.ready(self._store)
        slices = self._turn.slices()
        found = [await self._identified(page, slices) for page in pages]
        slices.stop()
        unsure = set(unstored or ())  # before the question: what is stored meanwhile may not be in the answer
        known = {
            name: {}
            if empty and name == listed and _whole(groups)
            else await self._store.records.known(
                self._integration,
                name,
                list(groups[0]) if len(groups) == 1 else list({one: None for group in groups for one in group}),
                sparse=self._targets[name].resource.sparse,
            )
            for name, groups in _by_resource(groups for _, groups in found).items()
        }
        slices.go_on()
        for source, (page, groups) in zip(pages, found, strict=True):
            page.seen = list(groups.get(listed, ())) + [one for name, one in page.aside if name == listed]
            for name, group in groups.items():
                target = self._targets[name]
                alone = name != listed or not (source.listing or source.parent_id is not None)
                stored = {}
                if (
                    alone and target.resource.compared
                ):  # it has what no listing shows, and what is `compared` does not tell
                    stored = await self._store.records.fields(self._integration, name, list(group))
                watched = *self._watched(target.resource, group, listing=source.listing, alone=alone), alone, stored
                for some in _pieces(group):
                    self._take(target, some, known[name], page, source, rejected, unsure, watched)
                    await slices.pause()
            if unstored is not None and not empty:
                keys = [(row.resource, row.external_id) for row in page.rows]
                unsure.update(keys)
                unstored.update(keys)
            if rejected or page.rejects:
                rejected.difference_update(page.healed)
                rejected.update((reject.resource, reject.key) for reject in page.rejects)
        slices.end(len(pages))
        return [page for page, _ in found]

    @property
    def resources(self) -> dict[str, Resource]:
        """What is taken in, by name."""
        return {name: target.resource for name, target in self._targets.items()}

    def is_aside(self, item: Item) -> bool:
        """Must this record not be handed to the driver?"""
        target = self._targets.get(item.resource)
        if not self.aside or target is None or item.raw is None:
            return False
        if self.aside.holds(target.resource, item):
            return True
        identity = self.identify(item)
        return identity is not None and self.aside.names(item.resource, identity.external_id)

    def identify(self, item: Item) -> Identity | None:
        """Who a record is; None for one that does not say."""
        if item.identity is not None or item.raw is None:
            return item.identity
        try:
            return self._reading(self._targets[item.resource]).identify(item.raw)
        except FAULTS:
            return None

    def rehearse(self, item: Item, identity: Identity | None) -> None:
        """Do with one record all that reading its page does, for nothing: to find out whether the process outlives it."""
        target, raw = self._targets[item.resource], item.raw
        _, fields, hashable = self._reading(target)
        with suppress(*FAULTS):
            self._driver.tenant(target.resource, raw or {})
        with suppress(*FAULTS):
            codec.fingerprint(raw if hashable is None or raw is None else hashable(raw), target.adapter)
        with suppress(*FAULTS):
            codec.dumps_storable(fields(raw or {}))

    def _reading(self, target: Target, adapter: str = "") -> Reading:
        key = (target.resource.name, adapter or target.adapter)
        reading = self._readings.get(key)
        if reading is None:
            reading = self._readings[key] = self._driver.reading(target.resource, key[1])
        return reading

    def _read_by(self, target: Target, identity: Identity, raw: Raw) -> Identity:
        """The identity in the words of the adapter that reads this record; the id stays."""
        assert target.rollout is not None
        adapter = target.rollout.adapter_of(identity.external_id)
        if adapter == target.adapter:
            return identity
        try:
            return replace(self._reading(target, adapter).identify(raw), external_id=identity.external_id)
        except PayloadError:
            return (
                identity  # it looks for the id elsewhere: who this is, is known, and its stamps are those of the other
            )

    async def _identified(self, source: PageIn, slices: Slices) -> tuple[PageRead, dict[str, _Group]]:
        """Who is on a page, by resource."""
        page = PageRead(count=len(source.items))
        groups: dict[str, _Group] = {}
        items = iter(self._touched(source, page) if self.aside else source.items)
        while some := list(islice(items, AT_ONCE)):
            self._identify_some(some, source, page, groups)
            await slices.pause()
        return page, groups

    def _identify_some(self, items: Sequence[Item], source: PageIn, page: PageRead, groups: dict[str, _Group]) -> None:
        parent_id = source.parent_id
        target: Target | None = None
        observed = False
        group: _Group = {}
        name = ""
        for item in items:
            if item.resource != name:
                name = item.resource
                target = self._targets.get(name)
                if target is not None:
                    group = groups.setdefault(name, {})
                    identify = self._reading(target).identify
                    observed = target.resource.stamped_by == "observed"
            if target is None:
                continue
            raw, identity = item.raw, item.identity
            if identity is None:
                if raw is None:
                    raise PayloadError("a driver gave an item with neither content nor identity")
                try:
                    identity = identify(raw)
                    if target.rollout is not None:
                        identity = self._read_by(target, identity, raw)
                except FAULTS as error:
                    page.rejects.append(self._reject(name, None, raw, error, source.cause))
                    continue
            if observed and identity.source_updated_at is None:
                identity = replace(identity, source_updated_at=source.observed_at)
            if parent_id is not None and identity.parent_id is None:
                identity = replace(identity, parent_id=parent_id)
            external_id = identity.external_id
            before = group.get(external_id)
            if before is None or _newer(identity, before[0]):
                if before is not None and target.resource.sparse and raw is not None and before[1] is not None:
                    raw = {**before[1], **target.resource.laid_over(raw)}  # the earlier told what this leaves out
                group[external_id] = (identity, raw)
            page.identities.append(identity)

    def _touched(self, source: PageIn, page: PageRead) -> Iterator[Item]:
        """The items of a page without those that are put aside, as far as that can be told without the driver."""
        for item in source.items:
            target = self._targets.get(item.resource)
            if target is None or not self.aside.holds(target.resource, item):
                yield item
                continue
            reject = self.aside.reject(target.resource, item, None, source.cause)
            page.rejects.append(reject)
            if reject.external_id is not None:
                page.aside.append((item.resource, reject.external_id))

    def _take(
        self,
        target: Target,
        found: _Group,
        known: Mapping[str, Known],
        page: PageRead,
        source: PageIn,
        rejected: set[tuple[str, str]],
        unsure: set[tuple[str, str]],
        watched: tuple[ResourceWatch | None, dict[str, Raw] | None, bool, Mapping[str, Mapping[str, Any]]],
    ) -> None:
        """Tell news from what is known, and make rows of it."""
        resource, adapter, rollout = target.resource, target.adapter, target.rollout
        _, fields, hashable = self._reading(target)
        frozen, shapes, alone, stored = watched
        trial = self.trials.get(resource.name)
        name, sparse, fetched_at, cause = resource.name, resource.sparse, source.fetched_at, source.cause
        seen_at = source.observed_at if resource.stamped_by == "observed" else None
        fingerprint, rows, aside = codec.fingerprint, page.rows, self.aside or None
        forgets = self._forgets.get(name)
        for external_id, (identity, raw) in found.items():
            before = known.get(external_id)
            if unsure and (name, external_id) in unsure:
                before = _UNSURE
            if raw is None:
                self._name_only(target, identity, page, fetched_at, cause, stored=before is not None)
                continue
            if aside and aside.names(name, external_id):
                item = Item(name, raw, identity)
                page.rejects.append(aside.reject(resource, item, external_id, cause))
                continue
            if rollout is not None:
                adapter = rollout.adapter_of(external_id)
                _, fields, hashable = self._reading(target, adapter)
            try:
                told = raw if hashable is None else hashable(raw)
                _, digest = fingerprint(told, adapter)
                if external_id in stored and before is not None and before.content_hash == digest:
                    mapped = codec.loads(codec.dumps_storable(fields(raw)))
                    if any(
                        name not in stored[external_id] or stored[external_id][name] != mapped[name] for name in mapped
                    ):
                        _, digest = fingerprint([told, mapped], adapter)
            except FAULTS as error:
                page.rejects.append(self._reject(name, external_id, raw, error, cause))
                continue
            if before is not None and before.content_hash == digest and not before.deleted and not identity.deleted:
                page.unchanged += 1
                if trial is not None:
                    with suppress(*FAULTS):
                        trial.compare(external_id, raw, adapter, fields(raw))
                if rejected and (name, external_id) in rejected:
                    page.healed.append((name, external_id))
                continue
            # What is left of a record that is gone, or whose person was erased, has no shape.
            shaped = not identity.deleted and (forgets is None or not forgets.is_bare(raw))
            # Who reads single records names them all as rejected; only in listings do the same rejects come again and again.
            if shapes is not None and shaped and (alone or not (rejected and (name, external_id) in rejected)):
                shapes[external_id] = raw
            if (
                frozen is not None
                and shaped
                and (why := frozen.refuses(raw, partial=sparse and not source.listing)) is not None
            ):
                page.rejects.append(self._reject(name, external_id, raw, PayloadError(why), cause))
                continue
            try:
                mapped = fields(raw)
                data = codec.dumps_storable(mapped)
            except FAULTS as error:
                page.rejects.append(self._reject(name, external_id, raw, error, cause))
                continue
            if trial is not None:
                trial.compare(external_id, raw, adapter, mapped)
            if rejected and (name, external_id) in rejected:
                page.healed.append((name, external_id))
            rows.append(
                Row(
                    external_id,
                    name,
                    data,
                    codec.dumps(resource.laid_over(raw)),  # as sent: the hashed document has its keys sorted
                    digest,
                    fetched_at,
                    identity.source_version,
                    identity.source_updated_at,
                    identity.parent_id,
                    adapter,
                    identity.deleted,
                    sparse,
                    cause,
                    seen_at is not None and identity.source_updated_at == seen_at,
                    () if forgets is None or identity.deleted else forgets.fields(raw, mapped),
                )
            )
            if target.media and not identity.deleted and resource.links(raw):
                page.tasks.append(media_task(name, external_id, cause))
            if target.children and not identity.deleted:
                self._list_children(target, external_id, mapped, page, fetched_at, cause)
            if resource.unsettled is not None and not identity.deleted:
                look = look_at(resource, external_id, mapped, fetched_at, cause)
                if look is not None:
                    page.tasks.append(look)
        if shapes and self.watch is not None:
            self.watch.look(name, shapes, alone=alone)

    def _watched(
        self, resource: Resource, found: _Group, *, listing: bool, alone: bool
    ) -> tuple[ResourceWatch | None, dict[str, Raw] | None]:
        """The watch to ask about each record, where the resource is frozen; and where to put those whose shape is news.

        Of a resource whose listing leaves fields out only the listing tells which there are. A record that comes again
        unchanged tells nothing, except while a shape is learned, or where a change does not show in its hash.
        """
        if self.watch is None:
            return None, None
        name = resource.name
        if resource.sparse and not listing:
            return self.watch.frozen(name), None
        if not alone:
            self.watch.check(name, (raw for _, raw in found.values()))
        if self.watch.learns(name) or resource.compared:
            self.watch.look(
                name,
                {one: raw for one, (who, raw) in found.items() if raw is not None and not who.deleted},
                alone=alone,
            )
            return self.watch.frozen(name), None
        return self.watch.frozen(name), {}

    def _list_children(
        self,
        target: Target,
        external_id: str,
        mapped: Mapping[str, Any],
        page: PageRead,
        fetched_at: datetime,
        cause: str,
    ) -> None:
        name = target.resource.name
        for child in target.children:
            if not has_some(self._targets[child].resource.where, mapped):
                continue
            page.tasks.append(
                NewTask(
                    kind="children",
                    resource=child,
                    parent_id=external_id,
                    parent_resource=name,
                    lane=self._targets[child].lane,
                    dedupe_key=f"children:{child}:{external_id}",
                    expires_at=self._targets[child].until(fetched_at),
                    cause=cause,
                )
            )

    def _name_only(
        self, target: Target, identity: Identity, page: PageRead, fetched_at: datetime, cause: str, *, stored: bool
    ) -> None:
        """A record that was only named: deleted at the partner, or to be fetched."""
        name = target.resource.name
        if identity.deleted:
            if stored:
                page.rows.append(
                    Row(
                        external_id=identity.external_id,
                        resource=name,
                        data_json=b"{}",
                        raw_json=b"{}",
                        content_hash=b"",
                        fetched_at=fetched_at,
                        source_version=identity.source_version,
                        source_updated_at=identity.source_updated_at,
                        deleted=True,
                        cause=cause,
                    )
                )
            return
        page.tasks.append(
            NewTask(
                kind="fetch",
                resource=name,
                external_id=identity.external_id,
                lane=Lane.HIGH,
                dedupe_key=f"fetch:{name}:{identity.external_id}",
                expires_at=target.until(fetched_at),
                cause=cause,
            )
        )

    @staticmethod
    def _reject(resource: str, external_id: str | None, raw: Raw, error: BaseException, cause: str) -> Reject:
        """The row an unsound record becomes. One without an id is known by its content."""
        reason = str(error) if isinstance(error, PayloadError) else f"{type(error).__name__} in the driver: {error}"
        try:
            document = codec.dumps(raw)
        except PayloadError:
            document = codec.dumps({"id": external_id, "not kept": reason})  # nested too deeply to be written down
        return Reject(document, reason[:MAX_REASON], external_id, resource, cause=cause)


def media_task(resource: str, external_id: str, cause: str) -> NewTask:
    """Fetch the files of one record, when nothing else is to do."""
    return NewTask(
        kind="media",
        resource=resource,
        external_id=external_id,
        lane=Lane.LOW,
        dedupe_key=f"media:{resource}:{external_id}",
        cause=cause,
    )


def _newer(one: Identity, other: Identity) -> bool:
    """Does `one` replace `other` where both stand on the same page? The first of equals stays."""
    if one.source_version is not None and other.source_version is not None:
        return one.source_version > other.source_version
    if one.source_updated_at is not None and other.source_updated_at is not None:
        return one.source_updated_at > other.source_updated_at
    return False


def _by_resource(pages: Iterable[Mapping[str, _Group]]) -> dict[str, list[_Group]]:
    found: dict[str, list[_Group]] = {}
    for groups in pages:
        for name, group in groups.items():
            found.setdefault(name, []).append(group)
    return found


def _pieces(group: _Group) -> Iterator[_Group]:
    """The same in pieces, of which one does not take long."""
    if len(group) <= AT_ONCE:
        yield group
        return
    items = iter(group.items())
    while some := dict(islice(items, AT_ONCE)):
        yield some


def _whole(groups: Iterable[_Group]) -> bool:
    """Do all records come with their content?"""
    return all(raw is not None for group in groups for _, raw in group.values())
