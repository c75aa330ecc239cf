"""A pool of database connections, as small as a pool can be.

The library's own costs 45 us a statement, mostly for a task and a shield at each release; a page takes two statements and
is otherwise stored in some hundred microseconds of our time. Here a connection comes back by being put on a list.
Whatever ended badly (cancelled, lost, in the middle of a transaction) is closed instead, and the next one opens anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.store.permits import Permits, asker

_CLOSE_SECONDS = 5.0


class Pool:
    """At most `size` connections, the most recently used one first; opened when needed, kept while they work."""

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]], size: int, *, clock: Clock) -> None:
        self._connect = connect
        self._size = size
        self._clock = clock
        self._idle: list[asyncpg.Connection] = []
        self._permits = Permits(size)
        self._closed = False

    @property
    def idle(self) -> int:
        """Connections that wait for work."""
        return len(self._idle)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for the block; waits while all are in use. Raises StoreError once the pool is closed."""
        who = asker()
        await self._permits.take(who)
        try:
            connection = await self._take()
            try:
                yield connection
            except (asyncpg.PostgresError, StoreError):
                self._give_back(connection)
                raise
            except BaseException:
                # Cancelled or lost: there may be an answer under way that belongs to nobody.
                connection.terminate()
                raise
            else:
                self._give_back(connection)
        finally:
            self._permits.give(who)

    async def aclose(self) -> None:
        """Close all; those in use are given five seconds, and closed when they come back after that."""
        self._closed = True
        held = 0
        try:
            async with self._clock.timeout(_CLOSE_SECONDS):
                while held < self._size:
                    await self._permits.take("")
                    held += 1
        except TimeoutError:
            pass
        await self.renew()
        for _ in range(held):
            self._permits.give("")  # whoever waits shall learn that the pool is closed

    async def renew(self) -> None:
        """Close those that wait, all at the same time: a server that hangs answers none of them."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_close(connection) for connection in idle))

    async def _take(self) -> asyncpg.Connection:
        if self._closed:
            raise StoreError("the store is closed")
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._connect()

    def _give_back(self, connection: asyncpg.Connection) -> None:
        if connection.is_closed() or connection.is_in_transaction() or self._closed:
            connection.terminate()
        else:
            self._idle.append(connection)


async def _close(connection: asyncpg.Connection) -> None:
    try:
        await connection.close(timeout=_CLOSE_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
