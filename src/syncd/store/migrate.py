"""Numbered SQL files, each applied once, in order, in one transaction of its own, under an advisory lock.

A file's head says `previous release: runs, from NNNN` (a release that knows schema NNNN or a later one goes on working
while this is applied, and starts on it afterwards), `previous release: stop` with the reason, or `previous release: none`.
The number is kept in the table: an older release, which has never seen the file, reads there whether it may go on. Files
are never changed once released: their checksums are kept and compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from importlib import resources

import asyncpg

from syncd.errors import SchemaError, StoreError
from syncd.store.audit import note
from syncd.store.database import UNHURRIED_SECONDS, Database

_LOCK = 0x73796E6364  # "syncd"
_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_HEADER = re.compile(r"^-- previous release: (none|runs(?:, from (\d{4}))?|stop\b.*)$", re.MULTILINE)

_BOOTSTRAP = """
CREATE SCHEMA IF NOT EXISTS syncd;
CREATE TABLE IF NOT EXISTS syncd.schema_migrations (
    version     integer PRIMARY KEY,
    name        text NOT NULL,
    checksum    bytea NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE syncd.schema_migrations ADD COLUMN IF NOT EXISTS works_with integer;
COMMENT ON COLUMN syncd.schema_migrations.works_with IS
    'Releases that know this schema run on what the file made; null: only those that know the file do.';
COMMENT ON SCHEMA syncd IS 'The copy of your partners'' data that syncd keeps.';
"""


@dataclass(frozen=True)
class Migration:
    """One numbered file."""

    version: int
    name: str
    sql: str

    @cached_property
    def checksum(self) -> bytes:
        return sha256(self.sql.encode()).digest()

    @cached_property
    def previous_release(self) -> str:
        """`none`, `runs`, `runs, from NNNN`, or `stop` with the reason."""
        return self._head.group(1)

    @property
    def works_with(self) -> int | None:
        """Releases that know this schema or a later one run on what this file makes; None: only those that know it."""
        return int(self._head.group(2)) if self._head.group(2) else None

    @property
    def goes_on(self) -> bool:
        """May a release that runs go on working while this is applied?"""
        return self.previous_release.startswith("runs")

    @cached_property
    def _head(self) -> re.Match[str]:
        found = _HEADER.search(self.sql)
        if found is None:
            raise StoreError(
                f"migration {self.version:04} {self.name} does not say whether the previous release still runs"
            )
        return found


@dataclass(frozen=True, slots=True)
class Applied:
    """One line of the table of applied migrations."""

    version: int
    name: str
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """What the database has and what this release would add to it."""

    applied: tuple[Applied, ...]
    pending: tuple[Migration, ...]
    newer: tuple[Applied, ...] = ()
    """Of those applied: what this release does not know, and what says that this release works with it."""

    @property
    def version(self) -> int:
        return self.applied[-1].version if self.applied else 0

    @property
    def current(self) -> bool:
        return not self.pending

    @property
    def older_goes_on(self) -> bool:
        """May a release that works with the database as it is go on while the pending files are applied, and after it?"""
        return all(each.goes_on for each in self.pending)

    @property
    def older_starts(self) -> bool:
        """... and start on it again afterwards?"""
        known = self.version
        return all(each.works_with is not None and each.works_with <= known for each in self.pending)


def shipped() -> list[Migration]:
    """All migrations of this release, in order, without gaps."""
    found = [
        Migration(int(match.group(1)), match.group(2), entry.read_text("utf-8"))
        for entry in resources.files("syncd.store").joinpath("schema").iterdir()
        if (match := _NAME.fullmatch(entry.name))
    ]
    found.sort(key=lambda each: each.version)
    if [each.version for each in found] != list(range(1, len(found) + 1)):
        raise StoreError("the schema files are not numbered without gaps: the installation is damaged")
    return found


class Migrations:
    """The schema of one database."""

    def __init__(self, database: Database, files: list[Migration] | None = None) -> None:
        self._database = database
        self._files = shipped() if files is None else files

    async def status(self) -> SchemaStatus:
        """What is applied and what is pending. Changes nothing. Raises StoreError for a schema we must not touch."""
        async with self._database.connection() as connection:
            if await connection.fetchval("SELECT to_regclass('syncd.schema_migrations')") is None:
                return SchemaStatus((), tuple(self._files))
            return await self._compare(connection)

    async def apply(self, *, who: str = "syncd") -> list[Migration]:
        """Bring the schema up to this release; returns what was done. Safe to run on many machines at once.

        `who` did it stands in `audit_log`, of a database that was in use before: of a new one there is nothing to tell."""
        if (await self.status()).current:
            return []
        done: list[Migration] = []
        async with self._database.connection() as connection:
            await connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=UNHURRIED_SECONDS)
            try:
                await connection.execute(_BOOTSTRAP)
                found = await self._compare(connection)
                for migration in found.pending:
                    async with connection.transaction():
                        await connection.execute(migration.sql, timeout=UNHURRIED_SECONDS)
                        await connection.execute(
                            "INSERT INTO syncd.schema_migrations (version, name, checksum, works_with) "
                            "VALUES ($1, $2, $3, $4)",
                            migration.version,
                            migration.name,
                            migration.checksum,
                            migration.works_with,
                        )
                        if found.version and await connection.fetchval("SELECT to_regclass('syncd.audit_log')"):
                            before, after = (
                                {"schema": found.version},
                                {"schema": migration.version, "name": migration.name},
                            )
                            now = self._database.clock.now()
                            await note(connection, now, who, "schema_migrated", before=before, after=after)
                    done.append(migration)
            finally:
                await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
                await connection.reset()
        return done

    async def _compare(self, connection: asyncpg.Connection) -> SchemaStatus:
        rows = await connection.fetch("SELECT * FROM syncd.schema_migrations ORDER BY version")
        files = {each.version: each for each in self._files}
        for row in rows:
            file = files.get(row["version"])
            if file is None:
                works_with = row.get("works_with")
                if works_with is None or works_with > len(files):
                    wants = "" if works_with is None else f", and {row['name']} wants {works_with:04} at least"
                    raise SchemaError(
                        f"the database has schema {rows[-1]['version']:04}, this release knows {len(files):04} at most"
                        + wants,
                        hint="run the newer release of syncd, or restore the database from before it",
                    )
                continue
            if file.checksum != bytes(row["checksum"]):
                raise SchemaError(
                    f"schema {file.version:04}_{file.name} was applied with other text than this release's",
                    hint="install a released version of syncd",
                )
        applied = tuple(Applied(row["version"], row["name"], row["applied_at"]) for row in rows)
        done = {each.version for each in applied}
        return SchemaStatus(
            applied,
            tuple(each for each in self._files if each.version not in done),
            tuple(each for each in applied if each.version not in files),
        )
