"""Table `perils`: listings during which the process ended, and what the driver had in hand then.

There is no row of a listing that was never lost with the process, and none is written for it. The row goes when the listing
got through; the one of a resource that is parked stays until somebody has it tried again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from syncd.errors import OwnershipError
from syncd.store.database import Database

PULL = "pull"
BACKFILL = "backfill"

_COLUMNS = "integration, resource, work, lost, handled, suspects, since"
_OURS = "EXISTS (SELECT FROM syncd.leases l WHERE l.scope = {scope} AND l.fence = {fence})"


@dataclass(frozen=True, slots=True)
class Peril:
    """What is known of one listing."""

    integration: str
    resource: str
    work: str
    lost: int
    """So often the process ended while it was read."""
    handled: str | None
    """What the driver has in hand, as far as is known; None: nothing."""
    suspects: Mapping[str, int]
    """How often the process ended while the driver had this in hand."""
    since: datetime


class Perils:
    """What may be what ends the process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, integration: str, resource: str, work: str) -> Peril | None:
        """What is known of a listing; None where nothing was ever lost."""
        found = await self._database.fetchrow(
            f"SELECT {_COLUMNS} FROM syncd.perils WHERE integration = $1 AND resource = $2 AND work = $3",
            integration,
            resource,
            work,
        )
        return _peril(found) if found is not None else None

    async def list(self, integrations: Sequence[str]) -> list[Peril]:
        """Of these integrations."""
        found = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM syncd.perils WHERE integration = ANY($1::text[]) ORDER BY integration, resource, work",
            list(integrations),
        )
        return [_peril(each) for each in found]

    async def lost(self, integration: str, resource: str, work: str, *, scope: str, fence: int) -> Peril:
        """The process that read it has ended; what was in hand stays suspected. Raises OwnershipError when it is not ours."""
        found = await self._database.fetchrow(
            "INSERT INTO syncd.perils AS p (integration, resource, work, lost, since) "
            f"SELECT $1, $2, $3, 1, $4 WHERE {_OURS.format(scope='$5', fence='$6')} "
            f"ON CONFLICT (integration, resource, work) DO UPDATE SET lost = p.lost + 1, handled = NULL RETURNING {_COLUMNS}",
            integration,
            resource,
            work,
            self._database.clock.now(),
            scope,
            fence,
        )
        if found is None:
            raise OwnershipError(f"scope {scope} is no longer held with fence {fence}")
        return _peril(found)

    async def mark(
        self,
        integration: str,
        resource: str,
        work: str,
        *,
        scope: str,
        fence: int,
        handled: str | None,
        suspects: Mapping[str, int],
    ) -> None:
        """Say what the driver has in hand from here on; None: nothing. Raises OwnershipError when the scope is not ours."""
        if not await self._database.execute(
            "INSERT INTO syncd.perils AS p (integration, resource, work, handled, suspects, since) "
            f"SELECT $1, $2, $3, $4, $5::jsonb, $6 WHERE {_OURS.format(scope='$7', fence='$8')} "
            "ON CONFLICT (integration, resource, work) DO UPDATE SET handled = excluded.handled, "
            "suspects = excluded.suspects",
            integration,
            resource,
            work,
            handled,
            dict(suspects),
            self._database.clock.now(),
            scope,
            fence,
        ):
            raise OwnershipError(f"scope {scope} is no longer held with fence {fence}")

    async def clear(self, integration: str, resource: str, work: str) -> None:
        """It got through."""
        await self._database.execute(
            "DELETE FROM syncd.perils WHERE integration = $1 AND resource = $2 AND work = $3",
            integration,
            resource,
            work,
        )

    async def relieve(self, integrations: Sequence[str], *, most: int) -> Sequence[tuple[str, str]]:
        """Nothing is suspected of more than `most` deaths any more: what was parked may be tried once. Returns the
        (integration, resource) of what was."""
        found = await self._database.fetch(
            "UPDATE syncd.perils p SET suspects = (SELECT jsonb_object_agg(s.key, least(s.value::text::integer, $2)) "
            "FROM jsonb_each(p.suspects) s) WHERE integration = ANY($1::text[]) "
            "AND EXISTS (SELECT FROM jsonb_each(p.suspects) s WHERE s.value::text::integer > $2) "
            "RETURNING integration, resource",
            list(integrations),
            most,
        )
        return [(each[0], each[1]) for each in found]


def _peril(row: asyncpg.Record) -> Peril:
    values: dict[str, Any] = dict(row)
    return Peril(**values)
