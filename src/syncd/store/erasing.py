"""What a partner erased leaves no trace here: the old values of a record go in the transaction that stores it without them.

A page without such a record costs nothing of this. One with such a record is asked first whether anything is left to take
away: most of what says "erased" said so before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
import structlog

from syncd.store.rows import Row

log = structlog.get_logger()

ERASED = "erased: "
"""What the cause of a change begins with whose values are gone."""
_NOTHING = """('null', '""', '[]', '{}')"""
_ASKED = "jsonb_to_recordset($2::jsonb) AS i(place int, resource text, id text, names jsonb, hash text)"
_OF_RECORD = "{0}.integration = $1 AND {0}.resource = i.resource AND {0}.external_id = i.id"

_LEFT = f"""
SELECT i.place FROM {_ASKED}
WHERE EXISTS (
    SELECT FROM syncd.records r CROSS JOIN LATERAL jsonb_each(r.data) f
    WHERE {_OF_RECORD.format("r")} AND i.names ? f.key AND f.value NOT IN {_NOTHING}
) OR EXISTS (
    SELECT FROM syncd.changes c WHERE {_OF_RECORD.format("c")} AND i.names ? c.field
        AND (coalesce(c.old, 'null') NOT IN {_NOTHING} OR coalesce(c.new, 'null') NOT IN {_NOTHING})
)
"""
_CHANGES = f"""
WITH gone AS MATERIALIZED (
    SELECT i.resource, i.id, i.names, ARRAY(SELECT jsonb_array_elements_text(i.names)) AS list FROM {_ASKED}
    WHERE EXISTS (SELECT FROM syncd.records r WHERE {_OF_RECORD.format("r")}
        AND i.hash IN (encode(r.content_hash, 'hex'), encode(r.sparse_hash, 'hex')))
), blanked AS (
    UPDATE syncd.changes c SET
        old = CASE WHEN c.field = '' THEN c.old - i.list END,
        new = CASE WHEN c.field = '' THEN c.new - i.list END,
        cause = CASE WHEN c.cause LIKE '{ERASED}%' THEN c.cause ELSE '{ERASED}' || c.cause END
    FROM gone i
    WHERE {_OF_RECORD.format("c")} AND (i.names ? c.field OR c.field = '' AND coalesce(c.old, c.new) ?| i.list)
    RETURNING c.resource, c.external_id
)
SELECT i.resource, i.id, (SELECT count(*) FROM blanked b WHERE b.resource = i.resource AND b.external_id = i.id) AS changes
FROM gone i
"""
_KEYS = "(SELECT * FROM unnest($2::text[], $3::text[]))"
_BESIDE = {
    "deliveries": f"""
UPDATE syncd.inbox SET body = NULL
WHERE integration = $1 AND (resource, external_id) IN {_KEYS} AND body IS NOT NULL AND state IN ('done', 'dropped', 'buried')
""",
    "dead_letters": f"""
UPDATE syncd.dead_letters SET
    request = request - '{{body,data,headers,params}}'::text[] || '{{"erased": true}}',
    response = response - '{{body,headers}}'::text[],
    traceback = NULL, payload = CASE WHEN state = 'open' THEN payload ELSE '{{}}' END
WHERE integration = $1 AND (resource, external_id) IN {_KEYS}
""",
    "pushes": f"""
UPDATE syncd.outbox SET payload = '{{}}', answer = NULL
WHERE integration = $1 AND (resource, external_id) IN {_KEYS} AND state IN ('done', 'dropped')
""",
    "rejects": f"DELETE FROM syncd.rejects WHERE integration = $1 AND (resource, external_id) IN {_KEYS}",
    "files": f"DELETE FROM syncd.media WHERE integration = $1 AND (resource, external_id) IN {_KEYS}",
    "trials": f"""
UPDATE syncd.adapter_trials t SET examples = '[]' WHERE integration = $1 AND EXISTS (
    SELECT FROM jsonb_array_elements(t.examples) e WHERE (t.resource, e ->> 'id') IN {_KEYS})
""",
    "renormalizations": f"""
UPDATE syncd.renormalizations t SET examples = '[]' WHERE integration = $1 AND EXISTS (
    SELECT FROM jsonb_array_elements(t.examples) e WHERE (t.resource, e ->> 'id') IN {_KEYS})
""",
}


def wanted(rows: Sequence[Row]) -> bool:
    """Is there a record among these of which something is to be forgotten?"""
    return any(row.erased for row in rows)


async def left(connection: asyncpg.Connection, integration: str, rows: Sequence[Row]) -> list[Row]:
    """The records of which something is still kept that these leave out. Asked before they are stored."""
    found = [row for row in rows if row.erased]
    if not found:
        return []
    answer = await connection.fetch(_LEFT, integration, _asked(found))
    return [found[row["place"]] for row in answer]


async def erase(connection: asyncpg.Connection, integration: str, rows: Sequence[Row]) -> None:
    """Take their old values away, where these rows are what is stored now: a version that came too late erases nothing."""
    if not rows:
        return
    gone = await connection.fetch(_CHANGES, integration, _asked(rows))
    if not gone:
        return
    resources, ids = [row["resource"] for row in gone], [row["id"] for row in gone]
    counts = {
        name: int((await connection.execute(sql, integration, resources, ids)).rpartition(" ")[2])
        for name, sql in _BESIDE.items()
    }
    for row in gone:
        log.info(
            "record_erased",
            integration=integration,
            resource=row["resource"],
            record_id=row["id"],
            changes=row["changes"],
        )
    if any(counts.values()):
        log.info("traces_erased", integration=integration, **counts)


def _asked(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {
            "place": place,
            "resource": row.resource,
            "id": row.external_id,
            "names": list(row.erased),
            "hash": row.content_hash.hex(),
        }
        for place, row in enumerate(rows)
    ]
