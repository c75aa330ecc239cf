"""Databases of tests, made as good as new: empty tables, sequences from the start, nobody connected, the schema untouched."""

from __future__ import annotations

import asyncpg

CATALOGS = (
    "attrdef", "attribute", "constraint", "default_acl", "event_trigger", "extension", "foreign_data_wrapper", "index",
    "inherits", "largeobject_metadata", "namespace", "policy", "proc", "publication", "rewrite", "sequence", "statistic_ext",
    "subscription", "trigger", "type",
)  # fmt: skip
_SHAPE = "SELECT {}, {}, (SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase " \
         "WHERE d.datname = current_database())".format(
    "(SELECT md5(string_agg(concat_ws(' ', oid, relname, relnamespace, relowner, relkind, relpersistence, relnatts, "
    "relchecks, relrowsecurity, relreplident, relispartition, reloptions, relacl), ',' ORDER BY oid)) FROM pg_class)",
    ", ".join(
        f"(SELECT concat(count(*), ' ', max(xmin::text::bigint)) FROM pg_{name}) AS {name}" for name in CATALOGS
    ),
)  # fmt: skip
"""Whatever a test may have done to the schema shows here. Of tables only what emptying them leaves as it is."""


class Emptied:
    """`learn(url)` of an untouched one, then `empty(url)` of each other: True when it may be used again."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._shape: tuple[object, ...] = ()
        self._tables: list[str] = []
        self._filled: dict[str, str] = {}
        """Tables that a new database has rows in, by name what those are."""
        self._sequences: dict[str, int | None] = {}

    async def learn(self, url: str) -> None:
        """Do so once; more often costs nothing."""
        if self._shape:
            return
        connection = await asyncpg.connect(url)
        try:
            self._shape = tuple(await connection.fetchrow(_SHAPE))
            found = await connection.fetch(
                "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables "
                "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
            self._tables = [row["name"] for row in found]
            for name in await self._with_rows(connection):
                self._filled[name] = await self._content(connection, name)
            self._sequences = await self._places(connection)
        finally:
            await connection.close()

    async def empty(self, url: str) -> bool:
        """False where more than rows was changed, or the server is in no state to say so."""
        try:
            connection = await asyncpg.connect(url, timeout=20)
        except (OSError, asyncpg.PostgresError):
            return False
        try:
            await connection.execute("SET statement_timeout = '20s'")
            await connection.fetch(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            if tuple(await connection.fetchrow(_SHAPE)) != self._shape:
                return False
            rows = await self._with_rows(connection)
            if emptied := [name for name in rows if name not in self._filled]:
                await connection.execute(f"TRUNCATE {', '.join(emptied)} CASCADE")
            for name, content in self._filled.items():
                if await self._content(connection, name) != content:
                    return False
            for name, place in (await self._places(connection)).items():
                if place != (first := self._sequences[name]):
                    await connection.execute(
                        "SELECT setval($1::text::regclass, $2, $3)", name, first or 1, first is not None
                    )
        except asyncpg.PostgresError:
            return False
        finally:
            await connection.close()
        return True

    async def _with_rows(self, connection: asyncpg.Connection) -> list[str]:
        asked = " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})" for name in self._tables)
        return [row[0] for row in await connection.fetch(asked)]

    async def _content(self, connection: asyncpg.Connection, name: str) -> str:
        return str(await connection.fetchval(f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {name} t"))

    async def _places(self, connection: asyncpg.Connection) -> dict[str, int | None]:
        found = await connection.fetch(
            "SELECT format('%I.%I', schemaname, sequencename) AS name, last_value FROM pg_sequences"
        )
        return {row["name"]: row["last_value"] for row in found}
