"""Some records of one resource, read as a pull reads them, and what a pull would make of each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from syncd.errors import BreakerOpenError, GoneError, PayloadError, RateLimitError, TransientError
from syncd.kit import Item, Resource, Response
from syncd.model import Checkpoint, Mode
from syncd.store.comparisons import Kept
from syncd.sync.account import Account
from syncd.sync.differences import FieldDifference, There, differing, seen_there
from syncd.sync.listing import ChildListing, Listing, needs_fields
from syncd.sync.listings import listing_of
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.unhurried import Unhurried

Parents = list[tuple[str, Mapping[str, Any] | None]]

PARENTS_TRIED = 20
"""Parents below which a child is looked for, where the copy has none to begin with."""
PAUSE_SECONDS = 10.0
"""Where a refusal does not say how long it lasts."""
MOST_CALLS = 100
"""A listing of empty pages must not be followed for ever."""


class Outcome(StrEnum):
    """What a pull would make of one record."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    STALE = "stale"
    """What is stored is newer."""
    REJECTED = "rejected"
    PASSED_OVER = "passed_over"
    """Of a resource that is not synced here."""
    NAMED = "named"
    """Only named, so a pull would read it by itself."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One record."""

    resource: str
    external_id: str
    outcome: Outcome
    fields: tuple[FieldDifference, ...] = ()
    """Of a changed one those that differ; of a new one, and of one that is unchanged, all."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call of the listing and its answer; `records` is how many of it count."""

    response: Response
    parent_id: str | None
    parent: Mapping[str, Any] | None
    records: int
    whole: int
    """Records on the page."""


