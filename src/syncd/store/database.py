"""The pool, and the border at which the database library's errors become ours. Nothing else imports asyncpg but `wire`."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg

from syncd import codec
from syncd.clock import Clock
from syncd.errors import OwnershipError, StoreError
from syncd.store import binary
from syncd.store.pool import Pool
from syncd.store.vitals import DISK_FULL, Vitals

NOT_OWNED = "SY001"
"""SQLSTATE our functions raise when a fence or a cursor is no longer ours."""

KEY_USED = "SY002"
"""SQLSTATE of syncd.push for an idempotency key that stands for another push."""

_ATTEMPTS = 5
"""Tries of one transaction when two writers meet."""
STATEMENT_SECONDS = 60
LOCK_SECONDS = 20
IDLE_IN_TRANSACTION_SECONDS = 60
CONNECT_SECONDS = 10
ANSWER_SECONDS = 90
"""Longer than any statement may take: without an answer by then the connection is dead."""
UNHURRIED_SECONDS = 3600
"""The same for statements over a whole table."""

KEEPALIVE = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}
"""How the server finds out that we are gone where nobody tells it: after a minute instead of the system's two hours. Longer
than a lease: whoever is merely cut off must not be taken for dead before it gives up by itself. A Unix socket needs none."""

_SETTINGS = {
    **KEEPALIVE,
    # A session whose answer nobody fetches keeps what it has locked. The other time-outs do not end it.
    "tcp_user_timeout": "60s",
    "application_name": "syncd",
    "timezone": "UTC",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "lock_timeout": f"{LOCK_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS}s",
    # Nearly all our statements look rows up by key. A plan made while a table was empty must not read all of it later;
    # planning anew each time would cost more than running.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}

OVER_ALL = (
    "SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on; SET LOCAL enable_hashjoin = on; "
    "SET LOCAL enable_nestloop = off; SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL statement_timeout = 0"
)
"""For a statement over a whole resource, inside its transaction."""

BY_KEY = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off; "
    "SET LOCAL enable_nestloop = on; SET LOCAL plan_cache_mode = force_generic_plan"
)
"""Back from OVER_ALL, for the statements that follow in the same transaction."""


class ConflictError(StoreError):
    """Two writers met; this one was rolled back and may try again at once."""


class DataRefusedError(StoreError):
    """The database cannot hold a value that was given to it."""


class KeyUsedError(StoreError):
    """An idempotency key stands for another push already."""


@contextmanager
def border() -> Iterator[None]:
    """Whatever the database library raises inside leaves as a StoreError that says what to do."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _translated(error) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        # The second is what the library says of a connection whose server took leave between two statements.
        raise StoreError(f"the database connection cannot be used: {error}") from error
    except TimeoutError as error:
        raise StoreError("the database did not answer in time") from error
    except OSError as error:
        raise StoreError(f"the database cannot be reached: {error}", hint="is PostgreSQL running?") from error


def _translated(error: asyncpg.PostgresError) -> StoreError:
    state = error.sqlstate or ""
    if state == NOT_OWNED:
        return OwnershipError(str(error))
    if state == KEY_USED:
        return KeyUsedError(str(error.args[0]), hint=error.hint or "")
    if state in {"40001", "40P01", "55P03", "23505"}:
        return ConflictError(f"two writers met in the database: {error}")
    if state.startswith("22") or state == "54001":
        return DataRefusedError(f"the database refuses a value: {error}")
    if state in {"3D000", "28000", "28P01"}:
        return StoreError(f"the database refuses the connection: {error}", hint="check database.url")
    if state in {"42P01", "42883", "3F000", "42703"}:
        return StoreError(f"the database schema is not this release's: {error}", hint="syncd migrate")
    if state == "57014":
        return StoreError("a statement ran longer than it may and was cancelled")
    if state == DISK_FULL:
        return StoreError(f"the database has no room left: {error} ({state})", hint="make room on its disk: df -h")
    if state == "53300":
        return StoreError(
            "the database has no connection left", hint="lower database.pool_size or raise max_connections"
        )
    if state == "08P01" and "startup parameter" in str(error):
        return StoreError(
            f"a connection pooler refuses our settings: {error}", hint="let database.url name PostgreSQL itself"
        )
    return StoreError(f"the database refused: {error} ({state})")


async def prepare(connection: asyncpg.Connection) -> None:
    """JSON goes to the server as the bytes we have, and comes back parsed by our codec."""
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", format="binary", encoder=_jsonb_out, decoder=_jsonb_in
    )
    await connection.set_type_codec(
        "json", schema="pg_catalog", format="binary", encoder=_json_out, decoder=codec.loads
    )
    await binary.register(connection)


def _jsonb_out(value: Any) -> bytes:
    return b"\x01" + (value if isinstance(value, bytes) else codec.dumps_storable(value))


