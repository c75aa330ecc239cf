"""One more dead letter, inside the transaction that ends its work: of one thing at most one is open."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from syncd import codec

_LONGEST_THING = 500
QUEUES = ("inbox", "outbox")
"""Origins whose rows stay where they are, buried, until their letter is settled."""


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
    former_id: int | None = None
    """The letter whose replay ended in this one. Of inbox and outbox the row knows it, of a task `Tasks.bury`."""
    history: Sequence[Mapping[str, Any]] = ()
    """Earlier attempts: `{"attempt", "at", "error"}`. Of inbox and outbox the row knows them, of a task `Tasks.bury`."""


NEW = tuple(NewDeadLetter.__slots__)
_MADE = (*NEW, "thing", "replays", "failed_in", "buried_at")
_INSERT = f"""
INSERT INTO syncd.dead_letters AS d ({", ".join(_MADE)})
VALUES ({", ".join(f"${n}" for n in range(1, len(_MADE) + 1))})
ON CONFLICT (integration, thing) WHERE state = 'open' AND thing IS NOT NULL DO UPDATE SET
    error_class = excluded.error_class, message = excluded.message, fingerprint = excluded.fingerprint,
    origin_id = excluded.origin_id, external_id = excluded.external_id, request = excluded.request,
    response = excluded.response, traceback = excluded.traceback, payload = excluded.payload,
    attempts = excluded.attempts, history = excluded.history, times = d.times + 1, last_at = excluded.buried_at,
    former_id = coalesce(excluded.former_id, d.former_id), replays = greatest(excluded.replays, d.replays),
    failed_in = coalesce(excluded.failed_in, d.failed_in)
RETURNING id
"""


async def insert_letter(connection: asyncpg.Connection, letter: NewDeadLetter, now: datetime) -> int:
    """Bury inside a transaction of the caller's; returns the letter's id.

    That of an open one of the same thing, which is then brought up to date: there are never two. The attempts before, and
    the letter whose replay this was, are read from the row the work came from where the letter does not say.
    """
    former_id, history = letter.former_id, list(letter.history)
    if letter.origin in QUEUES and (letter.origin_id or "").isdecimal():
        row = await _origin(connection, letter.origin, letter.integration, int(letter.origin_id or 0))
        if row is not None:
            former_id, history = former_id or row["letter_id"], history or row["history"]
    if letter.attempts > len(history) or not history:
        history = [*history[:9], {"attempt": letter.attempts, "at": now, "error": letter.message[:500]}]
    former = None
    if former_id is not None:
        former = await connection.fetchrow(
            "SELECT replays, replay_id FROM syncd.dead_letters WHERE integration = $1 AND id = $2",
            letter.integration,
            former_id,
        )
    values = {name: _value(getattr(letter, name)) for name in NEW}
    values |= {"former_id": former_id if former is not None else None, "history": history}
    made: int = await connection.fetchval(
        _INSERT,
        *values.values(),
        _thing(letter),
        former["replays"] + 1 if former is not None else 0,
        former["replay_id"] if former is not None else None,
        now,
    )
    return made


async def _origin(connection: asyncpg.Connection, table: str, integration: str, row_id: int) -> asyncpg.Record | None:
    """What the row of a delivery or push knows; each half of the question has an index of its own."""
    busy = "'waiting', 'taken'" if table == "inbox" else "'waiting', 'taken', 'unknown'"
    return await connection.fetchrow(
        f"SELECT letter_id, history FROM syncd.{table} WHERE integration = $1 AND id = $2 AND state = 'buried' UNION ALL "
        f"SELECT letter_id, history FROM syncd.{table} WHERE integration = $1 AND id = $2 AND state IN ({busy}) LIMIT 1",
        integration,
        row_id,
    )


def _thing(letter: NewDeadLetter) -> str | None:
    """What the work is of, or None where it is like no other."""
    if letter.origin == "run":
        return f"run:{letter.resource}"
    key = letter.payload.get("dedupe_key") if letter.origin == "task" else None
    if isinstance(key, str) and key:
        thing = f"task:{key}"
    elif letter.origin_id:
        thing = f"{letter.origin}:#{letter.origin_id}"
    else:
        return None
    if len(thing) > _LONGEST_THING:
        thing = f"{letter.origin}:{hashlib.sha256(thing.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return str(codec.storable(thing))


def _value(value: Any) -> Any:
    """Text without NUL, which PostgreSQL cannot hold."""
    if isinstance(value, str):
        return codec.storable(value)
    return dict(value) if isinstance(value, Mapping) else value
