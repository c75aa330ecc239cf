"""Who is on a page: each record's identity, by resource, and of those that stand there twice the newest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from syncd.errors import PayloadError
from syncd.kit import Identity, Item, Raw
from syncd.sync.aside import Aside
from syncd.sync.page import PageIn, PageRead
from syncd.sync.target import Readings, Target
from syncd.sync.turns import Slices
from syncd.sync.unsound import FAULTS, unsound

AT_ONCE = 100
"""Records read in one piece; between two pieces others may have a turn."""

Group = dict[str, tuple[Identity, Raw | None]]
"""The records of one resource on a page, by id: the newest where one stands there twice."""


class Identifying:
    """Of the resources of one integration."""

    def __init__(self, targets: Mapping[str, Target], readings: Readings, aside: Aside) -> None:
        self._targets = targets
        self._readings = readings
        self._aside = aside

    async def identified(self, source: PageIn, slices: Slices) -> tuple[PageRead, dict[str, Group]]:
        """Who is on a page, by resource."""
        page = PageRead(count=len(source.items))
        groups: dict[str, Group] = {}
        items = iter(self._touched(source, page) if self._aside else source.items)
        while some := list(islice(items, AT_ONCE)):
            self._identify_some(some, source, page, groups)
            await slices.pause()
        return page, groups

    def _identify_some(self, items: Sequence[Item], source: PageIn, page: PageRead, groups: dict[str, Group]) -> None:
        parent_id = source.parent_id
        target: Target | None = None
        observed = False
        group: Group = {}
        name = ""
        for item in items:
            if item.resource != name:
                name = item.resource
                target = self._targets.get(name)
                if target is not None:
                    group = groups.setdefault(name, {})
                    identify = self._readings.of(target).identify
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
                    page.rejects.append(unsound(name, None, raw, error, source.cause))
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

    def _read_by(self, target: Target, identity: Identity, raw: Raw) -> Identity:
        """The identity in the words of the adapter that reads this record; the id stays."""
        assert target.rollout is not None
        adapter = target.rollout.adapter_of(identity.external_id)
        if adapter == target.adapter:
            return identity
        try:
            return replace(self._readings.of(target, adapter).identify(raw), external_id=identity.external_id)
        except PayloadError:
            return (
                identity  # it looks for the id elsewhere: who this is, is known, and its stamps are those of the other
            )

    def _touched(self, source: PageIn, page: PageRead) -> Iterator[Item]:
        """The items of a page without those that are put aside, as far as that can be told without the driver."""
        for item in source.items:
            target = self._targets.get(item.resource)
            if target is None or not self._aside.holds(target.resource, item):
                yield item
                continue
            reject = self._aside.reject(target.resource, item, None, source.cause)
            page.rejects.append(reject)
            if reject.external_id is not None:
                page.aside.append((item.resource, reject.external_id))


def _newer(one: Identity, other: Identity) -> bool:
    """Does `one` replace `other` where both stand on the same page? The first of equals stays."""
    if one.source_version is not None and other.source_version is not None:
        return one.source_version > other.source_version
    if one.source_updated_at is not None and other.source_updated_at is not None:
        return one.source_updated_at > other.source_updated_at
    return False
