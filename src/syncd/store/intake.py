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

import structlog

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.store.database import ConflictError
from syncd.store.intake_line import (
    BATCH_BYTES,
    BATCH_ROWS,
    WAITING_BYTES,
    WAITING_ROWS,
    Arrival,
    Caller,
    IntakeFullError,
    Room,
    Waiting,
)
from syncd.store.readiness import Readiness
from syncd.store.scribe import Scribe
from syncd.store.scribes import Scribes

__all__ = ["Arrival", "Intake", "IntakeFullError"]

say = structlog.get_logger()

WRITERS = 2
"""Batches under way at once: one is written while the next gathers."""
WORTH, WORTH_SECONDS = 2, 0.02
"""A batch is begun beside another one only if it is at least this part of it (a half), or somebody waited so long already:
a commit costs the same for two deliveries as for fifty, and those few share the next one. Who comes alone never waits."""

ANSWER_SECONDS = 3.75
"""Longest `put`."""
_TICK_SECONDS = 0.1
_PROBE_SECONDS = 0.25
_CLOSE_SECONDS = 2.0
_TELL_SECONDS = 0.05
"""Other instances are told of arrivals no more often than this."""


class Intake:
    """Where deliveries are stored. Opens its connections when the first one comes, mends them by itself until `aclose`."""

    def __init__(self, url: str | None, *, clock: Clock) -> None:
        """`url` None: the database is not known yet; see `use`."""
        self._url = url
        self._clock = clock
        self._room = Room()
        self._line = self._room.line
        self._under_way = 0
        """Deliveries in batches that are being written."""
        self._resting: deque[asyncio.Future[None]] = deque()
        """Writers without work."""
        self._scribes = Scribes(clock=clock)
        self._away = "" if url is not None else "the database is not known yet"
        """Why nothing can be stored at this moment; empty while it can, as far as known."""
        self._untold: set[str] = set()
        self._told_at = 0.0
        self._stirred = asyncio.Event()
        """Something is on its way."""
        self._lost = asyncio.Event()
        """The database has to be found again."""
        self._tasks: list[asyncio.Task[None]] = []
        self._readiness = Readiness(clock=clock)
        self._looking: asyncio.Task[None] | None = None
        self._closed = False
        metrics.BOUND.labels("intake_waiting_rows").set(WAITING_ROWS)
        metrics.BOUND.labels("intake_waiting_bytes").set(WAITING_BYTES)
        metrics.BOUND.labels("intake_batch_rows").set(BATCH_ROWS)
        metrics.BOUND.labels("intake_batch_bytes").set(BATCH_BYTES)
        metrics.BOUND.labels("intake_connections").set(WRITERS + 1)
        metrics.INTAKE_UP.set_function(lambda: float(self.up))

    @property
    def up(self) -> bool:
        """Would a delivery be stored now, as far as known?"""
        return not (self._away or self._readiness.trouble or self._closed)

    @property
    def trouble(self) -> str:
        """Why nothing can be stored, as of the latest look at it; empty while something can."""
        return "" if self._closed else self._away or self._readiness.trouble

    async def ready(self) -> str:
        """Why a delivery that came now would not be stored; empty where it would. Asks the database at most once a second,
        and answers within two."""
        if self._closed:
            return "this instance is stopping"
        if self._url is None:
            return self._away
        self._look()
        why = await self._readiness.ask()
        return self._away or why

    @property
    def waiting(self) -> int:
        """Deliveries on their way to the table."""
        return len(self._room.known)

    def use(self, url: str) -> None:
        """The database, once it is known. Called in the loop that the deliveries come in."""
        self._url = url
        self._away = ""
        self._look()

    def lacks(self, why: str) -> None:
        """The database cannot be reached so far, and why."""
        if self._url is None:
            self._away = f"the database has not been reached yet: {why}"

    async def put(self, arrival: Arrival) -> bool:
        """Store a delivery; returns once it is committed: True, or False where it was known already.

        Raises StoreError within four seconds where it is not known to be stored (it may be all the same: come again with
        the same id), IntakeFullError where too much waits.
        """
        answered: asyncio.Future[bool | str] = asyncio.get_running_loop().create_future()

        def told(outcome: bool | str) -> None:
            if not answered.done():  # whoever asked may be gone
                answered.set_result(outcome)

        self.offer(arrival, told)
        outcome = await answered
        if isinstance(outcome, str):
            raise StoreError(outcome)
        return outcome

    def offer(self, arrival: Arrival, caller: Caller) -> None:
        """As `put`, for who cannot wait: `caller` is told True, False, or why it is in doubt, once and within the same time.
        Raises what `put` does where the answer is known at once; then `caller` is told nothing."""
        if self._closed:
            raise StoreError("this instance is stopping")
        if self._away:
            raise StoreError(self._away)
        now = self._clock.monotonic()
        self._room.enter(arrival, caller, now)
        if self._resting:
            if self._due(now):
                self._wake()
        elif not self._tasks:
            self._start()
        if not self._stirred.is_set():
            self._stirred.set()

    def _due(self, now: float) -> bool:
        """Is what waits worth a batch now?"""
        line = self._line
        return bool(line) and (len(line) * WORTH >= self._under_way or now - line[0].since >= WORTH_SECONDS)

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
                while self._room.known:
                    await self._clock.sleep(_TICK_SECONDS / 5)
        except TimeoutError:
            pass
        finally:
            if self._looking is not None:
                self._tasks.append(self._looking)
            for task in self._tasks:
                task.cancel()
            self._scribes.cut()
            self._room.fail(self._room.known.values(), "this instance is stopping")
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- writers ---------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._write(), name=f"intake writer {n + 1}") for n in range(WRITERS)]
            self._tasks.append(asyncio.create_task(self._watch(), name="intake watch"))
            self._tasks.append(asyncio.create_task(self._look_out(), name="intake lookout"))

    def _look(self) -> None:
        if self._looking is None and self._url is not None:
            self._looking = asyncio.create_task(self._readiness.run(self._url), name="intake readiness")

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
                now = self._clock.monotonic()
                owes = self._owes() and now >= self._told_at + _TELL_SECONDS
                if owes or self._due(now):
                    if scribe is None or not scribe.up:
                        scribe = await self._connected(scribe)
                    elif owes:
                        scribe = await self._tell(scribe)
                    else:
                        scribe = await self._write_batch(scribe, self._room.take())
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

    async def _write_batch(self, scribe: Scribe, batch: list[Waiting]) -> Scribe | None:
        """Store and answer them. Returns the connection for the next batch, None where it is of no use any more."""
        if not batch:
            return scribe
        began = self._clock.monotonic()
        self._under_way += len(batch)
        try:
            with self._scribes.working(scribe):
                outcomes = await scribe.store([entry.row for entry in batch])
        except ConflictError as error:  # somebody holds a row of theirs, or the table: which of the two is asked
            self._room.fail(batch, f"it is not known whether the delivery was stored: {error}")
            return await self._after_conflict(scribe)
        except StoreError as error:
            lost = not scribe.up
            scribe.cut()
            self._room.fail(batch, f"it is not known whether the delivery was stored: {error}")
            if not lost:  # the server is there and cannot; a lost connection says nothing of the next one
                self._lose(error)
            return None
        except Exception:
            say.exception("intake_failed")
            scribe.cut()
            self._room.fail(batch, "it is not known whether the delivery was stored")
            return None
        finally:
            self._under_way -= len(batch)
        for entry, outcome in zip(batch, outcomes, strict=True):
            self._room.settle(entry, outcome)
        metrics.INTAKE_BATCH_ROWS.observe(len(batch))
        metrics.INTAKE_COMMIT_SECONDS.observe(self._clock.monotonic() - began)
        return scribe

    async def _after_conflict(self, scribe: Scribe) -> Scribe | None:
        """The connection, where the others' deliveries can be stored; None where nobody's can."""
        try:
            with self._scribes.working(scribe):
                await scribe.look()
        except StoreError as error:
            scribe.cut()
            self._lose(error)
            return None
        return scribe

    async def _connected(self, before: Scribe | None) -> Scribe | None:
        """A connection for a writer that has none, while what waits may be taken by the other; None where it is not to be had
        now. When nobody has one, the database is away."""
        self._scribes.forget(before)
        self._wake()  # the other may have one
        spare = self._scribes.take_spare()
        if spare is not None or self._url is None or self._away:
            return spare
        try:
            return self._scribes.hold(await self._scribes.open(self._url))
        except StoreError as error:
            trouble = error
        except Exception:
            say.exception("intake_failed")
            trouble = StoreError("the database cannot be reached")
        if self._scribes.any_up:
            await self._clock.sleep(_PROBE_SECONDS)
        else:
            self._lose(trouble)
        return None

    async def _tell(self, scribe: Scribe) -> Scribe | None:
        names, self._untold = self._untold, set()
        self._told_at = self._clock.monotonic()
        try:
            with self._scribes.working(scribe):
                await scribe.tell(names)
        except ConflictError:  # all of the server's NOTIFYs share a lock, until each is on the disk
            self._untold |= names
            return scribe
        except StoreError:
            scribe.cut()
            self._untold |= names
            self._told_at += _PROBE_SECONDS
            return None
        except Exception:  # they look by themselves too, only later: it is not worth a writer
            say.exception("intake_failed")
            scribe.cut()
            return None
        return scribe

    # -- while it is away ------------------------------------------------------------------------------------------

    def _lose(self, error: StoreError) -> None:
        """Nothing can be stored: tell all who wait, and those who come, until a look says otherwise."""
        if not self._away:
            say.warning("intake_stopped", reason=str(error), action=error.hint or "is PostgreSQL running?")
        self._away = f"deliveries cannot be stored now: {error}"
        self._room.fail(self._line, self._away)
        self._line.clear()
        self._lost.set()

    async def _watch(self) -> None:
        """See that nobody waits too long and that no statement hangs."""
        while True:
            if not (self._room.known or self._scribes or self._owes()):
                self._stirred.clear()
                await self._stirred.wait()
            await self._clock.sleep(_TICK_SECONDS)
            now = self._clock.monotonic()
            if self._owes() or self._due(now):
                self._wake()
            if self._scribes.hanging(now):
                self._scribes.cut()
                self._lose(StoreError("the database did not answer in time"))
            late = self._room.late(now - ANSWER_SECONDS)
            self._room.fail(
                late, "the database did not answer in time: it is not known whether the delivery was stored"
            )
            self._room.tidy()

    async def _look_out(self) -> None:
        """Find out when a lost database is back."""
        while True:
            await self._lost.wait()
            assert self._url is not None
            try:
                scribe = await self._scribes.open(self._url)
            except StoreError:
                await self._clock.sleep(_PROBE_SECONDS * (0.5 + self._clock.random()))
                continue
            except Exception:
                say.exception("intake_failed")
                await self._clock.sleep(1.0)
                continue
            self._scribes.spare(scribe)
            self._away = ""
            self._lost.clear()
            self._stirred.set()  # what others are owed
            say.info("intake_resumed")
