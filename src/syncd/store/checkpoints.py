"""Table `checkpoints`: where each resource stands, and which run goes on from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from syncd.errors import OwnershipError
from syncd.model import Checkpoint, Mode, Outcome
from syncd.store.database import Database, again_after_conflict


@dataclass(frozen=True, slots=True)
class Stand:
    """All there is to know of where a resource stands."""

    checkpoint: Checkpoint
    pass_id: int | None
    """The complete listing in progress or last begun; its id is that of the run that began it."""
    listed: bool
    """The last page of the listing in progress is stored: only the run's end is missing."""
    newest_at: datetime | None
    """Newest change the listing in progress has shown, earlier runs of it included."""
    ceiling_at: datetime | None
    """The partner's own time when the listing in progress began."""
    started_at: datetime | None
    """Our time when the listing in progress began."""
    passed_at: datetime | None
    """When the last complete pass ended."""
    held: Mapping[str, Any] | None
    """Deletions that wait for a person: missed, live, limit, reason, since, examples."""
    updated_at: datetime
    good_at: datetime | None = None
    """When the last run that ended well ended, complete or not; known from `list` alone."""


class Checkpoints:
    """Where the resources stand."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, integration: str, resource: str) -> Checkpoint | None:
        """Where a resource stands, or None before its first run."""
        stand = await self.stand(integration, resource)
        return stand.checkpoint if stand is not None else None

    async def stand(self, integration: str, resource: str) -> Stand | None:
        """`get` with all the rest."""
        found = await self._database.fetchrow(
            "SELECT * FROM syncd.checkpoints WHERE integration = $1 AND resource = $2", integration, resource
        )
        return _stand(found) if found is not None else None

    async def list(self, integration: str | None = None) -> list[Stand]:
        """All of an integration, or of everything."""
        found = await self._database.fetch(
            "SELECT c.*, good.ended_at AS good_at FROM syncd.checkpoints c LEFT JOIN LATERAL ("
            "SELECT ended_at FROM syncd.runs WHERE integration = c.integration AND resource = c.resource "
            "AND outcome = 'done' ORDER BY id DESC LIMIT 1) good ON true "
            "WHERE $1::text IS NULL OR c.integration = $1 ORDER BY c.integration, c.resource",
            integration,
        )
        return [_stand(each) for each in found]

    @again_after_conflict
    async def begin(
        self,
        integration: str,
        resource: str,
        mode: Mode,
        *,
        scope: str,
        fence: int,
        trigger: str = "schedule",
        restart: bool = False,
    ) -> tuple[Checkpoint, int]:
        """Start a run, or go on with one that did not end; returns the checkpoint and the run's id.

        A run left RUNNING by a dead process is taken over as it is. One that ended CUT or FAILED part way is continued at
        its cursor by a new run of the same listing. Another mode than the unfinished one, or `restart`, begins anew: what
        was left running is CUT then. Raises OwnershipError when the scope is not ours.
        """
        now = self._database.clock.now()
        async with self._database.transaction() as connection:
            await connection.execute("SELECT syncd.assert_owned($1, $2)", scope, fence)
            await connection.execute(
                "INSERT INTO syncd.checkpoints (integration, resource, mode, updated_at) VALUES ($1, $2, $3, $4) "
                "ON CONFLICT DO NOTHING",
                integration,
                resource,
                mode.value,
                now,
            )
            found = await connection.fetchrow(
                "SELECT * FROM syncd.checkpoints WHERE integration = $1 AND resource = $2 FOR UPDATE",
                integration,
                resource,
            )
            unfinished = found["run_id"] is not None or found["cursor"] is not None or found["listed"]
            goes_on = unfinished and not restart and found["mode"] == mode.value
            run_id = found["run_id"]
            if run_id is not None and goes_on:
                await connection.execute(
                    "UPDATE syncd.runs SET fence = $3, scope = $4 WHERE integration = $1 AND id = $2",
                    integration,
                    run_id,
                    fence,
                    scope,
                )
            else:
                if run_id is not None:
                    await connection.execute(
                        "UPDATE syncd.runs SET outcome = 'cut', ended_at = $3 WHERE integration = $1 AND id = $2",
                        integration,
                        run_id,
                        now,
                    )
                run_id = await connection.fetchval(
                    "INSERT INTO syncd.runs (integration, resource, scope, fence, mode, trigger, started_at) "
                    "VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
                    integration,
                    resource,
                    scope,
                    fence,
                    mode.value,
                    trigger,
                    now,
                )
            row = await self._begin(connection, integration, resource, mode, fence, run_id, goes_on, now)
            return _stand(row).checkpoint, run_id

    async def _begin(
        self,
        connection: asyncpg.Connection,
        integration: str,
        resource: str,
        mode: Mode,
        fence: int,
        run_id: int,
        goes_on: bool,
        now: datetime,
    ) -> asyncpg.Record:
        if goes_on:
            return await connection.fetchrow(
                "WITH run AS (UPDATE syncd.runs r SET pass_id = c.pass_id FROM syncd.checkpoints c WHERE r.integration = $1 "
                "AND r.id = $3 AND c.integration = $1 AND c.resource = $2) "
                "UPDATE syncd.checkpoints SET run_id = $3, fence = $4, updated_at = $5 "
                "WHERE integration = $1 AND resource = $2 RETURNING *",
                integration,
                resource,
                run_id,
                fence,
                now,
            )
        pass_id = run_id if mode is Mode.FULL else None
        if pass_id is not None:
            await connection.execute(
                "INSERT INTO syncd.passes (integration, resource, id, started_at) VALUES ($1, $2, $3, $4)",
                integration,
                resource,
                pass_id,
                now,
            )
            await connection.execute(
                "UPDATE syncd.runs SET pass_id = $2 WHERE integration = $1 AND id = $2", integration, pass_id
            )
        return await connection.fetchrow(
            "UPDATE syncd.checkpoints SET mode = $3, run_id = $4, pass_id = $5, fence = $6, cursor = NULL, listed = false, "
            "newest_at = NULL, ceiling_at = NULL, started_at = $7, updated_at = $7 "
            "WHERE integration = $1 AND resource = $2 RETURNING *",
            integration,
            resource,
            mode.value,
            run_id,
            pass_id,
            fence,
            now,
        )

    @again_after_conflict
    async def finish(
        self,
        integration: str,
        resource: str,
        run_id: int,
        *,
        fence: int,
        outcome: Outcome,
        watermark: datetime | None = None,
        complete: bool = False,
        restart: bool = False,
        explanation: Mapping[str, Any] | None = None,
        calls: int = 0,
        waited_seconds: float = 0.0,
    ) -> None:
        """End a run. Raises OwnershipError when it is no longer ours.

        DONE moves the watermark (never back) and clears the cursor; `complete` counts the listing as a complete pass (R9).
        After CUT and FAILED the next run goes on at the cursor, unless `restart` says that it is of no more use.
        `calls` and `waited_seconds` are those not counted with a page.
        """
        now = self._database.clock.now()
        forget = restart or outcome is Outcome.DONE
        async with self._database.transaction() as connection:
            found = await connection.fetchrow(
                "UPDATE syncd.checkpoints SET run_id = NULL, updated_at = $5, "
                "cursor = CASE WHEN $6 THEN NULL ELSE cursor END, listed = listed AND NOT $6, "
                "watermark = greatest(watermark, $7), passes = passes + $8::int, "
                "passed_at = CASE WHEN $8::int = 1 THEN $5 ELSE passed_at END "
                "WHERE integration = $1 AND resource = $2 AND run_id = $3 AND fence = $4 RETURNING pass_id, watermark",
                integration,
                resource,
                run_id,
                fence,
                now,
                forget,
                watermark if outcome is Outcome.DONE else None,
                int(complete and outcome is Outcome.DONE),
            )
            if found is None:
                raise OwnershipError(f"run {run_id} of {integration}/{resource} is no longer ours to end")
            await connection.execute(
                "UPDATE syncd.runs SET outcome = $3, ended_at = $4, calls = calls + $5, "
                "waited_seconds = waited_seconds + $6, watermark = $7, explanation = $8 WHERE integration = $1 AND id = $2",
                integration,
                run_id,
                outcome.value,
                now,
                calls,
                waited_seconds,
                found["watermark"],
                dict(explanation) if explanation is not None else None,
            )
            if complete and outcome is Outcome.DONE and found["pass_id"] is not None:
                await connection.execute(
                    "UPDATE syncd.passes SET completed_at = $4 WHERE integration = $1 AND resource = $2 AND id = $3",
                    integration,
                    resource,
                    found["pass_id"],
                    now,
                )

    async def reset(self, integration: str, resource: str) -> None:
        """Forget cursor, watermark and passes: the next run starts from nothing. Records stay."""
        await self._database.execute(
            "UPDATE syncd.checkpoints SET cursor = NULL, listed = false, watermark = NULL, passes = 0, held = NULL "
            "WHERE integration = $1 AND resource = $2 AND run_id IS NULL",
            integration,
            resource,
        )


def _stand(row: asyncpg.Record) -> Stand:
    checkpoint = Checkpoint(
        integration=row["integration"],
        resource=row["resource"],
        mode=Mode(row["mode"]),
        cursor=row["cursor"],
        run_id=row["run_id"],
        watermark=row["watermark"],
        passes=row["passes"],
        fence=row["fence"],
    )
    return Stand(
        checkpoint,
        row["pass_id"],
        row["listed"],
        row["newest_at"],
        row["ceiling_at"],
        row["started_at"],
        row["passed_at"],
        row["held"],
        row["updated_at"],
        row.get("good_at"),
    )
