"""The one long-lived connection: proof of life, and NOTIFY.

While it stands it holds an advisory lock for each owner name of this process, which goes when the process does, however
that ends: so others can tell a killed owner from a slow one. It also listens. When it breaks it is built anew with growing
waits; listeners are then called with an empty payload, since something may have been missed.

Nobody waits for that lock, and nothing depends on having it: the lease's row says whether it is held (`leases`). A session
of ours that the server takes for alive although its connection is gone holds the lock too, and for hours: so it is a shared
one, which only others ask for alone, and the next wire ends the sessions of those before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime

import asyncpg
import structlog

from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.store.database import CONNECT_SECONDS, KEEPALIVE, border, reaching

log = structlog.get_logger()

LIFE_KEY = "hashtextextended('syncd owner ' || {owner}, 0)"
"""SQL for the advisory lock that an owner's life holds, shared by all its sessions."""

WIRE = "syncd wire"
"""How its session is called in the database: one of each instance that lives."""
_SETTINGS = {"application_name": WIRE, "lock_timeout": "1s", **KEEPALIVE}
_PING_SECONDS = 15.0
_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 5.0
_TELL_SECONDS = 0.2
"""Between two tries to say in the rows what became of the wire: shorter than others wait for that."""

_LOCK = f"SELECT pg_advisory_lock_shared({LIFE_KEY.format(owner='$1::text')})"
_WHO = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_END = """
SELECT pg_terminate_backend(a.pid)
FROM pg_stat_activity a, unnest($1::integer[], $2::timestamptz[]) AS ours(pid, began_at)
WHERE a.pid = ours.pid AND a.backend_start = ours.began_at AND a.application_name = $3
"""

Listener = Callable[[str], None]
"""Called with the payload, or with an empty string after a gap; must not block."""

Vouch = Callable[[Sequence[str]], Awaitable[None]]
"""Called with all owner names when what `proof` says of them may have changed; called again when it raises StoreError."""


class Wire:
    """Built on first use, mended until `aclose`."""

    def __init__(self, url: str, *, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._owners: set[str] = set()
        self._listeners: dict[str, list[Listener]] = {}
        self._held: set[str] = set()
        self._heard_on: set[str] = set()
        self._sessions: set[tuple[int, datetime]] = set()
        """Process id and beginning of each session we had, of whose end we do not know."""
        self._connection: asyncpg.Connection | None = None
        self._broken = asyncio.Event()
        self._turned = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._using = asyncio.Lock()
        self._closed = False
        self.vouch: Vouch | None = None

    @property
    def up(self) -> bool:
        """Is the connection standing, as far as we know?"""
        return self._connection is not None and not self._connection.is_closed()

    async def hold(self, owner: str) -> object | None:
        """Prove from now on that this owner lives, as soon as that can be done; returns its `proof`.

        Takes long only the first time, and never raises: who has no wire can still own a scope.
        """
        if owner not in self._owners:
            self._owners.add(owner)
            with suppress(StoreError):
                await self._ensure()
        return self.proof(owner)

    def proof(self, owner: str) -> object | None:
        """Stands for the session that proves this owner's life, as far as we know; None: none does."""
        return self._connection if owner in self._held and self.up else None

    def tell(self) -> None:
        """What a row says of an owner may be out of date."""
        self._turned.set()

    async def listen(self, channel: str, listener: Listener) -> None:
        """Call the listener for each NOTIFY on the channel. Raises StoreError when the database is away now."""
        self._listeners.setdefault(channel, []).append(listener)
        await self._ensure()

    async def aclose(self) -> None:
        """Let go of everything; others may take over at once."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._connection is not None:
            connection, self._connection = self._connection, None
            try:
                await connection.close(timeout=5)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()

    async def _ensure(self) -> None:
        try:
            async with self._using:
                if self._closed:
                    raise StoreError("the store is closed")
                if self.up and self._connection is not None:
                    with border():
                        await self._furnish(self._connection)
                else:
                    await self._build()
        except StoreError:
            self._broken.set()
            raise
        finally:
            if not self._tasks and not self._closed:
                self._tasks = [
                    asyncio.create_task(self._keep(), name="syncd store wire"),
                    asyncio.create_task(self._tell(), name="syncd store proof of life"),
                ]

    async def _build(self) -> None:
        former, self._connection = self._connection, None
        if former is not None:
            former.terminate()
        self._broken.clear()
        self._held.clear()
        self._heard_on.clear()
        with border():
            with reaching(self._url):
                connection = await asyncpg.connect(
                    self._url, timeout=CONNECT_SECONDS, command_timeout=CONNECT_SECONDS, server_settings=_SETTINGS
                )
            try:
                connection.add_termination_listener(self._ended)
                await self._end_others(connection)
                await self._furnish(connection)
            except BaseException:
                connection.terminate()
                raise
        if self._closed or connection.is_closed():
            connection.terminate()
            raise StoreError("the store is closed" if self._closed else "the database connection broke")
        self._connection = connection
        self._turned.set()

    async def _end_others(self, connection: asyncpg.Connection) -> None:
        """End the sessions of earlier wires, where the server has not noticed that they are dead.

        What they hold stands in nobody's way; but while they live, nobody learns early that we do not.
        """
        if self._sessions:
            pids, began = zip(*self._sessions, strict=True)
            try:
                if ended := await connection.fetch(_END, pids, began, WIRE):
                    log.info("old_wire_ended", sessions=len(ended))
            except asyncpg.PostgresError as error:  # may not be allowed where the role has changed
                log.warning("old_wire_not_ended", reason=str(error))
            self._sessions.clear()
        pid, began_at = await connection.fetchrow(_WHO)
        self._sessions.add((pid, began_at))

    async def _furnish(self, connection: asyncpg.Connection) -> None:
        """Take every lock and every channel that this connection does not have yet."""
        for channel in self._listeners.keys() - self._heard_on:
            await connection.add_listener(channel, self._heard)
            self._heard_on.add(channel)
        for owner in self._owners - self._held:
            # Somebody who looks whether we live has it alone for a moment. Whoever has it for longer has no business to.
            with suppress(asyncpg.LockNotAvailableError):
                await connection.execute(_LOCK, owner)
                self._held.add(owner)
                self._turned.set()

    def _heard(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        for listener in self._listeners.get(channel, ()):
            listener(str(payload))

    def _ended(self, connection: object) -> None:
        if connection is self._connection:
            self._broken.set()
            self._turned.set()

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
                async with self._using:
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
        """Does the connection answer? Locks it could not get before are asked for again."""
        async with self._using:
            try:
                with border():
                    if self._connection is None or self._connection.is_closed():
                        return False
                    await self._connection.execute("SELECT 1", timeout=CONNECT_SECONDS)
                    await self._furnish(self._connection)
            except StoreError:
                if self._connection is not None:
                    self._connection.terminate()
                return False
        return True

    async def _tell(self) -> None:
        while True:
            await self._turned.wait()
            self._turned.clear()
            if self.vouch is None or not self._owners:
                continue
            try:
                await self.vouch(sorted(self._owners))
            except StoreError:
                self._turned.set()
                await self._clock.sleep(_TELL_SECONDS)
