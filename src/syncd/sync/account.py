"""One integration at run time: everything its runs and tasks share, and what is remembered between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from syncd import metrics
from syncd.client import Secrets, Session
from syncd.clock import Clock
from syncd.errors import RejectedError, StoreError
from syncd.explain import NOT_RUNNING
from syncd.kit import Driver
from syncd.limits import Gate
from syncd.model import History
from syncd.ports import CredentialKeeper
from syncd.store import PageResult, PageWrite, Store
from syncd.sync.coalescing import Coalescing
from syncd.sync.depot import Depot
from syncd.sync.flow import Flow
from syncd.sync.freshness import Freshness
from syncd.sync.health import Health
from syncd.sync.inflight import Inflight, Share
from syncd.sync.keys import Keys
from syncd.sync.ownership import Ownership
from syncd.sync.page import PageRead
from syncd.sync.plan import ResourcePlan
from syncd.sync.processor import Processor
from syncd.sync.proofs import Proofs
from syncd.sync.slowness import Slowness
from syncd.sync.troubles import RefusedDeliveries, signatures_refused


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
    options: Mapping[str, Any] = field(default_factory=dict)
    tasks_added: Callable[[], None] = lambda: None
    """Called when rows for the task feeder were committed."""
    moved: Callable[[], None] = lambda: None
    """Called whenever work made progress; feeds the watchdog."""
    depot: Depot | None = None
    """Where files of its records go; None: they are not fetched."""
    chaos: str = ""
    """What faults are put between it and its partner on purpose; empty: none."""
    keys: Keys | None = None
    """Its credentials in force."""
    attempt: Callable[[Secrets, CredentialKeeper], Session] | None = None
    """A session beside the one in use, with other credentials: how new ones are tried."""
    heard: Callable[[Sequence[datetime]], None] = lambda times: None
    """Told when deliveries came, once they are worked on; feeds the silence watch."""
    inflight: Share = field(default_factory=lambda: Inflight().share())
    """Its part of what all listings of the process together have in memory, and of the one thread's time."""
    flow: Flow = field(default_factory=Flow)
    """What its queues got done, and what was not worth doing."""
    looked_for: set[str] = field(default_factory=set)
    """Resources of which it is known that a look waits for each record that needs one."""
    proofs: Proofs = field(default_factory=Proofs)
    """What showed, and to which refusals, that the credential and the listings are open."""
    coalescing: Coalescing = field(init=False)
    """What was read because of events, and when."""
    freshness: Freshness = field(init=False)
    """When its records were last read: what asks for no more than that is answered."""
    slowness: Slowness = field(init=False)
    history: Mapping[str, History] = field(init=False)
    _counters: dict[tuple[str, str], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.freshness = Freshness(self.store, self.name, self.clock)
        self.coalescing = Coalescing(self.clock)
        self.slowness = Slowness(self.name)
        self.history = {plan.name: plan.history for plan in self.plans.values()}

    @property
    def scope(self) -> str:
        return self.ownership.scope

    @property
    def groups(self) -> set[str]:
        """The endpoint groups its resources are read from."""
        return {plan.resource.group for plan in self.plans.values()}

    def needs(self, resource: str) -> tuple[str, ...]:
        """The endpoint groups that have to answer before a record of this resource can come: a token's first."""
        plan = self.plans.get(resource)
        own = plan.resource.group if plan is not None else ""
        token = self.session.auth.needs
        return (own,) if token is None else (token, own)

    @property
    def fence(self) -> int:
        """The fence every write names; raises OwnershipError while another instance owns the scope."""
        return self.ownership.fence

    def may_call(self) -> bool:
        """Is the scope ours, and its credential not just refused?"""
        refused_until = self.health.auth_retry_at
        return self.ownership.held and (refused_until is None or refused_until <= self.clock.now())

    def watch(self, refused: RefusedDeliveries | None) -> None:
        """Look at what only time tells: how fast the partner answers, and whether any of its deliveries passes."""
        self.health.slow = self.slowness.look(self.session.pace, self.clock.monotonic(), self.clock.now())
        self.health.forged = None
        if refused is not None:
            repairs = self.driver.subscriptions(self.options) is not None
            self.health.forged = signatures_refused(self.name, refused, repairs=repairs)

    def children(self, resource: str) -> list[str]:
        """The resources listed below this one that are synced."""
        return [plan.name for plan in self.plans.values() if plan.resource.parent == resource]

    @property
    def all_needs(self) -> list[tuple[str, ...]]:
        """What each resource needs."""
        return [self.needs(resource) for resource in self.plans]

    async def rejected_ids(self) -> set[tuple[str, str]]:
        """(resource, id) of records with a reject row; a bounded look, since healing one more time does no harm."""
        return await self.store.rejects.keys(self.name, limit=10_000)

    def write(self, resource: str, cause: str, read: PageRead, *, fence: int | None = None) -> PageWrite:
        """What an answer, or something else, brought outside a run, to be committed under this fence, or ours."""
        return PageWrite(
            self.partner,
            self.name,
            resource,
            self.scope,
            self.fence if fence is None else fence,
            rows=read.rows,
            rejects=read.rejects,
            healed=read.healed,
            tasks=read.tasks,
            cause=cause,
            history=self.history,
        )

    def count(self, resource: str, page: PageRead, result: PageResult, *, pages: int = 1) -> None:
        """Add stored pages to the metrics; once a page, not once a record."""
        for what, number in (
            ("added", len(result.added)),
            ("updated", len(result.updated)),
            ("deleted", len(result.deleted)),
            ("unchanged", page.unchanged + result.unchanged),
            ("stale", result.stale),
            ("rejected", len(page.rejects) + len(result.refused)),
        ):
            if number:
                key = (resource, what)
                counter = self._counters.get(key)
                if counter is None:
                    counter = self._counters[key] = metrics.RECORDS.labels(self.name, resource, what)
                counter.inc(number)
        counter = self._counters.get((resource, ""))
        if counter is None:
            counter = self._counters[resource, ""] = metrics.PAGES.labels(self.name, resource)
        counter.inc(pages)


def running_here(accounts: Iterable[Account], name: str) -> Account:
    """The one of this name. Raises StoreError where it does not run on this instance."""
    for account in accounts:
        if account.name == name:
            return account
    raise StoreError(f"{name} does not run here now", hint=NOT_RUNNING)


def asked(accounts: Iterable[Account], name: str) -> Account:
    """The same, of whom something is to be asked now.

    Raises OwnershipError where another instance owns its scope and has to be asked there, RejectedError where a person
    has paused it.
    """
    account = running_here(accounts, name)
    _ = account.fence
    not_in_maintenance(account)
    if account.health.paused is not None:
        raise RejectedError(f"{name} is paused", hint=f"syncd resume {name}")
    return account


def not_in_maintenance(account: Account) -> None:
    """Raises RejectedError where nothing may be sent at all, whoever asks."""
    paused = account.health.paused
    if paused is not None and paused.code == "maintenance":
        raise RejectedError(f"{account.name} is {paused.reason}", hint="nothing is sent meanwhile; it ends by itself")
