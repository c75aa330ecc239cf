"""Table `adapter_trials`: what adapters that run in shadow would have made of the records that came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from syncd.store.database import OVER_ALL, Database

EXAMPLES = 20
"""Kept of each trial, the latest."""
MOST_FIELDS = 200
"""Counted by name of each trial; further ones are left out."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One adapter in shadow, of one resource."""

    integration: str
    resource: str
    adapter: str
    against: str
    """The adapter in force."""
    compared: int
    differing: int
    refused: int
    fields: dict[str, int]
    examples: list[dict[str, Any]]
    since: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Tried:
    """What a process has found since it wrote last."""

    resource: str
    adapter: str
    against: str
    compared: int
    differing: int
    refused: int
    fields: Mapping[str, int]
    examples: Sequence[Mapping[str, Any]]


class Trials:
    """Reports of shadow runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, integration: str, found: Sequence[Tried]) -> None:
        """Add to what is counted. A trial against another adapter begins anew."""
        now = self._database.clock.now()
        async with self._database.transaction() as connection:
            for one in found:
                row = await connection.fetchrow(
                    "INSERT INTO syncd.adapter_trials AS t (integration, resource, adapter, against, since, last_at) "
                    "VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (integration, resource, adapter) DO UPDATE SET "
                    "last_at = $5, against = $4, "
                    "since = CASE WHEN t.against = $4 THEN t.since ELSE $5 END, "
                    "compared = CASE WHEN t.against = $4 THEN t.compared ELSE 0 END, "
                    "differing = CASE WHEN t.against = $4 THEN t.differing ELSE 0 END, "
                    "refused = CASE WHEN t.against = $4 THEN t.refused ELSE 0 END, "
                    "fields = CASE WHEN t.against = $4 THEN t.fields ELSE '{}' END, "
                    "examples = CASE WHEN t.against = $4 THEN t.examples ELSE '[]' END RETURNING fields, examples",
                    integration,
                    one.resource,
                    one.adapter,
                    one.against,
                    now,
                )
                await connection.execute(
                    "UPDATE syncd.adapter_trials SET compared = compared + $4, differing = differing + $5, "
                    "refused = refused + $6, fields = $7, examples = $8 "
                    "WHERE integration = $1 AND resource = $2 AND adapter = $3",
                    integration,
                    one.resource,
                    one.adapter,
                    one.compared,
                    one.differing,
                    one.refused,
                    counted(row["fields"], one.fields),
                    latest(row["examples"], one.examples),
                )

    async def list(self, integration: str, resource: str | None = None) -> list[Trial]:
        """By resource."""
        found = await self._database.fetch(
            f"SELECT {', '.join(Trial.__slots__)} FROM syncd.adapter_trials WHERE integration = $1 "
            "AND ($2::text IS NULL OR resource = $2) ORDER BY resource, adapter",
            integration,
            resource,
        )
        return [Trial(**dict(each)) for each in found]

    async def forget(self, integration: str, resource: str | None = None) -> int:
        """Begin anew: how many reports are gone."""
        return await self._database.execute(
            "DELETE FROM syncd.adapter_trials WHERE integration = $1 AND ($2::text IS NULL OR resource = $2)",
            integration,
            resource,
        )

    async def in_use(self, integration: str) -> dict[str, dict[str, int]]:
        """By resource: how many live records each adapter made."""
        async with self._database.transaction() as connection:
            await connection.execute(OVER_ALL)
            found = await connection.fetch(
                "SELECT resource, adapter, count(*) FROM syncd.records WHERE integration = $1 AND deleted_at IS NULL "
                "GROUP BY 1, 2 ORDER BY 1, 2",
                integration,
            )
        told: dict[str, dict[str, int]] = {}
        for each in found:
            told.setdefault(each[0], {})[each[1]] = each[2]
        return told


def counted(known: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Both together, bounded."""
    found = dict(known)
    for name, count in more.items():
        if name in found or len(found) < MOST_FIELDS:
            found[name] = found.get(name, 0) + count
    return found


def latest(known: Sequence[Mapping[str, Any]], more: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The latest example of each record, so many at most."""
    by_id = {each["id"]: dict(each) for each in known}
    for each in more:
        by_id.pop(each["id"], None)
        by_id[each["id"]] = dict(each)
    return list(by_id.values())[-EXAMPLES:]
