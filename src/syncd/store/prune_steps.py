"""How retention finds what may go: never by reading a table to its end for each handful of rows.

Most tables are walked in the order of a key they have an index for, each step from where the one before ended. Where the
key grows with time, a walk ends at the first rows that are young enough to stay; where rows stay behind for good (payloads
are forgotten long before their keys), it begins at a mark that the step moves in its own transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from syncd.store.database import Database

WHOLE_DAYS = 7
"""Every so many days the marked walk is done from the beginning: it finds what was finished long after it came."""
_LATE = timedelta(days=1)
"""What came within so much of the moment is looked at again the next night: it may have been finished since."""


class Progress(Protocol):
    """One rule on its way."""

    async def step(self, size: int) -> bool:
        """Look at so many rows more. True: that was all. Raises StoreError, and may be called again."""
        ...

    def counted(self) -> tuple[int, int]:
        """Rows looked at and rows removed since this was asked last."""
        ...


class _Counts:
    def __init__(self) -> None:
        self._looked = self._gone = 0

    def count(self, looked: int, gone: int) -> None:
        self._looked += looked
        self._gone += gone

    def counted(self) -> tuple[int, int]:
        found = self._looked, self._gone
        self._looked = self._gone = 0
        return found


@dataclass(frozen=True, slots=True)
class WalkRule:
    """What may go from one table, and in which order to look for it."""

    name: str
    keep: str
    """The field of Retention."""
    table: str
    keys: tuple[tuple[str, str], ...]
    """The columns and types of the order; there is an index that has it."""
    due: str
    """What may go, of the row {t}; $1 is the moment."""
    age: str | None = None
    """The column that grows with the keys: no row is due before this is."""
    apart: bool = False
    """Each integration by itself, since the index begins with it."""
    marked: bool = False
    """Payloads are forgotten instead of rows removed."""

    @property
    def sql(self) -> str:
        """$1 moment, $2 rows, $3 now, then the keys to begin after, then the integration."""
        names = ", ".join(name for name, _ in self.keys)
        given = ", ".join(f"${number}::{kind}" for number, (_, kind) in enumerate(self.keys, 4))
        of = f"t.integration = {self._integration} AND " if self.apart else ""
        act = (
            f"UPDATE syncd.{self.table} SET body = NULL, headers = '{{}}'"
            if self.marked
            else f"DELETE FROM syncd.{self.table}"
        )
        mark = (
            f""", noted AS (
    INSERT INTO syncd.prune_marks AS m (integration, passed_id, whole_at)
    SELECT {self._integration}, max(s.id), $3 FROM span s
    WHERE s.age < $1::timestamptz - make_interval(secs => {_LATE.total_seconds():.0f}) HAVING count(*) > 0
    ON CONFLICT (integration) DO UPDATE SET passed_id = excluded.passed_id
)"""
            if self.marked
            else ""
        )
        return f"""
WITH span AS MATERIALIZED (
    SELECT t.ctid AS place, {", ".join(f"t.{name}" for name, _ in self.keys)},
           {f"t.{self.age}" if self.age else "NULL::timestamptz"} AS age, coalesce({self.due.format(t="t")}, false) AS due
    FROM syncd.{self.table} t WHERE {of}({", ".join(f"t.{name}" for name, _ in self.keys)}) > ({given})
    ORDER BY {", ".join(f"t.{name}" for name, _ in self.keys)} LIMIT $2
), gone AS (
    {act} WHERE ctid = ANY(ARRAY(
        SELECT l.ctid FROM syncd.{self.table} l
        WHERE l.ctid = ANY(ARRAY(SELECT s.place FROM span s WHERE s.due)) AND {self.due.format(t="l")}
        FOR UPDATE SKIP LOCKED)) RETURNING 1
){mark}
SELECT c.looked, c.old, c.young, (SELECT count(*) FROM gone) AS gone, {names}
FROM (SELECT count(*) AS looked, count(*) FILTER (WHERE age < $1) AS old,
             count(*) FILTER (WHERE age >= $1 AND age <= $3::timestamptz) AS young FROM span) c
