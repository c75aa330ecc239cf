"""One integration at run time: everything its runs and tasks share, and what is remembered between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import structlog

from syncd import metrics
from syncd.clock import Clock
from syncd.client import Session
from syncd.kit import Driver
from syncd.limits import Gate
from syncd.store import PageResult, PageWrite, Reject, Row, Store, UnstorableError
from syncd.sync.health import Health
from syncd.sync.ownership import Ownership
from syncd.sync.plan import ResourcePlan
from syncd.sync.processor import PageRead, Processor

log = structlog.get_logger()


@dataclass(slots=True)
class Account:
    """An integration with its driver, session, plans and memory. Built from configuration, replaced on reload."""

    partner: str
    name: str
    driver: Driver
    session: Session
    gate: Gate
    store: Store
    clock: Clock
    ownership: Ownership
    plans: Mapping[str, ResourcePlan]
    processor: Processor
    health: Health
    tasks_added: Callable[[], None] = lambda: None
    """Called when rows for the task feeder were committed."""
    moved: Callable[[], None] = lambda: None
    """Called whenever work made progress; feeds the watchdog."""
    _counters: dict[tuple[str, str], metrics.Counter] = field(default_factory=dict)

    @property
    def scope(self) -> str:
        return self.ownership.scope

    @property
    def fence(self) -> int:
        """The fence every write names; raises OwnershipError while another instance owns the scope."""
        return self.ownership.fence

    async def commit(self, page: PageWrite) -> PageResult:
        """Store a page. A row PostgreSQL refuses is found by halving and becomes a reject (R15); the rest commits."""
        try:
            return await self.store.pages.commit(page)
        except UnstorableError as error:
            sound, poison = await self._sift(page.rows)
            log.warning(
                "rows_unstorable",
                partner=self.partner,
                integration=self.name,
                resource=page.resource,
                count=len(poison),
                reason=str(error),
            )
            return await self.store.pages.commit(
                replace(page, rows=sound, rejects=[*page.rejects, *(_rejected(row, error) for row in poison)])
            )

    async def _sift(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        """Which rows the database can read, without writing any."""
        if await self.store.records.storable(rows):
            return rows, []
        if len(rows) == 1:
            return [], rows
        half = len(rows) // 2
        sound_one, poison_one = await self._sift(rows[:half])
        sound_two, poison_two = await self._sift(rows[half:])
        return sound_one + sound_two, poison_one + poison_two

    def count(self, resource: str, page: PageRead, result: PageResult) -> None:
        """Add a stored page to the metrics; once a page, not once a record."""
        for what, number in (
            ("added", len(result.added)),
            ("updated", len(result.updated)),
            ("deleted", len(result.deleted)),
            ("unchanged", page.unchanged),
            ("stale", result.stale),
            ("rejected", len(page.rejects)),
        ):
            if number:
                key = (resource, what)
                counter = self._counters.get(key)
                if counter is None:
                    counter = self._counters[key] = metrics.RECORDS.labels(self.name, resource, what)
                counter.inc(number)
        metrics.PAGES.labels(self.name, resource).inc()


def _rejected(row: Row, error: Exception) -> Reject:
    return Reject(
        resource=row.resource,
        external_id=row.external_id,
        raw=row.raw_json,
        reason=f"PostgreSQL cannot store it: {error}",
        fetched_at=row.fetched_at,
        cause=row.cause,
    )
