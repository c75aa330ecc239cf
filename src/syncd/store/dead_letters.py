"""Table `dead_letters`: what needs a human, with all that human needs, and the way back to where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from syncd import codec
from syncd.store.database import Database, affected


@dataclass(frozen=True, slots=True)
class NewDeadLetter:
    """Something to bury. Request and response come redacted: nothing here is ever a secret."""

    integration: str
    origin: str
    """Where it came from and goes back to: task, inbox, outbox, run."""
    error_class: str
    message: str
    fingerprint: str
    """Equal for troubles of one cause."""
    origin_id: str | None = None
    resource: str = ""
    external_id: str | None = None
    request: Mapping[str, Any] | None = None
    response: Mapping[str, Any] | None = None
    traceback: str | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    """What it takes to do the work again."""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter(NewDeadLetter):
    """One that lies there."""

    id: int = 0
    state: str = "open"
    buried_at: datetime | None = None
    settled_at: datetime | None = None
    settled_by: str | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Open dead letters, or rejects, of one cause."""

    integration: str
    resource: str
    fingerprint: str
    message: str
    """Of the latest."""
    count: int
    first_at: datetime
    last_at: datetime
    examples: Sequence[str]
    """Some record ids."""


_NEW = tuple(NewDeadLetter.__slots__)
_ALL = (*_NEW, *DeadLetter.__slots__)


async def insert_letter(connection: asyncpg.Connection, letter: NewDeadLetter, now: datetime) -> int:
    """Bury inside a transaction of the caller's; returns the letter's id."""
    made: int = await connection.fetchval(
        f"INSERT INTO syncd.dead_letters ({', '.join(_NEW)}, buried_at) "
        f"VALUES ({', '.join(f'${n}' for n in range(1, len(_NEW) + 2))}) RETURNING id",
        *(_value(getattr(letter, name)) for name in _NEW),
        now,
    )
    return made


class DeadLetters:
    """What needs a human."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bury(self, letter: NewDeadLetter) -> int:
        """Store one; returns its id."""
        async with self._database.transaction() as connection:
            return await insert_letter(connection, letter, self._database.clock.now())

    async def get(self, integration: str, letter_id: int) -> DeadLetter | None:
        found = await self._database.fetchrow(
            f"SELECT {', '.join(_ALL)} FROM syncd.dead_letters WHERE integration = $1 AND id = $2",
            integration,
            letter_id,
        )
        return DeadLetter(**dict(found)) if found is not None else None

    async def list(
        self, integration: str | None = None, *, state: str = "open", fingerprint: str | None = None, limit: int = 100
    ) -> list[DeadLetter]:
        """Newest first."""
        found = await self._database.fetch(
            f"SELECT {', '.join(_ALL)} FROM syncd.dead_letters WHERE ($1::text IS NULL OR integration = $1) "
            "AND state = $2 AND ($3::text IS NULL OR fingerprint = $3) ORDER BY id DESC LIMIT $4",
            integration,
            state,
            fingerprint,
            limit,
        )
        return [DeadLetter(**dict(each)) for each in found]

    async def grouped(self, integration: str | None = None) -> Sequence[Trouble]:
        """Open ones by cause, most frequent first."""
        found = await self._database.fetch(
            "SELECT integration, resource, fingerprint, (array_agg(message ORDER BY id DESC))[1] AS message, "
            "count(*) AS count, min(buried_at) AS first_at, max(buried_at) AS last_at, "
            "coalesce((array_agg(external_id ORDER BY id DESC) FILTER (WHERE external_id IS NOT NULL))[1:5], '{}') "
            "AS examples "
            "FROM syncd.dead_letters WHERE state = 'open' AND ($1::text IS NULL OR integration = $1) "
            "GROUP BY 1, 2, 3 ORDER BY count DESC, 1, 2, 3",
            integration,
        )
        return [Trouble(**dict(each)) for each in found]

    async def settle(self, integration: str, ids: Sequence[int], *, state: str, by: str) -> int:
        """Mark open ones as `replayed` or `discarded`; returns how many were open still."""
        async with self._database.transaction() as connection:
            tag = await connection.execute(
                "UPDATE syncd.dead_letters SET state = $3, settled_at = $4, settled_by = $5 "
                "WHERE integration = $1 AND id = ANY($2::bigint[]) AND state = 'open'",
                integration,
                list(ids),
                state,
                self._database.clock.now(),
                by,
            )
        return affected(tag)

    async def counts(self) -> dict[str, int]:
        """Open ones by integration."""
        found = await self._database.fetch(
            "SELECT integration, count(*) FROM syncd.dead_letters WHERE state = 'open' GROUP BY 1"
        )
        return {each[0]: each[1] for each in found}


def _value(value: Any) -> Any:
    """Text without NUL, which PostgreSQL cannot hold."""
    if isinstance(value, str):
        return codec.storable(value)
    return dict(value) if isinstance(value, Mapping) else value
