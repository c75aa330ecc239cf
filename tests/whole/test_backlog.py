"""What piled up while nobody worked is worked off once for each record, and what is not worth doing costs no call."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from tests.whole.conftest import hooked, only, partner
from tests.whole.daemon import Daemon, Rows


async def put(rows: Rows, tasks: list[dict[str, Any]]) -> None:
    # A read within a second of the wish might have begun before it, as far as a clock can tell.
    now = datetime.now(UTC) - timedelta(seconds=2)
    for each in tasks:
        each.setdefault("kind", "fetch")
        each.setdefault("resource", "things")
    await rows.connection.execute("SELECT syncd.put_tasks('acme', $1, $2::jsonb)", now, orjson.dumps(tasks).decode())


async def test_a_backlog_is_coalesced_and_its_stale_part_skipped_and_counted(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, control = plain(things=60)
    body = partner(simulator.base_url, resources=only("things", every="1h"))
    daemon = Daemon(tmp_path, database, {"plain": body})
    await daemon.start()

    async def imported() -> bool:
        return await rows.count("acme", "things") == 60

    await daemon.until(imported)
    assert await daemon.stop() == 0

    ids = sorted(await control.truth_ids("things"))
    for external_id in ids[:50]:
        await control.update("things", external_id)
    # 4,000 requests for 50 records, with a key and without, and 3,000 whose time is over.
    await put(
        rows,
        [{"external_id": ids[n % 50], "lane": 0, "dedupe_key": f"fetch:things:{ids[n % 50]}"} for n in range(3000)],
    )
    await put(rows, [{"external_id": ids[n % 50], "lane": 2} for n in range(1000)])
    past = datetime.now(UTC) - timedelta(minutes=5)
    await put(rows, [{"external_id": ids[n % 50], "expires_at": past} for n in range(3000)])
    # Of these the row was stored by a later request: nothing is asked.
    asked_at = datetime.now(UTC) - timedelta(minutes=1)
    await put(rows, [{"external_id": each, "wanted_at": asked_at} for each in ids[50:]])
    await rows.connection.execute(
        "UPDATE syncd.records SET fetched_at = $1 WHERE external_id = ANY($2)",
        datetime.now(UTC),
        ids[50:],
    )
    assert await rows.connection.fetchval("SELECT count(*) FROM syncd.tasks") == 50 + 1000 + 3000 + 10
    before = len(await control.arrivals("things/{id}"))

    await daemon.start()

    async def worked_off() -> bool:
        return "backlog_worked_off" in daemon.log()

    await daemon.until(worked_off)
    asked = len(await control.arrivals("things/{id}")) - before
    assert 50 <= asked <= 60, "once a record; one without a key may be under way beside the one with it"
    [line] = [orjson.loads(each) for each in daemon.log().splitlines() if "backlog_worked_off" in each]
    assert line["told"] == f"skipped {4060 - asked:,} stale tasks, ran {asked} fresh ones"
    assert await daemon.metric('syncd_tasks_total{integration="acme",result="stale"}') == 1060 - asked
    assert await daemon.metric('syncd_tasks_total{integration="acme",result="expired"}') == 3000.0
    assert await daemon.metric('syncd_tasks_total{integration="acme",result="done"}') == asked
    truth = await control.truth("things")
    live = await rows.live("acme", "things")
    assert {each: live[each] for each in ids[:50]} == {each: truth[each] for each in ids[:50]}
    assert await daemon.stop() == 0


async def test_ten_thousand_events_that_came_while_nobody_worked_cost_a_read_a_record(
    tmp_path: Path, database: str, rows: Rows, plain
):
    """Another instance took them in; this one was down. 10,000 events of 50 records."""
    simulator, control = plain(things=60)
    body = hooked(simulator.base_url, resources=only("things", every="1h"))
    daemon = Daemon(tmp_path, database, {"plain": body})
    await daemon.start()

    async def imported() -> bool:
        return await rows.count("acme", "things") == 60

    await daemon.until(imported)
    await daemon.kill()

    ids = sorted(await control.truth_ids("things"))[:50]
    for external_id in ids:
        await control.update("things", external_id, {"name": "changed"})
    now = datetime.now(UTC)
    bodies = [
        orjson.dumps({"type": "thing.updated", "at": now.isoformat(), "thing": {"id": ids[n % 50]}})
        for n in range(10_000)
    ]
    await rows.connection.execute(
        "INSERT INTO syncd.inbox (integration, event_id, event_type, body, received_at) "
        "SELECT 'acme', 'e' || n, 'thing.updated', b, $2 FROM unnest($1::bytea[]) WITH ORDINALITY AS t(b, n)",
        bodies,
        now - timedelta(seconds=10),
    )
    before = len(await control.arrivals("things/{id}"))
    await daemon.start()

    async def done() -> bool:
        inbox = await rows.connection.fetchval("SELECT count(*) FROM syncd.inbox WHERE state <> 'done'")
        return inbox == 0 and await rows.connection.fetchval("SELECT count(*) FROM syncd.tasks") == 0

    await daemon.until(done, seconds=120)
    asked = len(await control.arrivals("things/{id}")) - before
    print(f"{asked} reads")
    assert 50 <= asked <= 60, "each once: they all came before the first of these reads began"
    truth = await control.truth("things")
    assert await rows.live("acme", "things") == truth
    assert await daemon.stop() == 0
