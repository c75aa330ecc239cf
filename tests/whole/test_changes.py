"""Who did what, as the real daemon notes it: every wish by the API, reloads, starts and stops; and pauses from end to end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.whole.daemon import Daemon, Rows
from tests.whole.growing import Growing, growing_partner

KEY, OTHER_KEY = "acme-key-000111222", "acme-key-333444555"


class Stage:
    def __init__(self, daemon: Daemon, partner: Growing, secret: Path, rows: Rows) -> None:
        self.daemon = daemon
        self.rows = rows
        self.partner = partner
        self.secret = secret

    async def told(self, *words: str) -> list[dict[str, Any]]:
        """What `syncd changes --json` tells, the oldest first."""
        code, out, err = await self.daemon.cli("changes", "--json", "--limit", "200", *words)
        assert code == 0, err
        return list(reversed(json.loads(out)["changes"]))

    async def texts(self) -> list[str]:
        return [one["text"] for one in await self.told()]


@pytest.fixture
async def stage(tmp_path: Path, database: str, rows: Rows) -> AsyncIterator[Stage]:
    partner = Growing(KEY, OTHER_KEY)
    secret = tmp_path / "acme.key"
    secret.touch(mode=0o600)
    secret.write_text(KEY + "\n")
    files = {"plain": growing_partner(await partner.start(), "acme", {"file": str(secret)})}
    try:
        async with Daemon(tmp_path, database, files) as daemon:
            yield Stage(daemon, partner, secret, rows)
    finally:
        await partner.stop()


async def test_a_day_of_an_operator_is_told_line_by_line(stage: Stage):
    daemon = stage.daemon
    soon = datetime.now(UTC) + timedelta(seconds=2)
    ends = {"integration": "acme", "reason": "they migrate", "until": soon.isoformat()}
    assert (await daemon.post("pause", ends))[0] == 200

    async def paused() -> bool:
        return (await daemon.integration("acme"))["state"] == "paused"

    await daemon.until(paused, seconds=10)
    assert "they migrate" in (await daemon.integration("acme"))["explanation"]["reason"]

    async def over() -> bool:
        return not await paused()

    await daemon.until(over, seconds=10)
    assert datetime.now(UTC) - soon < timedelta(seconds=1.5), "it ends when it was said to"

    daemon.write_partner("plain", daemon_file(stage, every="7s"))
    daemon.hup()
    await daemon.until(lambda: said(daemon, "config_reloaded", 1), seconds=15)
    stage.secret.write_text(OTHER_KEY + "\n")
    code, out, _ = await daemon.cli("reload", "--wait")
    assert code == 0
    assert "(tested 200)" in out
    code, out, _ = await daemon.cli("reload", "--wait")
    assert (code, out.strip()) == (0, "configuration unchanged")
    (daemon.config / "partners" / "plain.yaml").write_text("driver: rest\nnonsense: 1\n")
    code, _, _ = await daemon.cli("reload", "--wait")
    assert code == 1
    texts = await stage.texts()
    for wanted in (
        "started for the first time on",
        "paused by ", "pause ended; was ",
        "reloaded by SIGHUP: plain.resources.items.every",
        "(tested 200)", ": configuration is unchanged", "reloaded in part by ",
    ):  # fmt: skip
        assert any(wanted in text for text in texts), (wanted, texts)
    whole = "\n".join(texts) + daemon.log()
    assert KEY not in whole
    assert OTHER_KEY not in whole
    _, out, _ = await daemon.cli("changes", "acme", "--limit", "3")
    assert len(out.strip().splitlines()) == 3

    acme = {"integration": "acme"}
    for path, body in (
        ("sync", acme),
        ("reconcile", acme),
        ("reconcile", {**acme, "confirm": True}),
        ("breaker/hold", {**acme, "reason": "they move"}),
        ("breaker/release", acme),
        ("breaker/reset", acme),
        ("adapters/forget", acme),
        ("renormalize", acme),
        ("renormalize/stop", acme),
        ("memory/trace", {"action": "start"}),
        ("memory/trace", {"action": "stop"}),
        ("pause", {**acme, "resource": "items"}),
        ("resume", {**acme, "resource": "items"}),
    ):
        status, told = await daemon.post(path, body)
        assert status in (200, 202), (path, told)
    told = await stage.told()
    actions = {one["action"] for one in told if one["who"] == "admin API"}
    assert actions >= {
        "sync_asked", "reconcile_asked", "breaker_held", "breaker_released", "breaker_reset", "trials_forgotten",
        "renormalize_asked", "memory_trace_started", "memory_trace_stopped", "paused", "resumed",
    }  # fmt: skip

    marks = json.loads((await daemon.get("/api/v1/figures", admin=True))[1])["changes"]
    assert {"deploy", "pause", "resume", "reload"} <= {one["kind"] for one in marks}
    daemon.write_partner("plain", daemon_file(stage, every="7s"))
    await daemon.stop()
    await daemon.start()
    texts = await stage.texts()
    assert any(text.endswith("SIGTERM") and " stopped on " in text for text in texts)
    assert " started again on " in texts[-1]


async def test_in_a_maintenance_window_no_call_leaves_and_what_waited_follows(stage: Stage):
    daemon, partner = stage.daemon, stage.partner

    async def state() -> str:
        return str((await daemon.integration("acme"))["state"])

    began = datetime.now(UTC) - timedelta(minutes=2)
    window = {"cron": f"{began.minute} {began.hour} * * *", "for": "30m", "reason": "they move house"}
    daemon.write_partner("plain", daemon_file(stage, every="1s") | {"maintenance": [window]})
    code, out, _ = await daemon.cli("reload", "--wait")
    assert code == 0
    assert "plain.maintenance: (not set) → {cron: " in out, out

    async def maintained() -> bool:
        return await state() == "paused"

    await daemon.until(maintained, seconds=15)
    told = (await daemon.integration("acme"))["explanation"]
    assert (told["code"], told["action"]) == ("maintenance", "nothing to do")
    assert told["reason"].endswith("UTC: they move house")
    assert await daemon.metric('syncd_maintenance{integration="acme"}') == 1
    calls = partner.calls.total()
    new = partner.add()
    code, _, err = await daemon.cli("credential", "test", "acme")
    assert code != 0
    assert "in maintenance until" in err
    status, _ = await daemon.post("sync", {"integration": "acme"})
    assert status == 202, "a wish is a row: it waits"
    await asyncio.sleep(2.5)
    assert partner.calls.total() == calls
    _, out, err = await daemon.cli("check")
    assert "they move house; open now, until" in out + err
    conditions = [one["code"] for one in (await daemon.status())["conditions"] if one["integration"] == "acme"]
    assert conditions == ["maintenance"]

    daemon.write_partner("plain", daemon_file(stage, every="1s"))
    assert (await daemon.cli("reload", "--wait"))[0] == 0

    async def arrived() -> bool:
        return new in await stage.rows.live("acme", "items")

    await daemon.until(arrived, seconds=20)
    assert (await daemon.integration("acme"))["limits"]["ramp"] is not None, "carefully: it was away"
    assert await daemon.metric('syncd_maintenance{integration="acme"}') == 0
    texts = [one["text"] for one in await stage.told("acme") if one["kind"] == "maintenance"]
    assert len(texts) == 2
    assert texts[0].startswith("maintenance began: they move house, until ")
    assert texts[1] == "maintenance ended: they move house"


def daemon_file(stage: Stage, every: str) -> dict[str, Any]:
    base = f"http://127.0.0.1:{stage.partner.port}/v1"
    found = growing_partner(base, "acme", {"file": str(stage.secret)})
    return found | {"resources": {**found["resources"], "items": {"every": every, "strategy": "full"}}}


async def said(daemon: Daemon, event: str, times: int) -> bool:
    await asyncio.sleep(0)
    return daemon.log().count(event) >= times
