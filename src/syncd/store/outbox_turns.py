"""Whose turn it is in `outbox`: of each record its oldest push, found at about the same cost however many wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from syncd import codec
from syncd.store.database import Database
from syncd.store.suspicion import SUSPECT, Suspicious


@dataclass(frozen=True, slots=True)
class PushRow(Suspicious):
    """One push as stored."""

    integration: str
    id: int
    resource: str
    external_id: str | None
    operation: str
    payload: Mapping[str, Any]
    idempotency_key: str
    state: str
    attempts: int
    """Takes, this one included; those that failed nobody are taken back."""
    lost: int
    """Takes that ended with the process."""
    suspicion: int
    not_before: datetime | None
    expires_at: datetime | None
    taken_fence: int | None
    sent_at: datetime | None
    unsure_since: datetime | None
    """Since when a try may have arrived, and nobody knows."""
    created_at: datetime
    finished_at: datetime | None
    cause: str
    reason: str | None
    answer: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Ready:
    """A push whose turn it is."""

    integration: str
    id: int
    resource: str
    suspicion: int


COLUMNS = ", ".join(PushRow.__slots__)
FIRST = (  # nothing older of the same record is under way
    "NOT EXISTS (SELECT FROM syncd.outbox p WHERE p.integration = o.integration AND p.resource = o.resource "
    "AND p.record_key = o.record_key AND p.id < o.id AND p.state IN ('waiting', 'taken', 'unknown'))"
)
_NEWER = "n.integration = o.integration AND n.resource = o.resource AND n.id > o.id AND "
NEWER_BY_KEY = f"{_NEWER} n.record_key = o.record_key"
NEWER_BY_MATCH = f"{_NEWER} n.ordered_by = nullif(o.ordered_by, '')"
"""Push `n` is a newer one of the record of push `o`: either of both. Each by its own index, which one condition for both
would have none of: a look would read all that came since."""
SAME_FIELDS = "o.replaces AND n.operation = o.operation AND n.payload ?| ARRAY(SELECT jsonb_object_keys(o.payload))"
"""Both set a state, and the newer one said something of what the older one says: to send the older one now would take that
back. What adds something (a comment, a new record) is never overtaken."""
OVERTAKEN = "a newer push of the record was done"
HELD = "EXISTS (SELECT FROM syncd.leases l WHERE l.scope = {scope} AND l.fence = $3)"
"""The scope is ours still."""
TAKE = f"""
WITH was AS (
    SELECT o.integration, o.id, o.state, o.letter_id IS NOT NULL AND (
               EXISTS (SELECT FROM syncd.outbox n WHERE {NEWER_BY_KEY} AND n.state = 'done' AND {SAME_FIELDS}) OR
               EXISTS (SELECT FROM syncd.outbox n WHERE {NEWER_BY_MATCH} AND n.state = 'done' AND {SAME_FIELDS})
           ) AS overtaken
    FROM syncd.outbox o
    WHERE o.integration = $1 AND o.id = $2 AND o.state IN ('waiting', 'unknown')
      AND (o.not_before IS NULL OR o.not_before <= $4) AND {FIRST} AND {HELD.format(scope="$5")}
      AND (o.letter_id IS NULL OR NOT (
          EXISTS (SELECT FROM syncd.outbox n WHERE {NEWER_BY_KEY} AND n.state = 'taken') OR
          EXISTS (SELECT FROM syncd.outbox n WHERE {NEWER_BY_MATCH} AND n.state = 'taken')))
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE syncd.outbox t
SET state = CASE WHEN overtaken THEN 'dropped' ELSE 'taken' END, attempts = t.attempts + 1, taken_at = $4,
    taken_fence = CASE WHEN NOT overtaken THEN $3::bigint END, finished_at = CASE WHEN overtaken THEN $4::timestamptz END,
    reason = CASE WHEN overtaken THEN $6 ELSE t.reason END
FROM was WHERE t.integration = was.integration AND t.id = was.id
RETURNING {
    ", ".join(
        "CASE WHEN overtaken THEN 'dropped' ELSE was.state END AS state" if name == "state" else f"t.{name}"
        for name in PushRow.__slots__
    )
}
"""
"""One that was replayed is looked at once more: a newer one of its record may have been written and sent before anybody saw
that the older one waits again."""


_MAY_GO = "(o.not_before IS NULL OR o.not_before <= $2) AND o.state IN ('waiting', 'unknown')"
_RESOURCES = """
WITH RECURSIVE next AS (
    (SELECT o.resource FROM syncd.outbox o
     WHERE o.integration = $1 AND o.state IN ('waiting', 'taken', 'unknown') ORDER BY o.resource LIMIT 1)
    UNION ALL
    SELECT (SELECT o.resource FROM syncd.outbox o WHERE o.integration = $1 AND o.state IN ('waiting', 'taken', 'unknown')
            AND o.resource > n.resource ORDER BY o.resource LIMIT 1)
    FROM next n WHERE n.resource IS NOT NULL
)
SELECT n.resource FROM next n WHERE n.resource IS NOT NULL
"""
"""Of which there are pushes that are not over: one step of the index for each."""


def _queues(also: str, limit: str) -> str:
    """Of each resource $4 those that were never put off, and those that were and are due: each half in the index's order."""
    halves = (
        "(SELECT w.* FROM syncd.outbox w WHERE w.integration = $1 AND w.resource = r.name "
        f"AND w.state IN ('waiting', 'unknown') AND {half} {also} ORDER BY w.not_before, w.id LIMIT {limit})"
        for half in ("w.not_before IS NULL", "w.not_before <= $2")
    )
    return f"unnest($4::text[]) AS r(name) CROSS JOIN LATERAL ({' UNION ALL '.join(halves)}) o"


_LOOK = f"""
SELECT o.integration, o.id, o.resource, o.suspicion
FROM {_queues("", "$5")}
WHERE (o.external_id IS NOT NULL OR o.ordered_by IS NOT NULL) AND {FIRST}
ORDER BY o.id LIMIT $3
"""
"""The first of those that never were put off, and of those whose time has come, where nothing older stands before them."""
_FREE = f"""
SELECT o.integration, o.id, o.resource, o.suspicion
FROM {_queues("AND w.ordered_by = '' AND w.external_id IS NULL", "$3")}
ORDER BY o.id LIMIT $3
"""
HEADS_AT_ONCE = 500
LOOKED_AT = 200
"""So many rows of a resource are looked at in their order."""
_OF = "o.integration = $1 AND o.state IN ('waiting', 'taken', 'unknown') AND o.resource = {}"
_FIRST_OF = f"""
SELECT f.* FROM unnest($5::text[]) AS r(name) CROSS JOIN LATERAL (
    SELECT o.resource, o.record_key, o.id FROM syncd.outbox o WHERE {_OF.format("r.name")} AND o.record_key IS NOT NULL
    ORDER BY o.record_key, o.id LIMIT 1
) f WHERE r.name > {{}} ORDER BY r.name LIMIT 1
"""
_NEXT_HEAD = f"""
(SELECT o.resource, o.record_key, o.id FROM syncd.outbox o WHERE {_OF.format("{0}")} AND o.record_key > {{1}}
 ORDER BY o.record_key, o.id LIMIT 1)
UNION ALL
({_FIRST_OF.format("{0}")})
LIMIT 1
"""
_HEADS = f"""
WITH RECURSIVE head AS (
    ({_NEXT_HEAD.format("$3::text", "$4::text")})
    UNION ALL
    SELECT n.* FROM head h CROSS JOIN LATERAL ({_NEXT_HEAD.format("h.resource", "h.record_key")}) n
)
SELECT h.resource, h.record_key, h.id, o.suspicion, {_MAY_GO} AS may_go
FROM (SELECT * FROM head LIMIT {HEADS_AT_ONCE}) h
CROSS JOIN LATERAL (SELECT * FROM syncd.outbox k WHERE k.integration = $1 AND k.id = h.id OFFSET 0) o
ORDER BY h.resource, h.record_key
"""
"""The oldest push of each of the next records, those of resource $3 above $4 first and then those of the next resources."""


UNORDERED_BYTES = 4 * 1024 * 1024
"""Bytes of payloads that are looked at together for what identifies their records; one is at most 1 MiB."""
_UNORDERED = f"""
SELECT {", ".join(f"o.{name}" for name in PushRow.__slots__)}
FROM (
    SELECT q.*, sum(q.bytes) OVER (ORDER BY q.id ROWS UNBOUNDED PRECEDING) - q.bytes AS before
    FROM (
        SELECT w.* FROM unnest($1::text[]) AS n(name) CROSS JOIN LATERAL (
            SELECT p.integration, p.id, p.bytes FROM syncd.outbox p
            WHERE p.integration = n.name AND p.state = 'waiting' AND p.external_id IS NULL AND p.ordered_by IS NULL
            ORDER BY p.id LIMIT $2
        ) w
        ORDER BY w.id LIMIT $2
    ) q
) b
CROSS JOIN LATERAL (SELECT * FROM syncd.outbox k WHERE k.integration = b.integration AND k.id = b.id OFFSET 0) o
WHERE b.before < $3
ORDER BY o.id
"""


class Turns:
    """The looks at the outbox."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._round: dict[str, tuple[str, str]] = {}
        """How far round its records the looks have come, by integration."""

    async def unordered(self, integrations: Sequence[str], *, limit: int = 500) -> list[PushRow]:
        """Pushes without an id of which nobody has said yet what identifies their record: the oldest, of so many bytes."""
        found = await self._database.fetch(_UNORDERED, list(integrations), limit, UNORDERED_BYTES)
        return [row_of(each) for each in found]

    async def doubt(self, pushes: Sequence[tuple[str, int]]) -> None:
        """What identifies their records is asked about now: a process that ends before `order` was ended by one of them."""
        await self._database.execute(
            f"UPDATE syncd.outbox o SET suspicion = greatest(o.suspicion + 1, {SUSPECT}) "
            "FROM unnest($1::text[], $2::bigint[]) AS k(name, id) "
            "WHERE o.integration = k.name AND o.id = k.id AND o.ordered_by IS NULL",
            [name for name, _ in pushes],
            [number for _, number in pushes],
        )

    async def order(self, keys: Mapping[tuple[str, int], str], *, settles: bool = True) -> None:
        """Say what identifies the record of each; empty: nothing does, and it goes at any time. `settles`: nothing is held
        against them.
        """
        names, ids = [name for name, _ in keys], [number for _, number in keys]
        await self._database.execute(
            "UPDATE syncd.outbox o SET ordered_by = k.value, suspicion = CASE WHEN $4 THEN 0 ELSE o.suspicion END "
            "FROM unnest($1::text[], $2::bigint[], $3::text[]) AS k(name, id, value) "
            "WHERE o.integration = k.name AND o.id = k.id AND o.ordered_by IS NULL",
            names,
            ids,
            codec.storable(list(keys.values())),
            settles,
        )

    async def ready(self, integrations: Sequence[str], *, limit: int, without: Sequence[str] = ()) -> list[Ready]:
        """Those whose turn it is, oldest first: of each record only its oldest. `without`: `integration/resource`.

        However many wait, a look costs about the same. Where many stand behind each other, others are found by going round
        the records, so many a look.
        """
        found: dict[int, Ready] = {}
        now, barred = self._database.clock.now(), set(without)
        for name in integrations:
            resources = [each[0] for each in await self._database.fetch(_RESOURCES, name)]
            free = [each for each in resources if f"{name}/{each}" not in barred]
            if not free:
                continue
            first = await self._database.fetch(_LOOK, name, now, limit, free, LOOKED_AT)
            some = {each["id"]: Ready(*each) for each in first}
            if len(some) < limit:
                some |= {each["id"]: Ready(*each) for each in await self._database.fetch(_FREE, name, now, limit, free)}
                some |= {each.id: each for each in await self._heads(name, now, free)}
            found |= {each: some[each] for each in sorted(some)[:limit]}
        return [found[each] for each in sorted(found)]

    async def _heads(self, integration: str, now: datetime, free: list[str]) -> list[Ready]:
        """The oldest push of each of the next so many records of these resources, where it may go now."""
        resource, key = self._round.get(integration, ("", ""))
        if resource not in free:
            resource, key = (
                next((each for each in free if each > resource), ""),
                "",
            )  # it may not go now: on with the next
        rows = await self._database.fetch(_HEADS, integration, now, resource, key, free)
        if len(rows) < HEADS_AT_ONCE:
            self._round.pop(integration, None)
        else:
            self._round[integration] = (rows[-1]["resource"], rows[-1]["record_key"])
        return [Ready(integration, row["id"], row["resource"], row["suspicion"]) for row in rows if row["may_go"]]


def row_of(found: asyncpg.Record) -> PushRow:
    return PushRow(**dict(found))
