"""Table `validators`: by what a listing of one answer was known, so that the partner need not send it again unchanged.

A row says two things: the partner's listing was so, and what is stored is just that. Whoever writes to the resource
afterwards, by a webhook, a push or another adapter, makes the second untrue, and the row is of no more use.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from syncd.store.database import Database, again_after_conflict

_STANDS = """
SELECT count(*) FILTER (WHERE deleted_at IS NULL) AS records, coalesce(sum(row_version), 0) AS versions
FROM syncd.records WHERE integration = $1 AND resource = $2
"""


@dataclass(frozen=True, slots=True)
class Validator:
    """What is sent back to the partner, and what it is good for."""

    etag: str | None
    modified: str | None
    """The header Last-Modified, as it came."""
    reading: str
    """Of the call and of how its answer is read."""
    told_at: datetime
    """When the listing itself was read, by our clock."""
    records: int = 0
    """Live records then."""


class Validators:
    """Of whole listings."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, integration: str, resource: str) -> Validator | None:
        """None where there is none, or where anything of the resource was written since."""
        row = await self._database.fetchrow(
            f"SELECT v.* FROM syncd.validators v, LATERAL ({_STANDS}) s WHERE v.integration = $1 AND v.resource = $2 "
            "AND (v.records, v.versions) = (s.records, s.versions) AND EXISTS (SELECT FROM syncd.passes p "
            "WHERE p.integration = $1 AND p.resource = $2 AND p.completed_at IS NOT NULL)",
            integration,
            resource,
        )
        if row is None:
            return None
        return Validator(row["etag"], row["modified"], row["reading"], row["told_at"], row["records"])

    async def keep(self, integration: str, resource: str, found: Validator | None) -> None:
        """Remember it of what is stored at this moment; None: forget."""
        if found is None:
            await self._database.execute(
                "DELETE FROM syncd.validators WHERE integration = $1 AND resource = $2", integration, resource
            )
            return
        await self._database.execute(
            "INSERT INTO syncd.validators AS v (integration, resource, etag, modified, reading, told_at, records, versions) "
            f"SELECT $1, $2, $3, $4, $5, $6, s.records, s.versions FROM ({_STANDS}) s "
            "ON CONFLICT (integration, resource) DO UPDATE SET etag = excluded.etag, modified = excluded.modified, "
            "reading = excluded.reading, told_at = excluded.told_at, records = excluded.records, "
            "versions = excluded.versions",
            integration,
            resource,
            found.etag,
            found.modified,
            found.reading,
            found.told_at,
        )

    @again_after_conflict
    async def repeat(
        self, integration: str, resource: str, *, scope: str, fence: int, run_id: int, calls: int, waited_seconds: float
    ) -> None:
        """The complete pass in progress shows what the last one showed. Counts it with the run. Raises OwnershipError."""
        async with self._database.transaction() as connection:
            await connection.execute("SELECT syncd.assert_owned($1, $2)", scope, fence)
            await connection.execute(
                "INSERT INTO syncd.pass_pages (integration, resource, pass_id, ids) "
                "SELECT g.integration, g.resource, c.pass_id, g.ids FROM syncd.checkpoints c "
                "JOIN syncd.pass_pages g ON g.integration = c.integration AND g.resource = c.resource AND g.pass_id = ("
                "  SELECT max(p.id) FROM syncd.passes p WHERE p.integration = $1 AND p.resource = $2 "
                "  AND p.completed_at IS NOT NULL) "
                "WHERE c.integration = $1 AND c.resource = $2 AND c.run_id = $3 AND c.pass_id IS NOT NULL",
                integration,
                resource,
                run_id,
            )
            await connection.execute(
                "UPDATE syncd.runs SET pages = pages + 1, unchanged = unchanged + v.records, calls = calls + $4, "
                "waited_seconds = waited_seconds + $5 FROM syncd.validators v "
                "WHERE runs.integration = $1 AND runs.id = $3 AND v.integration = $1 AND v.resource = $2",
                integration,
                resource,
                run_id,
                calls,
                waited_seconds,
            )
