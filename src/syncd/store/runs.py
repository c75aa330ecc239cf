"""Table `runs`: how each pull of a resource went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.store.burying import NewDeadLetter, insert_letter
from syncd.store.database import Database, again_after_conflict
from syncd.store.task_turns import Task


@dataclass(frozen=True, slots=True)
class Run:
    """One pull."""

    integration: str
    id: int
    resource: str
    scope: str
    fence: int
    mode: str
    trigger: str
    pass_id: int | None
    started_at: datetime
    ended_at: datetime | None
    outcome: str
    pages: int
    added: int
    updated: int
    deleted: int
    unchanged: int
    stale: int
    rejected: int
    calls: int
    waited_seconds: float
    watermark: datetime | None
    explanation: Mapping[str, Any] | None
    drift_added: int | None = None
    """Of a complete pass: records it added that fresher ways had missed; None: not a pass that can tell."""
    drift_updated: int | None = None
    drift_deleted: int | None = None


_RUN_COLUMNS = ", ".join(Run.__slots__)


class Runs:
    """How the pulls went."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, integration: str, run_id: int) -> Run | None:
        found = await self._database.fetchrow(
            f"SELECT {_RUN_COLUMNS} FROM syncd.runs WHERE integration = $1 AND id = $2",
            integration,
            run_id,
        )
        return Run(**dict(found)) if found is not None else None

    async def list(self, integration: str | None = None, resource: str | None = None, *, limit: int = 50) -> list[Run]:
        """The latest, newest first."""
        found = await self._database.fetch(
            f"SELECT {_RUN_COLUMNS} FROM syncd.runs WHERE ($1::text IS NULL OR integration = $1) "
            "AND ($2::text IS NULL OR resource = $2) ORDER BY id DESC LIMIT $3",
            integration,
            resource,
            limit,
        )
        return [Run(**dict(each)) for each in found]

    async def latest(self, integration: str | None = None) -> Sequence[Run]:
        """The last run of each resource."""
        found = await self._database.fetch(
            f"SELECT r.* FROM syncd.checkpoints c CROSS JOIN LATERAL (SELECT {_RUN_COLUMNS} FROM syncd.runs "
            "WHERE integration = c.integration AND resource = c.resource ORDER BY id DESC LIMIT 1) r "
            "WHERE $1::text IS NULL OR c.integration = $1 ORDER BY r.integration, r.resource",
            integration,
        )
        return [Run(*each) for each in found]

    async def telling(self, integrations: Sequence[str], *, each: int) -> Sequence[Run]:
        """What says how much a resource costs, newest first: its latest runs that ended well, so many of each, and all ended
        runs of its last complete pass, however long ago that was.
        """
        found = await self._database.fetch(
            "SELECT r.* FROM syncd.checkpoints c LEFT JOIN LATERAL (SELECT coalesce(pass_id, id) AS first, id AS last "
            "FROM syncd.runs WHERE integration = c.integration AND resource = c.resource AND mode = 'full' "
            "AND outcome = 'done' ORDER BY id DESC LIMIT 1) pass ON true CROSS JOIN LATERAL ("
            f"(SELECT {_RUN_COLUMNS} FROM syncd.runs WHERE integration = c.integration AND resource = c.resource "
            "AND outcome = 'done' ORDER BY id DESC LIMIT $2) UNION "
            f"(SELECT {_RUN_COLUMNS} FROM syncd.runs WHERE integration = c.integration AND resource = c.resource "
            "AND id BETWEEN pass.first AND pass.last AND coalesce(pass_id, id) = pass.first AND ended_at IS NOT NULL)"
            ") r WHERE c.integration = ANY($1) ORDER BY r.integration, r.resource, r.id DESC",
            list(integrations),
            each,
        )
        return [Run(**dict(one)) for one in found]

    async def recent(self, integrations: Sequence[str], *, each: int) -> Sequence[Run]:
        """The latest finished runs of each resource of these integrations, newest first."""
        found = await self._database.fetch(
            f"SELECT r.* FROM syncd.checkpoints c CROSS JOIN LATERAL (SELECT {_RUN_COLUMNS} FROM syncd.runs "
            "WHERE integration = c.integration AND resource = c.resource AND ended_at IS NOT NULL "
            "ORDER BY id DESC LIMIT $2) r WHERE c.integration = ANY($1) ORDER BY r.integration, r.resource, r.id DESC",
            list(integrations),
            each,
        )
        return [Run(*each) for each in found]

    @again_after_conflict
    async def bury(self, letter: NewDeadLetter, wishes: Sequence[Task]) -> bool:
        """A run has failed for good: its letter is stored and the wishes it was for are gone, or neither.

        False where a wish was no longer ours. If that is the replay of the former letter, no letter is stored: whoever has
        it in hand runs once more, and what comes of that is what the replay came to.
        """
        async with self._database.transaction() as connection:
            ended = await connection.fetch(
                "DELETE FROM syncd.tasks t USING unnest($2::bigint[], $3::bigint[]) AS w(id, fence) "
                "WHERE t.integration = $1 AND t.id = w.id AND t.state = 'taken' AND t.taken_fence = w.fence RETURNING t.id",
                letter.integration,
                [wish.id for wish in wishes],
                [wish.taken_fence for wish in wishes],
            )
            ours = {each["id"] for each in ended}
            strays = [wish for wish in wishes if wish.id not in ours]
            if letter.former_id is None or all(wish.letter_id != letter.former_id for wish in strays):
                await insert_letter(connection, letter, self._database.clock.now())
        return not strays

    async def add_drift(
        self, integration: str, run_id: int, *, added: int = 0, updated: int = 0, deleted: int = 0
    ) -> None:
        """Count what a complete pass mended; zeros say that it can tell."""
        await self._database.execute(
            "UPDATE syncd.runs SET drift_added = coalesce(drift_added, 0) + $3, "
            "drift_updated = coalesce(drift_updated, 0) + $4, drift_deleted = coalesce(drift_deleted, 0) + $5 "
            "WHERE integration = $1 AND id = $2",
            integration,
            run_id,
            added,
            updated,
            deleted,
        )

    async def drifts(self, integrations: Sequence[str]) -> dict[tuple[str, str], tuple[int, int, int]]:
        """What the last complete pass of each resource mended, where it could tell: added, updated, deleted."""
        found = await self._database.fetch(
            "SELECT c.integration, c.resource, d.added, d.updated, d.deleted FROM syncd.checkpoints c "
            "CROSS JOIN LATERAL (SELECT coalesce(pass_id, id) AS first FROM syncd.runs "
            "WHERE integration = c.integration AND resource = c.resource AND mode = 'full' AND outcome = 'done' "
            "ORDER BY id DESC LIMIT 1) pass "
            "CROSS JOIN LATERAL (SELECT sum(drift_added)::bigint AS added, sum(drift_updated)::bigint AS updated, "
            "sum(drift_deleted)::bigint AS deleted FROM syncd.runs WHERE integration = c.integration "
            "AND resource = c.resource AND id >= pass.first AND coalesce(pass_id, id) = pass.first) d "
            "WHERE c.integration = ANY($1::text[]) AND d.added IS NOT NULL",
            list(integrations),
        )
        return {(each[0], each[1]): (each[2], each[3], each[4]) for each in found}

    async def drift_of_pass(self, integration: str, resource: str, pass_id: int) -> tuple[int, int, int]:
        """What all runs of one pass mended: added, updated, deleted."""
        found = await self._database.fetchrow(
            "SELECT coalesce(sum(drift_added), 0)::bigint, coalesce(sum(drift_updated), 0)::bigint, "
            "coalesce(sum(drift_deleted), 0)::bigint FROM syncd.runs "
            "WHERE integration = $1 AND resource = $2 AND id >= $3 AND coalesce(pass_id, id) = $3",
            integration,
            resource,
            pass_id,
        )
        return (found[0], found[1], found[2]) if found is not None else (0, 0, 0)
