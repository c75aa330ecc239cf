"""Numbered SQL files, each applied once, in order, in one transaction of its own, under an advisory lock.

A file's head says `previous release: runs` (it may go on working while this is applied), `previous release: stop` with the
reason, or `previous release: none`. Files are never changed once released: their checksums are kept and compared.
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
from syncd.store.database import UNHURRIED_SECONDS, Database

_LOCK = 0x73796E6364  # "syncd"
_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_HEADER = re.compile(r"^-- previous release: (none|runs|stop\b.*)$", re.MULTILINE)

_BOOTSTRAP = """
CREATE SCHEMA IF NOT EXISTS syncd;
CREATE TABLE IF NOT EXISTS syncd.schema_migrations (
    version     integer PRIMARY KEY,
    name        text NOT NULL,
    checksum    bytea NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
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
        """`none`, `runs`, or `stop` with the reason."""
        found = _HEADER.search(self.sql)
        if found is None:
            raise StoreError(
                f"migration {self.version:04} {self.name} does not say whether the previous release still runs"
            )
        return found.group(1)


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

    @property
    def version(self) -> int:
        return self.applied[-1].version if self.applied else 0

    @property
    def current(self) -> bool:
        return not self.pending


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

    async def apply(self) -> list[Migration]:
        """Bring the schema up to this release; returns what was done. Safe to run on many machines at once."""
        if (await self.status()).current:
            return []
        done = []
        async with self._database.connection() as connection:
            await connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=UNHURRIED_SECONDS)
            try:
                await connection.execute(_BOOTSTRAP)
                for migration in (await self._compare(connection)).pending:
                    async with connection.transaction():
                        await connection.execute(migration.sql, timeout=UNHURRIED_SECONDS)
                        await connection.execute(
                            "INSERT INTO syncd.schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                            migration.version,
                            migration.name,
                            migration.checksum,
                        )
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
                raise SchemaError(
                    f"the database has schema {rows[-1]['version']:04}, this release knows {len(files):04} at most",
                    hint="run the newer release of syncd, or restore the database from before it",
                )
            if file.checksum != bytes(row["checksum"]):
                raise SchemaError(
                    f"schema {file.version:04}_{file.name} was applied with other text than this release's",
                    hint="install a released version of syncd",
                )
        done = {row["version"] for row in rows}
        return SchemaStatus(
            tuple(Applied(row["version"], row["name"], row["applied_at"]) for row in rows),
            tuple(each for each in self._files if each.version not in done),
        )
