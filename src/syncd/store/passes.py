"""Tables `passes`, `pass_pages` and `pass_parts`: what complete listings show. What that says of deletion: `sweeps.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncd.store.database import Database

_SHOWN = """
SELECT p.part, count(DISTINCT s.id) AS ids,
    (SELECT sum(q.listed) FROM syncd.pass_parts q WHERE (q.integration, q.resource, q.pass_id, q.part)
        = (p.integration, p.resource, p.pass_id, p.part)) AS listed,
    (array_agg(p.stated ORDER BY p.page))[1] AS stated
FROM syncd.checkpoints c
JOIN syncd.pass_parts p ON p.integration = c.integration AND p.resource = c.resource AND p.pass_id = c.pass_id
LEFT JOIN LATERAL unnest(p.ids) AS s(id) ON true
WHERE c.integration = $1 AND c.resource = $2 GROUP BY p.integration, p.resource, p.pass_id, p.part
ORDER BY min(p.page)
"""

_REPEATED = """
SELECT w.id FROM unnest($3::text[]) AS w(id) CROSS JOIN LATERAL (
    SELECT max(of_one.rows) AS rows FROM (
        SELECT count(*) AS rows FROM syncd.pass_parts p
        WHERE p.integration = $1 AND p.resource = $2 AND w.id = ANY (p.ids) AND p.pass_id >= (
            SELECT coalesce(max(l.id), 0) FROM syncd.passes l
            WHERE l.integration = $1 AND l.resource = $2 AND l.completed_at IS NOT NULL)
        GROUP BY p.pass_id) of_one) f
WHERE f.rows > 1
"""


@dataclass(frozen=True, slots=True)
class Part:
    """What the pass in progress has shown of one part of its listing."""

    name: str
    ids: int
    """Different records."""
    listed: int
    """Rows, repeated ones too."""
    stated: int | None
    """How many the partner said at first."""


class Passes:
    """Complete listings, and the one in progress."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seen(self, integration: str, resource: str) -> int:
        """How many different records the pass in progress has shown so far."""
        found: int = await self._database.fetchval(
            "SELECT count(DISTINCT s.id) FROM syncd.checkpoints c JOIN syncd.pass_pages p "
            "ON p.integration = c.integration AND p.resource = c.resource AND p.pass_id = c.pass_id "
            "CROSS JOIN LATERAL unnest(p.ids) AS s(id) WHERE c.integration = $1 AND c.resource = $2",
            integration,
            resource,
        )
        return found

    async def parts(self, integration: str, resource: str) -> list[Part]:
        """What the pass in progress has shown so far of each part of its listing; nothing where that is one."""
        found = await self._database.fetch(_SHOWN, integration, resource)
        return [Part(each["part"], each["ids"], each["listed"], each["stated"]) for each in found]

    async def places(self, integration: str, resource: str) -> set[str]:
        """The properties, accounts or the like that the last complete pass listed, empty ones too."""
        found = await self._database.fetch(
            "SELECT DISTINCT split_part(part, '/', 1) AS place FROM syncd.pass_parts "
            "WHERE listed >= 0 AND (integration, resource, pass_id) = ($1, $2, (SELECT max(id) FROM syncd.passes "
            "WHERE integration = $1 AND resource = $2 AND completed_at IS NOT NULL))",
            integration,
            resource,
        )
        return {each["place"] for each in found}

    async def repeated(self, integration: str, resource: str, ids: Sequence[str]) -> set[str]:
        """Those that stood on several pages of this pass so far, or of the one before."""
        return {each["id"] for each in await self._database.fetch(_REPEATED, integration, resource, list(ids))}
