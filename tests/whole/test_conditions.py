"""What is no trouble, and what is one alone: restarts of the database, of the daemon and of whoever works for a scope; and a
database that stays away. What befalls partners and machines is in test_troubles."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from aiohttp import web

from tests.whole.daemon import Daemon
from tests.whole.postgres import Cutter
from tests.whole.surfaces import agree, conditions, logged, said, samples
from tests.whole.test_hostile import acme

WITHIN_SECONDS = 60.0


class Partner:
    """One whose answers are prompt and few."""

    def __init__(self) -> None:
        self.url = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Partner]:
        app = web.Application()
        app.router.add_get("/{name}", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        return web.json_response({"items": [{"id": "a"}]})

    def file(self) -> dict[str, Any]:
        resources = {name: {"path": f"/{name}", "records": "items", "fields": {}} for name in ("one", "two", "three")}
        return {
            "driver": "rest",
            "base_url": self.url,
            "rest": {"auth": {"kind": "none"}, "resources": resources},
            "resources": {name: {"every": "1s", "strategy": "full"} for name in resources},
            "integrations": {"brisk": {"company": "Brisk & Sons"}},
        }


@pytest.fixture
async def cutter(database: str) -> AsyncIterator[Cutter]:
    async with Cutter(parse_qs(urlsplit(database).query)["host"][0] + "/.s.PGSQL.5432") as found:
        yield found


def through(cutter: Cutter, database: str) -> str:
    at = urlsplit(database)
    return cutter.url(at.username or "", at.path.lstrip("/"))


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


def loud(daemon: Daemon) -> list[str]:
    """Codes of what began and calls for somebody."""
    lines = (orjson.loads(line) for line in daemon.log().splitlines() if '"event":"condition_began"' in line)
    return [one["code"] for one in lines if one["severity"] != "note"]


async def test_restarts_are_no_news_and_a_database_that_stays_away_is_the_one_trouble_that_is_told(
    tmp_path: Path, database: str, cutter: Cutter
):
    async with (
        Partner().listening() as partner,
        Daemon(tmp_path / "one", through(cutter, database), {"acme": acme(), "polled": partner.file()}) as daemon,
    ):

        async def polled(one: Daemon) -> bool:
            return await one.metric('syncd_calls_total{integration="brisk",partner="polled",result="ok"}') > 3

        await daemon.until(lambda: polled(daemon))
        assert (await daemon.cli("reload", "--wait"))[0] == 0
        cutter.leave()
        await asyncio.sleep(5)
        cutter.come_back()
        await asyncio.sleep(8)
        assert loud(daemon) == [], "PostgreSQL was started anew"

        cutter.leave()
        await begins(daemon, "", "database-down")
        found = await said(daemon, "", "database-down")
        assert "127.0.0.1" not in orjson.dumps(found.health).decode(), "everybody reads it"
        first, *others = (await daemon.status())["conditions"]
        assert first["code"] == "database-down"
        assert [one for one in others if one["severity"] != "note"] == [], "what comes of it is not said of everybody"
        cutter.come_back()
        await ends(daemon, "", "database-down")
        authenticated = 'syncd_last_authenticated_timestamp_seconds{integration="brisk"}'
        assert abs(time.time() - await daemon.metric(authenticated)) < 60

        # Another instance waits for its turn, takes over, and is stopped too.
        other = Daemon(tmp_path / "two", database, {"acme": acme(), "polled": partner.file()})
        async with other:
            await daemon.stop()
            await other.until(lambda: polled(other))
        assert loud(daemon) == ["database-down"] and loud(other) == []