CROSS JOIN (SELECT {names} FROM span ORDER BY {", ".join(f"{name} DESC" for name, _ in self.keys)} LIMIT 1) e
"""

    @property
    def _integration(self) -> str:
        return f"${len(self.keys) + 4}::text"

    @property
    def first(self) -> tuple[Any, ...]:
        return tuple("" if kind == "text" else 0 for _, kind in self.keys)

    def statements(self, moment: datetime) -> list[tuple[str, list[Any]]]:
        """Every statement over the table, with values: for whoever asks how they would be run."""
        each: list[tuple[str, list[Any]]] = [(_NAMES.format(table=self.table), [])] if self.apart else []
        return [*each, (self.sql, [moment, 1000, moment, *self.first, *(["acme"] if self.apart else [])])]


_NAMES = """
WITH RECURSIVE names AS (
    (SELECT t.integration FROM syncd.{table} t ORDER BY t.integration LIMIT 1)
    UNION ALL
    SELECT (SELECT t.integration FROM syncd.{table} t WHERE t.integration > n.integration ORDER BY t.integration LIMIT 1)
    FROM names n WHERE n.integration IS NOT NULL
)
SELECT integration FROM names WHERE integration IS NOT NULL ORDER BY 1
"""


class Walk(_Counts):
    """A rule's way through its table."""

    def __init__(self, database: Database, rule: WalkRule, before: datetime, now: datetime) -> None:
        super().__init__()
        self._database = database
        self._rule = rule
        self._sql = rule.sql
        self._before = before
        self._now = now
        self._names: list[str | None] | None = None
        self._at: Sequence[Any] | None = None

    async def step(self, size: int) -> bool:
        if self._names is None:
            self._names = [each[0] for each in await self._list()] if self._rule.apart else [None]
        if not self._names:
            return True
        name = self._names[0]
        if self._at is None:
            self._at = await self._start(name) if self._rule.marked and name is not None else self._rule.first
        values = [self._before, size, self._now, *self._at, *([name] if name is not None else [])]
        found = await self._database.fetchrow(self._sql, *values)
        if found is not None:
            self.count(found["looked"], found["gone"])
            self._at = [found[key] for key, _ in self._rule.keys]
        if found is None or found["looked"] < size or (not found["old"] and found["young"]):
            del self._names[0]
            self._at = None
        return not self._names

    async def _list(self) -> list[Any]:
        return await self._database.fetch(_NAMES.format(table=self._rule.table))

    async def _start(self, name: str) -> Sequence[Any]:
        """After the mark; from the beginning where there is none, and once in a while."""
        found = await self._database.fetchrow(
            "SELECT passed_id, whole_at FROM syncd.prune_marks WHERE integration = $1", name
        )
        if found is not None and self._now - found["whole_at"] < timedelta(days=WHOLE_DAYS):
            return [found["passed_id"]]
        await self._database.execute(
            "INSERT INTO syncd.prune_marks (integration, passed_id, whole_at) VALUES ($1, 0, $2) "
            "ON CONFLICT (integration) DO UPDATE SET passed_id = 0, whole_at = excluded.whole_at",
            name,
            self._now,
        )
        return [0]


class Tombstones(_Counts):
    """Records that are gone for long, by an index that has nothing else."""

    name = "records"
    keep = "tombstones"

    _SQL = """
WITH gone AS (
    DELETE FROM syncd.records WHERE ctid = ANY(ARRAY(
        SELECT t.ctid FROM syncd.records t WHERE t.deleted_at < $1 ORDER BY t.deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING integration, resource
), counted AS (
    UPDATE syncd.record_counts c SET buried = c.buried - g.number
    FROM (SELECT integration, resource, count(*) AS number FROM gone GROUP BY integration, resource) g
    WHERE c.integration = g.integration AND c.resource = g.resource
)
SELECT FROM gone
"""

    def __init__(self, database: Database, before: datetime, now: datetime) -> None:
        super().__init__()
        self._database = database
        self._before = before

    @classmethod
    def statements(cls, moment: datetime) -> list[tuple[str, list[Any]]]:
        return [(cls._SQL, [moment, 1000])]

    async def step(self, size: int) -> bool:
        gone = await self._database.execute(self._SQL, self._before, size)
        self.count(gone, gone)
        return gone < size


class Passes(_Counts):
    """Passes older than the last two complete ones, and not in progress, can prove nothing any more."""

    name = "passes"
    keep = "runs"

    _LIST = """
SELECT p.integration, p.resource, p.id FROM syncd.passes p
WHERE p.id < (SELECT min(l.id) FROM (
    SELECT id FROM syncd.passes WHERE integration = p.integration AND resource = p.resource AND completed_at IS NOT NULL
    ORDER BY id DESC LIMIT 2) l)
  AND NOT EXISTS (SELECT FROM syncd.checkpoints c
                  WHERE c.integration = p.integration AND c.resource = p.resource AND c.pass_id = p.id)
  -- While deletions are held, the last pass that was swept tells of which part of the listing the missing ones are.
  AND (p.swept_at IS NULL OR EXISTS (SELECT FROM syncd.passes n WHERE n.integration = p.integration
                                     AND n.resource = p.resource AND n.swept_at IS NOT NULL AND n.id > p.id))
"""
    _PAGES = """
DELETE FROM syncd.pass_pages WHERE ctid = ANY(ARRAY(
    SELECT g.ctid FROM syncd.pass_pages g WHERE g.integration = $1 AND g.resource = $2 AND g.pass_id = $3 LIMIT $4))
"""
    _PARTS = _PAGES.replace("pass_pages", "pass_parts")

    def __init__(self, database: Database, before: datetime, now: datetime) -> None:
        super().__init__()
        self._database = database
        self._left: list[tuple[str, str, int]] | None = None

    @classmethod
    def statements(cls, moment: datetime) -> list[tuple[str, list[Any]]]:
        one = ["acme", "things", 1, 1000]
        return [(cls._LIST, []), (cls._PAGES, one), (cls._PARTS, one)]

    async def step(self, size: int) -> bool:
        if self._left is None:
            self._left = [tuple(each) for each in await self._database.fetch(self._LIST)]
        if not self._left:
            return True
        key = self._left[0]
        pages = await self._database.execute(self._PAGES, *key, size)
        if max(pages, await self._database.execute(self._PARTS, *key, size)) < size:
            gone = await self._database.execute(
                "DELETE FROM syncd.passes WHERE integration = $1 AND resource = $2 AND id = $3", *key
            )
            self.count(gone, gone)
            del self._left[0]
        return not self._left
