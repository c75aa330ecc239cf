"""How the work of dead letters goes back to where it came from; each origin has its own way.

Everything here happens inside one transaction of a replay's step. What is newer wins: a fetch reads anew, a delivery is
judged like any other when it is handled, and a push is dropped where a newer one of the same record was done meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from syncd.errors import PoisonError
from syncd.model import Lane
from syncd.store.outbox import OUTBOX
from syncd.store.outbox_turns import NEWER, OVERTAKEN, SAME_FIELDS
from syncd.store.scribe import INBOX
from syncd.store.task_turns import POISON
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
NEWER_GOES_FIRST = "a newer push of the record is under way"
OLDER_GOES_FIRST = "an older push of the record goes first"


@dataclass(slots=True)
class Returned:
    """What became of some letters, by their ids."""

    ids: list[int] = field(default_factory=list)
    """Their work is a row again."""
    standing: list[int] = field(default_factory=list)
    """Their work had been returned or done by somebody else: settled all the same."""
    overtaken: list[int] = field(default_factory=list)
    """Pushes dropped: a newer one of the same record was done."""
    unable: list[int] = field(default_factory=list)
    """Left open: what it takes to do them is no longer there."""
    put_off: dict[int, str] = field(default_factory=dict)
    """Not now, and why: they are stepped over and come back to."""
    waits: bool = False
    """Some were left for later: as much as may be is under way, or it is not their time."""

    @property
    def touched(self) -> int:
        return len(self.ids) + len(self.standing) + len(self.overtaken) + len(self.unable)


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
        found = await _pushes(connection, integration, letters, now, most)
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
        "suspicion": _suspicion(letter),
        "letter_id": letter["id"],
    }


# -- deliveries --------------------------------------------------------------------------------------------------------

_ROWS = "unnest($2::bigint[], $3::bigint[]) AS l(id, letter_id)"
_LIVES = "unnest($2::bigint[], $3::bigint[], $4::smallint[]) AS l(id, letter_id, suspicion)"


async def _deliveries(connection: asyncpg.Connection, integration: str, letters: Sequence[asyncpg.Record]) -> Returned:
    """The delivery waits again, as it was received."""
    ids, of, unable = _named(letters)
    back = await connection.fetch(
        "UPDATE syncd.inbox q SET state = 'waiting', attempts = 0, not_before = NULL, taken_fence = NULL, "
        "finished_at = NULL, reason = NULL, history = '[]', letter_id = l.letter_id, lost = l.suspicion "
        f"FROM {_LIVES} WHERE q.integration = $1 AND q.id = l.id AND q.state = 'buried' AND q.body IS NOT NULL "
        "RETURNING l.letter_id",
        integration,
        ids,
        of,
        _lives(letters, of),
    )
    found = Returned(ids=[each[0] for each in back], unable=unable)
    rest = [(row, letter) for row, letter in zip(ids, of, strict=True) if letter not in found.ids]
    if rest:
        # Somebody returned the delivery by itself; or its body is gone.
        others = await connection.fetch(
            f"SELECT l.letter_id FROM {_ROWS} JOIN syncd.inbox q ON q.integration = $1 AND q.id = l.id "
            "WHERE q.state <> 'buried'",
            integration,
            *([pair[at] for pair in rest] for at in (0, 1)),
        )
        found.standing = [each[0] for each in others]
        found.unable += [letter for _, letter in rest if letter not in found.standing]
    if found.ids:
        await connection.execute("SELECT pg_notify($1, $2)", INBOX, integration)
    return found


# -- pushes ------------------------------------------------------------------------------------------------------------

_NEWER = f"syncd.outbox o JOIN syncd.outbox n ON {NEWER} WHERE o.integration = $1 AND o.id = ANY($2::bigint[])"
"""Newer pushes `n` of the records of some pushes `o`."""


_BEHIND = """
SELECT DISTINCT o.id
FROM syncd.dead_letters l
JOIN syncd.dead_letters d ON d.integration = l.integration AND d.replay_id = l.replay_id
JOIN syncd.outbox p ON p.integration = d.integration
  AND p.id = CASE WHEN d.origin_id ~ '^[0-9]{1,18}$' THEN d.origin_id::bigint END
JOIN syncd.outbox o
  ON o.integration = p.integration AND o.resource = p.resource AND o.record_key = p.record_key AND o.id > p.id
WHERE l.integration = $1 AND l.id = $3 AND d.state = 'open' AND d.put_off_until IS NOT NULL AND d.origin = 'outbox'
  AND d.id <> ALL($4::bigint[]) AND o.id = ANY($2::bigint[])
