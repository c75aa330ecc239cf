"""The way back of pushes: each record's in their order, and none that a newer one has made moot."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from syncd.store.outbox import OUTBOX
from syncd.store.outbox_turns import NEWER_BY_KEY, NEWER_BY_MATCH, OVERTAKEN, SAME_FIELDS
from syncd.store.returned import LIVES, ROWS, Returned, lives, named

NEWER_GOES_FIRST = "a newer push of the record is under way"
OLDER_GOES_FIRST = "an older push of the record goes first"
_SOME = "FROM unnest($2::bigint[]) l(id) JOIN syncd.outbox o ON o.integration = $1 AND o.id = l.id"
_ALIVE = "n.state IN ('waiting', 'taken', 'unknown')"
_UNDER_WAY = f"""
WITH newer AS MATERIALIZED (
    SELECT o.id AS of, n.id {_SOME} CROSS JOIN LATERAL (
        SELECT n.id FROM syncd.outbox n WHERE {NEWER_BY_KEY} AND {_ALIVE}
        UNION SELECT n.id FROM syncd.outbox n WHERE {NEWER_BY_MATCH} AND {_ALIVE}
    ) n
)
SELECT w.of AS id, n.state FROM newer w JOIN syncd.outbox n ON n.integration = $1 AND n.id = w.id AND {_ALIVE}
ORDER BY n.id FOR UPDATE OF n
"""
"""Newer pushes of the records of some pushes, locked."""
_DONE = f"""
SELECT o.id {_SOME} CROSS JOIN LATERAL (
    (SELECT FROM syncd.outbox n WHERE {NEWER_BY_KEY} AND n.state = 'done' AND {SAME_FIELDS} LIMIT 1)
    UNION ALL (SELECT FROM syncd.outbox n WHERE {NEWER_BY_MATCH} AND n.state = 'done' AND {SAME_FIELDS} LIMIT 1)
    LIMIT 1
) newer
"""
"""Which of some pushes a newer one has overtaken."""


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


async def return_pushes(
    connection: asyncpg.Connection, integration: str, letters: Sequence[asyncpg.Record], now: datetime, most: int
) -> Returned:
    """The push waits again under its own idempotency key, unless a newer one of the record was done.

    One that is written and sent between our look and our commit is noticed when this one is taken.
    """
    ids, of, unable = named(letters)
    found = Returned(unable=unable)
    rows = await connection.fetch(
        "SELECT l.letter_id, o.id, o.state, o.resource, o.record_key FROM "
        f"{ROWS} JOIN syncd.outbox o ON o.integration = $1 AND o.id = l.id ORDER BY o.id FOR UPDATE OF o",
        integration,
        ids,
        of,
    )
    # Newer ones that wait are locked: none of them begins between this look and our commit.
    newer = await connection.fetch(
        _UNDER_WAY,
        integration,
        ids,
    )
    under_way = {each["id"] for each in newer if each["state"] != "waiting"}
    done = await connection.fetch(_DONE, integration, ids)
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
            f"FROM {LIVES} WHERE q.integration = $1 AND q.id = l.id AND q.state = 'buried'",
            integration,
            list(back),
            found.ids,
            lives(letters, found.ids),
        )
        await connection.execute("SELECT pg_notify($1, $2)", OUTBOX, integration)
    return found
