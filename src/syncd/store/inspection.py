"""A look at the database from outside, for `syncd doctor`: what its role may do, how it is set, what is in it.

By one bare connection, so that what is seen are the database's own settings and not those our sessions ask for. Whatever is
tried is tried in a transaction that is rolled back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import asyncpg

from syncd.clock import Clock
from syncd.store.database import CONNECT_SECONDS, border, place_of, reaching
from syncd.store.intake import WRITERS
from syncd.store.leases import KEEPING

ANSWER_SECONDS = 10.0
_PROBE_LOCK = 0x646F63746F72
_SETTINGS = """
SELECT current_setting('server_version_num')::integer AS version,
    clock_timestamp() AS now,
    has_database_privilege(current_database(), 'CREATE') AS can_create,
    has_database_privilege(current_database(), 'TEMP') AS temp,
    pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS read_only,
    current_setting('default_transaction_isolation') AS isolation,
    current_setting('TimeZone') AS timezone,
    current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer AS most,
    (SELECT sum(numbackends)::integer FROM pg_stat_database) AS used,
    pg_database_size(current_database()) AS size,
    inet_server_addr() IS NULL AS same_machine,
    (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'syncd') AS owns,
    (SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = 'syncd') AS enters
"""
_KEYED = """
SELECT EXISTS (
    SELECT FROM pg_constraint c
    WHERE c.conrelid = to_regclass('syncd.inbox') AND c.contype IN ('p', 'u') AND (
        SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_attribute a
        WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)) = ARRAY['event_id', 'integration'])
"""
_BARRED = """
SELECT array_agg(c.relname::text ORDER BY c.relname) FROM pg_class c
WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'syncd') AND c.relkind IN ('r', 'p', 'S')
    AND NOT pg_has_role(c.relowner, 'USAGE')
"""
_PASSED = "SELECT integration, max(passed_at) FROM syncd.checkpoints WHERE passed_at IS NOT NULL GROUP BY integration"
_STANDING = "SELECT integration, count(*) FROM syncd.checkpoints GROUP BY integration"
_OWNERS = "SELECT DISTINCT owner FROM syncd.leases WHERE expires_at > clock_timestamp() ORDER BY owner"
_SUBSCRIBED = "SELECT DISTINCT integration FROM syncd.credentials WHERE kind = 'webhook'"
_VERIFIED = """
SELECT DISTINCT ON (integration) integration, at, coalesce((after->>'ok')::boolean, false),
    coalesce(after->>'mode', ''), coalesce(after->>'release', '')
FROM syncd.audit_log
WHERE action = 'verified' ORDER BY integration, id DESC
"""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was seen."""

    name: str
    version: int
    skew_seconds: float
    """How far our clock is behind the database's; the round trip is allowed for."""
    can_create: bool
    schema_there: bool
    owns_schema: bool
    barred: tuple[str, ...]
    """Tables and sequences of the schema that belong to another role: not ours to write, or to migrate."""
    temp: bool
    listen: bool
    advisory: bool
    read_only: bool
    isolation: str
    timezone: str
    max_connections: int
    used_connections: int
    own_connections: int
    """Those of webhook intake, of leases and the wire, beside the pool's."""
    size_bytes: int
    directory: Path | None
    """Where its data lie, if on this machine and shown to this role."""
    inbox_unique: bool = False
    instances: tuple[str, ...] = ()
    passes: Mapping[str, datetime] = field(default_factory=dict)
    checkpoints: Mapping[str, int] = field(default_factory=dict)
    subscribed: frozenset[str] = frozenset()
    verified: Mapping[str, tuple[datetime, bool, str, str]] = field(default_factory=dict)
    """By integration: the last `syncd verify`, whether it went well, its mode, the release that ran."""


async def inspect(url: str, clock: Clock) -> Inspection:
    """Raises StoreError when the database cannot be reached, or refuses."""
    with border():
        with reaching(url):
            connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS, command_timeout=ANSWER_SECONDS)
        try:
            return await _seen(connection, url, clock)
        finally:
            await connection.close(timeout=ANSWER_SECONDS)


async def _seen(connection: asyncpg.Connection, url: str, clock: Clock) -> Inspection:
    before = clock.now()
    told = await connection.fetchrow(_SETTINGS)
    ours = before + (clock.now() - before) / 2
    there = told["enters"] and await connection.fetchval("SELECT to_regclass('syncd.audit_log') IS NOT NULL")
    found = Inspection(
        name=place_of(url),
        version=told["version"],
        skew_seconds=(told["now"] - ours).total_seconds(),
        can_create=told["can_create"],
        schema_there=told["owns"] is not None,
        owns_schema=bool(told["owns"]),
        barred=tuple(await connection.fetchval(_BARRED) or ()),
        temp=told["temp"] and await _works(connection, "CREATE TEMP TABLE doctor_looks (one integer) ON COMMIT DROP"),
        listen=await _works(connection, "LISTEN syncd_doctor"),
        advisory=await _works(connection, f"SELECT pg_try_advisory_xact_lock({_PROBE_LOCK})"),
        read_only=told["read_only"],
        isolation=told["isolation"],
        timezone=told["timezone"],
        max_connections=told["most"],
        used_connections=told["used"] or 0,
        own_connections=WRITERS + KEEPING + 2,
        size_bytes=told["size"],
        directory=await _directory(connection) if told["same_machine"] else None,
    )
    return await _within(connection, found) if there else found


async def _works(connection: asyncpg.Connection, sql: str) -> bool:
    """Try it, and take it back."""
    trying = connection.transaction()
    await trying.start()
    try:
        await connection.execute(sql)
    except asyncpg.PostgresError:
        return False
    finally:
        await trying.rollback()
    return True


async def _directory(connection: asyncpg.Connection) -> Path | None:
    try:
        return Path(await connection.fetchval("SHOW data_directory"))
    except asyncpg.PostgresError:
        return None  # for superusers and members of pg_read_all_settings


async def _within(connection: asyncpg.Connection, found: Inspection) -> Inspection:
    try:
        return replace(
            found,
            inbox_unique=await connection.fetchval(_KEYED),
            instances=tuple(row[0] for row in await connection.fetch(_OWNERS)),
            passes={row[0]: row[1] for row in await connection.fetch(_PASSED)},
            checkpoints={row[0]: row[1] for row in await connection.fetch(_STANDING)},
            subscribed=frozenset(row[0] for row in await connection.fetch(_SUBSCRIBED)),
            verified={row[0]: (row[1], row[2], row[3], row[4]) for row in await connection.fetch(_VERIFIED)},
        )
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        return found  # a schema of another release: `syncd migrate` is named for it elsewhere
    except asyncpg.InsufficientPrivilegeError:
        return found  # the schema is somebody else's: said elsewhere too
