"""What partners really send, watched: fields that are new, gone, or of another kind, mapped or not.

Of each resource its shape is learned without a word until a run of it has ended well. From then on a difference is told
once, and stands in the status until somebody accepts it, it is over, or it is old enough to be taken for granted. With
`schema: freeze` records that differ are kept out instead, as rejects, until it is accepted. See docs/adapters.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

import structlog

from syncd import metrics
from syncd.clock import Clock
from syncd.explain import Explanation
from syncd.store import SchemaWrite, Store, StoredSchema
from syncd.sync.resource_watch import Policy, ResourceWatch

log = structlog.get_logger()


class SchemaWatch:
    """An integration's. `tell` is called with a resource, what to say of it, and whether that is a trouble."""

    def __init__(
        self,
        partner: str,
        integration: str,
        policies: Mapping[str, Policy],
        clock: Clock,
        tell: Callable[[str, Explanation | None, bool], None] = lambda resource, told, trouble: None,
        endless: Collection[str] = (),
        open_names: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        """`endless`: resources that are never read whole. `open_names`: by resource, the objects whose names are data."""
        data = open_names or {}
        self._partner = partner
        self._integration = integration
        self._clock = clock
        self._tell = tell
        self.resources = {
            name: ResourceWatch(integration, name, policy, endless=name in endless, open_names=data.get(name, ()))
            for name, policy in policies.items()
        }
        self.loaded = False
        self._ended: set[str] = set()
        """Runs that ended before what is stored was read."""
        self.woken: Callable[[], None] = lambda: None
        """Called when there is something to write down at once."""

    async def ready(self, store: Store) -> None:
        """Know what is stored before the first record comes: what is frozen must not slip through meanwhile."""
        if not self.loaded:
            self.load(await store.schemas.of(self._integration))

    def load(self, rows: Mapping[str, StoredSchema]) -> None:
        """Go on from what is stored; what is not stored yet is lost, and looked at again."""
        self.loaded = True
        for name, watch in self.resources.items():
            if name in rows:
                watch.load(rows[name])
            if name in self._ended:
                self.settle(name, ended=True)
            self._say(watch)
        self._ended.clear()

    def learns(self, resource: str) -> bool:
        """Is all that comes of it learned without a word?"""
        return self.resources[resource].learned_at is None

    def look(self, resource: str, raws: Mapping[str, dict[str, Any]], *, alone: bool = False) -> None:
        """Records came, by their ids; `alone`: by a delivery, a read by id or a push, not by a listing."""
        self.resources[resource].look(raws, alone=alone)

    def frozen(self, resource: str) -> ResourceWatch | None:
        """The watch that is to be asked about each record of this resource."""
        watch = self.resources[resource]
        return watch if watch.is_frozen else None

    def check(self, resource: str, raws: Iterable[dict[str, Any] | None]) -> None:
        """All records of a page of its listing, whether they changed or not: what is in doubt is looked at in each."""
        watch = self.resources[resource]
        if watch.doubted:
            watch.check(raw for raw in raws if raw is not None)

    def ended(self, resource: str, *, whole_since: datetime | None = None) -> None:
        """A run of it has ended well; `whole_since`: it read all there is, and began then."""
        if not self.loaded:
            self._ended.add(resource)
        self.settle(resource, ended=self.loaded)
        watch = self.resources.get(resource)
        if whole_since is not None and watch is not None and watch.news:
            watch.passed(whole_since)
            if watch.changed:
                self.woken()
            self._say(watch)

    def settle(self, resource: str, *, ended: bool = False) -> None:
        """Take in what was seen, and say what is new, once."""
        watch = self.resources.get(resource)
        if watch is None:
            return
        told = watch.settle(self._clock.now(), ended=ended)
        if told:
            learned = watch.policy is Policy.EVOLVE
            say = log.warning if watch.is_trouble else log.info
            say(
                "schema_learned" if learned else "schema_changed",
                partner=self._partner,
                integration=self._integration,
                resource=resource,
                fields=[str(each) for each in told],
                action="" if learned else f"syncd schema accept {self._integration}/{resource}",
            )
        if watch.changed:
            self.woken()
        self._say(watch)

    def accept(self, resource: str, number: int) -> bool:
        """Carry out an acceptance. True: records were kept out that may come in now."""
        watch = self.resources.get(resource)
        if watch is None:
            return False
        watch.settle(self._clock.now())
        held = bool(watch.strange.records) or watch.policy is Policy.FREEZE
        told = watch.accept()
        watch.taken = number
        log.info(
            "schema_accepted",
            partner=self._partner,
            integration=self._integration,
            resource=resource,
            fields=[str(each) for each in told],
        )
        self._say(watch)
        return held

    def writes(self, *, all_of_it: bool = False) -> list[SchemaWrite]:
        """What is to be stored now."""
        now, found = self._clock.now(), []
        for watch in self.resources.values():
            watch.changed = watch.changed or (all_of_it and watch.known.records > 0)
            write = watch.write(now)
            if write is not None:
                found.append(write)
        return found

    def _say(self, watch: ResourceWatch) -> None:
        self._tell(watch.resource, watch.explanation(), watch.is_trouble)
        for what in ("unknown", "missing", "retyped"):
            count = sum(each.what == what for each in watch.news.values())
            metrics.SCHEMA_CHANGES.labels(self._integration, watch.resource, what).set(count)