"""
"""Of some pushes those before which an older one of the same record was stepped over, by the replay that has letter $3."""


async def _pushes(
    connection: asyncpg.Connection, integration: str, letters: Sequence[asyncpg.Record], now: datetime, most: int
) -> Returned:
    """The push waits again under its own idempotency key, unless a newer one of the record was done.

    One that is written and sent between our look and our commit is noticed when this one is taken.
    """
    ids, of, unable = _named(letters)
    found = Returned(unable=unable)
    rows = await connection.fetch(
        "SELECT l.letter_id, o.id, o.state, o.resource, o.record_key FROM "
        f"{_ROWS} JOIN syncd.outbox o ON o.integration = $1 AND o.id = l.id ORDER BY o.id FOR UPDATE OF o",
        integration,
        ids,
        of,
    )
    # Newer ones that wait are locked: none of them begins between this look and our commit.
    newer = await connection.fetch(
        f"SELECT o.id, n.state FROM {_NEWER} AND n.state IN ('waiting', 'taken', 'unknown') ORDER BY n.id FOR UPDATE OF n",
        integration,
        ids,
    )
    under_way = {each["id"] for each in newer if each["state"] != "waiting"}
    done = await connection.fetch(
        f"SELECT DISTINCT o.id FROM {_NEWER} AND n.state = 'done' AND {SAME_FIELDS}", integration, ids
    )
    overtaken = {each["id"] for each in done}
    stepped = await connection.fetch(_BEHIND, integration, ids, of[0], of) if of else []
    behind = {each["id"] for each in stepped}
    passed: set[tuple[str, str]] = set()
    back: dict[int, int] = {}
    for row in rows:
        record = (row["resource"], row["record_key"])
        if row["state"] != "buried":
            found.standing.append(row["letter_id"])
        elif row["id"] in overtaken:
            found.overtaken.append(row["letter_id"])
        elif row["id"] in under_way or row["id"] in behind or record in passed:
            # Pushes of one record keep their order: behind one that is stepped over all of them are.
            found.put_off[row["letter_id"]] = NEWER_GOES_FIRST if row["id"] in under_way else OLDER_GOES_FIRST
            if row["record_key"] is not None:
                passed.add(record)
        elif len(back) < most:
            back[row["id"]] = row["letter_id"]
        else:
            found.waits = True
    known = {row["letter_id"] for row in rows}
    found.unable += [letter for letter in of if letter not in known]
    dropped = [row["id"] for row in rows if row["letter_id"] in found.overtaken]
    if dropped:
        await connection.execute(
            "UPDATE syncd.outbox SET state = 'dropped', finished_at = $3, reason = $4 "
            "WHERE integration = $1 AND id = ANY($2::bigint[]) AND state = 'buried'",
            integration,
            dropped,
            now,
            OVERTAKEN,
        )
    if back:
        # One that may have arrived is looked up first: it goes back as unknown.
        found.ids = list(back.values())
        await connection.execute(
            "UPDATE syncd.outbox q SET state = CASE WHEN unsure_since IS NULL THEN 'waiting' ELSE 'unknown' END, "
            "attempts = 0, lost = 0, suspicion = l.suspicion, not_before = NULL, expires_at = NULL, finished_at = NULL, "
            "taken_fence = NULL, taken_at = NULL, reason = 'replayed', history = '[]', letter_id = l.letter_id "
            f"FROM {_LIVES} WHERE q.integration = $1 AND q.id = l.id AND q.state = 'buried'",
            integration,
            list(back),
            found.ids,
            _lives(letters, found.ids),
        )
        await connection.execute("SELECT pg_notify($1, $2)", OUTBOX, integration)
    return found


def _lives(letters: Sequence[asyncpg.Record], ids: Sequence[int]) -> list[int]:
    """How suspicious the work of these letters is: what is said to kill the process gets one more life, not five."""
    of = {letter["id"]: _suspicion(letter) for letter in letters}
    return [of[letter] for letter in ids]


def _suspicion(letter: asyncpg.Record) -> int:
    return POISON - 1 if letter["error_class"] == PoisonError.__name__ else 0


def _named(letters: Sequence[asyncpg.Record]) -> tuple[list[int], list[int], list[int]]:
    """Rows, the letters of these rows, and letters that name none."""
    rows, of, unable = [], [], []
    for letter in letters:
        if (letter["origin_id"] or "").isdecimal():
            rows.append(int(letter["origin_id"]))
            of.append(letter["id"])
        else:
            unable.append(letter["id"])
    return rows, of, unable