class DryRun(Unhurried):
    """Of one resource. `run` may be cancelled; what was found until then stays.

    Limits are waited out; somebody watches, so a partner that is sick is said at once.
    """

    def __init__(
        self,
        account: Account,
        plan: ResourcePlan,
        limit: int,
        *,
        since: datetime | None = None,
        keep: bool = False,
        calls: int = MOST_CALLS,
        longest_seconds: float = math.inf,
    ) -> None:
        """`since`: what changed from then on, as an incremental run asks. `keep`: hold the answers, to make samples of.
        `calls`: at most so many of the listing. `longest_seconds`: a limit that lasts longer is said at once."""
        super().__init__(account, pause_seconds=PAUSE_SECONDS, longest_seconds=longest_seconds)
        self.account = account
        self.resource = _with_few(plan.resource, limit)
        self.own_page_size = self.resource.page_size == plan.resource.page_size
        self.since = since
        self.shown: list[Shown] = []
        self.exchanges: list[Exchange] = []
        self.notes: list[str] = []
        self.ended = False
        """The listing has no more than was read."""
        self._plan = replace(plan, resource=self.resource)
        self._plans = {**account.plans, plan.name: plan}
        if plan.name not in account.plans:
            self.notes.append(f"{plan.name} is switched off in the configuration: this is how it would be read")
        self._limit = limit
        self._keep = keep
        self._most_calls = calls
        self._parents: dict[str, Mapping[str, Any] | None] = {}

    @property
    def adapter(self) -> str:
        """Which version of the mapping most records are read by."""
        return self._plan.adapter

    @property
    def counts(self) -> Counter[str]:
        return Counter(str(one.outcome) for one in self.shown)

    async def run(self) -> None:
        """Raises SyncdError where the partner cannot be asked."""
        account, limit = self.account, self._limit
        mode = Mode.FULL if self.since is None else Mode.INCREMENTAL
        listing = await self._listing(Checkpoint(account.name, self.resource.name, mode, since=self.since))
        step = await listing.first()
        if step is None:
            self.notes.append(f"no {self.resource.parent} to list below, neither stored nor at the partner")
        pages = 0
        while step is not None and len(self.shown) < limit and pages < self._most_calls:
            pages += 1
            response: Response | None = None
            try:
                response = await self.call(step.request)
            except GoneError:
                if step.parent_id is None:
                    raise
            if response is not None:
                items = account.driver.items(self.resource, response)
                taken = items[: limit - len(self.shown)]
                if self._keep:
                    parent = self._parents.get(step.parent_id) if step.parent_id is not None else None
                    self.exchanges.append(Exchange(response, step.parent_id, parent, len(taken), len(items)))
                await self._look(taken, step.parent_id)
                if len(taken) < len(items):
                    return
            step = await listing.after(step, response)
        self.ended = step is None

    # -- inside

    def _pause(self, error: RateLimitError | BreakerOpenError | TransientError) -> float | None:
        """Nobody knows when a partner is well again."""
        return None if isinstance(error, BreakerOpenError) else super()._pause(error)

    async def _listing(self, checkpoint: Checkpoint) -> Listing | ChildListing:
        account, plan = self.account, self._plan
        if plan.strategy is not Strategy.CHILDREN:
            return listing_of(account, plan, checkpoint)
        parent, with_fields = plan.resource.parent or "", needs_fields(plan.resource)
        live: Parents | None = None

        async def parents(last: str, number: int) -> Parents:
            nonlocal live
            scanned = account.store.records.scan(account.name, parent, after=last, batch=number, limit=number)
            found: Parents = [(one.external_id, one.data if with_fields else None) async for one in scanned]
            if not found and not last and live is None:
                live = await self._live_parents(parent)
                found = live
            self._parents.update(found)
            return found

        return ChildListing(account.driver, plan.resource, None, parents)

    async def _live_parents(self, name: str) -> Parents:
        """Nothing is stored to list below: the first page of the parents as the partner shows them."""
        account = self.account
        plan = self._plans.get(name)
        if plan is None:
            self.notes.append(f"{name} is switched off too")
            return []
        if plan.strategy is Strategy.CHILDREN or plan.resource.queue is not None:
            return []
        resource = _with_few(plan.resource, PARENTS_TRIED)
        response = await self.call(account.driver.request(resource, Checkpoint(account.name, name)))
        found: Parents = []
        for item in account.driver.items(resource, response)[:PARENTS_TRIED]:
            if item.raw is None or item.resource != name:
                continue
            try:
                record = account.driver.normalize(resource, item.raw, plan.adapter)
            except Exception:  # noqa: S112 - what is wrong with it, its own dry run tells
                continue
            found.append((record.identity.external_id, record.data))
        self.notes.append(f"nothing of {name} is stored: listed below the first {len(found)} of them at the partner")
        return sorted(found, key=lambda one: one[0])

    async def _look(self, items: Sequence[Item], parent_id: str | None) -> None:
        named: dict[str, list[str]] = {}
        sights: list[There | Shown] = []
        for item in items:
            sight = self._sight(item)
            sights.append(sight)
            if isinstance(sight, There):
                named.setdefault(item.resource, []).append(sight.external_id)
        store, name = self.account.store.comparisons, self.account.name
        kept = {resource: await store.several(name, resource, ids) for resource, ids in named.items()}
        for sight in sights:
            if isinstance(sight, Shown):
                self.shown.append(sight)
            else:
                resource = sight.item.resource
                self.shown.append(self._judged(sight, kept[resource].get(sight.external_id)))

    def _sight(self, item: Item) -> There | Shown:
        plan = self._plans.get(item.resource)
        if plan is None:
            return Shown(item.resource, "", Outcome.PASSED_OVER)
        if self.account.processor.is_aside(item):
            return Shown(item.resource, "", Outcome.REJECTED, reason="put aside: it ended the process before")
        try:
            return seen_there(self.account.driver, plan.resource, item, plan.adapter)
        except Exception as error:
            return Shown(item.resource, "", Outcome.REJECTED, reason=_said(error))

    def _judged(self, there: There, kept: Kept | None) -> Shown:
        name, external_id = there.item.resource, there.external_id
        resource, adapter = self._plans[name].resource, self._plans[name].adapter_of(external_id)
        if there.item.raw is None and not there.deleted:
            return Shown(name, external_id, Outcome.NAMED)
        if kept is not None and _older(there, kept):
            return Shown(name, external_id, Outcome.STALE, reason="what is stored is newer")
        try:
            if there.deleted:
                live = kept is not None and kept.deleted_at is None
                return Shown(name, external_id, Outcome.DELETED if live else Outcome.UNCHANGED)
            # In the words of the adapter that a pull reads by, whichever made the row.
            here = kept if kept is None else replace(kept, adapter=adapter)
            difference = differing(self.account.driver, resource, here, there, adapter)
            if kept is None or kept.deleted_at is not None:
                fields = self.account.driver.reading(resource, adapter).fields(there.item.raw or {})
                note = difference.note if difference is not None else ""
                new = tuple(FieldDifference(field, None, value) for field, value in fields.items())
                return Shown(name, external_id, Outcome.ADDED, new, note)
        except Exception as error:
            return Shown(name, external_id, Outcome.REJECTED, reason=_said(error))
        if difference is None:
            same = tuple(FieldDifference(field, value, value) for field, value in kept.data.items())
            return Shown(name, external_id, Outcome.UNCHANGED, same)
        return Shown(name, external_id, Outcome.CHANGED, difference.fields, difference.note)


def _with_few(resource: Resource, limit: int) -> Resource:
    """Ask for no more than is wanted, where the partner lets us choose."""
    if resource.pages.size is None or resource.page_size is None or resource.page_size <= limit:
        return resource
    return resource.model_copy(update={"page_size": limit})


def _older(there: There, kept: Kept) -> bool:
    if there.version is not None and kept.source_version is not None:
        return there.version < kept.source_version
    if there.updated_at is not None and kept.source_updated_at is not None:
        return there.updated_at < kept.source_updated_at
    return False


def _said(error: Exception) -> str:
    """Why a record would be a reject; of a fault in the driver only its kind, since its text may hold a value."""
    return str(error) if isinstance(error, PayloadError) else f"{type(error).__name__} in the driver"
