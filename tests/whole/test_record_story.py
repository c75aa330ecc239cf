"""One record's life at the real daemon, as `syncd records show` tells it: a poll, two deliveries, a push, and its end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from syncd.kit import signatures
from tests.whole.conftest import HOOKS, hooked, only, started
from tests.whole.daemon import Daemon, Rows
from tests.whole.plain import WEBHOOK_SECRET
from tests.whole.test_pushes import over, push, writing


@pytest.fixture
def written() -> Iterator[Any]:
    yield from started("tests.whole.written")


async def deliver(daemon: Daemon, event: str, thing: dict[str, Any]) -> int:
    body, stamp = orjson.dumps({"type": "thing.updated", "thing": thing}), str(int(time.time()))
    headers = {
        "webhook-id": event,
        "webhook-timestamp": stamp,
        "webhook-signature": signatures.sign_standard(body, event, stamp, WEBHOOK_SECRET),
    }
    url = f"http://127.0.0.1:{daemon.port}/webhooks/plain/acme"
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as answer:
        return answer.status


async def told(daemon: Daemon, external_id: str) -> dict[str, Any]:
    _, out, err = await daemon.cli("records", "show", "acme/things", external_id, "--json")
    assert out, err
    found: dict[str, Any] = json.loads(out)
    return found


async def test_the_story_of_a_record_is_told_right_to_its_end(tmp_path: Path, database: str, rows: Rows, written: Any):
    simulator, control = written(things=3)
    rest = {**writing(simulator.base_url)["rest"], "webhooks": {**HOOKS, "record": "thing"}}
    body = {**hooked(simulator.base_url, resources=only("things", every="1h")), "rest": rest}
    async with Daemon(tmp_path, database, {"plain": body}) as daemon:

        async def copied() -> bool:
            return await rows.count("acme", "things") == 3 and "done" in [
                row["outcome"] for row in await rows.connection.fetch("SELECT outcome FROM syncd.runs")
            ]

        await daemon.until(copied)
        one = (await control.truth_ids("things"))[0]
        polled = await told(daemon, one)
        assert (polled["found"], polled["written"]["kind"], polled["refused"]) == (True, "run", None)
        assert polled["written"]["run"]["outcome"] == "done"
        assert polled["written"]["request"]["method"] == "GET", "the call that brought it is remembered"
        assert {each["name"]: each["from"] for each in polled["fields"]}["number"] == "number"

        now = datetime.now(UTC)
        stamps = {name: (now - timedelta(hours=ago)).isoformat() for name, ago in (("newer", 1), ("older", 2))}
        assert await deliver(daemon, "evt_new", {**polled["raw"], "name": "told", "updated_at": stamps["newer"]}) == 202

        async def was_told() -> bool:
            return (await told(daemon, one))["data"]["name"] == "told"

        await daemon.until(was_told, seconds=20, every=0.2)
        assert (
            await deliver(daemon, "evt_late", {**polled["raw"], "name": "late", "updated_at": stamps["older"]}) == 202
        )

        async def was_refused() -> bool:
            return (await told(daemon, one))["refused"] is not None

        await daemon.until(was_refused, seconds=20, every=0.2)
        after = await told(daemon, one)
        assert (after["data"]["name"], after["row_version"]) == ("told", 2)
        assert (after["written"]["kind"], after["written"]["delivery"]["event_id"]) == ("webhook", "evt_new")
        assert after["written"]["commands"] == [f"syncd webhook show acme {after['written']['delivery']['id']}"]
        (late,) = after["refused"]["latest"]
        assert late["by"].startswith("webhook evt_late (thing.updated), received ")
        assert late["why"].startswith("the partner stamped it ")
        assert [each["event_id"] for each in after["deliveries"]] == ["evt_late", "evt_new"]
        _, shown, _ = await daemon.cli("records", "show", "acme/things", one)
        assert "refused as older: 1 time" in shown
        assert "webhook evt_new (thing.updated), received" in shown

        number = await push(rows, "state", {"state": "open"}, one)
        await daemon.until(lambda: over(rows), seconds=20)
        pushed = await told(daemon, one)
        assert (pushed["written"]["kind"], pushed["written"]["push"]["id"]) == ("push", number)
        assert f"syncd push show acme {number}" in pushed["written"]["commands"]
        assert "because of: a test" in pushed["written"]["text"]

        await control.delete("things", one)
        code, out, err = await daemon.cli("sync", "acme/things", "--id", one)
        assert code == 0, out + err

        async def gone() -> bool:
            return (await told(daemon, one))["deleted"] is not None

        await daemon.until(gone, seconds=20, every=0.2)
        dead = await told(daemon, one)
        assert dead["deleted"]["why"] == "its own address answered that it is gone"
        assert dead["written"]["text"].startswith("task ")
        assert dead["changes"][0]["kind"] == "delete"

        code, out, err = await daemon.cli("records", "show", "acme/things", "nobody", "--json")
        absent = json.loads(out)
        assert (code, absent["found"], [each["code"] for each in absent["why"]]) == (1, False, ["never-listed"])

        _, out, _ = await daemon.cli("evidence", "acme", "--record", f"things/{one}", "--json")
        evidence = json.loads(out)
        assert [each["status"] for each in evidence["failed"]] == [404]
        assert all(one in each["url"] for each in evidence["calls"])
        assert [each["label"] for each in evidence["limits"]][:1] == ["400/0.2s"]
