"""The copy compared with the partner: by its whole listing, or some records by their ids. Nothing is written.

What looks different may only be under way: the partner changed while we asked, a webhook is being processed, the next
incremental run will bring it. So whatever looks different is read a second time, there and here, before it is reported, and a
change the fresh ways have not had their time for is counted as pending instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from syncd.errors import GoneError, RejectedError
from syncd.kit import Item, Response
from syncd.model import Checkpoint, Mode
from syncd.store.comparisons import Kept
from syncd.sync.account import Account
from syncd.sync.asking import Asking
from syncd.sync.differences import Difference, Kind, There, differing, gone, seen_there
from syncd.sync.drift import IN_FLIGHT
from syncd.sync.listings import listing_of
from syncd.sync.plan import ResourcePlan, Strategy
from syncd.sync.tenant import Tenant
from syncd.sync.webhook_fed import is_fed

MOST_IDS = 1_000_000
"""Ids of one listing held in memory (R12)."""
MOST_DETAILS = 1000
"""Records that are read a second time and reported one by one; the others are only counted."""
SETTLE_SECONDS = 5.0
"""Between the first look and the second: what was under way has arrived by then."""
IDS_AT_ONCE = 5000


@dataclass(slots=True)
class Findings:
    """What a comparison of one resource has found so far."""

    resource: str
    sampled: int | None = None
    """So many records were chosen by chance; None: the whole listing."""
    stage: str = "listing"
    """listing, settling, done."""
    checked: int = 0
    equal: int = 0
    pending: int = 0
    """Different, and sure to be brought by the fresh ways in their time."""
    settled: int = 0
    """Different at the first look and not at the second."""
    unsound: int = 0
    """Records that cannot be read; they stand among the rejects."""
    missing_here: int = 0
    missing_there: int = 0
    differing: int = 0
    unsettled: int = 0
    """Of those that differ: only counted, not read a second time."""
    details: list[Difference] = field(default_factory=list)
    calls: int = 0
    waited_seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def drift(self) -> int:
        return self.missing_here + self.missing_there + self.differing

    def count(self, kind: Kind, number: int = 1) -> None:
        """Add records that differ."""
        match kind:
            case Kind.MISSING_HERE:
                self.missing_here += number
            case Kind.MISSING_THERE:
                self.missing_there += number
            case Kind.DIFFERS:
                self.differing += number


class Comparison:
    """Of one resource."""

    def __init__(self, account: Account, plan: ResourcePlan, *, sample: int | None = None, seed: int = 0) -> None:
        self.found = Findings(plan.name, sample)
        self._account = account
        self._plan = plan
        self._seed = seed
        self._began_at = account.clock.now()
        self._fresh_at: datetime | None = None
        self._suspects: dict[str, There | None] = {}
        """What looked different: the record as the partner showed it; None where it did not show it."""
        self._unlisted: dict[Kind, int] = {}
        self._asking = Asking(account, plan)

    @property
    def by_id(self) -> bool:
        """Can single records be asked for?"""
        return self._asking.by_id

    def counted(self) -> Findings:
        """What was found so far, with what it has cost."""
        self.found.calls, self.found.waited_seconds = self._asking.calls, self._asking.waited_seconds
        return self.found

    async def run(self) -> Findings:
        """Raises SyncdError where it cannot be made, or not to its end."""
        account, plan, found = self._account, self._plan, self.found
        if plan.strategy is Strategy.FEED:
            raise RejectedError(f"{plan.name} is an event log: there is nothing to compare")
        await self._look_back()
        if found.sampled is not None:
            await self._sampled(found.sampled)
        else:
            await self._whole()
        if self._suspects:
            found.stage = "settling"
            await account.clock.sleep(SETTLE_SECONDS)
            await self._settle()
        for kind, number in self._unlisted.items():
            found.count(kind, number)
            found.unsettled += number
        if found.unsettled:
            found.notes.append(f"{found.unsettled} were only counted and not read a second time")
        if found.differing and plan.resource.stamped_by != "updated":
            found.notes.append(
                "the partner gives no time of change: what changed since it was last asked is among them"
            )
        found.unsound += len(self._asking.unread)
        found.stage = "done"
        return self.counted()

    # -- before

    async def _look_back(self) -> None:
        """From which moment on the partner's changes need not have been brought yet."""
        account, plan, now = self._account, self._plan, self._account.clock.now()
        stand = await account.store.checkpoints.stand(account.name, plan.name)
        began_at = await account.store.comparisons.pass_began_at(account.name, plan.name)
        if plan.strategy is Strategy.CHILDREN:
            self._fresh_at = now - IN_FLIGHT
            return
        if stand is None or stand.passed_at is None or began_at is None:
            raise RejectedError(f"{plan.name} has not been read whole yet", hint=f"syncd status {account.name}")
        feeds = []
        for other in account.plans.values():
            if plan.name in other.resource.feeds:
                known = await account.store.checkpoints.stand(account.name, other.name)
                covered = other.since(known.checkpoint.watermark) if known is not None else None
                feeds += [covered] if covered is not None else []
        if is_fed(account.health, plan, now):
            self._fresh_at = now - IN_FLIGHT
        elif feeds:
            self._fresh_at = min(feeds)
        elif plan.strategy is Strategy.INCREMENTAL and stand.checkpoint.watermark is not None:
            self._fresh_at = plan.since(stand.checkpoint.watermark)
        else:
            self._fresh_at = began_at

    # -- first look

    async def _whole(self) -> None:
        account, plan, found = self._account, self._plan, self.found
        checkpoint = Checkpoint(account.name, plan.name, Mode.FULL)
        listing, tenant = listing_of(account, plan, checkpoint), Tenant(account, plan.resource)
        seen: set[str] = set()
        total: int | None = None
        step = await listing.first()
        while step is not None:
            response: Response | None = None
            try:
                response = await self._asking.call(step.request)
            except GoneError:
                if step.parent_id is None:
                    raise
            if response is not None:
                items = account.driver.items(plan.resource, response)
                await tenant.check(items)
                if total is None and plan.strategy is not Strategy.CHILDREN:
                    total = account.driver.total(plan.resource, response)
                seen |= await self._look(items)
            if len(seen) > MOST_IDS:
                raise RejectedError(
                    f"{plan.name} has more than {MOST_IDS:,} records", hint="compare some: --sample 1000"
                )
            step = await listing.after(step, response)
        if total is not None and len(seen) < total and not plan.resource.repeats:
            found.notes.append(f"the partner states {total} records and listed {len(seen)}")
        await self._absent(seen)

    async def _absent(self, seen: set[str]) -> None:
        """Live records the listing did not show. What was stored after it began was not missed by it."""
        after = ""
        while True:
            batch = await self._account.store.comparisons.live_ids(
                self._account.name, self._plan.name, after=after, limit=IDS_AT_ONCE, before=self._began_at
            )
            for external_id, older in batch:
                if older and external_id not in seen:
                    self.found.checked += 1
                    self._suspect(external_id, None, Kind.MISSING_THERE)
            if len(batch) < IDS_AT_ONCE:
                return
            after = batch[-1][0]

    async def _sampled(self, number: int) -> None:
        account, plan = self._account, self._plan
        if not self.by_id:
            raise RejectedError(f"{plan.name} cannot be asked for by id", hint="compare the whole listing: no --sample")
        ids = await account.store.comparisons.sample(account.name, plan.name, number, self._seed)
        self.found.sampled = len(ids)
        self.found.notes.append("records that are missing here cannot be found by a sample of those that are")
        for start in range(0, len(ids), self._asking.at_once):
            some = ids[start : start + self._asking.at_once]
            shown = await self._asking.read(some)
            await self._look([there.item for there in shown.values() if there is not None])
            for external_id in some:
                if shown.get(external_id) is None and external_id not in self._asking.unread:
                    self.found.checked += 1
                    self._suspect(external_id, None, Kind.MISSING_THERE)

    async def _look(self, items: Sequence[Item]) -> set[str]:
        """Compare what an answer shows; returns the ids on it."""
        account, plan, found = self._account, self._plan, self.found
        shown: dict[str, There] = {}
        for item in items:
            if item.resource != plan.name:
                continue
            if account.processor.is_aside(item):
                found.checked += 1
                found.unsound += 1
                continue
            try:
                there = seen_there(account.driver, plan.resource, item, plan.adapter)
            except Exception:
                found.checked += 1
                found.unsound += 1
                continue
            shown[there.external_id] = there
        kept = await account.store.comparisons.several(account.name, plan.name, list(shown))
        for external_id, there in shown.items():
            found.checked += 1
            difference = self._judge(kept.get(external_id), there)
            if isinstance(difference, Difference):
                self._suspect(external_id, there, difference.kind)
            elif difference is None:
                found.equal += 1
        return set(shown)

    def _judge(self, kept: Kept | None, there: There) -> Difference | bool | None:
        """The difference; None: equal. True: it is counted otherwise, as pending or unsound."""
        account, plan = self._account, self._plan
        try:
            difference = differing(account.driver, plan.resource, kept, there, plan.adapter)
        except Exception:
            self.found.unsound += 1
            return True
        if difference is None:
            return None
        fresh, stamp = self._fresh_at, there.updated_at
        if difference.kind is Kind.MISSING_THERE or fresh is None or stamp is None or stamp < fresh:
            return difference
        had = kept.source_updated_at if kept is not None and kept.deleted_at is None else None
        if had is not None and stamp <= had:
            return difference  # it is no newer there: no run brings what was read already
        self.found.pending += 1
        return True

    def _suspect(self, external_id: str, there: There | None, kind: Kind) -> None:
        if len(self._suspects) < MOST_DETAILS:
            self._suspects[external_id] = there
        else:
            self._unlisted[kind] = self._unlisted.get(kind, 0) + 1

    # -- second look

    async def _settle(self) -> None:
        """Read what looked different once more, there and then here, and report what still does."""
        ids = list(self._suspects)
        by_id = self.by_id
        for start in range(0, len(ids), self._asking.at_once):
            some = ids[start : start + self._asking.at_once]
            shown = await self._asking.read(some) if by_id else {one: self._suspects[one] for one in some}
            kept = await self._account.store.comparisons.several(self._account.name, self._plan.name, some)
            for external_id in some:
                if external_id not in self._asking.unread:
                    self._report(external_id, kept.get(external_id), shown.get(external_id))

    def _report(self, external_id: str, kept: Kept | None, there: There | None) -> None:
        found = self.found
        difference: Difference | bool | None
        if there is None:
            difference = gone(kept) if kept is not None and kept.deleted_at is None else None
            if difference is not None and kept is not None and kept.fetched_at >= self._began_at and not self.by_id:
                difference = None  # it was stored since: by an answer younger than the listing
        else:
            difference = self._judge(kept, there)
        if isinstance(difference, Difference):
            found.count(difference.kind)
            found.details.append(difference)
        elif difference is None:
            found.settled += 1
            found.equal += 1
