"""Intake: a delivery is a row of table `inbox` before anybody hears that it was accepted (R2, R16).

Deliveries that wait share a commit. A writer takes all that waits, never waits for more, and while its transaction is on
the way the next ones gather for the second writer: so a lone delivery is as quick as can be, and a crowd costs one trip to
the disk. Each is answered by its own outcome. Connections, bounds and deadlines are intake's own: what else uses the
database, and how slowly, does not matter here.

While the database is away nobody waits: whoever comes is told so at once, and a look every quarter of a second finds out
when it is back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from operator import attrgetter

import structlog

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.store.intake_line import Arrival, IntakeFullError, Share, Waiting, row_of
from syncd.store.scribe import STATEMENT_SECONDS, Scribe

__all__ = ["Arrival", "Intake", "IntakeFullError"]

say = structlog.get_logger()

WRITERS = 2
"""Batches under way at once: one is written while the next gathers."""
BATCH_ROWS = 500
BATCH_BYTES = 4 * 1024 * 1024
WAITING_ROWS = 10_000
WAITING_BYTES = 64 * 1024 * 1024
"""Deliveries that may wait for their commit, and the bytes of their bodies; further ones are refused."""
CROWDED, ALONE = 2, 8
"""Once this part of the room is taken (a half), who alone holds more than that part of it (an eighth) is refused: however
much one integration brings, the others find room."""

ANSWER_SECONDS = 3.75
"""Longest `put`."""
_CUT_SECONDS = STATEMENT_SECONDS + 0.5
"""A statement that takes longer than the server allows it hangs: its connection is cut."""
_TICK_SECONDS = 0.1
_PROBE_SECONDS = 0.25
_PATIENCE_SECONDS, _LONGEST_PATIENCE_SECONDS = 1.0, 8.0
"""How long a connection may take at first, and what it may grow to where the database is far away or busy."""
_CLOSE_SECONDS = 2.0
_TELL_SECONDS = 0.05
"""Other instances are told of arrivals no more often than this."""


class Intake:
    """Where deliveries are stored. Opens its connections when the first one comes, mends them by itself until `aclose`."""

    def __init__(self, url: str | None, *, clock: Clock) -> None:
        """`url` None: the database is not known yet; see `use`."""
        self._url = url
        self._clock = clock
        self._line: deque[Waiting] = deque()
        """What no writer has taken yet, oldest first."""
        self._known: dict[tuple[str, str], Waiting] = {}
        """All that is on its way, by key, oldest first: one key is never in two batches at a time."""
        self._rows = 0
        self._bytes = 0
        self._shares: dict[str, Share] = {}
        """By integration; one that has been configured stays, there are few."""
        self._resting: deque[asyncio.Future[None]] = deque()
        """Writers without work."""
        self._busy: dict[Scribe, float] = {}
        """Connections with a statement under way, and since when."""
        self._spare: Scribe | None = None
        self._scribes: set[Scribe] = set()
        """Connections of writers."""
        self._patience = _PATIENCE_SECONDS
        self._away = "" if url is not None else "the database is not known yet"
        """Why nothing can be stored at this moment; empty while it can, as far as known."""
        self._untold: set[str] = set()
        self._told_at = 0.0
        self._stirred = asyncio.Event()
        """Something is on its way."""
        self._lost = asyncio.Event()
        """The database has to be found again."""
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        metrics.BOUND.labels("intake_waiting_rows").set(WAITING_ROWS)
        metrics.BOUND.labels("intake_waiting_bytes").set(WAITING_BYTES)
        metrics.BOUND.labels("intake_batch_rows").set(BATCH_ROWS)
        metrics.BOUND.labels("intake_batch_bytes").set(BATCH_BYTES)
        metrics.BOUND.labels("intake_connections").set(WRITERS)

    @property
    def up(self) -> bool:
        """Would a delivery be stored now, as far as known?"""
        return not self._away and not self._closed

    @property
    def waiting(self) -> int:
        """Deliveries on their way to the table."""
        return len(self._known)

    def use(self, url: str) -> None:
        """The database, once it is known."""
        self._url = url
        self._away = ""

    async def put(self, arrival: Arrival) -> bool:
        """Store a delivery; returns once it is committed: True, or False where it was known already.

        Raises StoreError within four seconds where it is not known to be stored (it may be all the same: come again with
        the same id), IntakeFullError where too much waits.
        """
        outcome = await self.offer(arrival)
        if isinstance(outcome, str):
            raise StoreError(outcome)
        return outcome

    def offer(self, arrival: Arrival) -> asyncio.Future[bool | str]:
        """As `put`, for who cannot wait: the future's result is True, False, or why it is in doubt. Raises what `put` does
        where the answer is known at once."""
        if self._closed:
            raise StoreError("this instance is stopping")
        if self._away:
            raise StoreError(self._away)
        caller: asyncio.Future[bool | str] = asyncio.get_running_loop().create_future()
        row = row_of(arrival)
        key = row[:2]
        entry = self._known.get(key)
        if entry is not None and len(entry.callers) < BATCH_ROWS:
            entry.callers = (*entry.callers, caller)
            return caller
        size = len(arrival.body)
        if self._rows >= WAITING_ROWS or self._bytes + size > WAITING_BYTES or entry is not None:
            raise IntakeFullError(f"{self._rows:,} deliveries wait to be stored already")
        share = self._shares.get(key[0])
        if share is None:
            share = self._shares[key[0]] = Share()
        elif (self._rows * CROWDED >= WAITING_ROWS or self._bytes * CROWDED >= WAITING_BYTES) and (
            share.rows * ALONE > WAITING_ROWS or share.size * ALONE > WAITING_BYTES
        ):
            raise IntakeFullError(f"{share.rows:,} deliveries of this integration wait to be stored already")
        entry = Waiting(key, row, size, self._clock.monotonic(), share, caller)
        self._known[key] = entry
        self._line.append(entry)
        self._rows += 1
        self._bytes += size
        share.rows += 1
        share.size += size
        if self._resting:
            self._wake()
        elif not self._tasks:
            self._start()
        if not self._stirred.is_set():
            self._stirred.set()
        return caller

    def tell(self, integration: str) -> None:
        """Let other instances know, soon, that this integration has arrivals: it is not worked on here."""
        self._untold.add(integration)
        if self._resting and self._clock.monotonic() >= self._told_at + _TELL_SECONDS:
            self._wake()
        self._stirred.set()

    async def aclose(self) -> None:
        """Take nothing more, give what is under way two seconds, and let go. Who still waits then is told it is in doubt."""
        self._closed = True
        try:
            async with self._clock.timeout(_CLOSE_SECONDS):
                while self._known:
                    await self._clock.sleep(_TICK_SECONDS / 5)
        except TimeoutError:
            pass
        finally:
            for task in self._tasks:
                task.cancel()
            for scribe in [*self._busy, *([self._spare] if self._spare else [])]:
                scribe.cut()
            self._spare = None
            self._fail(list(self._known.values()), "this instance is stopping")
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- writers ---------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._write(), name=f"intake writer {n + 1}") for n in range(WRITERS)]
            self._tasks.append(asyncio.create_task(self._watch(), name="intake watch"))
            self._tasks.append(asyncio.create_task(self._look_out(), name="intake lookout"))

    def _wake(self) -> None:
        while self._resting:
            resting = self._resting.popleft()
            if not resting.done():
                resting.set_result(None)
                return

    async def _write(self) -> None:
        scribe: Scribe | None = None
        try:
            while True:
                owes = self._owes() and self._clock.monotonic() >= self._told_at + _TELL_SECONDS
                if owes or self._line:
                    if scribe is None or not scribe.up:
                        scribe = await self._connected(scribe)
                    elif owes:
                        scribe = await self._tell(scribe)
                    else:
                        scribe = await self._write_batch(scribe, self._take())
                else:
                    resting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._resting.append(resting)
                    await resting
        finally:
            if scribe is not None:
                scribe.cut()

    def _owes(self) -> bool:
        """Are other instances to be told of something, and could they be?"""
        return bool(self._untold) and not self._away

    def _take(self) -> list[Waiting]:
        """All that waits, within a batch's bounds; in the order of their keys, as `Scribe.store` wants it."""
        batch: list[Waiting] = []
        room = BATCH_BYTES
        line = self._line
        while line and len(batch) < BATCH_ROWS and (room >= line[0].size or not batch):
            entry = line.popleft()
            if entry.callers:
                room -= entry.size
                batch.append(entry)
        batch.sort(key=attrgetter("row"))
        return batch

    async def _write_batch(self, scribe: Scribe, batch: list[Waiting]) -> Scribe | None:
        """Store and answer them. Returns the connection for the next batch, None where it is of no use any more."""
        if not batch:
            return scribe
        began = self._clock.monotonic()
        self._busy[scribe] = began
        try:
            outcomes = await scribe.store([entry.row for entry in batch])
        except StoreError as error:
            lost = not scribe.up
            scribe.cut()
            self._fail(batch, f"it is not known whether the delivery was stored: {error}")
            if not lost:  # the server is there and cannot; a lost connection says nothing of the next one
                self._lose(error)
            return None
        except Exception:
            say.exception("intake_failed")
            scribe.cut()
            self._fail(batch, "it is not known whether the delivery was stored")
            return None
        finally:
            del self._busy[scribe]
        for entry, outcome in zip(batch, outcomes, strict=True):
            self._settle(entry, outcome)
        metrics.INTAKE_BATCH_ROWS.observe(len(batch))
        metrics.INTAKE_COMMIT_SECONDS.observe(self._clock.monotonic() - began)
        return scribe

    async def _connected(self, before: Scribe | None) -> Scribe | None:
        """A connection for a writer that has none, while what waits may be taken by the other; None where it is not to be had
        now. When nobody has one, the database is away."""
        self._scribes = {scribe for scribe in self._scribes if scribe is not before and scribe.up}
        self._wake()  # the other may have one
        while self._spare is not None:
            scribe, self._spare = self._spare, None
            if scribe.up:
                self._scribes.add(scribe)
                return scribe
        if self._url is None or self._away:
            return None
        try:
            scribe = await self._open(self._url)
        except StoreError as error:
            trouble = error
        except Exception:
            say.exception("intake_failed")
            trouble = StoreError("the database cannot be reached")
        else:
            self._scribes.add(scribe)
            metrics.INTAKE_UP.set(1)
            return scribe
        if any(other.up for other in self._scribes):
            await self._clock.sleep(_PROBE_SECONDS)
        else:
            self._lose(trouble)
        return None

    async def _open(self, url: str) -> Scribe:
        """Connect. How long that took, or was waited for in vain, tells how patient to be the next time."""
        began, seconds = self._clock.monotonic(), self._patience
        try:
            scribe = await Scribe.open(url, clock=self._clock, seconds=seconds)
        except StoreError:
            if self._clock.monotonic() - began >= seconds:
                self._patience = min(self._patience * 2, _LONGEST_PATIENCE_SECONDS)
            raise
        took = self._clock.monotonic() - began
        self._patience = min(max(3 * took, _PATIENCE_SECONDS), _LONGEST_PATIENCE_SECONDS)
        return scribe

    async def _tell(self, scribe: Scribe) -> Scribe | None:
        names, self._untold = self._untold, set()
        self._told_at = self._busy[scribe] = self._clock.monotonic()
        try:
            await scribe.tell(names)
        except StoreError:
            scribe.cut()
            self._untold |= names
            self._told_at += _PROBE_SECONDS
            return None
        except Exception:  # they look by themselves too, only later: it is not worth a writer
            say.exception("intake_failed")
            scribe.cut()
            return None
        finally:
            del self._busy[scribe]
        return scribe

    # -- outcomes --------------------------------------------------------------------------------------------------

    def _settle(self, entry: Waiting, outcome: bool | str) -> None:
        callers = entry.callers
        if not callers:
            return
        entry.callers = ()
        del self._known[entry.key]
        size, share = entry.size, entry.share
        self._rows -= 1
        self._bytes -= size
        share.rows -= 1
        share.size -= size
        for caller in callers:
            if not caller.done():
                caller.set_result(outcome)
            if outcome is True:
                outcome = False  # those who brought it again

    def _fail(self, entries: list[Waiting], reason: str) -> None:
        for entry in entries:
            self._settle(entry, reason)

    # -- while it is away ------------------------------------------------------------------------------------------

    def _lose(self, error: StoreError) -> None:
        """Nothing can be stored: tell all who wait, and those who come, until a look says otherwise."""
        if not self._away:
            say.warning("intake_stopped", reason=str(error), action=error.hint or "is PostgreSQL running?")
        self._away = f"deliveries cannot be stored now: {error}"
        metrics.INTAKE_UP.set(0)
        self._fail([entry for entry in self._line if entry.callers], self._away)
        self._line.clear()
        self._lost.set()

    async def _watch(self) -> None:
        """See that nobody waits too long and that no statement hangs."""
        while True:
            if not (self._known or self._busy or self._owes()):
                self._stirred.clear()
                await self._stirred.wait()
            await self._clock.sleep(_TICK_SECONDS)
            if self._owes():
                self._wake()
            now = self._clock.monotonic()
            if any(now - since >= _CUT_SECONDS for since in self._busy.values()):
                self._cut_all()
                self._lose(StoreError("the database did not answer in time"))
            late = []
            for entry in self._known.values():
                if now - entry.since < ANSWER_SECONDS:
                    break
                late.append(entry)
            self._fail(late, "the database did not answer in time: it is not known whether the delivery was stored")
            while self._line and not self._line[0].callers:  # they are nobody's any more, and so are their bodies
                self._line.popleft()

    def _cut_all(self) -> None:
        """What one connection does not survive (a night behind a router that forgot it) the others have not survived either:
        each would be found out by an outage of its own."""
        for scribe in {*self._scribes, *self._busy, *([self._spare] if self._spare else [])}:
            scribe.cut()
        self._spare = None

    async def _look_out(self) -> None:
        """Find out when a lost database is back."""
        while True:
            await self._lost.wait()
            assert self._url is not None
            try:
                scribe = await self._open(self._url)
            except StoreError:
                await self._clock.sleep(_PROBE_SECONDS * (0.5 + self._clock.random()))
                continue
            except Exception:
                say.exception("intake_failed")
                await self._clock.sleep(1.0)
                continue
            if self._spare is not None:
                self._spare.cut()
            self._spare = scribe
            self._away = ""
            self._lost.clear()
            self._stirred.set()  # what others are owed
            metrics.INTAKE_UP.set(1)
            say.info("intake_resumed")
