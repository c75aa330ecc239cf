"""How the work of dead letters goes back to where it came from; each origin has its own way.

Everything here happens inside one transaction of a replay's step. What is newer wins: a fetch reads anew, a delivery is
judged like any other when it is handled, and a push is dropped where a newer one of the same record was done meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from syncd.model import Lane
from syncd.store.returned import LIVES, ROWS, Returned, lives, named, suspicion
from syncd.store.returned_pushes import return_pushes
from syncd.store.scribe import INBOX
from syncd.store.tasks import WISHES

IN_FLIGHT = """
SELECT count(*), count(*) FILTER (WHERE w.not_before > $3),
       CASE WHEN count(*) = count(w.not_before) THEN min(w.not_before) END, min(w.why)
FROM (
    SELECT letter_id, not_before, coalesce(reason, history -> -1 ->> 'error') AS why
    FROM syncd.tasks WHERE integration = $1 AND letter_id IS NOT NULL
    UNION ALL
    SELECT letter_id, not_before, coalesce(reason, history -> -1 ->> 'error')
    FROM syncd.inbox WHERE integration = $1 AND letter_id IS NOT NULL AND state IN ('waiting', 'taken')
    UNION ALL
    SELECT letter_id, not_before, coalesce(reason, history -> -1 ->> 'error')
    FROM syncd.outbox WHERE integration = $1 AND letter_id IS NOT NULL AND state IN ('waiting', 'taken', 'unknown')
) w
JOIN syncd.dead_letters d ON d.integration = $1 AND d.id = w.letter_id
WHERE d.replay_id = $2
"""
"""Work that a replay has returned and that is not done: how much, how much of it is put off at $3, until when all of it
is, and why."""
PUT_OFF_SECONDS = 2.0
"""So long a letter that cannot be returned now is stepped over."""


async def give_back(
    connection: asyncpg.Connection,
    integration: str,
    origin: str,
    letters: Sequence[asyncpg.Record],
    lane: Lane,
    now: datetime,
    *,
    by: str,
    most: int,
) -> Returned:
    """Return the work of letters of one origin and settle them, inside the caller's transaction; of at most so many.

    The letters are locked; each has `id`, `origin_id`, `resource`, `external_id`, `error_class`, `payload`.
    """
    if origin == "outbox":
        found = await return_pushes(connection, integration, letters, now, most)
    else:
        letters = letters[:most]
        if origin in ("task", "run"):
            found = await _tasks(connection, integration, letters, lane, now)
        elif origin == "inbox":
            found = await _deliveries(connection, integration, letters)
        else:
            found = Returned(unable=[letter["id"] for letter in letters])
    await _settle(connection, integration, found.ids, "replayed", by, None, now)
    await _settle(
        connection, integration, found.standing, "replayed", by, "its work was done or under way already", now
    )
    await _settle(connection, integration, found.overtaken, "discarded", by, "a newer push of the record was done", now)
    if found.unable:
        await connection.execute(
            "UPDATE syncd.dead_letters SET replay_id = NULL, put_off_until = NULL, put_off_for = NULL "
            "WHERE integration = $1 AND id = ANY($2::bigint[])",
            integration,
            found.unable,
        )
    if found.put_off:
        await connection.execute(
            "UPDATE syncd.dead_letters d SET put_off_until = $4, put_off_for = w.why "
            "FROM unnest($2::bigint[], $3::text[]) AS w(id, why) WHERE d.integration = $1 AND d.id = w.id",
            integration,
            list(found.put_off),
            list(found.put_off.values()),
            now + timedelta(seconds=PUT_OFF_SECONDS),
        )
    return found


async def _settle(
    connection: asyncpg.Connection,
    integration: str,
    ids: Sequence[int],
    state: str,
    by: str,
    reason: str | None,
    now: datetime,
) -> None:
    if ids:
        await connection.execute(
            "UPDATE syncd.dead_letters SET state = $3, settled_at = $4, settled_by = $5, reason = $6 "
            "WHERE integration = $1 AND id = ANY($2::bigint[]) AND state = 'open'",
            integration,
            list(ids),
            state,
            now,
            by,
            reason,
        )


# -- tasks and runs ----------------------------------------------------------------------------------------------------

_PUT_TASKS = """
INSERT INTO syncd.tasks AS k (
    integration, kind, resource, external_id, parent_id, payload, lane, dedupe_key, created_at, wanted_at, cause, suspicion,
    letter_id)
