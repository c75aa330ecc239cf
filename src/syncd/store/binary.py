"""A page's rows, and columns of deliveries, in PostgreSQL's binary format, made by us.

The database library looks at each element of each array several times, which costs more than all else we do to store a
page. Its hook for composite types only takes Python tuples, so this registers the encoder one level below that hook. Where
a later release of the library has no such level, the tuple goes the ordinary way: slower, and equal (tested both ways).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import asyncpg

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_LENGTH = struct.Struct(">i").pack
_LENGTH_AND_VERSION = struct.Struct(">ib").pack
_FIELD = struct.Struct(">Ii").pack
_HEAD = struct.Struct(">iiIii").pack
_EMPTY = struct.Struct(">iiI").pack
_NULL = _LENGTH(-1)

_BOOL, _BYTEA, _INT8, _INT2, _TEXT, _JSON, _TIMESTAMPTZ, _JSONB = 16, 17, 20, 21, 25, 114, 1184, 3802
_ARRAY_OF = {
    _BOOL: 1000,
    _BYTEA: 1001,
    _INT8: 1016,
    _INT2: 1005,
    _TEXT: 1009,
    _JSON: 199,
    _TIMESTAMPTZ: 1185,
    _JSONB: 3807,
}


class RowColumns(NamedTuple):
    """The type syncd.page_rows. A column equal in all rows has one element; one without values is None."""

    ids: Sequence[str] | None = None
    resources: Sequence[str] | None = None
    datas: Sequence[bytes] | None = None
    raws: Sequence[bytes] | None = None
    hashes: Sequence[bytes] | None = None
    versions: Sequence[int | None] | None = None
    updates: Sequence[datetime | None] | None = None
    fetches: Sequence[datetime] | None = None
    parents: Sequence[str | None] | None = None
    adapters: Sequence[str] | None = None
    causes: Sequence[str] | None = None
    deletes: Sequence[bool] | None = None
    sparses: Sequence[bool] | None = None
    observeds: Sequence[bool] | None = None
    histories: Sequence[int] | None = None
    seen: Sequence[str] | None = None


def encode(rows: RowColumns) -> bytes:
    """The composite as its receive function wants it. Joined once: a page's bytes are too many to be copied at leisure."""
    parts = [_LENGTH(len(rows))]
    for (element, encoder), values in zip(_COLUMNS, rows, strict=True):
        if values is None:
            parts.append(_FIELD(_ARRAY_OF[element], -1))
        else:
            body = b"".join(encoder(values))
            parts.append(_FIELD(_ARRAY_OF[element], len(body) + 20))
            parts.append(_HEAD(1, 0, element, len(values), 1))
            parts.append(body)
    return b"".join(parts)


def _texts(values: Sequence[str | None]) -> list[bytes]:
    if None in values:
        return _some([None if each is None else each.encode() for each in values])
    return _blobs(list(map(str.encode, values)))  # type: ignore[arg-type]


def _blobs(values: Sequence[bytes]) -> list[bytes]:
    parts = [b""] * (2 * len(values))
    parts[0::2] = map(_LENGTH, map(len, values))
    parts[1::2] = values
    return parts


def _some(values: Sequence[bytes | None]) -> list[bytes]:
    return [part for each in values for part in ((_NULL,) if each is None else (_LENGTH(len(each)), each))]


def _jsonbs(values: Sequence[bytes]) -> list[bytes]:
    parts = [b""] * (2 * len(values))
    parts[0::2] = [_LENGTH_AND_VERSION(len(each) + 1, 1) for each in values]
    parts[1::2] = values
    return parts


def _numbers(values: Sequence[int | None], kind: str) -> list[bytes]:
    number = struct.Struct(f">{kind}")
    if None in values:
        return _some([None if each is None else number.pack(each) for each in values])
    length = _LENGTH(number.size)
    return [length + length.join(map(number.pack, values))]


def _moments(values: Sequence[datetime | None]) -> list[bytes]:
    numbers: list[int | None] = []
    before, number = None, None  # a page's records often share one
    for each in values:
        if each is not before:
            before, number = each, None
            if each is not None:
                span = each - _EPOCH
                number = (span.days * 86400 + span.seconds) * 1_000_000 + span.microseconds
        numbers.append(number)
    return _numbers(numbers, "q")


_COLUMNS: tuple[tuple[int, Callable[[Any], list[bytes]]], ...] = (
    (_TEXT, _texts),
    (_TEXT, _texts),
    (_JSONB, _jsonbs),
    (_JSON, _blobs),
    (_BYTEA, _blobs),
    (_INT8, lambda values: _numbers(values, "q")),
    (_TIMESTAMPTZ, _moments),
    (_TIMESTAMPTZ, _moments),
    (_TEXT, _texts),
    (_TEXT, _texts),
    (_TEXT, _texts),
    (_BOOL, lambda values: _numbers(values, "?")),
    (_BOOL, lambda values: _numbers(values, "?")),
    (_BOOL, lambda values: _numbers(values, "?")),
    (_INT2, lambda values: _numbers(values, "h")),
    (_TEXT, _texts),
)


async def register(connection: asyncpg.Connection) -> bool:
    """Use `encode` for syncd.page_rows on this connection. False where it has to go the ordinary way."""
    oid = await connection.fetchval("SELECT to_regtype('syncd.page_rows')::oid")
    if oid is None:
        return False  # no schema yet
    try:
        settings = connection._protocol.get_settings()
        settings.add_python_codec(oid, "page_rows", "syncd", [], "scalar", encode, bytes, "binary")
    except (AttributeError, TypeError, ValueError):
        return False
    return True


_ARRAYS: tuple[tuple[int, str, Callable[[Any], list[bytes]]], ...] = (
    (_TEXT, "_text", _texts),
    (_BYTEA, "_bytea", _blobs),
    (_TIMESTAMPTZ, "_timestamptz", _moments),
)


def _array(element: int, encoder: Callable[[Any], list[bytes]], values: Sequence[Any]) -> bytes:
    if not values:
        return _EMPTY(0, 0, element)
    return _HEAD(1, 0, element, len(values), 1) + b"".join(encoder(values))


def register_arrays(connection: asyncpg.Connection) -> bool:
    """Send lists of text, bytes and moments by our encoders, in statements that this connection prepares from now on. It must
    read no such arrays. False where they have to go the ordinary way."""
    try:
        settings = connection._protocol.get_settings()
        for element, name, encoder in _ARRAYS:
            settings.add_python_codec(
                _ARRAY_OF[element], name, "pg_catalog", [], "scalar", partial(_array, element, encoder), bytes, "binary"
            )
    except (AttributeError, TypeError, ValueError):
        return False
    return True
