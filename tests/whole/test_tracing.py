"""One trace from a delivery to the row it changed, at a collector that decodes what comes, across a kill between the two."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.whole.collector import collecting
from tests.whole.conftest import hooked, only, started
from tests.whole.daemon import Daemon, Rows
from tests.whole.plain import KEY, WEBHOOK_SECRET
from tests.whole.written import PUSHES

SERVER, CLIENT, CONSUMER = 2, 3, 5


@pytest.fixture
def written() -> Iterator[Any]:
    """Start plain APIs that take writes; they end with the test."""
    yield from started("tests.whole.written")


async def test_a_delivery_its_work_its_call_and_its_row_are_one_trace_also_across_a_kill_and_so_are_a_push_and_its_call(
    written: Any, tmp_path: Path, database: str, rows: Rows
):
    sim, control = written(things=3)
    async with collecting() as collector:
        tracing = {"endpoint": collector.url, "headers": {"x-tenant": {"env": "TENANT"}}, "service": "syncd-test"}
        body = copy.deepcopy(hooked(sim.base_url, resources=only("things", every="1h")))
        things = body["rest"]["resources"]["things"]
        things["pushes"], things["fields"]["state"] = PUSHES, "state"
        main, env = {"tracing": tracing, "log": {"level": "debug"}}, {"TENANT": "the tenant's secret"}
        async with Daemon(tmp_path, database, {"plain": body}, main=main, env=env) as daemon:

            async def all_there() -> bool:
                return await rows.count("acme", "things") == 3

            await daemon.until(all_there)
            await control.webhooks(f"http://127.0.0.1:{daemon.port}/webhooks/plain/acme", WEBHOOK_SECRET)
            one = sorted(await control.truth_ids("things"))[0]
            assert (await daemon.post("pause", {"integration": "acme", "reason": "until it is killed"}))[0] == 200
            await control.update("things", one, {"name": "told by webhook"})
            intake = (await collector.until(lambda: collector.named("POST /webhooks/{partner}/{integration}")))[0]
            assert intake.kind == SERVER and intake.above == "" and not intake.failed
            assert intake.attributes["http.response.status_code"] == 202
            await daemon.kill()
            await daemon.start()
            assert (await daemon.post("resume", {"integration": "acme"}))[0] == 200

            async def changed() -> bool:
                return (await rows.live("acme", "things"))[one]["name"] == "told by webhook"

            await daemon.until(changed)
            trace = await collector.until(
                lambda: len(found := [span for span in collector.spans if span.trace == intake.trace]) >= 6 and found
            )
            by_name = {span.name: span for span in trace}
            (stored,) = [span for span in trace if span.attributes.get("db.collection.name") == "syncd.inbox"]
            assert stored.above == intake.id
            process, task = by_name["process delivery"], by_name["task fetch things"]
            assert process.above == task.above == intake.id and process.kind == task.kind == CONSUMER
            call, row = by_name["GET /things/{id}"], by_name["INSERT syncd.records"]
            assert call.above == row.above == task.id and call.kind == row.kind == CLIENT
            assert call.attributes["http.response.status_code"] == 200 and row.attributes["syncd.written"] == 1
            assert (
                call.attributes["url.template"] == "/things/{id}" and row.attributes["db.system.name"] == "postgresql"
            )
            assert (
                intake.service["service.name"] == "syncd-test"
                and collector.headers["x-tenant"] == "the tenant's secret"
            )

            (pull,) = [span for span in collector.named("pull things") if span.attributes["syncd.records"] == 3]
            below = {span.name for span in collector.spans if span.above == pull.id}
            assert below == {"GET /things", "INSERT syncd.records"}
            lines = [json.loads(line) for line in daemon.log().splitlines() if intake.trace in line]
            assert any(line["event"] == "call_answered" and line["span_id"] == call.id for line in lines)

            number = await rows.connection.fetchval(
                "SELECT syncd.push('acme', 'things', 'create', $1::jsonb, idempotency_key => 'order-4711')",
                orjson.dumps({"name": "Anna Example"}).decode(),
            )
            push = (await collector.until(lambda: collector.named("push things")))[0]
            assert push.above == "" and push.kind == CONSUMER and not push.failed
            assert push.attributes["syncd.push_id"] == number and push.attributes["syncd.integration"] == "acme"
            (sent,) = [span for span in collector.named("POST /things") if span.trace == push.trace]
            assert sent.above == push.id and sent.attributes["http.response.status_code"] == 200
        everything = repr(collector.spans)
        for said in (one, KEY, WEBHOOK_SECRET, "told by webhook", "Anna Example", "order-4711"):
            assert said not in everything


async def test_a_collector_that_is_away_costs_the_spans_and_nothing_else(
    plain: Any, tmp_path: Path, database: str, rows: Rows
):
    sim, _ = plain(things=30)
    body = hooked(sim.base_url, resources=only("things", every="1h"))
    main = {"tracing": {"endpoint": "http://127.0.0.1:9"}}
    async with Daemon(tmp_path, database, {"plain": body}, main=main) as daemon:

        async def all_there() -> bool:
            return await rows.count("acme", "things") == 30

        async def lost() -> bool:
            return await daemon.metric('syncd_trace_spans_total{result="lost"}') > 0

        await daemon.until(all_there)
        await daemon.until(lost)
        assert daemon.log().count("traces_lost") == 1
        assert await daemon.stop(seconds=20.0) == 0


def test_without_tracing_nothing_of_it_is_imported_and_without_the_extra_it_says_what_to_install(tmp_path: Path):
    import subprocess

    (tmp_path / "syncd.yaml").write_text("tracing: {endpoint: 'http://127.0.0.1:4318'}\ndatabase: {url: {env: NONE}}\n")
    missing = (
        "import sys; sys.modules['opentelemetry'] = None; sys.argv = ['syncd', 'run', '--config', sys.argv[1]]\n"
        "from syncd.cli.root import cli\ncli()"
    )
    done = subprocess.run(
        [sys.executable, "-c", missing, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60,
        env={"NONE": "postgresql://127.0.0.1:1/x", "SYNCD_STATE_DIRECTORY": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 78 and "pip install 'syncd[otel]'" in done.stderr, done.stderr
    imports = "import sys, syncd.daemon; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", imports], check=False, timeout=60).returncode == 0