SELECT $1, t.kind, coalesce(t.resource, ''), t.external_id, t.parent_id, coalesce(t.payload, '{}'), $4, t.dedupe_key, $2, $2,
       'replay of letter ' || t.letter_id, t.suspicion, t.letter_id
FROM jsonb_to_recordset($3) AS t(
    kind text, resource text, external_id text, parent_id text, payload jsonb, dedupe_key text, suspicion smallint,
    letter_id bigint)
ORDER BY t.letter_id
ON CONFLICT (integration, dedupe_key) WHERE state = 'waiting' AND dedupe_key IS NOT NULL
DO UPDATE SET letter_id = excluded.letter_id, lane = least(k.lane, excluded.lane), expires_at = NULL,
    wanted_at = greatest(k.wanted_at, excluded.wanted_at), suspicion = greatest(k.suspicion, excluded.suspicion)
"""


async def _tasks(
    connection: asyncpg.Connection, integration: str, letters: Sequence[asyncpg.Record], lane: Lane, now: datetime
) -> Returned:
    """A task as it was, with all its attempts ahead of it. Where an equal one waits, that one stands for both."""
    made, unable = [], []
    for letter in letters:
        task = _task(letter)
        if task is None:
            unable.append(letter["id"])
        else:
            made.append(task)
    if made:
        await connection.execute(_PUT_TASKS, integration, now, made, int(lane))
        await connection.execute("SELECT pg_notify($1, $2)", WISHES, integration)
    return Returned(ids=[task["letter_id"] for task in made], unable=unable)


def _task(letter: asyncpg.Record) -> dict[str, Any] | None:
    held = letter["payload"]
    kind = held.get("kind") if isinstance(held, Mapping) else None
    if not isinstance(kind, str) or not kind:
        return None
    task = {name: held.get(name) for name in ("resource", "external_id", "parent_id", "payload", "dedupe_key")}
    if kind == "sync":
        task["dedupe_key"] = f"sync:{task['resource'] or letter['resource']}:"
    return {
        **task,
        "kind": kind,
        "resource": task["resource"] or letter["resource"],
        "suspicion": suspicion(letter),
        "letter_id": letter["id"],
    }


# -- deliveries --------------------------------------------------------------------------------------------------------


async def _deliveries(connection: asyncpg.Connection, integration: str, letters: Sequence[asyncpg.Record]) -> Returned:
    """The delivery waits again, as it was received."""
    ids, of, unable = named(letters)
    back = await connection.fetch(
        "UPDATE syncd.inbox q SET state = 'waiting', attempts = 0, not_before = NULL, taken_fence = NULL, "
        "finished_at = NULL, reason = NULL, history = '[]', letter_id = l.letter_id, lost = l.suspicion "
        f"FROM {LIVES} WHERE q.integration = $1 AND q.id = l.id AND q.state = 'buried' AND q.body IS NOT NULL "
        "RETURNING l.letter_id",
        integration,
        ids,
        of,
        lives(letters, of),
    )
    found = Returned(ids=[each[0] for each in back], unable=unable)
    rest = [(row, letter) for row, letter in zip(ids, of, strict=True) if letter not in found.ids]
    if rest:
        # Somebody returned the delivery by itself; or its body is gone.
        others = await connection.fetch(
            f"SELECT l.letter_id FROM {ROWS} JOIN syncd.inbox q ON q.integration = $1 AND q.id = l.id "
            "WHERE q.state <> 'buried'",
            integration,
            *([pair[at] for pair in rest] for at in (0, 1)),
        )
        found.standing = [each[0] for each in others]
        found.unable += [letter for _, letter in rest if letter not in found.standing]
    if found.ids:
        await connection.execute("SELECT pg_notify($1, $2)", INBOX, integration)
    return found