def _jsonb_in(data: bytes) -> Any:
    return codec.loads(data[1:])


def _json_out(value: Any) -> bytes:
    return value if isinstance(value, bytes) else codec.dumps(value)


def place_of(url: str) -> str:
    """Where the database is, for people: host and port or socket, and its name. Neither user nor password."""
    try:
        parts = urlsplit(url)
        host, port, asked = parts.hostname or "", str(parts.port or 5432), parse_qs(parts.query)
    except ValueError:
        return "the place that database.url names"
    host = asked.get("host", [host])[0] or host
    port = asked.get("port", [port])[0]
    if host.startswith("/"):
        host = f"{host}/.s.PGSQL.{port}"
    elif host:
        host = f"{host}:{port}"
    return f"{host or 'the default socket'}, database {parts.path.lstrip('/') or 'by its default name'}"


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Where it was tried, and how to try by hand, beside why it cannot be reached."""
    try:
        yield
    except (OSError, asyncpg.CannotConnectNowError) as error:  # a TimeoutError is one of the first
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        address, _, _ = place_of(url).partition(", database ")
        host, _, port = address.rpartition("/.s.PGSQL." if address.startswith("/") else ":")
        where = f" -h {shlex.quote(host.strip('[]'))} -p {shlex.quote(port)}" if host else ""
        raise StoreError(
            f"the database at {place_of(url)} cannot be reached: {why}", hint=f"pg_isready{where}"
        ) from error


class Database:
    """A pool of connections to one database."""

    def __init__(self, url: str, *, clock: Clock, pool_size: int, vitals: Vitals | None = None) -> None:
        self.url = url
        self.clock = clock
        self.vitals = vitals or Vitals(clock)
        self._pool = Pool(self._connect, pool_size, clock=clock)

    @classmethod
    async def open(cls, url: str, *, clock: Clock, pool_size: int) -> Database:
        """Raises StoreError when the database cannot be reached now."""
        database = cls(url, clock=clock, pool_size=pool_size)
        await database.execute("SELECT")
        return database

    async def _connect(self) -> asyncpg.Connection:
        try:
            with reaching(self.url):
                connection = await asyncpg.connect(
                    self.url,
                    timeout=CONNECT_SECONDS,
                    command_timeout=ANSWER_SECONDS,
                    statement_cache_size=200,
                    max_cacheable_statement_size=0,
                    server_settings=_SETTINGS,
                )
        except ValueError as error:
            raise StoreError(f"the database URL cannot be used: {error}", hint="check database.url") from None
        try:
            await prepare(connection)
        except BaseException:
            connection.terminate()
            raise
        connection.add_query_logger(self.vitals.heard)
        return connection

    def beside(self, pool_size: int) -> Database:
        """Further connections to the same, for what must not wait for those: opened when they are needed, closed by
        themselves."""
        return Database(self.url, clock=self.clock, pool_size=pool_size, vitals=self.vitals)

    async def renew(self) -> None:
        """Close idle connections: the next ones learn what the schema is now."""
        await self._pool.renew()

    @property
    def name(self) -> str:
        """Host and database, without user and password."""
        parts = urlsplit(self.url)
        return f"{parts.hostname or 'local'}{parts.path}"

    async def aclose(self) -> None:
        """Close every connection; those in use are given five seconds."""
        await self._pool.aclose()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        with border():
            async with self._pool.acquire() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """All or nothing. Nothing that may wait for the network belongs inside."""
        with border():
            async with self._pool.acquire() as connection, connection.transaction():
                yield connection

    async def fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        with border():
            async with self._pool.acquire() as connection:
                return list(await connection.fetch(sql, *values))

    async def fetchrow(self, sql: str, *values: Any) -> asyncpg.Record | None:
        with border():
            async with self._pool.acquire() as connection:
                return await connection.fetchrow(sql, *values)

    async def fetchval(self, sql: str, *values: Any) -> Any:
        with border():
            async with self._pool.acquire() as connection:
                return await connection.fetchval(sql, *values)

    async def execute(self, sql: str, *values: Any) -> int:
        """Run one statement; returns the number of rows it touched."""
        with border():
            async with self._pool.acquire() as connection:
                tag: str = await connection.execute(sql, *values)
        return affected(tag)


P = ParamSpec("P")
T = TypeVar("T")


def again_after_conflict(work: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Run a whole transaction again when another writer was in its way. It was rolled back, so nothing happens twice.

    Ordered locks make that rare; a deadlock through somebody else's statement stays possible.
    """

    @wraps(work)
    async def patient(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(_ATTEMPTS - 1):
            try:
                return await work(*args, **kwargs)
            except ConflictError:
                continue
        return await work(*args, **kwargs)

    return patient


def affected(tag: str) -> int:
    """The row count in a command tag such as `UPDATE 3`."""
    last = tag.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0
