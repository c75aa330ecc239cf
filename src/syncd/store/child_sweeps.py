"""Deletion below one parent: what two complete listings of a parent's children in a row missed is gone (R9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from syncd.model import History
from syncd.store.database import BY_KEY, OVER_ALL, Database, again_after_conflict
from syncd.store.graves import bury
from syncd.store.guard import USUAL, Guard, Sweep, held_note
from syncd.store.sweeps import hold


class ChildSweeps:
    """What listings below parents say about deletion."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @again_after_conflict
    async def sweep(
        self,
        integration: str,
        resource: str,
        parent_id: str,
        seen_ids: Sequence[str],
        *,
        began_at: datetime,
        scope: str,
        fence: int,
        guard: Guard = USUAL,
        confirmed: bool = False,
        history: History | Mapping[str, History] = History.CHANGES,
        cause: str = "",
    ) -> Sweep:
        """After a complete listing below one parent: missed once is remembered, missed twice is buried.

        `began_at` is when the listing began. The guard counts all children of the resource that are missed at present.
        """
        now = self._database.clock.now()
        async with self._database.transaction() as connection:
            await connection.execute("SELECT syncd.assert_owned($1, $2)", scope, fence)
            rows = await connection.fetch(
                "SELECT external_id, missed_at, external_id = ANY($4::text[]) AS seen FROM syncd.records "
                "WHERE integration = $1 AND resource = $2 AND parent_id = $3 AND deleted_at IS NULL "
                "AND (fetched_at < $5 OR fetched_at > $6::timestamptz + interval '1 minute')",
                integration,
                resource,
                parent_id,
                list(seen_ids),
                began_at,
                now,
            )
            back = [each["external_id"] for each in rows if each["seen"] and each["missed_at"] is not None]
            first = [each["external_id"] for each in rows if not each["seen"] and each["missed_at"] is None]
            gone = [
                each["external_id"]
                for each in rows
                if not each["seen"] and each["missed_at"] is not None and each["missed_at"] < began_at
            ]
            if back or first:
                await connection.execute(
                    "UPDATE syncd.records SET missed_at = CASE WHEN external_id = ANY($4::text[]) THEN $5::timestamptz END "
                    "WHERE integration = $1 AND resource = $2 AND external_id = ANY($3::text[])",
                    integration,
                    resource,
                    sorted(back + first),
                    first,
                    began_at,
                )
            missed = len(first) + len(gone)
            if not missed:
                return Sweep(total=len(rows))
            await connection.execute(OVER_ALL)
            live, marked = await connection.fetchrow(
                "SELECT count(*), count(missed_at) FROM syncd.records "
                "WHERE integration = $1 AND resource = $2 AND deleted_at IS NULL",
                integration,
                resource,
            )
            await connection.execute(BY_KEY)
            if marked > guard.limit(live) and not confirmed:
                reason = f"{marked} of {live} are missed by listings below their parents"
                examples = (gone or first)[:5]
                note = held_note(marked, live, guard.limit(live), reason, now.isoformat(), examples)
                await hold(connection, integration, resource, note)
                return Sweep(held=missed, missed=missed, total=len(rows), reason=reason)
            died = await bury(
                connection,
                integration,
                resource,
                gone,
                fetched_at=began_at,
                now=now,
                history=history,
                cause=f"{cause}: listing below {parent_id}" if cause else f"listing below {parent_id}",
            )
            return Sweep(deleted=len(died), missed=missed, total=len(rows))
