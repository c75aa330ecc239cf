"""How a page is handed to the database: the arguments of `syncd.store_page` and `syncd.store_rows`, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from syncd import codec
from syncd.model import History
from syncd.store.binary import RowColumns
from syncd.store.rows import NewTask, PageResult, PageWrite, Row

_PAGE = (
    "text",
    "text",
    "text",
    "bigint",
    "bigint",
    "text",
    "text",
    "boolean",
    "timestamptz",
    "timestamptz",
    "timestamptz",
    "integer",
    "integer",
    "integer",
    "float8",
    "syncd.page_rows",
    "boolean",
    "boolean",
    "text[]",
    "text[]",
    "jsonb",
    "bytea[]",
    "jsonb",
)


def _typed(kinds: tuple[str, ...]) -> str:
    return ", ".join(f"${n}::{kind}" for n, kind in enumerate(kinds, 1))


STORE_PAGE = f"SELECT * FROM syncd.store_page({_typed(_PAGE)})"
STORE_ROWS = (
    "SELECT added, updated, deleted, unchanged, stale "
    f"FROM syncd.store_rows({_typed(('text', 'timestamptz', 'syncd.page_rows', 'boolean'))})"
)
_HISTORY = {History.OFF: 0, History.CHANGES: 1, History.FULL: 2}


MOST_ROWS = 4_000
"""Rows of one statement: writing them out, and the answer, keep everybody else waiting."""


def rounds_of(rows: Sequence[Row]) -> list[list[Row]]:
    """Split rows so that no key comes twice in one part, keeping the order of each key's versions, and none has too many.

    Never empty.
    """
    return [part[at : at + MOST_ROWS] for part in _distinct(rows) for at in range(0, max(len(part), 1), MOST_ROWS)]


def _distinct(rows: Sequence[Row]) -> list[list[Row]]:
    if len({row[:2] for row in rows}) == len(rows):  # id and resource
        return [list(rows)]
    rounds: list[list[Row]] = []
    times: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row.resource, row.external_id)
        turn = times[key] = times.get(key, -1) + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(row)
    return rounds


def columns_of(
    rows: Sequence[Row], cause: str, history: History | Mapping[str, History], seen: Sequence[str] | None = None
) -> RowColumns:
    """The rows as the database wants them."""
    if not rows:
        return RowColumns(seen=seen)
    (
        ids,
        resources,
        datas,
        raws,
        hashes,
        fetches,
        versions,
        updates,
        parents,
        adapters,
        deletes,
        sparses,
        causes,
        observeds,
        _,  # what is erased: see erasing.py
    ) = zip(*rows, strict=True)
    return RowColumns(
        ids,
        _shared(resources),
        datas,
        raws,
        hashes,
        _optional(versions),
        _optional(updates),
        _shared(fetches),
        _optional(parents),
        _shared(adapters),
        _shared([each or cause for each in causes] if "" in causes else causes),
        _flags(deletes),
        _flags(sparses),
        _flags(observeds),
        _histories(history, rows),
        seen,
    )


def _shared(values: Sequence[Any]) -> Sequence[Any]:
    return values[:1] if values.count(values[0]) == len(values) else values


def _optional(values: Sequence[Any]) -> Sequence[Any] | None:
    return None if values.count(None) == len(values) else values


def _flags(values: Sequence[bool]) -> Sequence[bool] | None:
    return values if True in values else None


def _histories(history: History | Mapping[str, History], rows: Sequence[Row]) -> Sequence[int]:
    if isinstance(history, History):
        return [_HISTORY[history]]
    return _shared([_HISTORY[history.get(row.resource, History.CHANGES)] for row in rows])


def values_of(page: PageWrite, rows: RowColumns, now: datetime, listing: bool, *, early: bool = False) -> list[Any]:
    """The arguments of syncd.store_page."""
    return [
        page.integration,
        page.resource,
        page.scope,
        page.fence,
        page.run_id,
        page.cursor_read,
        page.cursor_next,
        page.last if listing else None,
        page.newest_at,
        page.ceiling_at,
        now,
        page.pages,
        page.unchanged,
        page.calls,
        page.waited_seconds,
        rows,
        page.fresh and not early,
        early,
        [resource for resource, _ in page.healed] or None,
        [external_id for _, external_id in page.healed] or None,
        *_rejects(page),
        tasks_json(page.tasks, page.resource, page.cause),
    ]


def _rejects(page: PageWrite) -> tuple[bytes | None, list[bytes] | None]:
    if not page.rejects:
        return None, None
    described = [
        {
            "resource": each.resource or page.resource,
            "external_id": each.key,
            "reason": each.reason,
            "fingerprint": each.fingerprint or each.reason[:200],
            "adapter": each.adapter,
            "cause": each.cause or page.cause,
        }
        for each in page.rejects
    ]
    return codec.dumps_storable(described), [each.raw for each in page.rejects]


def tasks_json(tasks: Sequence[NewTask], resource: str, cause: str) -> bytes | None:
    """The argument of syncd.put_tasks."""
    return codec.dumps_storable([each.as_json(resource, cause) for each in tasks]) if tasks else None


def result_of(found: asyncpg.Record | None) -> PageResult:
    if found is None:
        raise RuntimeError("syncd.store_page returned nothing")
    return PageResult(found["added"], found["updated"], found["deleted"], found["unchanged"], found["stale"])
