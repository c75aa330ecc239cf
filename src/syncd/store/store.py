"""The store: one object over one database, with an attribute for each table's file."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.store.about import About
from syncd.store.arrivals import Arrivals
from syncd.store.audit import Audit
from syncd.store.backfills import Backfills
from syncd.store.changes import Changes
from syncd.store.checkpoints import Checkpoints
from syncd.store.child_sweeps import ChildSweeps
from syncd.store.comparisons import Comparisons
from syncd.store.controls import Controls
from syncd.store.credentials import Credentials
from syncd.store.database import Database
from syncd.store.dead_letters import DeadLetters
from syncd.store.deliveries import Deliveries
from syncd.store.inbox import Inbox
from syncd.store.leases import KEEPING, Leases
from syncd.store.limit_state import LimitState
from syncd.store.losses import Losses
from syncd.store.media import Media
from syncd.store.migrate import Migrations
from syncd.store.outbox import Outbox
from syncd.store.pages import Pages, remember_partner
from syncd.store.passes import Passes
from syncd.store.perils import Perils
from syncd.store.postponed import Postponed
from syncd.store.prune import Prune
from syncd.store.queues import Queues
from syncd.store.records import Records
from syncd.store.refusals import RefusalTable
from syncd.store.rejects import Rejects
from syncd.store.renormalizations import Renormalizations
from syncd.store.replays import Replays
from syncd.store.runs import Runs
from syncd.store.schemas import Schemas
from syncd.store.sealing import KeyRing
from syncd.store.sizes import table_sizes
from syncd.store.sweeps import Sweeps
from syncd.store.tasks import Tasks
from syncd.store.trials import Trials
from syncd.store.validators import Validators
from syncd.store.views import Views
from syncd.store.vitals import ROOM, TRY_ROOM
from syncd.store.waits import Waits
from syncd.store.wire import Listener, Wire


def reached(store: Store | None) -> Store:
    """The store, once there is one. Raises StoreError before."""
    if store is None:
        raise StoreError("the database has not been reached yet", hint="syncd check --env")
    return store


class Store:
    """Everything syncd remembers. Every method raises StoreError when the database is away; the next call reconnects."""

    def __init__(self, database: Database, wire: Wire, key_ring: KeyRing | None) -> None:
        self._database = database
        self._wire = wire
        self._keeping = database.beside(KEEPING)
        self.migrations = Migrations(database)
        self.records = Records(database)
        self.pages = Pages(database)
        self.inbox = Inbox(database, self.pages)
        self.checkpoints = Checkpoints(database)
        self.runs = Runs(database)
        self.passes = Passes(database)
        self.sweeps = Sweeps(database)
        self.child_sweeps = ChildSweeps(database)
        self.perils = Perils(database)
        self.validators = Validators(database)
        self.media = Media(database)
        self.leases = Leases(self._keeping, wire)
        self.tasks = Tasks(database)
        self.losses = Losses(database)
        self.postponed = Postponed(database)
        self.controls = Controls(database)
        self.credentials = Credentials(database, key_ring)
        self.limit_state = LimitState(database)
        self.dead_letters = DeadLetters(database)
        self.replays = Replays(database)
        self.deliveries = Deliveries(database)
        self.backfills = Backfills(database, self.pages)
        self.comparisons = Comparisons(database)
        self.renormalizations = Renormalizations(database, self.pages)
        self.schemas = Schemas(database)
        self.trials = Trials(database)
        self.rejects = Rejects(database)
        self.refusals = RefusalTable(database)
        self.about = About(database)
        self.changes = Changes(database)
        self.outbox = Outbox(database, self.pages)
        self.queues = Queues(database)
        self.arrivals = Arrivals(database)
        self.audit = Audit(database)
        self.views = Views(database)
        self.prune = Prune(database)
        self.waits = Waits(database.clock)
        self.vitals = database.vitals

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        clock: Clock,
        key_ring: KeyRing | None = None,
        pool_size: int = 8,
        migrate: bool = True,
    ) -> Store:
        """Connect and bring the schema up to this release. With `migrate=False` a schema behind it is a StoreError."""
        database = await Database.open(url, clock=clock, pool_size=pool_size)
        store = cls(database, Wire(url, clock=clock), key_ring)
        try:
            if migrate:
                if await store.migrations.apply():
                    await database.renew()
                await database.execute("SELECT syncd.mend_changes()")
            elif pending := (await store.migrations.status()).pending:
                raise StoreError(
                    f"the database schema is {len(pending)} migrations behind this release", hint="syncd migrate"
                )
        except BaseException:
            await store.aclose()
            raise
        return store

    @property
    def name(self) -> str:
        """Host and database, for people; no user, no password."""
        return self._database.name

    async def listen(self, channel: str, listener: Listener) -> None:
        """Call `listener(payload)` for each NOTIFY; with an empty payload after a gap in which some may have been missed."""
        await self._wire.listen(channel, listener)

    async def remember(self, integration: str, partner: str) -> None:
        """Say which partner an integration belongs to (pages say so by themselves)."""
        await remember_partner(self._database, integration, partner)

    async def ping(self) -> float:
        """Seconds one trip to the database takes. Raises StoreError when it is away."""
        started = self._database.clock.monotonic()
        await self._database.fetchval("SELECT 1")
        return self._database.clock.monotonic() - started

    async def try_room(self) -> None:
        """See whether there is room again, where a statement has found none: it may be long until that one is tried again.
        Raises StoreError where there is not, or where it cannot be tried."""
        if not self.vitals.full:
            return
        async with self._database.transaction() as connection:
            await connection.execute(ROOM)
            await connection.execute(TRY_ROOM)
        self.vitals.has_room()

    async def sizes(self) -> dict[str, Any]:
        """How large the tables are: the server's version, and of each table rows_about, bytes, dead_rows."""
        return await table_sizes(self._database)

    async def aclose(self) -> None:
        """Let go of everything: leases of this process may be taken by others at once."""
        await self._wire.aclose()
        await self._keeping.aclose()
        await self._database.aclose()

    async def __aenter__(self) -> Store:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
