"""What was done lately is found among a year's rows without looking through them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import orjson
import pytest

from syncd.store import Store
from syncd.store.audit import Audit

ROWS = 20_000


class Explained:
    """Hands each question on to the database, and has it say how it found the answer."""

    def __init__(self, store: Store) -> None:
        self.database = store.audit._database
        self.clock = self.database.clock
        self.looked_at = 0

    async def fetch(self, query: str, *values: Any) -> list[Any]:
        [row] = await self.database.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *values)
        plan = orjson.loads(row[0])[0]["Plan"] if isinstance(row[0], str) else row[0][0]["Plan"]
        for node in nodes(plan):
            if node.get("Relation Name") == "audit_log":
                found = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                self.looked_at += int(found * node["Actual Loops"])
        return await self.database.fetch(query, *values)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


@pytest.fixture
async def year(store: Store) -> Store:
    now = store.audit._database.clock.now()
    await store.audit._database.execute(
        "INSERT INTO syncd.audit_log (integration, at, actor, action) SELECT 'acme' || g % 50, "
        "$2::timestamptz - interval '365 days' * ($1::int - g) / $1::int, 'ann', 'sync_asked' "
        "FROM generate_series(1, $1::int) g",
        ROWS,
        now,
    )
    await store.audit._database.execute("ANALYZE syncd.audit_log")
    await store.audit.add("syncd", "daemon_started")
    await store.audit.add("ann", "credential_set", integration="acme7", at=now - timedelta(days=90))
    return store


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"since": timedelta(days=1), "limit": 300}, 56),
        ({"actions": ["credential_set", "credential_rotated"], "limit": 1_000}, 1),
        ({"integration": "acme7", "daemon_too": True, "limit": 51}, 51),
        ({"integration": "nobody", "daemon_too": True, "limit": 51}, 1),
        ({"integration": "", "actions": ["daemon_started"], "limit": 1}, 1),
        ({"limit": 50}, 50),
    ],
    ids=["marks", "reminders", "one integration", "one that has none", "the last start", "everything"],
)
async def test_of_a_years_rows_few_are_looked_at(year: Store, asked: dict[str, Any], count: int):
    explained: Any = Explained(year)
    if "since" in asked:
        asked = {**asked, "since": explained.clock.now() - asked["since"]}
    found = await Audit(explained).list(**asked)
    assert len(found) == count
    assert [one.at for one in found] == sorted((one.at for one in found), reverse=True)
    assert explained.looked_at <= 2 * count + 10
