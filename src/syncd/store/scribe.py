"""One connection of intake: it writes many deliveries with one statement, which is one transaction and one answer.

What does not live here: who waits for what, and how long (`intake.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import asyncpg

from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.store import binary
from syncd.store.database import KEEPALIVE, border, reaching

Row = tuple[str, str, str, str | None, str, bytes, datetime]
"""integration, event_id, route, event_type, headers as JSON, body, received_at: what the statement takes, in its order."""

STATEMENT_SECONDS = 3.0
"""Longest work on one batch, by the server's clock; `Intake` cuts the connection when not even that is said in time."""
LOCK_SECONDS = 0.25
"""How long a batch waits for whoever holds a row it has once more, or the table, before it asks in another way."""
WARY_BATCHES = 1000
"""After a batch that waited so long, so many go the other way from the start."""
LOOK_LOCK_SECONDS = 1.0
"""How long a look waits for the table."""
INBOX = "syncd_inbox"
"""The channel that tells other instances of arrivals; the payload is the integration."""

_SETTINGS = {
    **KEEPALIVE,
    "application_name": "syncd intake",
    "timezone": "UTC",
    "statement_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "lock_timeout": f"{LOCK_SECONDS * 1000:.0f}ms",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    # The statement is planned while the inbox may be empty, where all ways cost the same, and used when it no longer is:
    # what is left then is the way by the primary key.
    "enable_seqscan": "off",
    "enable_sort": "off",
}

# A server may be told to answer COMMIT before the log is on disk, at any time and also for connections that are open: what
# it says now is therefore set for ours, so that nothing it reads later counts. What we acknowledge has to be there.
_PROBE = """
DO $$ BEGIN
    IF current_setting('transaction_read_only') = 'on' THEN
        RAISE 'the database is read-only: a standby?' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    PERFORM set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false);
END $$
"""

_INSERT = """
INSERT INTO syncd.inbox (integration, event_id, route, event_type, headers, body, received_at)
SELECT i, e, r, t, h::jsonb, b, a
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::timestamptz[])
    AS n(i, e, r, t, h, b, a)
{unknown}
ON CONFLICT (integration, event_id) DO NOTHING
RETURNING integration, event_id
"""
_STORE = _INSERT.format(unknown="")
# To ask the unique index for what is there already waits for whoever is about to change that row, a worker that hangs for
# instance, and everybody's deliveries with it. To leave it out as it is seen costs a third more, so that is the other way.
_STORE_UNKNOWN = _INSERT.format(
    unknown="""
WHERE n.e IS DISTINCT FROM (
    SELECT k.event_id FROM syncd.inbox k
    WHERE k.integration = n.i AND k.event_id >= n.e ORDER BY k.event_id LIMIT 1
)
"""
)

# What an INSERT asks for before it writes: a database that takes writes, the right to, and the table.
_LOOK = f"""
DO $$ BEGIN
    PERFORM set_config('lock_timeout', '{LOOK_LOCK_SECONDS * 1000:.0f}', true);
    IF current_setting('transaction_read_only') = 'on' THEN
        RAISE 'the database is read-only: a standby?' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    LOCK TABLE syncd.inbox IN ROW EXCLUSIVE MODE;
END $$
"""

_TELL = "SELECT pg_notify($1, name) FROM unnest($2::text[]) name"

_MET = frozenset({"40001", "40P01"})
"""SQLSTATEs of two writers that met: this one was rolled back and may try again at once."""
_BAD_VALUES = ("22", "23", "54")
"""Classes of SQLSTATE that blame a value of a row: it is wrong, breaks a constraint, or is too large for an index."""


class Scribe:
    """An open connection. Whatever it raises is a StoreError, after which it is of no use and has to be `cut`."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._wary = 0
        """Batches that leave out what is known as it is seen."""

    @classmethod
    async def open(cls, url: str, *, clock: Clock, seconds: float = 10.0) -> Scribe:
        """Connect within so many seconds and see that a delivery could be stored now. Raises StoreError when not."""
        connection: asyncpg.Connection | None = None
        try:
            with border():
                async with clock.timeout(seconds):
                    with reaching(url):
                        connection = await asyncpg.connect(url, timeout=None, server_settings=_SETTINGS)
                    binary.register_arrays(connection)
                    await connection.prepare(_STORE)
                    await connection.prepare(_STORE_UNKNOWN)
                    await connection.execute(_PROBE)  # last: to prepare leaves a transaction open, and its lock held
        except BaseException as error:
            if connection is not None:
                connection.terminate()
            if isinstance(error, ValueError):
                raise StoreError(f"the database URL cannot be used: {error}", hint="check database.url") from None
            raise
        return cls(connection)

    @property
    def up(self) -> bool:
        """False once the connection is known to be gone."""
        return not self._connection.is_closed()

    async def store(self, rows: Sequence[Row]) -> list[bool | str]:
        """Commit the rows; for each, in order: True (stored now), False (known already) or why it alone was refused.

        No two rows may have one key. They are written in the order of their keys, so that two writers never wait for each
        other in a circle. Raises StoreError where nothing is known: any of them may be stored, or none.
        """
        with border():
            try:
                return await self._insert(rows)
            except asyncpg.PostgresError as error:
                state = error.sqlstate or ""
                if state in _MET:
                    return await self._insert(rows)
                if not state.startswith(_BAD_VALUES):
                    raise
                if len(rows) == 1:
                    return [f"the database refuses a value of this delivery: {error}"]
        middle = len(rows) // 2  # one row is to blame: find it by halves, the others shall not suffer
        return [*await self.store(rows[:middle]), *await self.store(rows[middle:])]

    async def _insert(self, rows: Sequence[Row]) -> list[bool | str]:
        stored = await self._stored(list(zip(*rows, strict=True)))
        if len(stored) == len(rows):
            return [True] * len(rows)
        fresh = {(integration, event_id) for integration, event_id in stored}
        return [row[:2] in fresh for row in rows]

    async def _stored(self, columns: Sequence[Sequence[object]]) -> list[asyncpg.Record]:
        if not self._wary:
            try:
                return list(await self._connection.fetch(_STORE, *columns))
            except asyncpg.LockNotAvailableError:
                self._wary = WARY_BATCHES
        self._wary -= 1
        waits = int(STATEMENT_SECONDS / LOCK_SECONDS)
        while True:
            try:
                return list(await self._connection.fetch(_STORE_UNKNOWN, *columns))
            except asyncpg.LockNotAvailableError:  # another writer has one of them in hand, or somebody the table
                waits -= 1
                if waits <= 0:
                    raise

    async def tell(self, integrations: Iterable[str]) -> None:
        """Say NOTIFY for each of them. Raises StoreError."""
        with border():
            await self._connection.execute(_TELL, INBOX, list(integrations))

    async def look(self) -> None:
        """Could a delivery be stored now? Writes nothing. Raises StoreError where not: a ConflictError where the table is
        locked, after which the connection is as good as before."""
        with border():
            await self._connection.execute(_LOOK)

    def cut(self) -> None:
        """Close at once. A `store` under way fails: what became of it is not known."""
        self._connection.terminate()
