"""Would a delivery be stored now? Asked on a connection of its own, with what a delivery needs: a database that can be
reached and written to, and the lock that an INSERT into the inbox takes. Nothing is written.

Neither the store's pool nor the writers of intake are asked: one may be busy for long while deliveries are stored as ever,
and the others only learn what is wrong when a delivery comes.
"""

from __future__ import annotations

import asyncio

import structlog

from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.store.database import ConflictError
from syncd.store.scribe import Scribe

say = structlog.get_logger()

LOOK_SECONDS = 5.0
"""Between two looks that nobody asked for: the metric is true also of an account that nothing comes for."""
FRESH_SECONDS = 1.0
"""An answer serves whoever asks so much later: asking often costs the database nothing."""
WAIT_SECONDS = 1.8
"""Longest that somebody who asks waits; without an answer by then a delivery could not count on one either."""
_CONNECT_SECONDS = 8.0
_ANSWER_SECONDS = 2.0


class Readiness:
    """`run()` looks until it is cancelled; `ask()` has the answer."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._scribe: Scribe | None = None
        self._trouble: str | None = None
        """What stands against storing a delivery, empty where nothing does; None before the first look."""
        self._looked_at = 0.0
        self._wanted = asyncio.Event()
        self._looked = asyncio.Event()
        """Set, and replaced, by each look."""

    @property
    def trouble(self) -> str:
        """As of the latest look; empty also before the first one."""
        return self._trouble or ""

    async def ask(self) -> str:
        """Why a delivery would not be stored now; empty where it would be. Answers within two seconds."""
        if self._trouble is None or self._clock.monotonic() >= self._looked_at + FRESH_SECONDS:
            looked = self._looked
            self._wanted.set()
            try:
                async with self._clock.timeout(WAIT_SECONDS):
                    await looked.wait()
            except TimeoutError:
                return "the database did not answer in time"
        return self.trouble

    async def run(self, url: str) -> None:
        """Look, and again every few seconds or as soon as somebody asks."""
        try:
            while True:
                self._tell(await self._look(url))
                self._looked_at = self._clock.monotonic()
                looked, self._looked, self._wanted = self._looked, asyncio.Event(), asyncio.Event()
                looked.set()
                try:
                    async with self._clock.timeout(LOOK_SECONDS):
                        await self._wanted.wait()
                except TimeoutError:
                    pass
        finally:
            self._cut()

    async def _look(self, url: str) -> str:
        try:
            if self._scribe is not None and self._scribe.up:
                try:
                    return await self._asked(self._scribe)
                except StoreError as error:
                    if isinstance(error, ConflictError):
                        raise
                    self._cut()  # it may be the connection alone
            self._scribe = await Scribe.open(url, clock=self._clock, seconds=_CONNECT_SECONDS)
            return await self._asked(self._scribe)
        except ConflictError:
            return "table syncd.inbox is locked: somebody changes it, or holds a lock on all of it"
        except StoreError as error:
            self._cut()
            return str(error)
        except Exception:
            self._cut()
            say.exception("readiness_failed")
            return "whether a delivery would be stored could not be found out"

    async def _asked(self, scribe: Scribe) -> str:
        try:
            async with self._clock.timeout(_ANSWER_SECONDS):
                await scribe.look()
        except TimeoutError:
            raise StoreError("the database did not answer in time") from None
        return ""

    def _tell(self, trouble: str) -> None:
        before, self._trouble = self._trouble, trouble
        if trouble and not before:
            say.warning("intake_not_ready", reason=trouble, action="syncd check --env")
        elif before and not trouble:
            say.info("intake_ready")

    def _cut(self) -> None:
        scribe, self._scribe = self._scribe, None
        if scribe is not None:
            scribe.cut()
