"""From a planted trouble to a pager: the real daemon, a real Prometheus with the shipped rules, the daemon's own messages."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks.webhooks import Webhook

from syncd.alerts import ALERTS
from syncd.alerts.rules import EVERY, rules_file
from tests.alerts.promtool import PROMTOOL, ask
from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, free_port
from tests.whole.plain import KEY

PROMETHEUS = shutil.which("prometheus")
SECRET = "whsec_c3ludGhldGljIGFsZXJ0cyBzZWNyZXQ="  # not-a-secret


@asynccontextmanager
async def prometheus(folder: Path, target: int) -> AsyncIterator[str]:
    """The distribution's server on loopback with the shipped rules, all of it at a second's pace. Yields its address."""
    assert PROMETHEUS is not None
    folder.mkdir()
    (folder / "rules.yml").write_text(rules_file(ALERTS).replace(f"interval: {EVERY}", "interval: 1s"))
    scrape = {"job_name": "syncd", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
    paces = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (folder / "p.yml").write_text(
        yaml.safe_dump({"global": paces, "rule_files": ["rules.yml"], "scrape_configs": [scrape]})
    )
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PROMETHEUS, f"--config.file={folder / 'p.yml'}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 20)


async def firing(address: str) -> dict[str, dict[str, Any]]:
    """By name and code: what fires but the watchdog."""
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{address}/api/v1/alerts") as answer:
            found = (await answer.json())["data"]["alerts"] if answer.status == 200 else []
    except aiohttp.ClientError:
        return {}
    fire = [one for one in found if one["state"] == "firing" and one["labels"]["alertname"] != "SyncdWatchdog"]
    return {f"{one['labels']['alertname']} {one['labels']['code']}": one for one in fire}


@pytest.mark.skipif(PROMETHEUS is None or PROMTOOL is None, reason="no prometheus here (Debian: package prometheus)")
async def test_a_revoked_key_is_an_alert_and_a_message_within_a_minute_and_both_clear(
    tmp_path: Path, database: str, plain: Any
):
    simulator, control = plain(things=50)
    body = partner(
        simulator.base_url,
        resources=only("flow", every="1s"),
        integrations={"acme": {"company": "ACME Inc", "credentials": {"api_key": KEY}}},
    )
    messages: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        text = await request.read()
        Webhook(SECRET).verify(text, {key.lower(): value for key, value in request.headers.items()})
        messages.append(orjson.loads(text))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", take)
    hook = TestServer(app)
    await hook.start_server()
    told = {"alerts": {"url": {"env": "ALERTS_URL"}, "secret": {"env": "ALERTS_SECRET"}}}
    env = {"ALERTS_URL": str(hook.make_url("/hook")), "ALERTS_SECRET": SECRET}
    async with (
        Daemon(tmp_path, database, {"plain": body}, main=told, env=env) as daemon,
        prometheus(tmp_path / "prometheus", daemon.port) as address,
    ):

        async def scraped_and_quiet() -> bool:
            async with aiohttp.ClientSession() as http:
                try:
                    async with http.get(
                        f"{address}/api/v1/query", params={"query": "syncd_sync_lag_seconds"}
                    ) as answer:
                        seen = bool((await answer.json())["data"]["result"])
                except aiohttp.ClientError:
                    return False
            return seen and not await firing(address)

        await daemon.until(scraped_and_quiet, seconds=30, every=0.5)
        _, exposed = await daemon.get("/metrics")
        linted = ask("check", "metrics", stdin=exposed)
        assert linted.returncode == 0, (linted.stdout + linted.stderr).decode()

        await control.misbehave("status", status=401)

        async def paged() -> dict[str, Any] | None:
            found = await firing(address)
            wanted = {"SyncdConditionPage auth-failed", "SyncdAuthRefused auth-failed"}
            return found if wanted <= found.keys() else None

        found = await daemon.until(paged, seconds=40, every=0.5)
        alert = found["SyncdConditionPage auth-failed"]
        assert alert["labels"]["company"] == "ACME Inc"
        [condition] = [one for one in (await daemon.status())["conditions"] if one["code"] == "auth-failed"]
        assert condition["reason"] in alert["annotations"]["summary"], "the words of the status"
        assert f"Action: {condition['action']}" in alert["annotations"]["description"]
        said = found["SyncdAuthRefused auth-failed"]["annotations"]
        assert said["summary"] == "Plain API 401/403 errors for integration acme (company: ACME Inc)"

        async def posted() -> bool:
            return bool(messages)

        await daemon.until(posted, seconds=30)
        assert messages[0]["began"][0] | {"since": ""} == condition | {"since": ""}

        await control.behave()
        assert (await daemon.cli("credential", "test", "acme"))[0] == 0

        async def over() -> bool:
            return "SyncdConditionPage auth-failed" not in await firing(address)

        await daemon.until(over, seconds=30, every=0.5)
    await hook.close()
