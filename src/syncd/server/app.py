"""The two sites: public (probes, metrics, webhooks) and admin (the API). Built here, guarded in `guard.py`."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware
from anyio.abc import TaskStatus

from syncd import metrics
from syncd.clock import Clock
from syncd.config import Address, ServerConfig
from syncd.config.units import parse_address
from syncd.errors import ConfigError, SyncdError
from syncd.secrets import Secret
from syncd.server import admin, health
from syncd.server.address import is_local
from syncd.server.answers import SIGNS
from syncd.server.doors import Doors
from syncd.server.express import Express
from syncd.server.guard import admins_only, bodies
from syncd.server.ports import Status
from syncd.server.ui.page import Page
from syncd.server.unix import UnixSocket
from syncd.server.webhooks import Webhooks

ADMIN_BODY_BYTES = 64 * 1024
ADMIN_CONNECTIONS = 64
KEEP_ALIVE_SECONDS = 75.0
"""Longer than the 60 s reverse proxies keep their side, so that it is they who close and no request is lost between."""
SEND_SECONDS = 20.0
LINGER_SECONDS = 2.0
CLOSE_SECONDS = 5.0


class ListenError(SyncdError):
    """An address could not be listened at: taken, not ours, or not allowed."""


class Site:
    """One application listening at one address, its connections behind doors."""

    def __init__(
        self,
        name: str,
        address: Address,
        routes: Sequence[web.RouteDef],
        *,
        clock: Clock,
        config: ServerConfig,
        connections: int,
        body_bytes: int,
        guards: Sequence[Middleware] = (),
        express: Express | None = None,
    ) -> None:
        self.address = address
        """Where it listens; once open, with the real port where 0 was asked for."""
        self.doors = Doors(
            name,
            clock=clock,
            most=connections,
            header_seconds=config.header_seconds,
            send_seconds=SEND_SECONDS,
            keep_alive_seconds=KEEP_ALIVE_SECONDS,
            express=express,
        )
        reader = bodies(self.doors, clock=clock, body_seconds=config.body_seconds)
        app = web.Application(middlewares=[reader, *guards], client_max_size=body_bytes)
        app.on_response_prepare.append(_sign)
        app.add_routes(routes)
        self._runner = web.AppRunner(
            app,
            access_log=None,  # probes would drown the rest; calls that change something are logged by what they do
            logger=_logger(name),
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
        await self.doors.settle(CLOSE_SECONDS)
        await self._runner.cleanup()


class Server:
    """Both sites. Runs inside a task group; ends by being cancelled."""

    def __init__(
        self,
        config: ServerConfig,
        status: Status,
        *,
        clock: Clock,
        admin_token: Secret | None = None,
        webhooks: Webhooks | None = None,
        desks: Sequence[web.RouteDef] = (),
        page: Page | None = None,
        exposition: Callable[[], bytes] = metrics.exposition,
        everything: Callable[[], bytes] = metrics.exposition,
    ) -> None:
        """`admin_token` is what `config.admin_token` resolves to; `webhooks` takes deliveries at the public site, `desks` are
        further routes of the admin API, `page` what people look at; `exposition` is what `/metrics` tells everybody,
        `everything` what it tells at the admin site. Raises ConfigError for what must never be served."""
        if not is_local(config.admin) and admin_token is None:
            raise ConfigError(
                f"the admin API would be open to the network at {config.admin} without a token",
                hint="set server.admin to 127.0.0.1:8081 or unix:/run/syncd/admin.sock, or give server.admin_token",
            )
        self._public = Site(
            "public",
            config.listen,
            [
                *health.routes(status, clock=clock, exposition=exposition),
                *(webhooks.routes() if webhooks is not None else ()),
            ],
            express=Express(webhooks.begin, clock=clock, body_bytes=config.body_bytes)
            if webhooks is not None
            else None,
            clock=clock,
            config=config,
            connections=config.max_connections,
            body_bytes=config.body_bytes,
        )
        self._admin = Site(
            "admin",
            config.admin,
            [*admin.routes(status), health.metrics(everything), *desks, *(page.routes() if page is not None else ())],
            clock=clock,
            config=config,
            connections=ADMIN_CONNECTIONS,
            body_bytes=ADMIN_BODY_BYTES,
            guards=[admins_only(config.admin, admin_token, page.sessions if page is not None else None)],
        )
        metrics.BOUND.labels("public_connections").set(config.max_connections)
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
    response.headers.update(SIGNS)


class _Outsiders(logging.Filter):
    """What others send that is no HTTP is counted; it is nobody's fault here, and a traceback each would fill the disk."""

    def __init__(self, site: str) -> None:
        super().__init__()
        self._count = metrics.HTTP_CUT.labels(site, "malformed")

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError | ConnectionError):
            return True
        self._count.inc()
        return False


def _logger(site: str) -> logging.Logger:
    logger = logging.getLogger(f"syncd.server.{site}")
    logger.filters[:] = [_Outsiders(site)]
    return logger


def _explained(address: Address, error: OSError) -> ListenError:
    reason = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        hint = "another syncd? see `syncd status`, or choose another address in syncd.yaml"
        if address.path is None:
            hint = f"see who has it: ss -ltnp 'sport = :{address.port}'; or choose another in syncd.yaml"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        hint = "ports below 1024 and foreign directories need rights syncd should not have: choose another address"
    else:
        hint = "choose another address in syncd.yaml, section server"
    return ListenError(f"cannot listen at {address}: {reason}", hint=hint)
