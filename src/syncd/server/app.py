"""The two sites: public (probes, metrics, later webhooks) and admin (the API). Built here, guarded in `guard.py`."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
from aiohttp import web
from aiohttp.typedefs import Middleware
from anyio.abc import TaskStatus

from syncd import metrics
from syncd.clock import Clock
from syncd.config.units import Address, parse_address
from syncd.errors import ConfigError, SyncdError
from syncd.secrets import Secret
from syncd.server import admin, health
from syncd.server.address import is_local
from syncd.server.doors import Doors
from syncd.server.guard import admins_only, bodies
from syncd.server.ports import Status
from syncd.server.unix import UnixSocket

PUBLIC_BODY_BYTES = 1024 * 1024
ADMIN_BODY_BYTES = 64 * 1024
ADMIN_CONNECTIONS = 64
KEEP_ALIVE_SECONDS = 75.0
"""Longer than the 60 s reverse proxies keep their side, so that it is they who close and no request is lost between."""
SEND_SECONDS = 30.0
LINGER_SECONDS = 2.0
CLOSE_SECONDS = 5.0


class ListenError(SyncdError):
    """An address could not be listened at: taken, not ours, or not allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Section `server` of the configuration, parsed."""

    listen: Address
    admin: Address
    admin_token: Secret | None = None
    max_connections: int = 1000
    header_seconds: float = 10.0
    body_seconds: float = 30.0

    def check(self) -> None:
        """Raises ConfigError for what must never be served."""
        if not is_local(self.admin) and self.admin_token is None:
            raise ConfigError(
                f"the admin API would be open to the network at {self.admin} without a token",
                hint="set server.admin to 127.0.0.1:8081 or unix:/run/syncd/admin.sock, or give server.admin_token",
            )


class Site:
    """One application listening at one address, its connections behind doors."""

    def __init__(
        self,
        name: str,
        address: Address,
        routes: Sequence[web.RouteDef],
        *,
        clock: Clock,
        settings: ServerSettings,
        connections: int,
        body_bytes: int,
        guards: Sequence[Middleware] = (),
    ) -> None:
        self.address = address
        """Where it listens; once open, with the real port where 0 was asked for."""
        self.doors = Doors(
            name, clock=clock, most=connections, header_seconds=settings.header_seconds, send_seconds=SEND_SECONDS
        )
        reader = bodies(self.doors, clock=clock, body_seconds=settings.body_seconds)
        app = web.Application(middlewares=[reader, *guards], client_max_size=body_bytes)
        app.on_response_prepare.append(_sign)
        app.add_routes(routes)
        self._runner = web.AppRunner(
            app,
            access_log=None,  # probes would drown the rest; calls that change something are logged by what they do
            auto_decompress=False,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            shutdown_timeout=CLOSE_SECONDS,
        )
        self._listener: asyncio.Server | None = None
        self._unix: UnixSocket | None = None

    async def open(self) -> None:
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        factory = self.doors.factory(server)
        loop = asyncio.get_running_loop()
        try:
            if self.address.path is not None:
                self._unix = UnixSocket(Path(self.address.path))
                self._listener = await loop.create_unix_server(factory, sock=self._unix.socket)
            else:
                self._listener = await loop.create_server(factory, self.address.host, self.address.port)
        except OSError as error:
            await self._runner.cleanup()
            raise _explained(self.address, error) from error
        if self.address.path is None:
            port = self._listener.sockets[0].getsockname()[1]
            self.address = parse_address(f"{self.address.rpartition(':')[0]}:{port}")

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._unix is not None:
            self._unix.remove()
            self._unix = None
        await self._runner.cleanup()


class Server:
    """Both sites. Runs inside a task group; ends by being cancelled."""

    def __init__(
        self,
        settings: ServerSettings,
        status: Status,
        *,
        clock: Clock,
        exposition: Callable[[], bytes] = metrics.exposition,
    ) -> None:
        settings.check()
        probes = health.routes(status, clock=clock, exposition=exposition)
        self._public = Site(
            "public",
            settings.listen,
            probes,
            clock=clock,
            settings=settings,
            connections=settings.max_connections,
            body_bytes=PUBLIC_BODY_BYTES,
        )
        self._admin = Site(
            "admin",
            settings.admin,
            admin.routes(status),
            clock=clock,
            settings=settings,
            connections=ADMIN_CONNECTIONS,
            body_bytes=ADMIN_BODY_BYTES,
            guards=[admins_only(settings.admin, settings.admin_token)],
        )
        metrics.BOUND.labels("public_connections").set(settings.max_connections)
        metrics.BOUND.labels("admin_connections").set(ADMIN_CONNECTIONS)

    @property
    def public(self) -> Address:
        return self._public.address

    @property
    def admin(self) -> Address:
        return self._admin.address

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. `await group.start(server.run)` comes back once both sites listen, or raises
        ListenError; `public` and `admin` then say where."""
        try:
            await self._admin.open()
            await self._public.open()
            async with anyio.create_task_group() as watches:
                watches.start_soon(self._public.doors.watch)
                watches.start_soon(self._admin.doors.watch)
                task_status.started()
        finally:
            with anyio.CancelScope(shield=True):
                await self._public.close()
                await self._admin.close()


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "syncd"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"


def _explained(address: Address, error: OSError) -> ListenError:
    reason = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        hint = "another syncd? see `syncd status`, or choose another address in config/syncd.yaml"
        if address.path is None:
            hint = f"see who has it: ss -ltnp 'sport = :{address.port}'; or choose another in config/syncd.yaml"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        hint = "ports below 1024 and foreign directories need rights syncd should not have: choose another address"
    else:
        hint = "choose another address in config/syncd.yaml, section server"
    return ListenError(f"cannot listen at {address}: {reason}", hint=hint)
