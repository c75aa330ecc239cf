"""The one long-lived connection: proof of life, and NOTIFY.

While it stands it holds an advisory lock for each owner name of this process, which dies with the process, however that
ends: so others can tell a killed owner from a slow one. It also listens. When it breaks it is built anew with growing
waits; listeners are then called with an empty payload, since something may have been missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg

from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.store.database import CONNECT_SECONDS, border

LIFE_KEY = "hashtextextended('syncd owner ' || {owner}, 0)"
"""SQL for the advisory lock that an owner's life holds."""

_PING_SECONDS = 15.0
_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 5.0

Listener = Callable[[str], None]
"""Called with the payload, or with an empty string after a gap; must not block."""


class Wire:
    """Built on first use, mended until `aclose`."""

    def __init__(self, url: str, *, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._owners: set[str] = set()
        self._listeners: dict[str, list[Listener]] = {}
        self._held: set[str] = set()
        self._heard_on: set[str] = set()
        self._connection: asyncpg.Connection | None = None
        self._broken = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._building = asyncio.Lock()
        self._closed = False

    @property
    def up(self) -> bool:
        """Is the connection standing, as far as we know?"""
        return self._connection is not None and not self._connection.is_closed()

    async def hold(self, owner: str) -> None:
        """Prove from now on that this owner lives. Raises StoreError when the database is away."""
        if owner in self._owners and self.up:
            return
        self._owners.add(owner)
        await self._ensure()

    async def listen(self, channel: str, listener: Listener) -> None:
        """Call the listener for each NOTIFY on the channel. Raises StoreError when the database is away now."""
        self._listeners.setdefault(channel, []).append(listener)
        await self._ensure()

    async def aclose(self) -> None:
        """Let go of everything; others may take over at once."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._connection is not None:
            connection, self._connection = self._connection, None
            try:
                await connection.close(timeout=5)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()

    async def _ensure(self) -> None:
        async with self._building:
            if self._closed:
                raise StoreError("the store is closed")
            if self.up and self._connection is not None:
                with border():
                    await self._furnish(self._connection)
            else:
                await self._build()
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="syncd store wire")

    async def _build(self) -> None:
        self._broken.clear()
        self._held.clear()
        self._heard_on.clear()
        with border():
            connection = await asyncpg.connect(
                self._url,
                timeout=CONNECT_SECONDS,
                command_timeout=CONNECT_SECONDS,
                server_settings={"application_name": "syncd wire"},
            )
            try:
                connection.add_termination_listener(lambda _: self._broken.set())
                await self._furnish(connection)
            except BaseException:
                connection.terminate()
                raise
        self._connection = connection

    async def _furnish(self, connection: asyncpg.Connection) -> None:
        """Take every lock and every channel that this connection does not have yet."""
        for owner in self._owners - self._held:
            await connection.execute(f"SELECT pg_advisory_lock({LIFE_KEY.format(owner='$1::text')})", owner)
            self._held.add(owner)
        for channel in self._listeners.keys() - self._heard_on:
            await connection.add_listener(channel, self._heard)
            self._heard_on.add(channel)

    def _heard(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        for listener in self._listeners.get(channel, ()):
            listener(str(payload))

    async def _keep(self) -> None:
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                async with self._clock.timeout(_PING_SECONDS):
                    await self._broken.wait()
            except TimeoutError:
                if await self._answers():
                    continue
            try:
                async with self._building:
                    await self._build()
            except StoreError:
                await self._clock.sleep(wait * (0.5 + self._clock.random()))
                wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
                self._broken.set()
            else:
                wait = _FIRST_WAIT_SECONDS
                for listeners in self._listeners.values():
                    for listener in listeners:
                        listener("")

    async def _answers(self) -> bool:
        try:
            with border():
                if self._connection is None or self._connection.is_closed():
                    return False
                await self._connection.execute("SELECT 1", timeout=CONNECT_SECONDS)
        except StoreError:
            if self._connection is not None:
                self._connection.terminate()
            return False
        return True
