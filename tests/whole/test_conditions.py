"""Troubles planted in a running daemon: status, /health, metrics and log name each in the same words, and it heals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import orjson
import pytest
from aiohttp import web

from syncd.kit import signatures
from tests.server.hooks import KEY
from tests.whole.daemon import Daemon
from tests.whole.postgres import Cutter
from tests.whole.surfaces import agree, conditions, logged, said, samples
from tests.whole.test_hostile import PATH, acme

WITHIN_SECONDS = 60.0


class Slow:
    """A partner whose answers take as long as it is told."""

    def __init__(self) -> None:
        self.seconds = 3.3
        self.url = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Slow]:
        app = web.Application()
        app.router.add_get("/{name}", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = runner.addresses[0] and f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.seconds)
        return web.json_response({"items": [{"id": "a"}]})

    def partner(self) -> dict[str, Any]:
        resources = {name: {"path": f"/{name}", "records": "items", "fields": {}} for name in ("one", "two", "three")}
        return {
            "driver": "rest",
            "base_url": self.url,
            "rest": {"auth": {"kind": "none"}, "resources": resources},
            "resources": {name: {"every": "1s", "strategy": "full"} for name in resources},
            "integrations": {"sluggish": {"company": "Sluggish & Sons"}},
        }


@pytest.fixture
async def cutter(database: str) -> AsyncIterator[Cutter]:
    async with Cutter(parse_qs(urlsplit(database).query)["host"][0] + "/.s.PGSQL.5432") as found:
        yield found


def through(cutter: Cutter, database: str) -> str:
    at = urlsplit(database)
    return cutter.url(at.username or "", at.path.lstrip("/"))


async def deliver(daemon: Daemon, number: int, key: str) -> int:
    body = orjson.dumps({"id": f"evt_{number}", "type": "thing.updated"})
    headers = {"Stripe-Signature": signatures.sign_stamped(body, str(int(time.time())), key)}
    url = f"http://127.0.0.1:{daemon.port}{PATH}"
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as answer:
        return answer.status


async def begins(daemon: Daemon, integration: str, code: str) -> None:
    async def there() -> bool:
        return (integration, code) in await conditions(daemon)

    await daemon.until(there, seconds=WITHIN_SECONDS)
    agree(await said(daemon, integration, code))


async def ends(daemon: Daemon, integration: str, code: str) -> None:
    async def gone() -> bool:
        return (integration, code) not in await conditions(daemon)

    await daemon.until(gone, seconds=WITHIN_SECONDS)
    assert await samples(daemon, integration, code) == []
    assert [line["event"] for line in logged(daemon, integration, code)] == ["condition_began", "condition_ended"]


async def test_each_planted_trouble_is_named_alike_by_every_surface_and_heals(
    tmp_path: Path, database: str, cutter: Cutter
):
    async with (
        Slow().listening() as slow,
        Daemon(tmp_path, through(cutter, database), {"acme": acme(), "slow": slow.partner()}) as daemon,
    ):
        # The partner is slow from its first answer on.
        await begins(daemon, "sluggish", "partner-slow")
        entry = (await conditions(daemon))["sluggish", "partner-slow"]
        assert (entry["company"], entry["partner"], entry["severity"]) == ("Sluggish & Sons", "slow", "ticket")
        slow.seconds = 0.01

        # Its secret was changed: what comes bears a signature, and none fits.
        wrong = KEY[:-4] + "XXXX"
        assert {await deliver(daemon, number, wrong) for number in range(5)} == {401}
        await begins(daemon, "one", "signatures-refused")
        assert await deliver(daemon, 9, KEY) == 202
        await ends(daemon, "one", "signatures-refused")

        # A file with a mistake.
        path = daemon.config / "partners" / "slow.yaml"
        sound = path.read_text()
        path.write_text(sound + "\nbase_ulr: http://127.0.0.1\n")
        assert (await daemon.cli("reload", "--wait"))[0] != 0
        await begins(daemon, "", "reload-failed")
        found = await said(daemon, "", "reload-failed")
        assert "slow.yaml" in found.status["cause"] and "base_ulr" in found.text
        assert str(daemon.config) not in orjson.dumps(found.health).decode(), "/health is read by everybody"
        assert (await daemon.cli(*found.status["action"].split()[1:]))[0] == 78, "and what is to be run names it"
        path.write_text(sound)
        assert (await daemon.cli("reload", "--wait"))[0] == 0
        await ends(daemon, "", "reload-failed")

        # The database is gone.
        cutter.leave()
        await begins(daemon, "", "database-down")
        found = await said(daemon, "", "database-down")
        assert "127.0.0.1" not in orjson.dumps(found.health["conditions"]).decode()
        assert not [key for key in await conditions(daemon) if key[0] and key[1] == "database-down"], "said once"
        cutter.come_back()
        await ends(daemon, "", "database-down")
        await ends(daemon, "sluggish", "partner-slow")
        authenticated = 'syncd_last_authenticated_timestamp_seconds{integration="sluggish"}'
        assert abs(time.time() - await daemon.metric(authenticated)) < 120


@pytest.mark.soak
async def test_a_slow_database_is_named_and_heals(tmp_path: Path, database: str, cutter: Cutter):
    async with Daemon(tmp_path, through(cutter, database), {"acme": acme()}) as daemon:
        await asyncio.sleep(10)
        cutter.delay_seconds = 0.3
        await begins(daemon, "", "database-slow")
        cutter.delay_seconds = 0.0
        await ends(daemon, "", "database-slow")
