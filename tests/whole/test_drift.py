"""`syncd drift` against the real daemon: what differs is told field by field, and nothing is written by telling."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import orjson

from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows

THINGS = 1200


async def imported(daemon: Daemon, rows: Rows, resource: str = "things") -> None:
    async def passed() -> bool:
        return bool(
            await rows.connection.fetchval(
                "SELECT passed_at IS NOT NULL FROM syncd.checkpoints WHERE resource = $1", resource
            )
        )

    await daemon.until(passed)


async def written(rows: Rows) -> tuple[Any, ...]:
    """Everything a comparison must leave as it is."""
    return tuple(
        await rows.connection.fetchrow(
            "SELECT (SELECT count(*) FROM syncd.changes), (SELECT sum(row_version) FROM syncd.records), "
            "(SELECT count(*) FROM syncd.runs), (SELECT array_agg(c::text ORDER BY c::text) FROM syncd.checkpoints c), "
            "(SELECT count(*) FROM syncd.tasks), (SELECT max(xmin::text::bigint) FROM syncd.records)"
        )
    )


async def harmed(rows: Rows) -> dict[str, list[str]]:
    """Harm the copy behind syncd's back, five records each way; ids by what is wrong with them."""
    ids = [
        row["external_id"]
        for row in await rows.connection.fetch(
            "SELECT external_id FROM syncd.records WHERE resource = 'things' ORDER BY external_id LIMIT 20"
        )
    ]
    gone, changed, ghosts, raw_only = ids[:5], ids[5:10], [f"ghost-{n}" for n in range(5)], ids[10:12]
    await rows.connection.execute("DELETE FROM syncd.records WHERE external_id = ANY($1::text[])", gone)
    await rows.connection.execute(
        "UPDATE syncd.records SET content_hash = 'x', data = data || '{\"name\": \"secret name\"}', "
        'raw = (raw::jsonb || \'{"name": "secret name"}\')::json WHERE external_id = ANY($1::text[])',
        changed,
    )
    await rows.connection.execute(
        "UPDATE syncd.records SET content_hash = 'y', raw = (raw::jsonb || '{\"pad\": \"other\"}')::json "
        "WHERE external_id = ANY($1::text[])",
        raw_only,
    )
    await rows.connection.execute(
        "INSERT INTO syncd.records SELECT integration, resource, g, source_version, source_updated_at, fetched_at, "
        "synced_at, deleted_at, missed_at, row_version, content_hash, sparse_hash, adapter, cause, parent_id, data, raw "
        "FROM syncd.records, unnest($1::text[]) g WHERE external_id = $2",
        ghosts,
        ids[-1],
    )
    return {"missing_here": gone, "differs": changed, "missing_there": ghosts, "raw": raw_only}


async def test_every_kind_of_drift_is_found_field_by_field_and_nothing_is_written(
    tmp_path: Path, database: str, rows: Rows, plain
):
    simulator, control = plain(things=THINGS)
    async with Daemon(
        tmp_path, database, {"plain": partner(simulator.base_url, resources=only("things", every="1h", overlap="0s"))}
    ) as daemon:
        await imported(daemon, rows)
        code, out, err = await daemon.cli("drift", "acme/things")
        assert code == 0, out + err
        assert "no drift: 1,200 compared, 12 calls" in out
        assert "about 12 calls" in err, "what it costs is said first"
        wrong = await harmed(rows)
        before = await written(rows)
        code, out, err = await daemon.cli("drift", "acme", "--json")
        assert code == 1, err
        assert await written(rows) == before
        told = orjson.loads(out)
        assert (told["schema"], told["drift"]) == ("syncd.drift/1", 17)
        [things] = told["resources"]
        found = {kind: {one["id"] for one in things["records"] if one["kind"] == kind} for kind in
                 ("missing_here", "missing_there", "differs")}  # fmt: skip
        assert found == {
            "missing_here": set(wrong["missing_here"]),
            "missing_there": set(wrong["missing_there"]),
            "differs": {*wrong["differs"], *wrong["raw"]},
        }
        fields = {one["id"]: one["fields"] for one in things["records"]}
        assert [each["field"] for each in fields[wrong["differs"][0]]] == ["name"]
        assert [each["field"] for each in fields[wrong["raw"][0]]] == ["raw.pad"]
        assert "secret name" not in out + err
        assert "secret name" not in daemon.log()
        code, out, _ = await daemon.cli("drift", "acme/things", "--values")
        assert code == 1
        assert "name: here secret name, there Thing" in out
        # A sample finds what is wrong with the records that are here; the same seed chooses the same ones.
        runs = [
            orjson.loads((await daemon.cli("drift", "acme/things", "--sample", "300", "--seed", "8", "--json"))[1])
            for _ in range(2)
        ]
        ids = [{one["id"] for one in run["resources"][0]["records"]} for run in runs]
        assert ids[0] == ids[1]
        assert ids[0] <= found["differs"] | found["missing_there"]
        assert ids[0], "of twelve that differ among twelve hundred, a quarter of all holds some"
        calls = len(await control.arrivals("GET /v1/things/{id}"))
        assert calls >= 600


async def test_what_is_only_under_way_is_no_drift(tmp_path: Path, database: str, rows: Rows, plain):
    """Changes at the partner that the next incremental run will bring are pending, however many."""
    simulator, control = plain(things=THINGS)
    resources = only("things", every="1h", overlap="0s")
    async with Daemon(tmp_path, database, {"plain": partner(simulator.base_url, resources=resources)}) as daemon:
        await imported(daemon, rows)
        ids = await control.truth_ids("things")
        await asyncio.sleep(1.1)  # the partner's Date has whole seconds, and a watermark never passes it
        code, _, _ = await daemon.cli("sync", "acme/things")
        for external_id in ids[:7]:
            await control.update("things", external_id, {"name": "changed"})
        await control.create("things", count=3)
        code, out, err = await daemon.cli("drift", "acme/things", "--json")
        assert code == 0, out + err
        things = orjson.loads(out)["resources"][0]
        assert (things["pending"], things["drift"]) == (10, 0)


async def test_ctrl_c_ends_a_comparison_with_its_command(tmp_path: Path, database: str, rows: Rows, plain):
    simulator, control = plain(things=THINGS, latency=(0.1, 0.2))
    spec_partner = partner(simulator.base_url, resources=only("flow", every="1h", page_size=25))
    async with Daemon(tmp_path, database, {"plain": spec_partner}) as daemon:
        await imported(daemon, rows, "flow")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "syncd", "drift", "acme/flow",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**daemon.env, "SYNCD_CONFIG": str(daemon.config)},
        )  # fmt: skip
        began = len(await control.arrivals("GET /v1/flow"))

        async def asks() -> bool:
            return len(await control.arrivals("GET /v1/flow")) >= began + 3

        await daemon.until(asks)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 130, err
        assert "nothing was written" in err.decode()
        await asyncio.sleep(1.0)
        stopped = len(await control.arrivals("GET /v1/flow"))
        await asyncio.sleep(1.5)
        assert len(await control.arrivals("GET /v1/flow")) == stopped
        code, out, _ = await daemon.cli("drift", "acme/flow", "--json")
        assert code == 0, out
