"""Deliveries become records and work: one partner's way from the inbox to rows, tombstones and reads.

A batch of waiting deliveries is taken in the order of their ids, read without any call to the partner, and ended by one
transaction under the scope's fence: what they brought is stored, the reads they ask for are tasks, and the deliveries are
done. Whatever interrupts that leaves the deliveries as they were. One that cannot be read is a dead letter, and the others
of its batch go on; one that was in hand whenever the process died is taken alone, and buried the fifth time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import anyio
import structlog

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import OwnershipError, PoisonError, StoreError
from syncd.kit import Event
from syncd.model import Lane
from syncd.store import Store, asking
from syncd.store.database import ConflictError, DataRefusedError
from syncd.store.inbox import Taken
from syncd.store.received import LOST_MOST
from syncd.sync.account import Account
from syncd.sync.derived import Derived
from syncd.sync.deriving import Deriver
from syncd.sync.events_told import Telling
from syncd.sync.part import Looking
from syncd.sync.traced import deliveries

log = structlog.get_logger()

BATCH = 250
"""Deliveries in hand at once (R12)."""
BATCH_BYTES = 4 * 1024 * 1024
"""Bytes of their bodies; one that alone is larger goes alone."""
SUSPECTS = 20
"""Deliveries taken one at a time between two batches."""
LOOK_SECONDS = 1.0
"""How often the inbox is looked at when nothing woke us: for what was put off, and for what another instance took in."""
AWAY_SECONDS = 1.0
"""Between two tries while the database is away."""
GIVE_BACK_SECONDS = 3.0
GIVE_WAY_SECONDS = 0.25
"""Longest pause between two batches while deliveries come faster than they are worked on."""
FAILURES = 3
"""A batch that fails so often in a row while the database answers is taken apart: one of its deliveries is to blame."""

Hand = Callable[[Account, Event, Taken], Awaitable[None]]


class Events(Looking):
    """One partner's deliveries at work, beside its feeder: `run()` in the runner's task group, `stop()` before it drains.

    `paused` gives the names of what is paused (`integration`; others are passed over): their deliveries wait as they are.
    `credentials` is handed what a partner's signed delivery says are new ones, before the delivery is done; what it raises
    puts the delivery to the dead letters. The feeder is woken through `account.tasks_added`.
    """

    def __init__(
        self,
        partner: str,
        accounts: Mapping[str, Account],
        store: Store,
        clock: Clock,
        *,
        paused: Callable[[], Collection[str]] = tuple,
        credentials: Hand | None = None,
    ) -> None:
        super().__init__("events", partner, clock, look_seconds=LOOK_SECONDS)
        self._accounts = accounts
        self._store = store
        self._paused = paused
        self._credentials = credentials
        self._derivers = {name: Deriver(account) for name, account in accounts.items()}
        self.of_deliveries = True
        self._woken = 0
        """So often something came since the last batch began."""
        self._freed: dict[str, int] = {}
        self._suspects: set[str] = set()
        """Integrations which may have deliveries that were in hand when a process died."""
        self._unsure: set[str] = set()
        """Integrations of which a batch may still be in hand in the rows, though it is not here."""
        self._singly: dict[str, int] = {}
        """So many deliveries are taken one at a time, because one of them spoils whatever batch it is in."""
        self._failures: dict[str, int] = {}
        self._told = Telling(partner, clock)
        self._away = False
        metrics.BOUND.labels("events_batch").set(BATCH)
        metrics.BOUND.labels("events_batch_bytes").set(BATCH_BYTES)

    def wake(self) -> None:
        """Deliveries may have come: look now."""
        self._woken += 1
        super().wake()

    async def _turn(self, woken: bool) -> float:
        """Whatever happens with one integration, the others go on."""
        self._woken, began = 0, self._clock.monotonic()
        more = await self.look(woken=woken)
        self._back()
        if more and self._woken >= BATCH:
            # They come faster than they are worked on: who takes them in goes first (R16), we every other turn.
            await self._clock.sleep(min(self._clock.monotonic() - began, GIVE_WAY_SECONDS))
        return 0.0 if more else LOOK_SECONDS

    async def look(self, *, woken: bool = False) -> bool:
        """One batch of each integration that has any. True: there may be more at once. Raises StoreError.

        `woken`: something came, so of a single integration it need not be asked whether.
        """
        paused = self._paused()
        owned = [name for name, one in self._accounts.items() if one.ownership.held and name not in paused]
        ready = owned if woken and len(owned) == 1 else await self._ready(owned)
        more, away = False, None
        for name in ready:
            if self._stopping:
                break
            self._idle.clear()
            try:
                with asking(name):
                    more = await self._work(self._accounts[name]) or more
            except OwnershipError:
                self._unsure.add(name)  # somebody else has the scope now, or what we sent was committed after all
            except ConflictError:
                self._unsure.add(name)
            except StoreError as error:
                await self._store.ping()  # raises: it is away for all of them
                away = error
            finally:
                self._idle.set()
        if away is not None:
            raise away
        return more

    async def _ready(self, owned: Sequence[str]) -> Sequence[str]:
        """Those with deliveries that may be taken, and those of which a dead owner's have to be freed first."""
        if not owned:
            return []
        ready = await self._store.inbox.ready(owned)
        return [name for name in owned if name in ready or self._freed.get(name) != self._accounts[name].fence]

    # -- one integration -------------------------------------------------------------------------------------------

    async def _work(self, account: Account) -> bool:
        name = account.name
        await self._free(account)
        singly = self._singly.get(name, 0)
        if singly:
            self._singly[name] = singly - 1
        most = 1 if singly else BATCH
        async with account.inflight.narrowing.one(Lane.HIGH):
            taken = await self._take(account, most, put_off_first=singly % 2 == 1)
            if taken:
                await self._batch(account, taken)
        if not taken:
            self._singly.pop(name, None)
            self._suspects.add(name)  # a delivery is there, and none that goes with others
        if name in self._suspects:
            await self._one_by_one(account)
        # Less than what would have fit is all there was; what came since has woken us.
        full = len(taken) == most or sum(len(one.body or b"") for one in taken) >= BATCH_BYTES
        return full or name in self._suspects or bool(self._singly.get(name))

    async def _take(
        self, account: Account, limit: int, *, suspect: bool = False, put_off_first: bool = False
    ) -> list[Taken]:
        return await self._store.inbox.take(
            account.name,
            scope=account.scope,
            fence=account.fence,
            limit=limit,
            size=BATCH_BYTES,
            suspect=suspect,
            put_off_first=put_off_first,
        )

    async def _free(self, account: Account) -> None:
        """What a dead owner had in hand is free again (R5); what we ourselves may have left there is given back."""
        inbox, name, fence = self._store.inbox, account.name, account.fence
        if self._freed.get(name) != fence:
            # At the very first look also what is under our own fence: one before us in this process may have crashed.
            await inbox.free(name, scope=account.scope, fence=fence, first=name not in self._freed)
            self._freed[name] = fence
            self._suspects.add(name)
            self._unsure.discard(name)
        elif name in self._unsure:
            await inbox.give_back(name, fence=fence)
            self._unsure.discard(name)

    async def _one_by_one(self, account: Account) -> None:
        """Deliveries that were in hand when a process died: whichever did it takes no other with it."""
        for _ in range(SUSPECTS):
            taken = [] if self._stopping else await self._take(account, 1, suspect=True)
            if not taken:
                if not self._stopping:
                    self._suspects.discard(account.name)
                return
            if taken[0].lost >= LOST_MOST:
                await self._bury(
                    account, taken[0], PoisonError(f"the process ended {taken[0].lost} times while it was read")
                )
            else:
                await self._batch(account, taken)

    async def _batch(self, account: Account, taken: Sequence[Taken]) -> None:
        """From deliveries to rows. Raises StoreError, after which they wait as before."""
        name, began, began_at = account.name, self._clock.monotonic(), self._clock.now()
        try:
            derived = await self._derivers[name].derive(taken)
            await self._hand_credentials(account, derived)
            result = await self._store.inbox.finish(derived.finish(taken))
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True), anyio.move_on_after(GIVE_BACK_SECONDS):
                await self._give_back(account)
            raise
        except (OwnershipError, ConflictError):
            raise
        except Exception as error:
            if isinstance(error, StoreError) and not isinstance(error, DataRefusedError):
                self._unsure.add(name)
                self._failures[name] = self._failures.get(name, 0) + 1
                if self._failures[name] < FAILURES:
                    raise
                await self._store.ping()  # raises: it is away, and nobody is to blame
            self._failures.pop(name, None)
            await self._blame(account, taken, error)
            return
        self._failures.pop(name, None)
        self._told.ended(account, taken, derived, result, began)
        deliveries(account, taken, began_at, len(result.added) + len(result.updated) + len(result.deleted))

    async def _blame(self, account: Account, taken: Sequence[Taken], error: Exception) -> None:
        """A delivery of the batch cannot be stored: all of them one by one, and that one to the dead letters."""
        if len(taken) == 1:
            await self._bury(account, taken[0], error)
            return
        log.warning(
            "events_taken_apart", partner=self._partner, integration=account.name, count=len(taken), reason=str(error)
        )
        self._unsure.add(account.name)
        self._singly[account.name] = len(taken)

    async def _bury(self, account: Account, one: Taken, error: Exception) -> None:
        """The delivery in hand becomes a dead letter, whatever it says."""
        began, derived = self._clock.monotonic(), self._derivers[account.name].buried(one, error)
        result = await self._store.inbox.finish(derived.finish([one]))
        self._told.ended(account, [one], derived, result, began)

    async def _hand_credentials(self, account: Account, derived: Derived) -> None:
        for event, one in derived.credentials:
            if self._credentials is None:
                continue
            try:
                await self._credentials(account, event, one)
            except StoreError:
                raise
            except Exception as error:
                derived.fates = [fate for fate in derived.fates if fate.id != one.id]
                self._derivers[account.name].buries(derived, one, error)

    async def _give_back(self, account: Account) -> None:
        try:
            await self._store.inbox.give_back(account.name, fence=account.fence)
        except StoreError as error:
            # Whoever owns the scope next finds them in hand under an older fence, and frees them.
            log.warning("events_not_given_back", partner=self._partner, integration=account.name, reason=str(error))

    def _waits(self, error: StoreError) -> float:
        if not self._away:
            log.warning("events_wait", partner=self._partner, reason=str(error))
        self._away = True
        return AWAY_SECONDS

    def _back(self) -> None:
        if self._away:
            log.info("events_go_on", partner=self._partner)
        self._away = False
