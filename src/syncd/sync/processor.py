"""Pages in, rows out: who each record is, whether it changed, what it looks like normalized, and what is unsound.

Work is per page where it can be: one query asks which contents are known on all pages that came together, and only what
changed is normalized. A bad record ends as a reject, never as an exception (R15); the other records of its page go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any

from syncd import codec
from syncd.clock import SystemClock
from syncd.errors import PayloadError
from syncd.kit import Driver, Identity, Item, Raw, Resource
from syncd.kit.assembling import Forgetting
from syncd.kit.unsettled import has_some
from syncd.model import Lane
from syncd.store import Known, NewTask, Row, Store
from syncd.sync.aside import Aside
from syncd.sync.identifying import AT_ONCE, Group, Identifying
from syncd.sync.page import PageIn, PageRead
from syncd.sync.resource_watch import ResourceWatch
from syncd.sync.schema_watch import SchemaWatch
from syncd.sync.shadow import Trial
from syncd.sync.target import Readings, Target
from syncd.sync.turns import Turn, Turns
from syncd.sync.unsettled import look_at
from syncd.sync.unsound import FAULTS, unsound

_UNSURE = Known(b"", False)
"""Of a record with a row under way: whatever comes is news, and the store judges it."""


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
        self._readings = Readings(driver)
        self.watch = watch
        """What is known of the shape of the records."""
        self.trials = dict(trials or {})
        """By resource: the adapter that runs in shadow."""
        self.aside = Aside(driver, integration, store)
        """Records that are not handed to the driver."""
        self._identifying = Identifying(targets, self._readings, self.aside)

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
        found = [await self._identifying.identified(page, slices) for page in pages]
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
            return self._readings.of(self._targets[item.resource]).identify(item.raw)
        except FAULTS:
            return None

    def rehearse(self, item: Item, identity: Identity | None) -> None:
        """Do with one record all that reading its page does, for nothing: to find out whether the process outlives it."""
        target, raw = self._targets[item.resource], item.raw
        _, fields, hashable = self._readings.of(target)
        with suppress(*FAULTS):
            self._driver.tenant(target.resource, raw or {})
        with suppress(*FAULTS):
            codec.fingerprint(raw if hashable is None or raw is None else hashable(raw), target.adapter)
        with suppress(*FAULTS):
            codec.dumps_storable(fields(raw or {}))

    def _take(
        self,
        target: Target,
        found: Group,
        known: Mapping[str, Known],
        page: PageRead,
        source: PageIn,
        rejected: set[tuple[str, str]],
        unsure: set[tuple[str, str]],
        watched: tuple[ResourceWatch | None, dict[str, Raw] | None, bool, Mapping[str, Mapping[str, Any]]],
    ) -> None:
        """Tell news from what is known, and make rows of it."""
        resource, adapter, rollout = target.resource, target.adapter, target.rollout
        _, fields, hashable = self._readings.of(target)
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
                _, fields, hashable = self._readings.of(target, adapter)
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
                page.rejects.append(unsound(name, external_id, raw, error, cause))
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
            again = not alone and (name, external_id) in rejected
            if shapes is not None and shaped and not again:
                shapes[external_id] = raw
            if (
                frozen is not None
                and shaped
                and (why := frozen.refuses(raw, partial=sparse and not source.listing, again=again)) is not None
            ):
                page.rejects.append(unsound(name, external_id, raw, PayloadError(why), cause))
                continue
            try:
                mapped = fields(raw)
                data = codec.dumps_storable(mapped)
            except FAULTS as error:
                page.rejects.append(unsound(name, external_id, raw, error, cause))
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
                page.tasks.append(NewTask.media(name, external_id, cause))
            if target.children and not identity.deleted:
                self._list_children(target, external_id, mapped, page, fetched_at, cause)
            if resource.unsettled is not None and not identity.deleted:
                look = look_at(resource, external_id, mapped, fetched_at, cause)
                if look is not None:
                    page.tasks.append(look)
        if shapes and self.watch is not None:
            self.watch.look(name, shapes, alone=alone)

    def _watched(
        self, resource: Resource, found: Group, *, listing: bool, alone: bool
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
            below = self._targets[child]
            if has_some(below.resource.where, mapped):
                expires_at = below.until(fetched_at)
                page.tasks.append(
                    NewTask.children(child, name, external_id, lane=below.lane, cause=cause, expires_at=expires_at)
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
        expires_at = target.until(fetched_at)
        page.tasks.append(NewTask.fetch(name, identity.external_id, lane=Lane.HIGH, cause=cause, expires_at=expires_at))


def _by_resource(pages: Iterable[Mapping[str, Group]]) -> dict[str, list[Group]]:
    found: dict[str, list[Group]] = {}
    for groups in pages:
        for name, group in groups.items():
            found.setdefault(name, []).append(group)
    return found


def _pieces(group: Group) -> Iterator[Group]:
    """The same in pieces, of which one does not take long."""
    if len(group) <= AT_ONCE:
        yield group
        return
    items = iter(group.items())
    while some := dict(islice(items, AT_ONCE)):
        yield some


def _whole(groups: Iterable[Group]) -> bool:
    """Do all records come with their content?"""
    return all(raw is not None for group in groups for _, raw in group.values())
