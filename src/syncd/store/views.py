"""The typed view of each resource: `syncd.<partner>_<resource>`, live records with their normalized fields as columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256

from syncd.errors import StoreError
from syncd.store.database import Database

_CASTS = {
    "text": "text",
    "bigint": "bigint",
    "integer": "bigint",
    "numeric": "numeric",
    "double precision": "double",
    "boolean": "boolean",
    "timestamptz": "timestamptz",
    "date": "date",
    "jsonb": None,
}
_NAME_BYTES = 63
_MARK = "syncd typed view"
_LOCK = 0x73796E6376  # "syncv"
_FIXED = ("integration", "external_id")
_TRAILING = {
    "_parent_id": "r.parent_id",
    "_source_updated_at": "r.source_updated_at",
    "_synced_at": "r.synced_at",
    "_row_version": "r.row_version",
}


class Views:
    """One view a resource."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def refresh(self, partner: str, resource: str, fields: Mapping[str, str]) -> str:
        """Make the view show these fields; returns its name. Nothing happens where it does so already.

        Types: text, bigint, integer, numeric, double precision, boolean, timestamptz, date, jsonb. A value that does not
        fit its type shows as NULL. A view that others have built upon is not dropped from under them: that is a
        StoreError, which names it. So is a name taken by something that is no typed view of ours.
        """
        name = view_name(partner, resource)
        body = _definition(partner, resource, fields)
        mark = f"{_MARK} {sha256(body.encode()).hexdigest()}"
        async with self._database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            found = await connection.fetchrow(
                "SELECT c.relkind::text AS kind, obj_description(c.oid, 'pg_class') AS mark FROM pg_class c "
                "WHERE c.relnamespace = 'syncd'::regnamespace AND c.relname = $1",
                name,
            )
            if found is not None:
                if found["mark"] == mark:
                    return name
                if found["kind"] != "v" or not (found["mark"] or "").startswith(_MARK):
                    raise StoreError(
                        f"syncd.{name} exists and is not a typed view of syncd's", hint="rename it, or the resource"
                    )
                await connection.execute(f"DROP VIEW syncd.{_quoted(name)}")
            await connection.execute(f"CREATE VIEW syncd.{_quoted(name)} AS {body}")
            await connection.execute(f"COMMENT ON VIEW syncd.{_quoted(name)} IS '{mark}'")
        return name

    async def drop(self, partner: str, resource: str) -> None:
        """Remove the view, if it is there."""
        await self._database.execute(f"DROP VIEW IF EXISTS syncd.{_quoted(view_name(partner, resource))}")

    async def list(self) -> list[str]:
        """The typed views there are."""
        found = await self._database.fetch(
            "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'syncd'::regnamespace AND c.relkind = 'v' "
            "AND starts_with(obj_description(c.oid, 'pg_class'), $1) ORDER BY 1",
            _MARK,
        )
        return [each["relname"] for each in found]


def view_name(partner: str, resource: str) -> str:
    """`<partner>_<resource>`, in lower case and without signs that would need quoting."""
    return _fitted(re.sub(r"[^a-z0-9_]+", "_", f"{partner}_{resource}".lower()))


def _definition(partner: str, resource: str, fields: Mapping[str, str]) -> str:
    columns = [f"r.{each}" for each in _FIXED]
    taken = {*_FIXED, *_TRAILING}
    for field, kind in fields.items():
        if kind not in _CASTS:
            raise StoreError(f"field {field} has no SQL type that a view may use: {kind}")
        column = _fitted(field)
        while column in taken:
            column = _fitted(f"field_{column}")
        taken.add(column)
        value = f"r.data -> {_literal(field)}"
        cast = _CASTS[kind]
        columns.append(f"{f'syncd.as_{cast}({value})' if cast else value} AS {_quoted(column)}")
    columns += [f"{source} AS {_quoted(name)}" for name, source in _TRAILING.items()]
    return (
        f"SELECT {', '.join(columns)} FROM syncd.integrations i JOIN syncd.records r "
        f"ON r.integration = i.integration AND r.resource = {_literal(resource)} "
        f"WHERE i.partner = {_literal(partner)} AND r.deleted_at IS NULL"
    )


def _fitted(name: str) -> str:
    """A name of at most 63 bytes; a longer one ends in a hash, so two long ones do not meet."""
    name = name.replace("\x00", "") or "_"
    raw = name.encode()
    if len(raw) <= _NAME_BYTES:
        return name
    return raw[: _NAME_BYTES - 9].decode(errors="ignore") + "_" + sha256(raw).hexdigest()[:8]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """A string constant, whatever standard_conforming_strings says."""
    text = text.replace("\x00", "")
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'" if "\\" in text else f"'{escaped}'"
