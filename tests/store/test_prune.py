"""Retention on tables too large to be read whole: small steps, each rule by itself, nothing left over, nothing early."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest

from syncd.clock import SystemClock
from syncd.errors import StoreError
from syncd.store import Retention, Store
from syncd.store.database import Database
from syncd.store.prune import RULES, Prune
from syncd.store.prune_steps import WHOLE_DAYS

KEPT = Retention(inbox_bodies=timedelta(days=7), inbox_keys=timedelta(days=30))
NOW = datetime.fromisoformat("2026-11-22T03:00:00+00:00")


class Night(SystemClock):
    """A clock that says which night it is, and is ahead of no wait."""

    def __init__(self) -> None:
        super().__init__()
        self.today = NOW

    def now(self) -> datetime:
        return self.today

    async def sleep(self, seconds: float) -> None:
        return


@pytest.fixture
async def night(database: str) -> Store:
    clock = Night()
    async with await Store.open(database, clock=clock, pool_size=2, migrate=False) as store:
        yield store


async def deliver(store: Store, *rows: tuple[str, str, float, float | None]) -> None:
    """(integration, state, days since it came, days since it was finished)"""
    await store._database.execute(
        "INSERT INTO syncd.inbox (integration, event_id, state, received_at, finished_at, body) "
        "SELECT i, 'e' || nextval('syncd.inbox_id_seq'), s, $5::timestamptz - make_interval(secs => r * 86400), "
        "$5::timestamptz - make_interval(secs => f * 86400), 'x' "
        "FROM unnest($1::text[], $2::text[], $3::float[], $4::float[]) WITH ORDINALITY AS n(i, s, r, f, o) ORDER BY o",
        *map(list, zip(*rows, strict=True)),
        NOW,
    )


async def inbox(store: Store, where: str = "true") -> int:
    found: int = await store._database.fetchval(f"SELECT count(*) FROM syncd.inbox WHERE {where}")
    return found


async def test_a_rule_that_fails_is_told_of_and_keeps_no_other_from_being_done(
    night: Store, monkeypatch: pytest.MonkeyPatch
):
    await deliver(night, ("acme", "done", 40, 40), ("acme", "done", 10, 10))
    await night._database.execute("INSERT INTO syncd.audit_log (at, actor, action) VALUES ('epoch', 'ann', 'pause')")
    asked = Database.fetchrow
    broken = True

    async def fetchrow(self: Database, sql: str, *values: object) -> object:
        if broken and "syncd.inbox " in sql:
            raise StoreError("a statement ran longer than 60 s and was cancelled")
        return await asked(self, sql, *values)

    monkeypatch.setattr(Database, "fetchrow", fetchrow)
    done = await night.prune.run(KEPT)
    assert set(done.unfinished) == {"inbox_bodies", "inbox"}
    assert "60 s" in done.unfinished["inbox"]
    assert done.removed["audit_log"] == 1
    broken = False
    again = await night.prune.run(KEPT, only=set(done.unfinished))
    assert (again.unfinished, again.removed) == ({}, {"inbox_bodies": 2, "inbox": 1})


async def test_what_was_looked_at_is_not_looked_at_again_the_next_night(night: Store):
    await deliver(night, *(("acme", "done", 20 - number / 100, 20 - number / 100) for number in range(1000)))
    first = await night.prune.run(KEPT, batch=100)
    assert first.removed["inbox_bodies"] == 1000
    assert first.looked["inbox_bodies"] == 1000
    night._database.clock.today += timedelta(days=1)  # type: ignore[attr-defined]
    await deliver(night, ("acme", "done", 0, 0))
    second = await night.prune.run(KEPT, batch=100)
    assert second.removed["inbox_bodies"] == 0
    assert second.looked["inbox_bodies"] <= 201, "the last day is: what came then may have been finished later"


async def test_what_is_kept_is_not_read_either(night: Store):
    await deliver(night, *(("acme", "done", 5, 5) for _ in range(1000)))
    done = await night.prune.run(KEPT, batch=100)
    assert done.looked["inbox"] <= 100
    assert done.looked["inbox_bodies"] <= 100


async def test_a_delivery_that_was_finished_late_loses_its_body_within_a_week_more(night: Store):
    clock = night._database.clock
    await deliver(night, ("acme", "buried", 20, 20), ("acme", "done", 19, 19))
    assert (await night.prune.run(KEPT)).removed["inbox_bodies"] == 1
    await night._database.execute("UPDATE syncd.inbox SET state = 'done', finished_at = $1 WHERE state = 'buried'", NOW)
    for _ in range(8 + WHOLE_DAYS):
        clock.today += timedelta(days=1)  # type: ignore[attr-defined]
        await night.prune.run(KEPT)
    assert await inbox(night, "body IS NOT NULL") == 0


async def test_rows_stamped_by_a_clock_that_was_ahead_do_not_end_a_walk(night: Store):
    await deliver(night, *(("acme", "done", -300, -300) for _ in range(250)), ("acme", "done", 40, 40))
    done = await night.prune.run(KEPT, batch=50)
    assert done.removed["inbox"] == 1
    assert await inbox(night) == 250


async def test_a_rule_that_takes_too_long_goes_on_where_it_stood(night: Store):
    await deliver(night, *((name, "done", 40, 40) for name in ("acme", "other") for _ in range(100)))
    prune, rounds = Prune(night._database), 0
    waiting: set[str] | None = None
    looked = 0
    while waiting is None or waiting:
        done = await prune.run(KEPT, only=waiting, batch=10, most_seconds=0.0)
        waiting, rounds = set(done.unfinished), rounds + 1
        looked += done.looked.get("inbox", 0)
        assert rounds < 200
    assert rounds > 10
    assert await inbox(night) == 0
    assert looked == 200, "and nothing is looked at twice"


@pytest.mark.parametrize("seed", range(6))
async def test_what_goes_is_what_the_rule_says_whatever_lies_between(night: Store, seed: int):
    dice = random.Random(seed)
    rows: list[tuple[str, str, float, float | None]] = []
    for number in range(300):
        came = 60 - number / 5 + dice.choice((0, 0, 0, 0.01, -0.5))
        state = dice.choice(("done", "done", "dropped", "waiting", "buried"))
        rows.append((dice.choice("abc"), state, came, None if state == "waiting" else came * dice.choice((1, 1, 0.5))))
    await deliver(night, *rows)
    over = "state IN ('done', 'dropped') AND finished_at < timestamptz '2026-11-22 03:00Z' - interval"
    keep = await inbox(night, f"NOT coalesce({over} '30 days', false)")
    empty = await inbox(night, f"{over} '7 days'")
    done = await night.prune.run(KEPT, batch=dice.choice((1, 7, 1000)))
    assert done.removed["inbox_bodies"] == empty
    assert await inbox(night) == keep
    assert await inbox(night, f"{over} '7 days' AND body IS NOT NULL") == 0


async def test_no_rule_reads_a_whole_table_to_find_what_may_go(night: Store):
    for rule in RULES:
        for sql, values in rule.statements(NOW):
            plan = "\n".join(each[0] for each in await night._database.fetch(f"EXPLAIN (COSTS OFF) {sql}", *values))
            assert "Seq Scan" not in plan, f"{rule.name}:\n{plan}"


async def test_payloads_of_passes_that_prove_nothing_go_in_steps(night: Store):
    for number in range(1, 5):
        await night._database.execute(
            "INSERT INTO syncd.passes (integration, resource, id, started_at, completed_at) "
            "VALUES ('acme', 'things', $1, $2, $2)",
            number,
            NOW,
        )
        await night._database.execute(
            "INSERT INTO syncd.pass_pages (integration, resource, pass_id, ids) "
            "SELECT 'acme', 'things', $1, '{}' FROM generate_series(1, 50)",
            number,
        )
    done = await night.prune.run(KEPT, batch=20)
    assert done.removed["passes"] == 2
    assert await night._database.fetchval("SELECT array_agg(DISTINCT pass_id) FROM syncd.pass_pages") == [3, 4]
